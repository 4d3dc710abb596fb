//! Lines of one write, of which a part can be sent.

use std::ops::Range;

/// Points as line protocol, each with its newline.
#[derive(Debug, Clone, Default)]
pub struct Lines {
    text: String,
    /// Where each line ends; a string in it may have newlines.
    ends: Vec<usize>,
}

impl Lines {
    /// Lets `print` append a line, or nothing.
    pub fn push(&mut self, print: impl FnOnce(&mut String)) {
        let start = self.text.len();
        print(&mut self.text);
        if self.text.len() > start {
            self.ends.push(self.text.len());
        }
    }

    pub fn len(&self) -> usize {
        self.ends.len()
    }

    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    pub fn bytes(&self) -> usize {
        self.text.len()
    }

    pub(crate) fn text(&self, lines: &Range<usize>) -> &str {
        let end =
            |count: usize| count.checked_sub(1).and_then(|last| self.ends.get(last)).copied().unwrap_or(0);
        self.text.get(end(lines.start)..end(lines.end)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::Lines;

    #[test]
    fn a_part_has_whole_lines() {
        let mut lines = Lines::default();
        for text in ["a\n", "", "b\nc\n", "d\n"] {
            lines.push(|out| out.push_str(text));
        }
        assert_eq!((lines.len(), lines.bytes()), (3, 8));
        assert_eq!(lines.text(&(0..3)), "a\nb\nc\nd\n");
        assert_eq!(lines.text(&(1..2)), "b\nc\n");
        assert_eq!(lines.text(&(1..1)), "");
    }
}
