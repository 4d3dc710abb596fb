//! Times of options.

use std::ops::RangeInclusive;

use jiff::Timestamp;

use crate::error::Error;

/// Nanoseconds since 1970 of a time as RFC 3339 writes it.
pub fn parse_time(text: &str) -> Result<i64, String> {
    let time: Timestamp =
        text.parse().map_err(|error| format!("{error}; a time is like 2026-01-31T00:00:00Z"))?;
    i64::try_from(time.as_nanosecond()).map_err(|_| "the time is out of InfluxDB's range".to_owned())
}

/// The times from `since` on and before `until`.
pub fn range(since: Option<i64>, until: Option<i64>) -> Result<RangeInclusive<i64>, Error> {
    let start = since.unwrap_or(i64::MIN);
    let end = until.map_or(i64::MAX, |until| until.saturating_sub(1));
    if start > end {
        return Err(Error::usage("--since must be before --until"));
    }
    Ok(start..=end)
}

/// Nanoseconds of a duration such as `1h` or `7d`.
pub fn parse_duration(text: &str) -> Result<i64, String> {
    const SECOND: i64 = 1_000_000_000;
    let units = [
        ("s", SECOND),
        ("m", 60 * SECOND),
        ("h", 3600 * SECOND),
        ("d", 86_400 * SECOND),
        ("w", 604_800 * SECOND),
    ];
    let parsed = units.iter().find_map(|(unit, length)| {
        let number: i64 = text.strip_suffix(unit)?.parse().ok()?;
        number.checked_mul(*length).filter(|length| *length > 0)
    });
    parsed.ok_or_else(|| "a duration is a number and one of s, m, h, d, w".to_owned())
}
