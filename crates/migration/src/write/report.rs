//! Counts what was accepted and refused, and shows the first refused lines.

use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::error::Error;

/// How many refused lines are shown.
const SHOWN_MAX: u64 = 10;
const SHOWN_LINE_CHARS: usize = 200;

#[derive(Debug, Default)]
pub struct Report {
    accepted: AtomicU64,
    refused: AtomicU64,
    expired: AtomicU64,
    skipped_values: AtomicU64,
    shown: AtomicU64,
    failure: Mutex<Option<Error>>,
}

impl Report {
    /// Goes on counting where another run stopped.
    pub fn resumed(accepted: u64, refused: u64) -> Self {
        Self { accepted: accepted.into(), refused: refused.into(), ..Self::default() }
    }

    pub fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }

    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Points that were refused because they are past their retention policy.
    pub fn expired(&self) -> u64 {
        self.expired.load(Ordering::Relaxed)
    }

    pub fn accept(&self, lines: usize) {
        self.accepted.fetch_add(lines as u64, Ordering::Relaxed);
    }

    pub fn expire(&self, lines: usize) {
        self.expired.fetch_add(lines as u64, Ordering::Relaxed);
    }

    /// Whether refused lines are still to be shown one by one.
    pub fn shows_more(&self) -> bool {
        self.shown.load(Ordering::Relaxed) < SHOWN_MAX
    }

    /// Counts refused lines whose own texts nobody asks for any more.
    pub fn refuse(&self, lines: usize) {
        self.refused.fetch_add(lines as u64, Ordering::Relaxed);
    }

    /// Counts a refused line, or a statement, and shows it if it is one of the first.
    pub fn refuse_line(&self, number: Option<u64>, line: &[u8], reason: &str) {
        self.refuse(1);
        let shown = self.shown.fetch_add(1, Ordering::Relaxed);
        if shown >= SHOWN_MAX {
            return;
        }
        let place = number.map(|number| format!("line {number}: ")).unwrap_or_default();
        let text = String::from_utf8_lossy(line);
        let text = text.trim_end_matches('\n');
        // InfluxDB repeats the line in some of its texts.
        let reason = reason.replace(&format!("unable to parse '{text}': "), "");
        let cut: String = text.chars().take(SHOWN_LINE_CHARS).collect();
        let dots = if cut.len() < text.len() { "…" } else { "" };
        eprintln!("refused: {place}{cut}{dots}: {}", reason.trim_end_matches(" dropped=0"));
        if shown + 1 == SHOWN_MAX {
            eprintln!("refused: further lines are counted and not shown");
        }
    }

    /// Counts values that cannot be written as line protocol.
    pub fn skip_values(&self, count: u64) {
        self.skipped_values.fetch_add(count, Ordering::Relaxed);
    }

    pub fn skipped_values(&self) -> u64 {
        self.skipped_values.load(Ordering::Relaxed)
    }

    pub fn has_failed(&self) -> bool {
        self.failure.lock().is_some()
    }

    /// Keeps the first error of any part.
    pub fn fail(&self, error: Error) {
        self.failure.lock().get_or_insert(error);
    }

    pub fn take_failure(&self) -> Option<Error> {
        self.failure.lock().take()
    }
}

/// How many of `lines` lines a server's text says that it refused.
pub fn refused_of(text: &str, lines: usize) -> usize {
    let number = |text: &str| text.split(|c: char| !c.is_ascii_digit()).next().and_then(|n| n.parse().ok());
    let unreadable = text.matches("unable to parse '").count();
    let left_out: usize =
        text.rsplit("and ").find(|rest| rest.contains(" more lines")).and_then(number).unwrap_or(0);
    let dropped: usize = text.rsplit_once("dropped=").and_then(|(_, rest)| number(rest)).unwrap_or(0);
    match unreadable + left_out + dropped {
        0 => lines,
        count => count.min(lines),
    }
}

#[cfg(test)]
mod tests {
    use super::refused_of;

    #[test]
    fn refused_lines_are_counted_from_the_text() {
        for (text, count) in [
            ("partial write: field type conflict: input field \"v\" on measurement \"m\" dropped=7", 7),
            ("partial write: unable to parse 'a': missing fields\nunable to parse 'b': bad dropped=0", 2),
            ("unable to parse 'a': missing fields\nand 40 more lines", 41),
            ("something else", 100),
            ("partial write: points beyond retention policy dropped=999", 100),
        ] {
            assert_eq!(refused_of(text, 100), count, "{text}");
        }
    }
}
