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
    ///
    /// With an offset, InfluxDB looks the zone up at the time less the offset and misplaces the windows of
    /// such days (its issues 20238 and 25078); these follow the clocks.
    pub fn window(&self, time: i64) -> Window {
        let Some(Interval { every, offset }) = self.interval else {
            return Window { start: self.range.min, end: self.range.max.wrapping_add(1) };
        };
        let zone = self.zone_offset(time);
        let time = time.wrapping_sub(offset);
        let into = time.wrapping_add(zone).rem_euclid(every);
        let start = if MIN_TIME + into >= time { MIN_TIME } else { time - into };
        let remaining = every - into;
        let end = if MAX_TIME - remaining <= time { MAX_TIME } else { time + remaining };
        Window {
            start: self.local_start(start.wrapping_add(offset), zone, every),
            end: self.local_end(end.wrapping_add(offset), zone, every),
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

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000_000_000;

    fn windows(every: i64, offset: i64, zone: Option<&str>) -> Windows {
        let zone = zone.map(|name| TimeZone::get(name).unwrap());
        Windows { interval: Some(Interval { every, offset }), range: TimeRange::ALL, zone }
    }

    #[test]
    fn windows_align_to_the_epoch_and_the_offset() {
        for (time, every, offset, start) in
            [(0, 10, 0, 0), (9, 10, 0, 0), (10, 10, 0, 10), (-1, 10, 0, -10), (12, 10, 3, 3), (2, 10, -4, -4)]
        {
            let window = windows(every, offset, None).window(time);
            assert_eq!(window, Window { start, end: start + every }, "{time} in time({every}, {offset})");
            assert!(window.contains(time));
        }
    }

    #[test]
    fn windows_end_with_time() {
        assert_eq!(windows(HOUR, 0, None).window(MIN_TIME).start, MIN_TIME);
        assert_eq!(windows(HOUR, 0, None).window(MAX_TIME).end, MAX_TIME);
        let one = Windows { interval: None, range: TimeRange { min: 3, max: 8 }, zone: None };
        assert_eq!(one.window(5), Window { start: 3, end: 9 });
    }

    /// Also with an offset, days are 25 and 23 hours long where clocks change, and follow without gaps.
    #[test]
    fn days_follow_the_clocks_of_the_zone() {
        for (zone, change, hours) in [
            ("Europe/Berlin", "2018-03-25T01:00:00Z", 23),
            ("Europe/Berlin", "2018-10-28T01:00:00Z", 25),
            ("America/New_York", "2018-03-11T07:00:00Z", 23),
            ("America/New_York", "2018-11-04T06:00:00Z", 25),
        ] {
            let change: Timestamp = change.parse().unwrap();
            let change = i64::try_from(change.as_nanosecond()).unwrap();
            for offset in [0, 8 * HOUR] {
                let windows = windows(24 * HOUR, offset, Some(zone));
                let mut time = change - 72 * HOUR;
                let mut lengths = Vec::new();
                for _ in 0..6 {
                    let window = windows.window(time);
                    assert!(window.contains(time), "{zone} {offset}: {time} {window:?}");
                    lengths.push((window.end - window.start) / HOUR);
                    time = window.end;
                }
                let expected = lengths.iter().filter(|length| **length == hours).count();
                assert_eq!((expected, lengths.len()), (1, 6), "{zone} {offset}: {lengths:?}");
            }
        }
    }
}
