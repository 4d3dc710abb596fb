//! LIMIT and OFFSET.

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
