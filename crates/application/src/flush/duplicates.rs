//! Which partitions may hold several rows of one series and time.
//!
//! Marked, in memory and through to the node's state, before the insert that makes them so; scans of a marked partition
//! merge while reading; a background merge clears the mark.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyperbytedb_domain::catalog::{ShardGroup, TableId};
use hyperbytedb_domain::ports::{DirtyPartition, LocalStatePort};
use hyperbytedb_domain::{StorageError, TimeRange};
use parking_lot::RwLock;

/// The marks.
pub struct DirtyPartitions {
    local_state: Arc<dyn LocalStatePort>,
    /// By table and number of the shard group.
    marks: RwLock<BTreeMap<TableId, BTreeMap<u64, Mark>>>,
}

#[derive(Debug, Clone, Copy)]
struct Mark {
    shard: ShardGroup,
    /// When it was marked last: a merge that began before must not clear it.
    at: Instant,
    /// Inserts on their way.
    inserts: u32,
}

/// A dirty partition as it was when its merge began.
#[derive(Debug, Clone, Copy)]
pub struct Settled {
    pub table: TableId,
    pub shard: u64,
    at: Instant,
}

/// Marks that an insert needs. Dropped when the insert has ended.
pub struct InsertMarks<'a> {
    partitions: &'a DirtyPartitions,
    table: TableId,
    shards: Vec<u64>,
}

impl Drop for InsertMarks<'_> {
    fn drop(&mut self) {
        let mut marks = self.partitions.marks.write();
        let Some(of_table) = marks.get_mut(&self.table) else { return };
        for shard in &self.shards {
            if let Some(mark) = of_table.get_mut(shard) {
                mark.inserts = mark.inserts.saturating_sub(1);
                mark.at = Instant::now();
            }
        }
    }
}

impl DirtyPartitions {
    pub fn load(local_state: Arc<dyn LocalStatePort>) -> Result<Self, StorageError> {
        let mut marks: BTreeMap<TableId, BTreeMap<u64, Mark>> = BTreeMap::new();
        for DirtyPartition { table, shard } in local_state.dirty_partitions()? {
            let mark = Mark { shard, at: Instant::now(), inserts: 0 };
            marks.entry(table).or_default().insert(shard.id, mark);
        }
        Ok(Self { local_state, marks: RwLock::new(marks) })
    }

    /// Marks partitions for an insert; returns when new marks are stored.
    pub fn mark(&self, table: TableId, shards: &[ShardGroup]) -> Result<InsertMarks<'_>, StorageError> {
        let mut marks = self.marks.write();
        let of_table = marks.entry(table).or_default();
        let new: Vec<DirtyPartition> = shards
            .iter()
            .filter(|shard| !of_table.contains_key(&shard.id))
            .map(|&shard| DirtyPartition { table, shard })
            .collect();
        if !new.is_empty() {
            self.local_state.mark_dirty(&new)?;
        }
        for &shard in shards {
            let mark = of_table.entry(shard.id).or_insert(Mark { shard, at: Instant::now(), inserts: 0 });
            mark.inserts += 1;
            mark.at = Instant::now();
        }
        Ok(InsertMarks { partitions: self, table, shards: shards.iter().map(|shard| shard.id).collect() })
    }

    /// Whether a scan of this range must merge duplicates.
    pub fn touches(&self, table: TableId, range: TimeRange) -> bool {
        let marks = self.marks.read();
        marks.get(&table).is_some_and(|of_table| of_table.values().any(|mark| mark.shard.overlaps(range)))
    }

    /// Partitions that have not been marked again for `quiet`.
    pub fn settled(&self, quiet: Duration) -> Vec<Settled> {
        let marks = self.marks.read();
        let is_settled = |mark: &&Mark| mark.inserts == 0 && mark.at.elapsed() >= quiet;
        let of_table = |(&table, of_table): (&TableId, &BTreeMap<u64, Mark>)| {
            of_table
                .values()
                .filter(is_settled)
                .map(|mark| Settled { table, shard: mark.shard.id, at: mark.at })
                .collect::<Vec<_>>()
        };
        marks.iter().flat_map(of_table).collect()
    }

    /// Clears a merged partition's mark, unless it was marked again meanwhile.
    pub fn clear(&self, merged: &Settled) -> Result<(), StorageError> {
        let mut marks = self.marks.write();
        let Some(of_table) = marks.get_mut(&merged.table) else { return Ok(()) };
        if of_table.get(&merged.shard).is_some_and(|mark| mark.at == merged.at && mark.inserts == 0) {
            self.local_state.clear_dirty(&[(merged.table, merged.shard)])?;
            of_table.remove(&merged.shard);
        }
        Ok(())
    }

    /// Forgets partitions that are dropped.
    pub fn forget(&self, table: TableId, shards: &[u64]) -> Result<(), StorageError> {
        let mut marks = self.marks.write();
        let Some(of_table) = marks.get_mut(&table) else { return Ok(()) };
        let gone: Vec<(TableId, u64)> =
            shards.iter().filter(|shard| of_table.contains_key(shard)).map(|&shard| (table, shard)).collect();
        self.local_state.clear_dirty(&gone)?;
        of_table.retain(|shard, _| !shards.contains(shard));
        Ok(())
    }

    /// Forgets a dropped table.
    pub fn forget_table(&self, table: TableId) -> Result<(), StorageError> {
        let shards: Vec<u64> =
            self.marks.read().get(&table).map(|marks| marks.keys().copied().collect()).unwrap_or_default();
        self.forget(table, &shards)?;
        self.marks.write().remove(&table);
        Ok(())
    }

    /// Tables that have marks.
    pub fn tables(&self) -> Vec<TableId> {
        self.marks.read().keys().copied().collect()
    }
}
