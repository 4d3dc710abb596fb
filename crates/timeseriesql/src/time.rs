//! Instants as InfluxQL writes them. All are nanoseconds since the Unix epoch.

use std::fmt::Write;

use jiff::{Timestamp, civil, tz::TimeZone};

/// The earliest time a statement may name.
pub const MIN_TIME: i64 = i64::MIN + 2;

/// The latest time a statement may name.
pub const MAX_TIME: i64 = i64::MAX - 1;

/// Whether a string has the shape of a time: it begins with a date, `2006-01-02`.
pub fn is_time_literal(text: &str) -> bool {
    let shape = *b"dddd-dd-dd";
    let bytes = text.as_bytes();
    bytes.len() >= shape.len()
        && bytes.iter().zip(shape).all(|(&byte, wanted)| match wanted {
            b'd' => byte.is_ascii_digit(),
            other => byte == other,
        })
        && !text[shape.len()..].starts_with('\n')
}

/// Reads `2006-01-02`, `2006-01-02 15:04:05.999999999` or RFC 3339; what has no offset is in `zone`.
///
/// None where the text is no time.
pub fn parse_time_literal(text: &str, zone: &TimeZone) -> Option<i128> {
    if !is_time_literal(text) {
        return None;
    }
    let (date, rest) = text.split_at(10);
    let date = parse_date(date)?;
    if rest.is_empty() {
        return in_zone(date.at(0, 0, 0, 0), zone);
    }
    let (clock, offset) = match rest.split_at(1) {
        (" ", clock) => (clock, None),
        ("T", rest) => {
            let (clock, offset) = split_offset(rest)?;
            (clock, Some(offset))
        }
        _ => return None,
    };
    let (clock, leniency) = (parse_clock(clock, offset.is_some())?, offset);
    let local = date.to_datetime(clock);
    match leniency {
        None => in_zone(local, zone),
        Some(offset_s) => {
            let utc = in_zone(local, &TimeZone::UTC)?;
            Some(utc - i128::from(offset_s) * 1_000_000_000)
        }
    }
}

fn in_zone(local: civil::DateTime, zone: &TimeZone) -> Option<i128> {
    let zoned = zone.to_ambiguous_timestamp(local).compatible().ok()?;
    Some(zoned.as_nanosecond())
}

fn parse_date(text: &str) -> Option<civil::Date> {
    let year = text.get(..4)?.parse().ok()?;
    civil::Date::new(year, digits(text.get(5..7)?)?, digits(text.get(8..10)?)?).ok()
}

/// `15:04:05` with an optional fraction.
fn parse_clock(text: &str, _rfc3339: bool) -> Option<civil::Time> {
    let (clock, fraction) = match text.split_once('.') {
        Some((clock, fraction)) => (clock, Some(fraction)),
        None => (text, None),
    };
    let mut parts = clock.split(':');
    let (hour, minute, second) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() {
        return None;
    }
    let nanosecond = match fraction {
        Some(fraction) => parse_fraction(fraction)?,
        None => 0,
    };
    civil::Time::new(
        hour_digits(hour)?,
        digits(minute)?,
        digits(second)?,
        nanosecond,
    )
    .ok()
}

/// One or two digits.
fn hour_digits(text: &str) -> Option<i8> {
    match text.len() {
        1 => digits_of(text),
        _ => digits(text),
    }
}

/// Exactly two digits.
fn digits(text: &str) -> Option<i8> {
    if text.len() == 2 {
        digits_of(text)
    } else {
        None
    }
}

fn digits_of(text: &str) -> Option<i8> {
    let all = text.bytes().all(|b| b.is_ascii_digit());
    if all { text.parse().ok() } else { None }
}

/// Digits after the point, as nanoseconds; those past the ninth are dropped.
fn parse_fraction(text: &str) -> Option<i32> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let padded: String = text.chars().chain("000000000".chars()).take(9).collect();
    padded.parse().ok()
}

/// The clock, and the offset after it in seconds: `Z`, `+07:00`, `-07:00`.
fn split_offset(text: &str) -> Option<(&str, i32)> {
    if let Some(clock) = text.strip_suffix('Z') {
        return Some((clock, 0));
    }
    let at = text.len().checked_sub(6)?;
    let (clock, offset) = (text.get(..at)?, text.get(at..)?);
    let sign = match offset.get(..1)? {
        "+" => 1,
        "-" => -1,
        _ => return None,
    };
    let (hours, minutes) = offset.get(1..)?.split_once(':')?;
    let (hours, minutes) = (digits(hours)?, digits(minutes)?);
    if hours > 24 || minutes > 60 {
        return None;
    }
    Some((
        clock,
        sign * (i32::from(hours) * 3_600 + i32::from(minutes) * 60),
    ))
}

/// RFC 3339 in UTC, with as many decimals as needed.
pub fn format_utc(ns: i128) -> String {
    let Ok(timestamp) = Timestamp::from_nanosecond(ns) else {
        return format!("{ns}ns");
    };
    let mut text = timestamp.strftime("%Y-%m-%dT%H:%M:%S").to_string();
    let fraction = timestamp.as_nanosecond().rem_euclid(1_000_000_000);
    if fraction > 0 {
        let digits = format!("{fraction:09}");
        let _ = write!(text, ".{}", digits.trim_end_matches('0'));
    }
    text.push('Z');
    text
}
