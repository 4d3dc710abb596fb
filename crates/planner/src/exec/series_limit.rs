//! SLIMIT and SOFFSET.
//!
//! InfluxDB counts the tag sets that the shards of the time range know, whether or not they have points that the
//! statement selects. So they are listed first, over whole partitions and with conditions on tags alone.

use std::sync::Arc;

use hashbrown::HashSet;
use hyperbytedb_domain::TimeRange;
use hyperbytedb_domain::catalog::Table;
use hyperbytedb_domain::scan::{AggregateScan, Scan, ScanOutput, TagId};
use hyperbytedb_timeseriesql::ast::Expr;

use super::columns::Column;
use super::context::Runtime;
use super::error::ExecError;
use super::level::Level;
use super::predicate;
use super::row::Series;
use super::scan::TableSource;

/// The tag sets of one table that a level may show.
#[derive(Debug)]
pub(super) struct SeriesLimit {
    name: Arc<str>,
    names: Vec<String>,
    keys: Vec<Option<TagId>>,
    scan: Scan,
    limit: usize,
    offset: usize,
    admitted: Option<HashSet<Series>>,
}

impl SeriesLimit {
    /// `None`: the level has no limit on series.
    pub fn new(source: &TableSource, level: &Level, condition: Option<&Expr>) -> Option<Self> {
        if level.slimit == 0 && level.soffset == 0 {
            return None;
        }
        let keys: Vec<Option<TagId>> =
            level.dimensions.keys.iter().map(|key| source.table.tag(key)).collect();
        let scan = Scan {
            table: Arc::clone(&source.table),
            time: whole_partitions(&source.table, level.range),
            filter: condition.and_then(|c| predicate::series_part(c, &source.table)),
            merge_duplicates: false,
            output: ScanOutput::Aggregates(AggregateScan {
                group_by: keys.iter().flatten().copied().collect(),
                descending: !level.ascending,
                ..AggregateScan::default()
            }),
        };
        let name = Arc::clone(&source.name);
        let names = level.dimensions.keys.clone();
        Some(Self { name, names, keys, scan, limit: level.slimit, offset: level.soffset, admitted: None })
    }

    /// Lists the tag sets.
    pub fn prepare(&mut self, runtime: &Runtime<'_>) -> Result<(), ExecError> {
        let mut known = Vec::new();
        let mut stream = runtime.scan(&self.scan)?;
        while let Some(batch) = runtime.next_batch(stream.as_mut())? {
            let tags = batch.columns().iter().map(Column::new).collect::<Result<Vec<_>, _>>()?;
            known.extend((0..batch.num_rows()).map(|row| self.series(&tags, row)));
        }
        known.sort_by_cached_key(|series| self.order(series));
        self.admitted = Some(known.into_iter().skip(self.offset).take(self.limit).collect());
        Ok(())
    }

    /// What InfluxDB sorts tag sets by: the keys that are there, then their values.
    fn order(&self, series: &Series) -> String {
        let present = || self.names.iter().zip(series.tags.iter()).filter(|(_, value)| !value.is_empty());
        let keys = present().map(|(key, _)| key.as_str());
        let values = present().map(|(_, value)| &**value);
        keys.chain(values).collect::<Vec<_>>().join("|")
    }

    fn series(&self, tags: &[Column], row: usize) -> Series {
        let mut columns = tags.iter();
        let text = |key: &Option<TagId>| match key.and_then(|_| columns.next()) {
            Some(column) => column.shared_text(row),
            None => Arc::from(""),
        };
        Series::new(Arc::clone(&self.name), self.keys.iter().map(text).collect())
    }

    /// Whether rows of this series are shown. [`Self::prepare`] comes first.
    pub fn admits(&self, series: &Series) -> bool {
        self.admitted.as_ref().is_none_or(|admitted| admitted.contains(series))
    }

    pub fn is_prepared(&self) -> bool {
        self.admitted.is_some()
    }
}

fn whole_partitions(table: &Table, range: TimeRange) -> TimeRange {
    let width = i128::from(table.partition_duration.max(1));
    let first = i128::from(table.partition_of(range.min)) * width;
    let end = (i128::from(table.partition_of(range.max)) + 1) * width - 1;
    TimeRange {
        min: first.max(i128::from(TimeRange::ALL.min)) as i64,
        max: end.min(i128::from(TimeRange::ALL.max)) as i64,
    }
}
