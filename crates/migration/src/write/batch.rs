//! The lines of one request.

use std::ops::Range;
use std::sync::Arc;

use super::WriteOptions;
use crate::client::Target;

#[derive(Debug, Default)]
pub struct Batch {
    pub target: Arc<Target>,
    /// Whole lines, each with its newline.
    pub body: Vec<u8>,
    /// Where each line ends in the body.
    ends: Vec<usize>,
    /// The numbers of the lines in their file, where they have one.
    numbers: Vec<u64>,
    /// What the sender of the batch is told when it is through.
    pub ticket: u64,
}

impl Batch {
    pub fn new(target: &Arc<Target>, ticket: u64) -> Self {
        Self { target: target.clone(), ticket, ..Self::default() }
    }

    pub fn lines(&self) -> usize {
        self.ends.len()
    }

    pub fn is_full(&self, options: &WriteOptions) -> bool {
        self.lines() >= options.batch_lines as usize || self.body.len() >= options.batch_bytes as usize
    }

    /// What was appended to the body since the last call is a line.
    pub fn end_line(&mut self) {
        self.ends.push(self.body.len());
    }

    /// Appends a line without its newline.
    pub fn push(&mut self, line: &[u8], number: u64) {
        self.body.extend_from_slice(line);
        self.body.push(b'\n');
        self.end_line();
        self.numbers.push(number);
    }

    /// The bytes of some lines.
    pub fn slice(&self, lines: Range<usize>) -> &[u8] {
        let end = |index: usize| self.ends.get(index).copied().unwrap_or(self.body.len());
        let start = if lines.start == 0 { 0 } else { end(lines.start - 1) };
        let stop = if lines.end == 0 { 0 } else { end(lines.end - 1) };
        self.body.get(start..stop).unwrap_or_default()
    }

    /// Some of its lines, as a batch of their own.
    pub fn pick(&self, lines: impl Iterator<Item = usize>) -> Self {
        let mut picked = Self::new(&self.target, self.ticket);
        for line in lines {
            picked.body.extend_from_slice(self.slice(line..line + 1));
            picked.end_line();
            picked.numbers.extend(self.number(line));
        }
        picked
    }

    /// The time at the end of a line; the newest where it has none.
    pub fn time(&self, line: usize) -> i64 {
        let text = self.slice(line..line + 1).trim_ascii_end();
        let start = memchr::memrchr(b' ', text).map_or(0, |space| space + 1);
        std::str::from_utf8(&text[start..]).ok().and_then(|time| time.parse().ok()).unwrap_or(i64::MAX)
    }

    pub fn number(&self, line: usize) -> Option<u64> {
        self.numbers.get(line).copied()
    }
}
