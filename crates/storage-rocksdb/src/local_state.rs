//! What is this node's alone: cursors on the log and marks of dirty partitions.
//!
//! In the database of the catalogue, whose sync makes all of them durable together.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use hyperbytedb_domain::StorageError;
use hyperbytedb_domain::catalog::{ShardGroup, TableId};
use hyperbytedb_domain::ports::{DirtyPartition, LocalStatePort, SnapshotPort};
use hyperbytedb_domain::wal::Sequence;
use rocksdb::WriteBatch;

use crate::database::{Database, Durability};
use crate::stored;

pub(crate) const DIRTY: &str = "dirty";
pub(crate) const CURSORS: &str = "cursors";

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
        let mut cursors = BTreeMap::new();
        self.db.walk(self.db.family(CURSORS)?, &[], &END, |key, value| {
            let place = || format!("{}, cursor {}", self.db.path().display(), key.escape_ascii());
            let name = std::str::from_utf8(key).map_err(|error| StorageError::corrupt(place(), error))?;
            cursors.insert(name.to_owned(), stored::decode(value, place)?);
            Ok(true)
        })?;
        Ok(cursors)
    }

    fn store_cursors(&self, changes: &[(String, Option<Sequence>)]) -> Result<(), StorageError> {
        let family = self.db.family(CURSORS)?;
        let mut batch = WriteBatch::default();
        for (name, sequence) in changes {
            match sequence {
                Some(sequence) => batch.put_cf(family, name, stored::encode(sequence)?),
                None => batch.delete_cf(family, name),
            }
        }
        self.db.write(batch, Durability::Process, "store cursors")
    }

    fn sync(&self) -> Result<(), StorageError> {
        self.db.sync()
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
}
