//! GROUP BY time windows.

use hyperbytedb_domain::TimeRange;
use jiff::tz::TimeZone;

/// `time(every, offset)`, both in nanoseconds; `every` is positive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interval {
    pub every: i64,
    pub offset: i64,
}

/// A window `[start, end)`, nanoseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    pub start: i64,
    pub end: i64,
}

/// Which window a time belongs to.
#[derive(Debug, Clone)]
pub struct Windows {
    /// `None`: one window, the whole range.
    pub interval: Option<Interval>,
    /// The time range of the statement (unbounded ends: `MIN_TIME`, `MAX_TIME`).
    pub range: TimeRange,
    /// The zone of `tz()`.
    pub zone: Option<TimeZone>,
}

impl Windows {
    /// The window that holds `time`.
    pub fn window(&self, time: i64) -> Window {
        todo!("{time}")
    }
}
