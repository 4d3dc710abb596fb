//! The shards InfluxDB would keep a table's points in. They have no part in storage here, but show in answers: InfluxDB
//! limits and merges shard by shard.

use hyperbytedb_domain::TimeRange;
use hyperbytedb_domain::catalog::Table;
use hyperbytedb_domain::scan::Window;

/// Nanoseconds from the first instant of year 1, from which shards are counted, to 1970.
const YEAR_ONE_NS: i128 = 62_135_596_800 * 1_000_000_000;

/// Shards of one duration.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shards {
    duration: i64,
}

impl Shards {
    pub fn of(table: &Table) -> Self {
        Self { duration: table.shard_duration.max(1) }
    }

    /// The number of the shard that a time is in.
    pub fn index(self, time: i64) -> i128 {
        (i128::from(time) + YEAR_ONE_NS).div_euclid(i128::from(self.duration))
    }

    /// The range, widened to whole shards.
    pub fn whole(self, range: TimeRange) -> TimeRange {
        let start = |index: i128| index * i128::from(self.duration) - YEAR_ONE_NS;
        let (first, end) = (start(self.index(range.min)), start(self.index(range.max) + 1) - 1);
        TimeRange {
            min: first.max(i128::from(TimeRange::ALL.min)) as i64,
            max: end.min(i128::from(TimeRange::ALL.max)) as i64,
        }
    }

    /// The shards as windows of an aggregation.
    pub fn windows(self) -> Window {
        let offset = (-YEAR_ONE_NS).rem_euclid(i128::from(self.duration));
        Window { every: self.duration, offset: offset as i64 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weeks_begin_on_monday() {
        let week = 7 * 24 * 3600 * 1_000_000_000;
        let shards = Shards { duration: week };
        let monday = 1_577_664_000 * 1_000_000_000; // 2019-12-30
        assert_eq!(shards.index(monday), shards.index(monday + week - 1));
        assert_eq!(shards.index(monday - 1) + 1, shards.index(monday));
        let whole = shards.whole(TimeRange { min: monday + 5, max: monday + 6 });
        assert_eq!((whole.min, whole.max), (monday, monday + week - 1));
        assert_eq!((monday - shards.windows().offset).rem_euclid(week), 0);
    }

    #[test]
    fn all_of_time_stays_within_its_bounds() {
        let whole = Shards { duration: 3600 * 1_000_000_000 }.whole(TimeRange::ALL);
        assert_eq!((whole.min, whole.max), (TimeRange::ALL.min, TimeRange::ALL.max));
    }
}
