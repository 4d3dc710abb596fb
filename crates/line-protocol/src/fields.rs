//! The field part of a line: `key=value,…`, up to the first space outside quotes.
//!
//! InfluxDB goes over it twice: a check that finds the end of the part, and a walk that takes it into
//! keys and values. Both are kept apart here too, because their rules differ (the check counts
//! equal signs and commas, and takes backslashes in pairs) and the check decides most errors.

use std::borrow::Cow;

use crate::error::{MAX_KEY_BYTES, Reason};
use crate::escape::{STRING, unescape};
use crate::number::{Number, parse_number};

/// A field value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value<'a> {
    Float(f64),
    Integer(i64),
    Unsigned(u64),
    Boolean(bool),
    String(Cow<'a, str>),
}

/// A field as written.
#[derive(Debug, PartialEq)]
pub(crate) struct RawField<'a> {
    pub key: &'a str,
    pub value: &'a str,
}

/// Checks the field part that starts at `start` of `line`; its end.
pub(crate) fn check(line: &[u8], start: usize) -> Result<usize, Reason> {
    let mut at = start;
    let (mut quoted, mut equals, mut commas) = (false, 0usize, 0usize);
    while let Some(&byte) = line.get(at) {
        match byte {
            b'\\' if at + 1 < line.len() => at += 1,
            b'"' if equals > commas => quoted = !quoted,
            b'=' if !quoted => {
                equals += 1;
                check_key(line, at)?;
                if let Some(end) = check_value(line, at + 1)? {
                    at = end;
                    continue;
                }
            }
            b',' if !quoted => commas += 1,
            b' ' if !quoted => break,
            _ => {}
        }
        at += 1;
    }
    if quoted {
        return Err(Reason::UnbalancedQuotes);
    }
    if equals == 0 || commas != equals - 1 {
        return Err(Reason::InvalidFieldFormat);
    }
    Ok(at)
}

/// Something must stand between the equal sign at `at` and the space or comma before it.
fn check_key(line: &[u8], at: usize) -> Result<(), Reason> {
    let before = |back: usize| at.checked_sub(back).and_then(|i| line.get(i)).copied();
    let empty = matches!(before(1), Some(b' ' | b',')) && before(2) != Some(b'\\');
    if empty { Err(Reason::MissingFieldKey) } else { Ok(()) }
}

/// Checks the value at `start`. The end of a number or boolean; nothing for a string, which the
/// caller reads on.
fn check_value(line: &[u8], start: usize) -> Result<Option<usize>, Reason> {
    let rest = line.get(start..).unwrap_or_default();
    let token = &rest[..rest.iter().position(|b| matches!(b, b',' | b' ')).unwrap_or(rest.len())];
    match token.first() {
        None => return Err(Reason::MissingFieldValue),
        Some(b'"') => return Ok(None),
        Some(b'0'..=b'9' | b'.' | b'-' | b'n' | b'N') => {
            let text = std::str::from_utf8(token).map_err(|_| Reason::InvalidNumber)?;
            parse_number(text)?;
        }
        Some(_) => {
            parse_boolean(token)?;
        }
    }
    Ok(Some(start + token.len()))
}

/// The fields of a part that [`check`] let pass, with keys short enough for a series key of
/// `series_bytes`.
pub(crate) fn split<'a>(
    part: &'a str,
    series_bytes: usize,
    max_fields: usize,
    fields: &mut Vec<RawField<'a>>,
) -> Result<(), Reason> {
    let mut rest = part;
    while !rest.is_empty() {
        let equals = key_end(rest.as_bytes());
        let key = &rest[..equals];
        // InfluxDB refuses the latter only when no other field follows.
        if equals + 2 > rest.len() || ends_early(key.as_bytes()) {
            return Err(Reason::InvalidValue(key.to_owned()));
        }
        if key.is_empty() {
            return Err(Reason::MissingFieldKey);
        }
        if key.starts_with(['\t', '\0']) {
            return Err(Reason::BlankBeforeFieldKey);
        }
        let size = series_bytes + 4 + key.len();
        if size > MAX_KEY_BYTES {
            return Err(Reason::KeyTooLong(size));
        }
        if fields.len() == max_fields {
            return Err(Reason::TooManyFields(max_fields));
        }
        rest = &rest[equals + 1..];
        let value = &rest[..value_end(rest.as_bytes())];
        fields.push(RawField { key, value });
        rest = rest.get(value.len() + 1..).unwrap_or_default();
    }
    Ok(())
}

/// The first equal sign without a backslash before it, or the end.
fn key_end(text: &[u8]) -> usize {
    let mut ends = memchr::memchr_iter(b'=', text);
    ends.find(|&at| at == 0 || text[at - 1] != b'\\').unwrap_or(text.len())
}

/// The key holds an equal sign or comma behind an even number of backslashes, where the check saw
/// its end.
fn ends_early(key: &[u8]) -> bool {
    memchr::memchr2_iter(b'=', b',', key).any(|at| backslashes_before(key, at).is_multiple_of(2))
}

/// How many backslashes stand directly before `at`.
pub(crate) fn backslashes_before(text: &[u8], at: usize) -> usize {
    text[..at].iter().rev().take_while(|&&b| b == b'\\').count()
}

/// The first comma outside quotes, or the end.
fn value_end(text: &[u8]) -> usize {
    let mut at = 0;
    let mut quoted = false;
    while let Some(&byte) = text.get(at) {
        match byte {
            b'\\' if matches!(text.get(at + 1), Some(b'"' | b'\\')) => at += 1,
            b'"' => quoted = !quoted,
            b',' if !quoted => return at,
            _ => {}
        }
        at += 1;
    }
    text.len()
}

/// Reads a value. A string is all between its first byte and its last, whatever they are: InfluxDB
/// lets bytes follow the closing quote.
pub(crate) fn parse_value(text: &str, uint_support: bool) -> Result<Value<'_>, Reason> {
    match text.as_bytes().first() {
        Some(b'"') => {
            let mut inner = text.chars();
            inner.next();
            inner.next_back();
            Ok(Value::String(unescape(inner.as_str(), STRING)))
        }
        Some(b'0'..=b'9' | b'.' | b'-') if !uint_support && text.ends_with('u') => Err(Reason::InvalidNumber),
        Some(b'0'..=b'9' | b'.' | b'-') => Ok(match parse_number(text)? {
            Number::Float(v) => Value::Float(v),
            Number::Integer(v) => Value::Integer(v),
            Number::Unsigned(v) => Value::Unsigned(v),
        }),
        _ => parse_boolean(text.as_bytes()).map(Value::Boolean),
    }
}

pub(crate) fn parse_boolean(text: &[u8]) -> Result<bool, Reason> {
    match text {
        b"t" | b"T" | b"true" | b"True" | b"TRUE" => Ok(true),
        b"f" | b"F" | b"false" | b"False" | b"FALSE" => Ok(false),
        _ => Err(Reason::InvalidBoolean),
    }
}
