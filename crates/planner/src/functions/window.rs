//! GROUP BY time windows.

use hyperbytedb_domain::TimeRange;
use hyperbytedb_domain::time::{MAX_TIME, MIN_TIME};
use jiff::Timestamp;
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

impl Window {
    pub const fn contains(&self, time: i64) -> bool {
        self.start <= time && time < self.end
    }
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
    ///
    /// Windows are aligned to local midnight of 1970; around a change of the zone's offset a window grows
    /// or shrinks by the change unless it is shorter than that. They end at the bounds of time.
    pub fn window(&self, time: i64) -> Window {
        let Some(Interval { every, offset }) = self.interval else {
            return Window { start: self.range.min, end: self.range.max.wrapping_add(1) };
        };
        let time = time.wrapping_sub(offset);
        let zone = self.zone_offset(time);
        let into = time.wrapping_add(zone).rem_euclid(every);
        let start = if MIN_TIME + into >= time { MIN_TIME } else { time - into };
        let remaining = every - into;
        let end = if MAX_TIME - remaining <= time { MAX_TIME } else { time + remaining };
        Window {
            start: self.local_start(start.wrapping_add(offset), zone, every),
            end: self.local_end(end, zone, every).wrapping_add(offset),
        }
    }

    fn local_start(&self, start: i64, zone: i64, every: i64) -> i64 {
        let change = zone - self.zone_offset(start);
        if change.abs() < every { start.wrapping_add(change) } else { start }
    }

    /// Clocks set back lengthen the window they fall into; the hour skipped by clocks set forward belongs
    /// to the window only if the change lies before its new end.
    fn local_end(&self, end: i64, zone: i64, every: i64) -> i64 {
        let end_zone = self.zone_offset(end);
        let change = zone - end_zone;
        if change == 0 || change.abs() >= every {
            return end;
        }
        let moved = end.wrapping_add(change);
        if change > 0 || self.zone_offset(moved) == end_zone { moved } else { end }
    }

    /// Nanoseconds east of UTC at a time.
    pub(super) fn zone_offset(&self, time: i64) -> i64 {
        let Some(zone) = &self.zone else { return 0 };
        Timestamp::from_nanosecond(time.into())
            .map_or(0, |time| i64::from(zone.to_offset(time).seconds()) * 1_000_000_000)
    }
}
