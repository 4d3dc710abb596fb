//! What is this node's alone: cursors on the log, marks of dirty partitions, dirty windows of stored queries.
//!
//! In the database of the catalogue, whose sync makes all of them durable together.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use hyperbytedb_domain::StorageError;
use hyperbytedb_domain::catalog::{ShardGroup, TableId};
use hyperbytedb_domain::ports::{DirtyPartition, DirtyWindows, LocalStatePort, SnapshotPort};
use hyperbytedb_domain::wal::Sequence;
use rocksdb::WriteBatch;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::database::{Database, Durability};
use crate::stored;

pub(crate) const DIRTY: &str = "dirty";
pub(crate) const CURSORS: &str = "cursors";
pub(crate) const WINDOWS: &str = "windows";

const NUMBER_BYTES: usize = 8;
/// Past every key of either family.
const END: [u8; 2 * NUMBER_BYTES + 1] = [u8::MAX; 2 * NUMBER_BYTES + 1];

pub struct RocksLocalState {
    db: Arc<Database>,
}

impl RocksLocalState {
    pub(crate) fn new(db: Arc<Database>) -> Self {
        Self { db }
    }
}

impl LocalStatePort for RocksLocalState {
    fn dirty_partitions(&self) -> Result<Vec<DirtyPartition>, StorageError> {
        let mut partitions = Vec::new();
        self.db.walk(self.db.family(DIRTY)?, &[], &END, |key, value| {
            let place = || format!("{}, dirty partition {}", self.db.path().display(), key.escape_ascii());
            let table = parse_table(key).ok_or_else(|| StorageError::corrupt(place(), "misshaped key"))?;
            let shard: ShardGroup = stored::decode(value, place)?;
            partitions.push(DirtyPartition { table, shard });
            Ok(true)
        })?;
        Ok(partitions)
    }

    fn mark_dirty(&self, partitions: &[DirtyPartition]) -> Result<(), StorageError> {
        let family = self.db.family(DIRTY)?;
        let mut batch = WriteBatch::default();
        for partition in partitions {
            let key = partition_key(partition.table, partition.shard.id);
            batch.put_cf(family, key, stored::encode(&partition.shard)?);
        }
        self.db.write(batch, Durability::Process, "mark partitions dirty")
    }

    fn clear_dirty(&self, partitions: &[(TableId, u64)]) -> Result<(), StorageError> {
        let family = self.db.family(DIRTY)?;
        let mut batch = WriteBatch::default();
        for &(table, shard) in partitions {
            batch.delete_cf(family, partition_key(table, shard));
        }
        self.db.write(batch, Durability::Process, "clear dirty partitions")
    }

    fn cursors(&self) -> Result<BTreeMap<String, Sequence>, StorageError> {
        self.named(CURSORS)
    }

    fn store_cursors(&self, changes: &[(String, Option<Sequence>)]) -> Result<(), StorageError> {
        self.store_named(CURSORS, changes)
    }

    fn dirty_windows(&self) -> Result<BTreeMap<String, DirtyWindows>, StorageError> {
        self.named(WINDOWS)
    }

    fn store_dirty_windows(&self, changes: &[(String, Option<DirtyWindows>)]) -> Result<(), StorageError> {
        self.store_named(WINDOWS, changes)
    }

    fn sync(&self) -> Result<(), StorageError> {
        self.db.sync()
    }
}

impl RocksLocalState {
    /// The values of a family whose keys are names.
    fn named<T: DeserializeOwned>(&self, family: &'static str) -> Result<BTreeMap<String, T>, StorageError> {
        let mut values = BTreeMap::new();
        // A name is text: no byte of it is the greatest one.
        self.db.walk(self.db.family(family)?, &[], &[u8::MAX], |key, value| {
            let place = || format!("{}, {family}, {}", self.db.path().display(), key.escape_ascii());
            let name = std::str::from_utf8(key).map_err(|error| StorageError::corrupt(place(), error))?;
            values.insert(name.to_owned(), stored::decode(value, place)?);
            Ok(true)
        })?;
        Ok(values)
    }

    fn store_named<T: Serialize>(
        &self,
        family: &'static str,
        changes: &[(String, Option<T>)],
    ) -> Result<(), StorageError> {
        let column_family = self.db.family(family)?;
        let mut batch = WriteBatch::default();
        for (name, value) in changes {
            match value {
                Some(value) => batch.put_cf(column_family, name, stored::encode(value)?),
                None => batch.delete_cf(column_family, name),
            }
        }
        self.db.write(batch, Durability::Process, "store the state of consumers of the log")
    }
}

/// Of the database, and so also of the catalogue and the series index.
impl SnapshotPort for RocksLocalState {
    fn snapshot(&self, target: &Path, _: &dyn Fn(TableId) -> bool) -> Result<(), StorageError> {
        self.db.checkpoint(target)
    }
}

fn partition_key(table: TableId, shard: u64) -> [u8; 2 * NUMBER_BYTES] {
    let mut key = [0; 2 * NUMBER_BYTES];
    key[..NUMBER_BYTES].copy_from_slice(&table.0.to_be_bytes());
    key[NUMBER_BYTES..].copy_from_slice(&shard.to_be_bytes());
    key
}

fn parse_table(key: &[u8]) -> Option<TableId> {
    let (table, shard) = key.split_at_checked(NUMBER_BYTES)?;
    (shard.len() == NUMBER_BYTES).then(|| table.try_into().ok())?.map(|id| TableId(u64::from_be_bytes(id)))
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;
    use crate::StorageOptions;
    use crate::catalog::open_database;

    fn open(dir: &TempDir) -> RocksLocalState {
        RocksLocalState::new(
            open_database(&StorageOptions::in_directory(dir.path()), Database::open).unwrap(),
        )
    }

    fn dirty(table: u64, shard: u64) -> DirtyPartition {
        let shard = ShardGroup { id: shard, start: -7, end: i64::MAX };
        DirtyPartition { table: TableId(table), shard }
    }

    #[test]
    fn dirty_partitions_are_kept() {
        let dir = TempDir::new().unwrap();
        {
            let state = open(&dir);
            state.mark_dirty(&[dirty(1, 3), dirty(1, 4), dirty(u64::MAX, u64::MAX)]).unwrap();
            state.mark_dirty(&[dirty(1, 4)]).unwrap();
            state.clear_dirty(&[(TableId(1), 3), (TableId(7), 9)]).unwrap();
            state.sync().unwrap();
        }
        assert_eq!(open(&dir).dirty_partitions().unwrap(), [dirty(1, 4), dirty(u64::MAX, u64::MAX)]);
    }

    #[test]
    fn cursors_are_kept() {
        let dir = TempDir::new().unwrap();
        {
            let state = open(&dir);
            state.store_cursors(&[("flush".into(), Some(7)), ("flush/3".into(), Some(9))]).unwrap();
            state.store_cursors(&[("flush".into(), Some(8)), ("flush/3".into(), None)]).unwrap();
        }
        assert_eq!(open(&dir).cursors().unwrap(), BTreeMap::from([("flush".to_owned(), 8)]));
    }

    #[test]
    fn dirty_windows_are_kept() {
        let dir = TempDir::new().unwrap();
        let windows = |ranges: &[(i64, i64)]| DirtyWindows { ranges: ranges.to_vec(), backfill_ns: 3 };
        {
            let state = open(&dir);
            let [a, b] = ["a".to_owned(), "b".to_owned()];
            state
                .store_dirty_windows(&[
                    (a.clone(), Some(windows(&[(i64::MIN, -7), (1, i64::MAX)]))),
                    (b.clone(), Some(windows(&[]))),
                ])
                .unwrap();
            state.store_dirty_windows(&[(a, Some(windows(&[(-7, 1)]))), (b, None)]).unwrap();
        }
        let expected = BTreeMap::from([("a".to_owned(), windows(&[(-7, 1)]))]);
        assert_eq!(open(&dir).dirty_windows().unwrap(), expected);
    }
}
