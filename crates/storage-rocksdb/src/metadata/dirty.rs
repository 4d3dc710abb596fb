//! Partitions that may hold several rows of one series and time. In memory as well: every query asks.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use hyperbytedb_domain::StorageError;
use hyperbytedb_domain::catalog::TableId;
use parking_lot::RwLock;
use rocksdb::WriteBatch;

use super::DIRTY;
use crate::database::{Database, Durability};

const TABLE_BYTES: usize = 8;

pub(super) struct DirtyPartitions {
    db: Arc<Database>,
    by_table: RwLock<HashMap<TableId, BTreeSet<i64>>>,
}

impl DirtyPartitions {
    pub fn load(db: Arc<Database>) -> Result<Self, StorageError> {
        let mut by_table: HashMap<TableId, BTreeSet<i64>> = HashMap::new();
        db.walk(db.family(DIRTY)?, &[], &[u8::MAX; 2 * TABLE_BYTES + 1], |key, _| {
            let (table, partition) = parse_key(key).ok_or_else(|| {
                let place = format!("{}, dirty partition {}", db.path().display(), key.escape_ascii());
                StorageError::corrupt(place, "misshaped key")
            })?;
            by_table.entry(table).or_default().insert(partition);
            Ok(true)
        })?;
        Ok(Self { db, by_table: RwLock::new(by_table) })
    }

    /// In order.
    pub fn of(&self, table: TableId) -> Vec<i64> {
        self.by_table.read().get(&table).map(|set| set.iter().copied().collect()).unwrap_or_default()
    }

    pub fn mark(&self, table: TableId, partitions: &[i64]) -> Result<(), StorageError> {
        let unmarked =
            |set: Option<&BTreeSet<i64>>, partition: &i64| !set.is_some_and(|s| s.contains(partition));
        {
            let by_table = self.by_table.read();
            let set = by_table.get(&table);
            if !partitions.iter().any(|partition| unmarked(set, partition)) {
                return Ok(());
            }
        }
        let mut by_table = self.by_table.write();
        let family = self.db.family(DIRTY)?;
        let mut batch = WriteBatch::default();
        for &partition in partitions {
            batch.put_cf(family, key(table, partition), []);
        }
        self.db.write(batch, Durability::Process, "mark partitions dirty")?;
        by_table.entry(table).or_default().extend(partitions);
        Ok(())
    }

    pub fn clear(&self, table: TableId, partitions: &[i64]) -> Result<(), StorageError> {
        let mut by_table = self.by_table.write();
        let Some(set) = by_table.get_mut(&table) else { return Ok(()) };
        let family = self.db.family(DIRTY)?;
        let mut batch = WriteBatch::default();
        for &partition in partitions {
            batch.delete_cf(family, key(table, partition));
        }
        self.db.write(batch, Durability::Process, "clear dirty partitions")?;
        set.retain(|partition| !partitions.contains(partition));
        if set.is_empty() {
            by_table.remove(&table);
        }
        Ok(())
    }

    /// Adds to `batch` the end of a table; [`forget`](Self::forget) follows once it is written.
    pub fn delete_table(&self, batch: &mut WriteBatch, table: TableId) -> Result<(), StorageError> {
        let family = self.db.family(DIRTY)?;
        batch.delete_range_cf(family, key(table, i64::MIN), key(table, i64::MAX));
        batch.delete_cf(family, key(table, i64::MAX));
        Ok(())
    }

    pub fn forget(&self, table: TableId) {
        self.by_table.write().remove(&table);
    }
}

/// The sign bit is turned so that keys order as partitions do.
fn key(table: TableId, partition: i64) -> [u8; 2 * TABLE_BYTES] {
    let mut key = [0; 2 * TABLE_BYTES];
    key[..TABLE_BYTES].copy_from_slice(&table.0.to_be_bytes());
    key[TABLE_BYTES..].copy_from_slice(&((partition as u64) ^ (1 << 63)).to_be_bytes());
    key
}

fn parse_key(key: &[u8]) -> Option<(TableId, i64)> {
    let (table, partition) = key.split_at_checked(TABLE_BYTES)?;
    let partition = u64::from_be_bytes(partition.try_into().ok()?) ^ (1 << 63);
    Some((TableId(u64::from_be_bytes(table.try_into().ok()?)), partition as i64))
}
