//! The lines of telnet.

use std::collections::BTreeMap;

use crate::{MILLISECOND, SECOND, print_point};

/// Why a line is no point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LineError {
    #[error("malformed line")]
    Line,
    #[error("the time must be a number of 10 or 13 characters")]
    Time,
    #[error("bad float")]
    Float,
    #[error("the point is none")]
    Point,
}

/// What a line says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Said {
    /// A point, and so many of its tags that were none and are left out.
    Point { bad_tags: usize },
    /// Who is there?
    Version,
}

/// Reads a line, and appends its point.
pub fn read_line(line: &str, out: &mut String) -> Result<Said, LineError> {
    let mut words = line.split_whitespace();
    let (metric, time, value) = match (words.next(), words.next(), words.next(), words.next()) {
        (Some("version"), None, ..) => return Ok(Said::Version),
        (Some("put"), Some(metric), Some(time), Some(value)) => (metric, time, value),
        _ => return Err(LineError::Line),
    };
    let time = read_time(time)?;
    let (mut tags, mut bad_tags) = (BTreeMap::new(), 0);
    for word in words {
        match word.split_once('=') {
            Some((key, value)) if !key.is_empty() && !value.is_empty() => drop(tags.insert(key, value)),
            _ => bad_tags += 1,
        }
    }
    let value = value.parse().ok().filter(|value: &f64| value.is_finite()).ok_or(LineError::Float)?;
    if print_point(metric, &tags, value, time, out) {
        Ok(Said::Point { bad_tags })
    } else {
        Err(LineError::Point)
    }
}

/// Seconds have 10 characters, milliseconds 13; `None`: past all times.
fn read_time(text: &str) -> Result<Option<i64>, LineError> {
    let number: i64 = text.parse().map_err(|_| LineError::Time)?;
    match text.len() {
        10 => Ok(number.checked_mul(SECOND)),
        13 => Ok(number.checked_mul(MILLISECOND)),
        _ => Err(LineError::Time),
    }
}
