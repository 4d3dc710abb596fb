//! JSON: one document, whose results are printed as they come.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::ser::{PrettyFormatter, Serializer};

use super::Printer;
use crate::answer::StatementResult;

const INDENT: &str = "    ";

pub struct Json<W> {
    out: W,
    pretty: bool,
    results: usize,
}

impl<W: Write> Json<W> {
    pub const fn new(out: W, pretty: bool) -> Self {
        Self { out, pretty, results: 0 }
    }

    fn write(&mut self, text: &str, depth: usize) -> io::Result<()> {
        if self.pretty {
            write!(self.out, "\n{}", INDENT.repeat(depth))?;
        }
        self.out.write_all(text.as_bytes())
    }

    /// A value at a depth of the document.
    fn value(&mut self, value: &impl Serialize, depth: usize) -> io::Result<()> {
        let mut text = Vec::new();
        if self.pretty {
            let formatter = PrettyFormatter::with_indent(INDENT.as_bytes());
            value.serialize(&mut Serializer::with_formatter(&mut text, formatter))?;
        } else {
            serde_json::to_writer(&mut text, value)?;
        }
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = if self.pretty { text.lines().collect() } else { vec![&text] };
        for line in lines {
            self.write(line, depth)?;
        }
        Ok(())
    }
}

impl<W: Write> Printer for Json<W> {
    fn result(&mut self, result: &StatementResult<'_>) -> io::Result<()> {
        if self.results == 0 {
            write!(self.out, "{{")?;
            self.write(if self.pretty { "\"results\": [" } else { "\"results\":[" }, 1)?;
        } else {
            write!(self.out, ",")?;
        }
        self.results += 1;
        self.value(result, 2)
    }

    fn end(&mut self, error: Option<&str>) -> io::Result<()> {
        if self.results > 0 {
            self.write("]", 1)?;
        } else {
            write!(self.out, "{{")?;
        }
        if let Some(error) = error {
            if self.results > 0 {
                write!(self.out, ",")?;
            }
            let error = serde_json::to_string(error)?;
            self.write(&format!("\"error\":{}{error}", if self.pretty { " " } else { "" }), 1)?;
        }
        if self.results > 0 || error.is_some() {
            self.write("}", 0)?;
        } else {
            write!(self.out, "}}")?;
        }
        writeln!(self.out)?;
        self.out.flush()
    }
}
