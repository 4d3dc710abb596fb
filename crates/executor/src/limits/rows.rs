//! LIMIT and OFFSET.

use crate::error::ExecError;
use crate::row::{Row, RowStream, Series};
use crate::scan::shards::Shards;
use crate::scope::Scope;

/// Counts the rows of a series as they pass. Like InfluxDB's, it begins anew with every change of series, also when a
/// series comes back.
#[derive(Debug)]
pub(crate) struct RowLimit {
    limit: usize,
    offset: usize,
    series: Option<Series>,
    count: usize,
}

impl RowLimit {
    pub fn new(scope: &Scope) -> Self {
        Self { limit: scope.limit, offset: scope.offset, series: None, count: 0 }
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

    fn restart(&mut self) {
        self.series = None;
    }
}

/// How many rows InfluxDB reads of each series and shard before a limit: it stops one row after LIMIT and OFFSET.
pub(crate) fn shard_rows_max(scope: &Scope) -> Option<usize> {
    (scope.limit > 0 || scope.offset > 0).then(|| scope.limit.saturating_add(scope.offset).saturating_add(1))
}

/// The rows that InfluxDB reads of a table where the statement has a limit, shard by shard.
///
/// Of a group it reads one row more than LIMIT and OFFSET together. In a subquery that groups by more tags than the
/// statements around it, limit and offset themselves apply to each run of rows of one group within a shard.
pub(crate) struct ShardLimited<'a> {
    rows: Box<dyn RowStream + 'a>,
    shards: Shards,
    limit: RowLimit,
    shard: Option<i128>,
}

impl<'a> ShardLimited<'a> {
    pub fn new(rows: Box<dyn RowStream + 'a>, shards: Shards, scope: &Scope) -> Self {
        let mut limit = RowLimit::new(scope);
        if let (true, Some(max)) = (scope.grouping.is_flat(), shard_rows_max(scope)) {
            (limit.limit, limit.offset) = (max, 0);
        }
        Self { rows, shards, limit, shard: None }
    }
}

impl RowStream for ShardLimited<'_> {
    fn next_row(&mut self, row: &mut Row) -> Result<bool, ExecError> {
        while self.rows.next_row(row)? {
            let shard = Some(self.shards.index(row.time));
            if self.shard != shard {
                self.shard = shard;
                self.limit.restart();
            }
            if self.limit.admits(&row.series) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
