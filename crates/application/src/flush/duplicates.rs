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
        let marks = self.marks.read();
        marks.iter().filter(|(_, of_table)| !of_table.is_empty()).map(|(&table, _)| table).collect()
    }
}

#[cfg(test)]
mod tests {
    use hyperbytedb_memory_ports::{Call, Disk, MemoryPorts, Undisturbed};

    use super::*;
    use crate::testing::{Faults, NEVER};

    const TABLE: TableId = TableId(1);
    const EARLY: ShardGroup = ShardGroup { id: 1, start: 0, end: 10 };
    const LATE: ShardGroup = ShardGroup { id: 2, start: 10, end: 20 };

    fn load(disk: &Disk) -> DirtyPartitions {
        DirtyPartitions::load(MemoryPorts::open(disk, Arc::new(Undisturbed)).local_state).expect("marks")
    }

    /// Which of the two shard groups are marked.
    fn marked(partitions: &DirtyPartitions) -> [bool; 2] {
        [EARLY, LATE]
            .map(|shard| partitions.touches(TABLE, TimeRange { min: shard.start, max: shard.end - 1 }))
    }

    #[test]
    fn a_mark_is_stored_before_the_insert_and_outlives_the_process() {
        let disk = Disk::default();
        let partitions = load(&disk);
        let marks = partitions.mark(TABLE, &[LATE]).expect("a mark");
        assert_eq!(marked(&load(&disk)), [false, true]);
        drop(marks);
        assert_eq!(marked(&partitions), [false, true]);
    }

    #[test]
    fn a_mark_that_cannot_be_stored_is_an_error() {
        let faults = Arc::new(Faults::default());
        let ports = MemoryPorts::open(&Disk::default(), faults.clone());
        let partitions = DirtyPartitions::load(ports.local_state).expect("marks");
        faults.fail(Call::MarkDirty, 1);
        assert!(partitions.mark(TABLE, &[EARLY]).is_err());
        assert_eq!(marked(&partitions), [false, false]);
    }

    #[test]
    fn a_partition_is_settled_when_no_insert_is_on_its_way() {
        let partitions = load(&Disk::default());
        let marks = partitions.mark(TABLE, &[EARLY]).expect("a mark");
        assert!(partitions.settled(Duration::ZERO).is_empty());
        drop(marks);
        assert_eq!(partitions.settled(Duration::ZERO).len(), 1);
        assert!(partitions.settled(NEVER).is_empty(), "it was marked just now");
    }

    #[test]
    fn a_mark_that_was_set_again_during_the_merge_stays() {
        let disk = Disk::default();
        let partitions = load(&disk);
        let mark = || partitions.mark(TABLE, &[EARLY, LATE]).expect("a mark");
        drop(mark());
        let before = partitions.settled(Duration::ZERO);
        let on_its_way = mark();
        before.iter().for_each(|merged| partitions.clear(merged).expect("a clear"));
        assert_eq!(marked(&partitions), [true, true]);
        drop(on_its_way);
        before.iter().for_each(|merged| partitions.clear(merged).expect("a clear"));
        assert_eq!(marked(&partitions), [true, true]);
        partitions.settled(Duration::ZERO).iter().take(1).for_each(|merged| {
            partitions.clear(merged).expect("a clear");
        });
        assert_eq!(marked(&partitions), [false, true]);
        assert_eq!(marked(&load(&disk)), [false, true]);
    }

    #[test]
    fn what_is_dropped_has_no_marks() {
        let disk = Disk::default();
        let partitions = load(&disk);
        drop(partitions.mark(TABLE, &[EARLY, LATE]).expect("a mark"));
        partitions.forget(TABLE, &[EARLY.id]).expect("a store");
        assert_eq!(marked(&partitions), [false, true]);
        partitions.forget_table(TABLE).expect("a store");
        assert!(partitions.tables().is_empty());
        assert_eq!(marked(&load(&disk)), [false, false]);
    }
}
