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
        let mut end = find_separator(text, 1).ok_or(Reason::MissingFields)?;
        while text[end] == b'=' {
            end = find_separator(text, end + 1).ok_or(Reason::MissingFields)?;
        }
        self.measurement = 0..end;
        Ok(end)
    }

    /// Reads `key=value` at `start`, to the comma or space after it. The first byte of a value may be
    /// an equal sign.
    fn read_tag(&mut self, text: &[u8], start: usize) -> Result<usize, Reason> {
        if text.get(start).is_none_or(|b| matches!(b, b' ' | b',' | b'=')) {
            return Err(Reason::MissingTagKey);
        }
        let key_end = find_separator(text, start + 1)
            .filter(|&end| text[end] == b'=')
            .ok_or(Reason::MissingTagValue)?;
        let value = key_end + 1;
        if text.get(value).is_none_or(|b| matches!(b, b' ' | b',')) {
            return Err(Reason::MissingTagValue);
        }
        let end = find_separator(text, value + 1).ok_or(Reason::MissingFields)?;
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

    /// The tags of `text`, from which the parts were read, as written.
    pub fn raw_tags<'a>(&self, text: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> + Clone {
        self.tags.iter().map(|(key, value)| (&text[key.clone()], &text[value.clone()]))
    }

    pub fn unescaped_tags(&self, text: &str) -> Vec<(String, String)> {
        let part = |raw| unescape(raw, TAG).into_owned();
        self.raw_tags(text).map(|(key, value)| (part(key), part(value))).collect()
    }

    pub fn has_tag(&self, text: &[u8], name: &[u8]) -> bool {
        self.tags.iter().any(|(key, _)| &text[key.clone()] == name)
    }
}

/// Ends a measurement, key or value when no backslash stands before it.
const SEPARATOR: [bool; 256] = {
    let mut is = [false; 256];
    is[b',' as usize] = true;
    is[b' ' as usize] = true;
    is[b'=' as usize] = true;
    is
};

/// The first separator from `from` (at least 1) that has no backslash before it.
#[inline]
fn find_separator(text: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    loop {
        at += text.get(at..)?.iter().position(|&b| SEPARATOR[b as usize])?;
        if text[at - 1] != b'\\' {
            return Some(at);
        }
        at += 1;
    }
}
