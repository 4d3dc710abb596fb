//! When a continuous query runs, and over which windows: as InfluxDB 1.x decides it.
//!
//! A run is due when EVERY (the interval of `GROUP BY time`, if it is not given) has passed since the last one. It covers
//! the windows from FOR before its due time up to the last that has ended by now, so a run that comes late leaves nothing
//! out. Times are in nanoseconds since 1970.

use std::ops::Range;

use hyperbytedb_timeseriesql::ast::CreateContinuousQueryStatement;
use jiff::Timestamp;
use jiff::tz::TimeZone;

#[derive(Debug, Clone)]
pub struct Schedule {
    interval: i64,
    offset: i64,
    every: i64,
    /// FOR.
    span: i64,
    zone: TimeZone,
}

impl Schedule {
    /// `None` for a statement without windows: it never runs.
    pub fn new(statement: &CreateContinuousQueryStatement) -> Option<Self> {
        let select = &statement.source;
        let interval = select.group_by_interval().ok()?.filter(|&ns| ns > 0 && !select.is_raw())?;
        let every = statement.resample.every_ns.unwrap_or(interval);
        Some(Self {
            interval,
            offset: select.group_by_offset().ok()?,
            every,
            span: statement.resample.for_ns.unwrap_or_else(|| interval.max(every)),
            zone: select.time_zone.clone().unwrap_or(TimeZone::UTC),
        })
    }

    /// When the run after the last one is due; the first one is due at once.
    pub fn due(&self, last_run: Option<i64>, now: i64) -> i64 {
        let Some(last_run) = last_run else { return now };
        let due = last_run.saturating_add(self.every);
        // A day of local time may be longer or shorter than others.
        let shift = self.zone_offset(last_run.saturating_sub(1)) - self.zone_offset(due.saturating_sub(1));
        if shift.abs() < self.every { due.saturating_add(shift) } else { due }
    }

    /// The times that a run covers which was due then; `None` when no window has ended.
    pub fn windows(&self, due: i64, now: i64) -> Option<Range<i64>> {
        let every = self.every.min(self.interval);
        let start = self.truncate(
            due.saturating_add(self.interval)
                .saturating_sub(self.span)
                .saturating_sub(self.offset)
                .saturating_sub(1),
            self.interval,
        );
        let end = self.truncate(
            now.saturating_add(self.interval).saturating_sub(every).saturating_sub(self.offset),
            self.interval,
        );
        let (start, end) = (start.saturating_add(self.offset), end.saturating_add(self.offset));
        (start < end).then_some(start..end)
    }

    /// What counts as the time of a run that starts now.
    pub fn run_time(&self, now: i64) -> i64 {
        self.truncate(now.saturating_sub(self.offset), self.every).saturating_add(self.offset)
    }

    /// The start of the window of this length that holds the time.
    fn truncate(&self, time: i64, length: i64) -> i64 {
        let offset = self.zone_offset(time);
        let start = time.saturating_sub(time.saturating_add(offset).rem_euclid(length));
        let shift = offset - self.zone_offset(start);
        if shift != 0 && shift.abs() < length { start.saturating_add(shift) } else { start }
    }

    /// What local time is ahead of UTC.
    fn zone_offset(&self, time: i64) -> i64 {
        let timestamp = Timestamp::from_nanosecond(time.into()).unwrap_or_default();
        i64::from(self.zone.to_offset(timestamp).seconds()) * 1_000_000_000
    }
}

#[cfg(test)]
mod tests {
    use hyperbytedb_timeseriesql::ast::Statement;
    use hyperbytedb_timeseriesql::parse_statement;

    use super::*;

    const SECOND: i64 = 1_000_000_000;
    const MINUTE: i64 = 60 * SECOND;
    const HOUR: i64 = 60 * MINUTE;
    const DAY: i64 = 24 * HOUR;

    fn schedule(resample: &str, dimension: &str) -> Schedule {
        let text = format!(
            "CREATE CONTINUOUS QUERY q ON d {resample} BEGIN SELECT mean(v) INTO t FROM m GROUP BY {dimension} END"
        );
        let Ok(Statement::CreateContinuousQuery(statement)) = parse_statement(&text) else {
            panic!("{text}")
        };
        Schedule::new(&statement).expect("a schedule")
    }

    #[test]
    fn a_run_covers_the_window_that_has_ended() {
        let s = schedule("", "time(1m)");
        let now = 10 * MINUTE + 3 * SECOND;
        assert_eq!(s.windows(s.due(None, now), now), None, "the first run has no window");
        assert_eq!(s.run_time(now), 10 * MINUTE);
        let due = s.due(Some(10 * MINUTE), now);
        assert_eq!(due, 11 * MINUTE);
        assert_eq!(s.windows(due, 11 * MINUTE + 1), Some(10 * MINUTE..11 * MINUTE));
        // A run that comes late leaves nothing out.
        assert_eq!(s.windows(due, 15 * MINUTE + 1), Some(10 * MINUTE..15 * MINUTE));
    }

    #[test]
    fn resampling_covers_the_current_window_and_those_before() {
        let s = schedule("RESAMPLE EVERY 20s FOR 3m", "time(1m)");
        let due = s.due(Some(10 * MINUTE), 0);
        assert_eq!(due, 10 * MINUTE + 20 * SECOND);
        assert_eq!(s.windows(due, due), Some(8 * MINUTE..11 * MINUTE));
        let s = schedule("RESAMPLE EVERY 5m", "time(1m)");
        let due = s.due(Some(10 * MINUTE), 0);
        assert_eq!(s.windows(due, due), Some(10 * MINUTE..15 * MINUTE));
    }

    #[test]
    fn an_offset_moves_windows_and_runs() {
        let s = schedule("", "time(1m, 15s)");
        assert_eq!(s.run_time(10 * MINUTE + 14 * SECOND), 9 * MINUTE + 15 * SECOND);
        let due = s.due(Some(9 * MINUTE + 15 * SECOND), 0);
        assert_eq!(s.windows(due, due), Some(9 * MINUTE + 15 * SECOND..10 * MINUTE + 15 * SECOND));
    }

    #[test]
    fn days_begin_at_local_midnight() {
        let mut s = schedule("", "time(1d)");
        s.zone = TimeZone::get("Europe/Berlin").expect("a time zone");
        // The clock went forward on 2020-03-29: that day has 23 hours.
        let midnight = 1_585_436_400 * SECOND;
        let due = s.due(Some(midnight), midnight);
        assert_eq!(due, midnight + 23 * HOUR);
        assert_eq!(s.windows(due, due), Some(midnight..due));
        assert_eq!(s.due(Some(due), due), due + DAY);
    }
}
