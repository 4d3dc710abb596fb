//! Lines as spans of the body, and the body without some of them.

/// A line of the body: `body[start..end]`, without leading blanks and the final newline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LineSpan {
    pub start: usize,
    pub end: usize,
}

/// The accepted lines of `body` except those whose index in `lines` is in `without` (in rising
/// order). It parses to the same points as those lines did in `body`: leading blanks and all newlines stay, since where
/// a line ends depends on them.
pub fn body_without(body: &[u8], lines: &[LineSpan], without: &[u32]) -> Vec<u8> {
    let size = lines.iter().map(|line| line.end.saturating_sub(line.start) + 1).sum();
    let mut out = Vec::with_capacity(size);
    let mut dropped = without.iter().copied().peekable();
    for (index, line) in lines.iter().enumerate() {
        if dropped.next_if(|&d| d as usize == index).is_some() {
            continue;
        }
        let blanks = body.iter().take(line.start).rev().take_while(|b| is_blank(**b)).count();
        let (whole, next) = next_line(body, line.start - blanks);
        out.extend_from_slice(body.get(whole.start..next).or(body.get(whole.start..)).unwrap_or_default());
    }
    out
}

/// The line that starts at `start` and the start of the next one. A newline ends a line unless it is
/// escaped or inside the quotes of a field value, found as InfluxDB finds them: quotes count only after
/// the first space, and only where more `=` than `,` have passed.
pub(crate) fn next_line(body: &[u8], start: usize) -> (LineSpan, usize) {
    let mut at = start;
    let (mut in_fields, mut quoted) = (false, false);
    let (mut equals, mut commas) = (0usize, 0usize);
    while let Some(&byte) = body.get(at) {
        match byte {
            b'\\' if at + 2 < body.len() => at += 1,
            b' ' => in_fields = true,
            b'=' if in_fields && !quoted => equals += 1,
            b',' if in_fields && !quoted => commas += 1,
            b'"' if in_fields && equals > commas => quoted = !quoted,
            b'\n' if !quoted => break,
            _ => {}
        }
        at += 1;
    }
    (LineSpan { start, end: at }, at + 1)
}

/// The position of the newline that ends the line at the start of `text`; none when it does not end there.
pub fn line_end(text: &[u8]) -> Option<usize> {
    // Only quotes and backslashes make a newline anything else than the end.
    let newline = memchr::memchr(b'\n', text)?;
    if memchr::memchr2(b'"', b'\\', text.get(..newline)?).is_none() {
        return Some(newline);
    }
    let (line, _) = next_line(text, 0);
    (line.end < text.len()).then_some(line.end)
}

/// InfluxDB counts NUL as a blank, but not CR.
fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | 0)
}

/// The first position from `at` that holds no blank.
pub(crate) fn skip_blanks(text: &[u8], at: usize) -> usize {
    let rest = text.get(at..).unwrap_or_default();
    at + rest.iter().take_while(|b| is_blank(**b)).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(body: &str) -> Vec<&str> {
        let mut found = Vec::new();
        let mut at = 0;
        while at < body.len() {
            let (span, next) = next_line(body.as_bytes(), at);
            found.push(&body[span.start..span.end]);
            at = next;
        }
        found
    }

    #[test]
    fn newlines_end_lines_unless_quoted_or_escaped() {
        assert_eq!(lines("a b=1\nc d=2"), ["a b=1", "c d=2"]);
        assert_eq!(lines("a b=\"x\ny\" 1\nc d=2\n"), ["a b=\"x\ny\" 1", "c d=2"]);
        assert_eq!(lines("a b=\"x\\\"\ny\" 1\nc d=2\n"), ["a b=\"x\\\"\ny\" 1", "c d=2"]);
        assert_eq!(lines("a\"b c=1\nd\" e=2"), ["a\"b c=1", "d\" e=2"]);
        assert_eq!(lines("a b\"=1\nc\" d=2"), ["a b\"=1", "c\" d=2"]);
        assert_eq!(lines("a\\\nb c=1\nd e=1"), ["a\\\nb c=1", "d e=1"]);
        assert_eq!(lines("\n\na b=1\\\n"), ["", "", "a b=1\\"]);
    }

    #[test]
    fn a_body_without_some_lines() {
        let body = b"a v=1\nbad\nb v=2\n  c v=3\n";
        let lines =
            [LineSpan { start: 0, end: 5 }, LineSpan { start: 10, end: 15 }, LineSpan { start: 18, end: 23 }];
        assert_eq!(body_without(body, &lines, &[]), b"a v=1\nb v=2\n  c v=3\n");
        assert_eq!(body_without(body, &lines, &[1]), b"a v=1\n  c v=3\n");
        assert_eq!(body_without(body, &lines, &[0, 1, 2]), b"");
        assert_eq!(body_without(&body[..23], &lines, &[0, 1]), b"  c v=3");
        let escaped = b"a v=\"\"\\\n\nb v=1";
        let lines = [LineSpan { start: 0, end: 7 }, LineSpan { start: 9, end: 14 }];
        assert_eq!(body_without(escaped, &lines, &[]), escaped);
    }
}
