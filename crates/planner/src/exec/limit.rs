//! LIMIT and OFFSET.

use hashbrown::HashMap;

use super::level::Level;
use super::row::Series;

/// Counts the rows of a series as they pass. Like InfluxDB's, it begins anew with every change of series, also when a
/// series comes back.
#[derive(Debug)]
pub(super) struct RowLimit {
    limit: usize,
    offset: usize,
    series: Option<Series>,
    count: usize,
}

impl RowLimit {
    pub fn new(level: &Level) -> Self {
        Self { limit: level.limit, offset: level.offset, series: None, count: 0 }
    }

    /// Counts a row and says whether it stays.
    pub fn admits(&mut self, series: &Series) -> bool {
        if self.limit == 0 && self.offset == 0 {
            return true;
        }
        if self.series.as_ref() != Some(series) {
            self.series = Some(series.clone());
            self.count = 0;
        }
        self.count += 1;
        self.count > self.offset && (self.limit == 0 || self.count - self.offset <= self.limit)
    }
}

/// How many rows of a tag set and shard are read at most: InfluxDB stops one row after LIMIT and OFFSET. It shows where
/// there is an OFFSET alone, or where a subquery groups by more tags than the statement around it.
#[derive(Debug)]
pub(super) struct ShardLimit {
    limit: usize,
    /// Rows by tag set and partition.
    counts: HashMap<(Series, i64), usize>,
    /// Tag sets follow each other: only the current one needs to be remembered.
    is_flat: bool,
}

impl ShardLimit {
    /// `None`: all rows are read.
    pub fn new(level: &Level) -> Option<Self> {
        let is_flat = level.dimensions.is_flat();
        let limited =
            if is_flat { level.limit == 0 && level.offset > 0 } else { level.limit > 0 || level.offset > 0 };
        limited.then(|| Self { limit: level.limit + level.offset + 1, counts: HashMap::new(), is_flat })
    }

    /// Counts a row and says whether it is read.
    pub fn admits(&mut self, series: &Series, partition: i64) -> bool {
        let key = (series.clone(), partition);
        if self.is_flat && !self.counts.contains_key(&key) {
            self.counts.clear();
        }
        let count = self.counts.entry(key).or_default();
        *count += 1;
        *count <= self.limit
    }
}
