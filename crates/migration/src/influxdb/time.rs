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
