//! Which partitions may hold several rows of one series and time.
//!
//! Marked in the catalogue before the insert that makes them so; scans of a marked partition merge while reading; a
//! background merge clears the mark.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyperbytedb_domain::catalog::{Table, TableId};
use hyperbytedb_domain::ports::MetadataPort;
use hyperbytedb_domain::{StorageError, TimeRange};
use parking_lot::RwLock;

/// The marks, in memory and through to the catalogue.
pub struct DirtyPartitions {
    metadata: Arc<dyn MetadataPort>,
    marks: RwLock<HashMap<TableId, BTreeMap<i64, Mark>>>,
}

/// When a partition was marked last: a merge that began before must not clear it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Mark {
    at: Instant,
}

/// A dirty partition as it was when its merge began.
#[derive(Debug, Clone, Copy)]
pub struct DirtyPartition {
    pub table: TableId,
    pub partition: i64,
    mark: Mark,
}

impl DirtyPartitions {
    pub fn load(metadata: Arc<dyn MetadataPort>) -> Result<Self, StorageError> {
        let mut marks = HashMap::new();
        let mark = Mark { at: Instant::now() };
        for table in metadata.catalog().tables() {
            let partitions = metadata.dirty_partitions(table.id)?;
            if !partitions.is_empty() {
                marks.insert(table.id, partitions.into_iter().map(|p| (p, mark)).collect());
            }
        }
        Ok(Self { metadata, marks: RwLock::new(marks) })
    }

    /// Marks partitions; returns when new marks are stored.
    pub fn mark(&self, table: TableId, partitions: &[i64]) -> Result<(), StorageError> {
        let mut marks = self.marks.write();
        let of_table = marks.entry(table).or_default();
        let new: Vec<i64> = partitions.iter().copied().filter(|p| !of_table.contains_key(p)).collect();
        if !new.is_empty() {
            self.metadata.mark_dirty(table, &new)?;
        }
        let mark = Mark { at: Instant::now() };
        of_table.extend(partitions.iter().map(|&p| (p, mark)));
        Ok(())
    }

    /// Whether a scan of this range must merge duplicates.
    pub fn touches(&self, table: &Table, range: TimeRange) -> bool {
        let marks = self.marks.read();
        let Some(partitions) = marks.get(&table.id) else { return false };
        !range.is_empty()
            && partitions
                .range(table.partition_of(range.min)..=table.partition_of(range.max))
                .next()
                .is_some()
    }

    /// Partitions that have not been marked again for `quiet`.
    pub fn settled(&self, quiet: Duration) -> Vec<DirtyPartition> {
        let marks = self.marks.read();
        let of_table = |(&table, partitions): (&TableId, &BTreeMap<i64, Mark>)| {
            partitions
                .iter()
                .filter(|(_, mark)| mark.at.elapsed() >= quiet)
                .map(|(&partition, &mark)| DirtyPartition { table, partition, mark })
                .collect::<Vec<_>>()
        };
        marks.iter().flat_map(of_table).collect()
    }

    /// Clears a merged partition's mark, unless it was marked again meanwhile.
    pub fn clear(&self, merged: &DirtyPartition) -> Result<(), StorageError> {
        let mut marks = self.marks.write();
        let Some(partitions) = marks.get_mut(&merged.table) else { return Ok(()) };
        if partitions.get(&merged.partition) == Some(&merged.mark) {
            self.metadata.clear_dirty(merged.table, &[merged.partition])?;
            partitions.remove(&merged.partition);
        }
        Ok(())
    }

    /// Forgets dropped tables.
    pub fn forget(&self, tables: &[TableId]) -> Result<(), StorageError> {
        let mut marks = self.marks.write();
        for table in tables {
            if let Some(partitions) = marks.remove(table) {
                let partitions: Vec<i64> = partitions.into_keys().collect();
                self.metadata.clear_dirty(*table, &partitions)?;
            }
        }
        Ok(())
    }
}
