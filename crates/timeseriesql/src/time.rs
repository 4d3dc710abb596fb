//! Instants as InfluxQL writes them. All are nanoseconds since the Unix epoch.

use jiff::{Timestamp, civil, tz::TimeZone};

/// The earliest time a statement may name.
pub const MIN_TIME: i64 = i64::MIN + 2;

/// The latest time a statement may name.
pub const MAX_TIME: i64 = i64::MAX - 1;

const SECOND_NS: i128 = 1_000_000_000;

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
    match rest.split_at_checked(1)? {
        (" ", clock) => in_zone(date.to_datetime(parse_clock(clock)?), zone),
        ("T", rest) => {
            let (clock, offset_s) = split_offset(rest)?;
            let utc_ns = as_utc(date.to_datetime(parse_clock(clock)?))?;
            Some(utc_ns - i128::from(offset_s) * SECOND_NS)
        }
        _ => None,
    }
}

fn as_utc(local: civil::DateTime) -> Option<i128> {
    Some(TimeZone::UTC.to_timestamp(local).ok()?.as_nanosecond())
}

/// The instant of a local time. Where clocks jump, the choice is that of Go's `time.Date`: the
/// offset in force at the instant found with the offset in force at the local time taken as UTC.
fn in_zone(local: civil::DateTime, zone: &TimeZone) -> Option<i128> {
    let local_ns = as_utc(local)?;
    let offset_ns = |ns: i128| {
        let at = Timestamp::from_nanosecond(ns).ok()?;
        Some(i128::from(zone.to_offset(at).seconds()) * SECOND_NS)
    };
    match offset_ns(local_ns)? {
        0 => Some(local_ns),
        guess => Some(local_ns - offset_ns(local_ns - guess)?),
    }
}

fn parse_date(text: &str) -> Option<civil::Date> {
    let year = text.get(..4)?.parse().ok()?;
    civil::Date::new(year, digits(text.get(5..7)?)?, digits(text.get(8..10)?)?).ok()
}

/// `15:04:05` with an optional fraction.
fn parse_clock(text: &str) -> Option<civil::Time> {
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
    civil::Time::new(hour_digits(hour)?, digits(minute)?, digits(second)?, nanosecond).ok()
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
    if text.len() == 2 { digits_of(text) } else { None }
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
    Some((clock, sign * (i32::from(hours) * 3_600 + i32::from(minutes) * 60)))
}

/// RFC 3339 in UTC, with as many decimals as needed.
pub fn format_utc(ns: i128) -> String {
    let seconds = format_seconds(ns, &TimeZone::UTC);
    let fraction = ns.rem_euclid(SECOND_NS);
    if fraction == 0 {
        return seconds;
    }
    let digits = format!("{fraction:09}");
    format!("{}.{}Z", seconds.trim_end_matches('Z'), digits.trim_end_matches('0'))
}

/// RFC 3339 in the zone, without decimals.
pub(crate) fn format_seconds(ns: i128, zone: &TimeZone) -> String {
    let Ok(timestamp) = Timestamp::from_nanosecond(ns - ns.rem_euclid(SECOND_NS)) else {
        return format!("{ns}ns");
    };
    let zoned = timestamp.to_zoned(zone.clone());
    let utc = zoned.offset().seconds() == 0;
    zoned.strftime(if utc { "%Y-%m-%dT%H:%M:%SZ" } else { "%Y-%m-%dT%H:%M:%S%:z" }).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_writes_times() {
        let cases = [
            ("2000-01-01", Some("2000-01-01T00:00:00Z")),
            ("2000-01-01 12:34:56", Some("2000-01-01T12:34:56Z")),
            ("2000-01-01 1:02:03.5", Some("2000-01-01T01:02:03.5Z")),
            ("2000-01-01 00:00:00.123456789", Some("2000-01-01T00:00:00.123456789Z")),
            ("2000-01-01T00:00:00Z", Some("2000-01-01T00:00:00Z")),
            ("2000-01-01T00:00:00.000000001+02:30", Some("1999-12-31T21:30:00.000000001Z")),
            ("1677-09-21T00:12:43.145224194Z", Some("1677-09-21T00:12:43.145224194Z")),
            ("2000-01-01 00:00", None),
            ("2000-01-01 00:00:00Z", None),
            ("2000-01-01T00:00:00", None),
            ("2000-02-30", None),
            ("2000-1-1", None),
            ("2000-01-01 24:00:00", None),
            ("2000-01-01 00:00:60", None),
            ("2000-01-01ü", None),
            ("x", None),
        ];
        for (text, expected) in cases {
            let time = parse_time_literal(text, &TimeZone::UTC);
            assert_eq!(time.map(format_utc).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn local_times_around_clock_changes() {
        let zone = TimeZone::get("America/Los_Angeles").unwrap();
        let cases = [
            ("2019-03-10 01:59:59", "2019-03-10T09:59:59Z"),
            ("2019-03-10 02:30:00", "2019-03-10T09:30:00Z"),
            ("2019-03-10 03:00:00", "2019-03-10T10:00:00Z"),
            ("2019-11-03 01:30:00", "2019-11-03T08:30:00Z"),
            ("2019-11-03 02:00:00", "2019-11-03T10:00:00Z"),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_time_literal(text, &zone).map(format_utc).as_deref(), Some(expected));
        }
    }
}
