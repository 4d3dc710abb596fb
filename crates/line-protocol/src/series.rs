//! The series part of a line: `measurement,key=value,…`, up to the first space without a backslash.
//!
//! Here a backslash escapes the byte behind it when that is special, however many backslashes stand
//! before it: only the byte before a separator decides.

use std::ops::Range;

use crate::error::{MAX_KEY_BYTES, Reason};
use crate::escape::{TAG, unescape};

/// Where the parts of a series key are, as positions in the text that was read; still escaped.
#[derive(Debug, Default)]
pub(crate) struct SeriesParts {
    pub measurement: Range<usize>,
    pub tags: Vec<(Range<usize>, Range<usize>)>,
    /// The tag keys are in rising order.
    pub sorted: bool,
    pub end: usize,
}

impl SeriesParts {
    /// Reads the series at the start of `text` (a line without leading blanks).
    pub fn read(&mut self, text: &[u8], max_tags: usize) -> Result<(), Reason> {
        self.tags.clear();
        self.sorted = true;
        let mut at = self.read_measurement(text)?;
        while text.get(at) == Some(&b',') {
            if self.tags.len() == max_tags {
                return Err(Reason::TooManyTags(max_tags));
            }
            at = self.read_tag(text, at + 1)?;
        }
        self.end = at;
        self.check_duplicates(text)?;
        if at > MAX_KEY_BYTES { Err(Reason::KeyTooLong(at)) } else { Ok(()) }
    }

    /// The end of the measurement: a comma or a space. The first byte may be anything but a comma.
    fn read_measurement(&mut self, text: &[u8]) -> Result<usize, Reason> {
        if text.first().is_none_or(|&b| b == b',') {
            return Err(Reason::MissingMeasurement);
        }
        let end = find_unescaped(text, 1, |b| matches!(b, b',' | b' ')).ok_or(Reason::MissingFields)?;
        self.measurement = 0..end;
        Ok(end)
    }

    /// Reads `key=value` at `start`, to the comma or space after it. The first byte of a value may be
    /// an equal sign.
    fn read_tag(&mut self, text: &[u8], start: usize) -> Result<usize, Reason> {
        if text.get(start).is_none_or(|b| matches!(b, b' ' | b',' | b'=')) {
            return Err(Reason::MissingTagKey);
        }
        let key_end = find_unescaped(text, start + 1, |b| matches!(b, b',' | b' ' | b'='))
            .filter(|&end| text[end] == b'=')
            .ok_or(Reason::MissingTagValue)?;
        let value = key_end + 1;
        if text.get(value).is_none_or(|b| matches!(b, b' ' | b',')) {
            return Err(Reason::MissingTagValue);
        }
        let end = find_unescaped(text, value + 1, |b| matches!(b, b',' | b' ' | b'='))
            .ok_or(Reason::MissingFields)?;
        if text[end] == b'=' {
            return Err(Reason::InvalidTagFormat);
        }
        if let Some((last, _)) = self.tags.last() {
            self.sorted &= text[last.clone()] < text[start..key_end];
        }
        self.tags.push((start..key_end, value..end));
        Ok(end)
    }

    fn check_duplicates(&self, text: &[u8]) -> Result<(), Reason> {
        if self.sorted {
            return Ok(());
        }
        let mut keys: Vec<&[u8]> = self.tags.iter().map(|(key, _)| &text[key.clone()]).collect();
        keys.sort_unstable();
        if keys.windows(2).any(|pair| pair[0] == pair[1]) { Err(Reason::DuplicateTags) } else { Ok(()) }
    }

    /// The tags, unescaped.
    pub fn tag_pairs(&self, text: &str) -> Vec<(String, String)> {
        let part = |range: &Range<usize>| unescape(&text[range.clone()], TAG).into_owned();
        self.tags.iter().map(|(key, value)| (part(key), part(value))).collect()
    }

    pub fn has_tag(&self, text: &[u8], name: &[u8]) -> bool {
        self.tags.iter().any(|(key, _)| &text[key.clone()] == name)
    }
}

/// The first byte from `from` that is special and has no backslash before it.
fn find_unescaped(text: &[u8], from: usize, special: impl Fn(u8) -> bool) -> Option<usize> {
    let rest = text.get(from..)?;
    let mut previous = text[from - 1];
    for (offset, &byte) in rest.iter().enumerate() {
        if special(byte) && previous != b'\\' {
            return Some(from + offset);
        }
        previous = byte;
    }
    None
}
