//! Carrying out deletes and drops in the engine, the series index and what is known of both.

use hyperbytedb_metrics as metrics;
use std::ops::ControlFlow;
use std::sync::Arc;

use hashbrown::HashSet;
use hyperbytedb_domain::catalog::{ShardGroup, Table, TableId};
use hyperbytedb_domain::scan::RowSelection;
use hyperbytedb_domain::wal::Sequence;
use hyperbytedb_domain::{EngineError, QueryContext, SeriesId, StorageError, TimeRange};

use super::{FlushService, Progress};
use crate::memtable::queue::{Delete, DropPartitions, Item, Unregister, Work};

/// Series that are named in a statement of the engine; more are selected by the condition.
const NAMED_SERIES_MAX: usize = 10_000;
/// The same for deletes, whose condition scans apply until the engine has carried it out.
const NAMED_IN_DELETE_MAX: usize = 1_000;
/// Deletes of one table that the engine may have left to carry out: each slows down scans of the table.
const UNFINISHED_DELETES_MAX: u64 = 8;
/// Series taken from the index at a time: writers wait meanwhile.
const UNREGISTERED_AT_A_TIME: usize = 2048;

impl FlushService {
    /// Deletes the rows, then the series that have none left.
    pub(super) fn carry_out_delete(&self, work: &Work, delete: &Delete) -> Result<Progress, EngineError> {
        let table = &delete.table;
        let context = QueryContext::unbounded();
        let Some(shards) = self.shards_of(table) else { return Ok(Progress::Done) };
        let (whole, part) = split_shards(&shards, delete);
        let selection = RowSelection {
            filter: delete.scope.filter.clone(),
            shards: Some(part.iter().chain(&whole).map(|shard| shard.id).collect()),
            ..RowSelection::of_time(delete.scope.time)
        };
        // Whether an attempt that failed has left rows somewhere is for the engine to say: one of several copies may have lost
        // them, and be the one that is asked.
        let hit = match delete.again {
            true => None,
            false => Some(self.ports.engine.distinct_series(table, &selection, &context)?),
        };
        let has_rows = hit.as_ref().is_none_or(|hit| !hit.is_empty()) && !part.is_empty();
        if has_rows && self.unfinished_deletes(table.id)? >= UNFINISHED_DELETES_MAX {
            return Ok(Progress::Postponed);
        }
        if !whole.is_empty() {
            let numbers: Vec<u64> = whole.iter().map(|shard| shard.id).collect();
            self.drop_stored(table.id, &numbers)?;
        }
        if has_rows {
            let named = hit.as_ref().filter(|hit| hit.len() <= NAMED_IN_DELETE_MAX);
            let named = named.map(|hit| hit.as_slice().into());
            let shards = Some(part.iter().map(|shard| shard.id).collect());
            let rows = RowSelection { series: named, shards, ..selection };
            self.ports.sink.delete_rows(table, &rows, &context)?;
        }
        let gone = match hit {
            None => self.unstored_series(table, &context)?,
            Some(hit) if delete.scope.time.is_all() => hit,
            Some(hit) => self.without_rows(table, hit, &context)?,
        };
        self.unregister(work, table, delete.sequence, gone)?;
        Ok(Progress::Done)
    }

    fn unfinished_deletes(&self, table: TableId) -> Result<u64, EngineError> {
        let unfinished = self.ports.sink.unfinished_deletes(Some(table))?;
        Ok(unfinished.iter().map(|of_table| of_table.deletes).sum())
    }

    /// Says how many deletes the engine still carries out, and in how many of its files.
    pub(super) fn report_unfinished_deletes(&self) -> Result<(), EngineError> {
        let unfinished = self.ports.sink.unfinished_deletes(None)?;
        let deletes: u64 = unfinished.iter().map(|of_table| of_table.deletes).sum();
        let parts: u64 = unfinished.iter().map(|of_table| of_table.parts).sum();
        metrics::UNFINISHED_DELETES.set(deletes as f64);
        metrics::UNFINISHED_DELETE_PARTS.set(parts as f64);
        Ok(())
    }

    /// Drops the partitions, then the series that have no row left.
    pub(super) fn carry_out_drop_partitions(
        &self,
        work: &Work,
        drop: &DropPartitions,
    ) -> Result<(), EngineError> {
        let table = &drop.table;
        let context = QueryContext::unbounded();
        if self.ports.catalog.catalog().current(table).is_none() {
            return Ok(());
        }
        let rows = RowSelection {
            shards: Some(drop.shards.as_slice().into()),
            ..RowSelection::of_time(TimeRange::ALL)
        };
        let hit = self.ports.engine.distinct_series(table, &rows, &context)?;
        self.drop_stored(table.id, &drop.shards)?;
        let gone = if drop.again || work.attempts > 0 {
            self.unstored_series(table, &context)?
        } else {
            self.without_rows(table, hit, &context)?
        };
        self.unregister(work, table, drop.sequence, gone)
    }

    /// Everything that was logged before is in the engine by now.
    pub(super) fn carry_out_unregister(
        &self,
        work: &Work,
        Unregister { table, series, sequence, is_unlogged }: &Unregister,
    ) -> Result<(), EngineError> {
        if self.ports.catalog.catalog().current(table).is_some() {
            let gone = self.without_rows(table, series.clone(), &QueryContext::unbounded())?;
            self.unregister(work, table, *sequence, gone)?;
        }
        if !is_unlogged {
            return Ok(());
        }
        let settled = self.ports.series.settle(table.id, series);
        settled.map_err(|error| EngineError::failed("settle series", error))
    }

    /// Takes series out of the index that have no points: where the engine had lost these, nothing said that a removal took the
    /// last of them.
    pub fn unregister_unstored(&self, table: &Arc<Table>, context: &QueryContext) -> Result<(), EngineError> {
        self.flush_tables(&[table.id], context)?;
        let sequence = self.applied();
        let series = self.unstored_series(table, context)?;
        if series.is_empty() || self.ports.catalog.catalog().current(table).is_none() {
            return Ok(());
        }
        let unregister = Unregister { table: table.clone(), series, sequence, is_unlogged: false };
        self.remove(table, Item::Unregister(Arc::new(unregister))).wait(context)
    }

    pub(super) fn carry_out_drop_table(&self, table: &Table) -> Result<(), EngineError> {
        self.ports.sink.drop_table(table.id)?;
        self.forget_table(table.id).map_err(|error| EngineError::failed("drop a table", error))
    }

    /// Forgets everything about a table that is no longer in the engine.
    pub(crate) fn forget_table(&self, table: TableId) -> Result<(), StorageError> {
        self.ports.series.drop_table(table)?;
        self.dirty.forget_table(table)?;
        self.overlap.forget(table);
        self.epochs.forget(table);
        self.memtables.remove(table);
        Ok(())
    }

    fn drop_stored(&self, table: TableId, shards: &[u64]) -> Result<(), EngineError> {
        self.ports.sink.drop_partitions(table, shards)?;
        self.overlap.forget_partitions(table, shards);
        self.dirty
            .forget(table, shards)
            .map_err(|error| EngineError::failed("forget marks of partitions", error))
    }

    /// The shard groups that can hold rows of a table; `None` when the table is dropped.
    fn shards_of(&self, table: &Table) -> Option<Vec<ShardGroup>> {
        let catalog = self.ports.catalog.catalog();
        catalog.current(table)?;
        Some(catalog.policy_of(table)?.shard_groups.values().copied().collect())
    }

    /// The rows of a table, but for those of dropped shard groups: they are as good as gone.
    fn rows_left(&self, table: &Table) -> RowSelection {
        let shards = self.shards_of(table).unwrap_or_default();
        RowSelection {
            shards: Some(shards.iter().map(|shard| shard.id).collect()),
            ..RowSelection::of_time(TimeRange::ALL)
        }
    }

    /// Which of the series have no row left.
    fn without_rows(
        &self,
        table: &Table,
        mut series: Vec<SeriesId>,
        context: &QueryContext,
    ) -> Result<Vec<SeriesId>, EngineError> {
        if series.is_empty() {
            return Ok(series);
        }
        let named = (series.len() <= NAMED_SERIES_MAX).then(|| series.as_slice().into());
        let rows = RowSelection { series: named, ..self.rows_left(table) };
        let stored: HashSet<SeriesId> =
            self.ports.engine.distinct_series(table, &rows, context)?.into_iter().collect();
        series.retain(|id| !stored.contains(id));
        Ok(series)
    }

    /// Registered series without rows: a delete that was interrupted may have left any.
    fn unstored_series(&self, table: &Table, context: &QueryContext) -> Result<Vec<SeriesId>, EngineError> {
        let stored: HashSet<SeriesId> =
            self.ports.engine.distinct_series(table, &self.rows_left(table), context)?.into_iter().collect();
        let mut unstored = Vec::new();
        let walk = self.ports.series.for_each_series(table.id, &mut |id, _| {
            if !stored.contains(&id) {
                unstored.push(id);
            }
            ControlFlow::Continue(())
        });
        walk.map_err(|error| EngineError::failed("read the series index", error))?;
        Ok(unstored)
    }

    /// Takes series out of the index, but for those that were written behind the removal. A table whose last series goes
    /// is dropped.
    fn unregister(
        &self,
        work: &Work,
        table: &Table,
        removal: Sequence,
        series: Vec<SeriesId>,
    ) -> Result<(), EngineError> {
        let failed = |error: StorageError| EngineError::failed("remove series", error);
        for part in series.chunks(UNREGISTERED_AT_A_TIME) {
            let mut part = part.to_vec();
            let applying = self.epochs.lock();
            work.queue.retain_unwritten_since(removal, &mut part);
            self.ports.series.remove_series(table, &part).map_err(failed)?;
            self.epochs.advance(&applying, table.id);
        }
        if self.ports.series.series_count(table.id).map_err(failed)? == 0
            && let Some(emptied) = self.emptied.get()
        {
            emptied(table.id);
        }
        Ok(())
    }
}

/// The shard groups whose partitions the delete removes as a whole, and those it removes a part of.
fn split_shards(shards: &[ShardGroup], delete: &Delete) -> (Vec<ShardGroup>, Vec<ShardGroup>) {
    let range = delete.scope.time;
    let touched = shards.iter().filter(|shard| shard.overlaps(range)).copied();
    touched.partition(|shard| delete.scope.filter.is_none() && shard.is_within(range))
}

#[cfg(test)]
mod tests;
