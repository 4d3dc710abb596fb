//! `pretty=true`: compact JSON in, indented JSON out, as Go's `MarshalIndent` lays it out.

const INDENT: &[u8] = b"    ";

/// Indents JSON that comes in pieces cut anywhere.
#[derive(Debug, Default)]
pub struct Indenter {
    depth: usize,
    in_string: bool,
    escaped: bool,
    /// An opening bracket was written: the line break follows unless the next byte closes it.
    opened: bool,
}

impl Indenter {
    pub fn push(&mut self, out: &mut Vec<u8>, json: &[u8]) {
        for &byte in json {
            if self.in_string {
                out.push(byte);
                match byte {
                    _ if self.escaped => self.escaped = false,
                    b'\\' => self.escaped = true,
                    b'"' => self.in_string = false,
                    _ => {}
                }
                continue;
            }
            if self.opened && !matches!(byte, b']' | b'}') {
                self.break_line(out);
            }
            match byte {
                b'{' | b'[' => {
                    out.push(byte);
                    self.depth += 1;
                    self.opened = true;
                    continue;
                }
                b'}' | b']' => {
                    self.depth = self.depth.saturating_sub(1);
                    if !self.opened {
                        self.break_line(out);
                    }
                    out.push(byte);
                }
                b',' => {
                    out.push(byte);
                    self.break_line(out);
                }
                b':' => out.extend_from_slice(b": "),
                b'"' => {
                    out.push(byte);
                    self.in_string = true;
                }
                _ => out.push(byte),
            }
            self.opened = false;
        }
    }

    fn break_line(&self, out: &mut Vec<u8>) {
        out.push(b'\n');
        for _ in 0..self.depth {
            out.extend_from_slice(INDENT);
        }
    }
}
