//! The fast reader: lines of the common shape, without allocation.
//!
//! It relies on one property of the grammar: from a given start, where a series or a field key ends
//! depends on its own bytes only. So bytes that once were a whole series or key are one again.

use hyperbytedb_domain::points::FieldValues;

use crate::batch::{Batch, Column, NONE};
use crate::body::LineSpan;
use crate::escape::{NAME, STRING, unescape};
use crate::fields::{Value, parse_boolean};
use crate::number::{leading_digits, leading_float, to_nanoseconds};
use crate::parser::{Parser, SeriesRef};

/// Longest series and field key that the fast reader takes: far from the limits on keys, and keeps
/// short what it looks through in vain.
const MAX_KEY_BYTES: usize = 1024;

/// Where the points of a line go.
#[derive(Clone, Copy)]
enum Series<'a> {
    Known(SeriesRef),
    /// Not seen before, in a batch that exists. Its parts are in `Parser::parts`.
    New {
        batch: u32,
        hash: u64,
        text: &'a str,
    },
}

impl<'a> Parser<'a> {
    /// Reads the line at `start` when it has the common shape; the start of the next one. Leaves no
    /// trace otherwise.
    #[inline]
    pub fn read_common_line(&mut self, start: usize) -> Option<usize> {
        let text = &self.body[start..];
        let series_end = series_end(text)?;
        let series = self.common_series(text, series_end)?;
        let (Series::Known(SeriesRef { batch: number, .. }) | Series::New { batch: number, .. }) = series;

        let batch = &mut self.batches[number as usize];
        self.touched.clear();
        let max_string = self.options.max_string_bytes;
        let read = read_fields(batch, text, series_end + 1, max_string, &mut self.touched);
        let absent = batch.columns.len().saturating_sub(self.touched.len());
        let end = read.and_then(|fields_end| self.read_end(text, fields_end)).filter(|(end, _)| {
            *end <= self.options.max_line_bytes
                && self.touched.len() <= self.options.max_fields
                && self.absent_values + absent <= self.options.max_absent_values
        });
        let Some((end, time)) = end else {
            self.batches[number as usize].roll_back(&self.touched);
            return None;
        };

        let series_ref = match series {
            Series::Known(series_ref) => series_ref,
            Series::New { batch, hash, text } => {
                let parts = std::mem::take(&mut self.parts);
                let series_ref = self.learn_series(hash, text, &parts, batch);
                self.parts = parts;
                series_ref
            }
        };
        self.batches[number as usize].commit(time, series_ref.series, self.lines.len() as u32);
        self.lines.push(LineSpan { start, end: start + end });
        self.absent_values += absent;
        Some(start + end + 1)
    }

    #[inline]
    fn common_series(&mut self, text: &'a [u8], end: usize) -> Option<Series<'a>> {
        let hash = self.hash_of(&text[..end]);
        if let Some(series_ref) = self.find_series(hash, &text[..end]) {
            return Some(Series::Known(series_ref));
        }
        self.parts.read(&text[..=end], self.options.max_tags).ok()?;
        let text = std::str::from_utf8(&text[..end]).ok()?;
        if self.parts.end != end || self.parts.has_tag(text.as_bytes(), b"time") {
            return None;
        }
        let batch = self.batch_of(&unescape(&text[self.parts.measurement.clone()], NAME))?;
        Some(Series::New { batch, hash, text })
    }

    /// The end of the line and the time of the point, when nothing but a plain timestamp follows the
    /// fields.
    #[inline]
    fn read_end(&self, text: &[u8], fields_end: usize) -> Option<(usize, i64)> {
        if text.get(fields_end) != Some(&b' ') {
            return Some((fields_end, self.default_time));
        }
        let (value, length) = integer(text.get(fields_end + 1..)?)?;
        let end = fields_end + 1 + length;
        let time = to_nanoseconds(value, self.options.precision)?;
        matches!(text.get(end), None | Some(b'\n')).then_some((end, time))
    }
}

/// The first space without a backslash before it, on this line and not too far away.
#[inline]
fn series_end(text: &[u8]) -> Option<usize> {
    let near = &text[..text.len().min(MAX_KEY_BYTES)];
    for at in memchr::memchr2_iter(b' ', b'\n', near) {
        match near[at] {
            b'\n' => return None,
            _ if at > 0 && near[at - 1] == b'\\' => {}
            _ => return Some(at),
        }
    }
    None
}

/// Reads the fields at `start` into columns that exist; the position of the byte behind them: a space,
/// a newline or the end. `touched` lists the columns that may have been changed.
#[inline]
fn read_fields(
    batch: &mut Batch,
    text: &[u8],
    start: usize,
    max_string: usize,
    touched: &mut Vec<u32>,
) -> Option<usize> {
    let row = batch.rows();
    let mut at = start;
    let mut previous = NONE;
    let mut expected = batch.first_column;
    loop {
        let rest = text.get(at..)?;
        let number = match batch.columns.get(expected as usize) {
            Some(column) if starts_with(rest, &column.key) => expected,
            _ => {
                let number = find_column(batch, rest)?;
                match batch.columns.get_mut(previous as usize) {
                    Some(column) => column.next = number,
                    None => batch.first_column = number,
                }
                number
            }
        };
        touched.push(number);
        let column = &mut batch.columns[number as usize];
        at += column.key.len();
        at += read_value(column, row, text.get(at..)?, max_string)?;
        match text.get(at) {
            Some(b',') => at += 1,
            None | Some(b' ' | b'\n') => return Some(at),
            Some(_) => return None,
        }
        previous = number;
        expected = column.next;
    }
}

/// `text.starts_with(key)` without a call for keys of 8 to 16 bytes.
#[inline]
fn starts_with(text: &[u8], key: &[u8]) -> bool {
    let Some(text) = text.get(..key.len()) else { return false };
    match (key.first_chunk::<8>(), key.last_chunk::<8>()) {
        (Some(first), Some(last)) if key.len() <= 16 => {
            text.first_chunk() == Some(first) && text.last_chunk() == Some(last)
        }
        _ => text == key,
    }
}

/// The column of the field that `text` starts with, found by its key.
#[cold]
fn find_column(batch: &Batch, text: &[u8]) -> Option<u32> {
    let near = &text[..text.len().min(MAX_KEY_BYTES)];
    batch.column_of_key(&near[..memchr::memchr(b'=', near)?])
}

/// Reads the value that `text` starts with when it has the column's type; its length.
#[inline]
fn read_value(column: &mut Column, row: usize, text: &[u8], max_string: usize) -> Option<usize> {
    match &mut column.values {
        FieldValues::Float(values) => {
            let (value, length) = leading_float(text)?;
            if values.len() == row && column.present.is_none() {
                values.push(value);
            } else {
                column.set(row, Value::Float(value));
            }
            Some(length)
        }
        FieldValues::Integer(_) => {
            let (value, length) = integer(text)?;
            column.set(row, Value::Integer(value));
            (text.get(length) == Some(&b'i')).then_some(length + 1)
        }
        FieldValues::Unsigned(_) => {
            let (value, length) = leading_digits(text)?;
            column.set(row, Value::Unsigned(value));
            (text.get(length) == Some(&b'u')).then_some(length + 1)
        }
        FieldValues::Boolean(_) => {
            let near = &text[..text.len().min("false ".len())];
            let length = near.iter().position(|b| !b.is_ascii_alphabetic()).unwrap_or(near.len());
            column.set(row, Value::Boolean(parse_boolean(&near[..length]).ok()?));
            Some(length)
        }
        FieldValues::String(_) => {
            let inner = text.strip_prefix(b"\"")?;
            let end = closing_quote(inner).filter(|&end| end <= max_string)?;
            let value = std::str::from_utf8(&inner[..end]).ok()?;
            column.set(row, Value::String(unescape(value, STRING)));
            Some(end + 2)
        }
    }
}

#[inline]
fn integer(text: &[u8]) -> Option<(i64, usize)> {
    match text.strip_prefix(b"-") {
        Some(text) => {
            let (value, length) = leading_digits(text)?;
            Some((0i64.checked_sub_unsigned(value)?, length + 1))
        }
        None => {
            let (value, length) = leading_digits(text)?;
            Some((i64::try_from(value).ok()?, length))
        }
    }
}

/// The first quote that is not behind a backslash, where backslashes count in pairs.
#[inline]
fn closing_quote(text: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        at += memchr::memchr2(b'"', b'\\', text.get(at..)?)?;
        if text[at] == b'"' {
            return Some(at);
        }
        at += 2;
    }
}
