//! Finding series for SHOW: the index, and the engine where a time range leaves out shards.

use std::ops::ControlFlow;
use std::sync::Arc;

use hashbrown::HashSet;
use hyperbytedb_domain::catalog::{Catalog, RetentionPolicy, Table};
use hyperbytedb_domain::ports::QueryPort;
use hyperbytedb_domain::scan::RowSelection;
use hyperbytedb_domain::{QueryContext, SeriesId, Tags, TimeRange};

use super::super::StatementError;
use super::super::tag_filter::{TagFilter, Verdict};
use super::WatchedIndex;
use crate::reader::TableReader;

/// Where the series of a statement come from.
pub struct Lookup<'a> {
    pub catalog: Arc<Catalog>,
    pub index: WatchedIndex<'a>,
    pub reader: &'a TableReader,
    pub context: &'a QueryContext,
}

/// The part of a table's series that is in a time range.
enum Part {
    None,
    All,
    These(HashSet<SeriesId>),
}

impl Lookup<'_> {
    /// Calls `visit` for the series of a table for which the filter says at least `least`, in the order of the index.
    pub fn for_each(
        &self,
        table: &Table,
        time: TimeRange,
        filter: Option<(&TagFilter, Verdict)>,
        visit: &mut dyn FnMut(&Tags) -> ControlFlow<()>,
    ) -> Result<(), StatementError> {
        let part = self.part(table, time)?;
        if matches!(part, Part::None) {
            return Ok(());
        }
        let mut checked = |id, tags: &Tags| {
            let present = match &part {
                Part::These(ids) => ids.contains(&id),
                _ => true,
            };
            let matches = present && filter.is_none_or(|(filter, least)| filter.verdict(tags) >= least);
            if matches { visit(tags) } else { ControlFlow::Continue(()) }
        };
        let tag = filter.and_then(|(filter, _)| filter.required_value());
        self.index.for_each_series(table.id, tag, &mut checked)
    }

    /// Whether the time range leaves out no shard of the table's policy: then the index alone can answer.
    pub fn is_whole(&self, table: &Table, time: TimeRange) -> bool {
        time.is_all()
            || self
                .policy(table)
                .is_some_and(|rp| rp.shard_groups.values().all(|g| overlaps(g.start, g.end, time)))
    }

    /// InfluxDB looks for series shard by shard: those with a point in a shard that overlaps the range.
    fn part(&self, table: &Table, time: TimeRange) -> Result<Part, StatementError> {
        if self.is_whole(table, time) {
            return Ok(Part::All);
        }
        let Some(policy) = self.policy(table) else { return Ok(Part::None) };
        let inside = || policy.shard_groups.values().filter(|g| overlaps(g.start, g.end, time));
        let (Some(min), Some(end)) = (inside().map(|g| g.start).min(), inside().map(|g| g.end).max()) else {
            return Ok(Part::None);
        };
        self.reader.make_visible(&[table.id], self.context)?;
        let shards = TimeRange { min, max: end.saturating_sub(1) };
        let series = self.reader.distinct_series(table, &RowSelection::of_time(shards), self.context)?;
        Ok(Part::These(series.into_iter().collect()))
    }

    fn policy(&self, table: &Table) -> Option<&RetentionPolicy> {
        self.catalog
            .database(&table.database)?
            .retention_policies
            .get(&table.retention_policy)
            .map(|rp| &**rp)
    }
}

fn overlaps(start: i64, end: i64, time: TimeRange) -> bool {
    start <= time.max && time.min < end
}
