//! The log of the nodes' agreement, in a database of its own: what it needs is synced whatever the mode of the
//! write-ahead log, and a node that leaves its cluster removes it as a folder.

use std::path::Path;

use hyperbytedb_domain::StorageError;
use hyperbytedb_domain::ports::ConsensusLogPort;
use hyperbytedb_domain::ports::outbound::IndexedEntry;
use rocksdb::{ColumnFamilyDescriptor, DBRecoveryMode, DEFAULT_COLUMN_FAMILY_NAME, Options, WriteBatch};

use crate::database::{Database, Durability, common_options};

const ENTRIES: &str = DEFAULT_COLUMN_FAMILY_NAME;
const VALUES: &str = "values";
const WRITE_BUFFER_BYTES: usize = 4 << 20;
const OPEN_FILES_MAX: u32 = 64;

pub struct RocksConsensusLog {
    db: Database,
}

impl RocksConsensusLog {
    /// Opens or creates the log in a folder.
    pub fn open(dir: &Path) -> Result<Self, StorageError> {
        let mut options = common_options(OPEN_FILES_MAX)?;
        options.set_wal_recovery_mode(DBRecoveryMode::PointInTime);
        options.set_write_buffer_size(WRITE_BUFFER_BYTES);
        let family = |name| ColumnFamilyDescriptor::new(name, Options::default());
        Ok(Self { db: Database::open(dir, &options, vec![family(ENTRIES), family(VALUES)])? })
    }

    fn index(&self, key: &[u8]) -> Result<u64, StorageError> {
        key.try_into().map(u64::from_be_bytes).map_err(|_| {
            let place = format!("{}, entry {}", self.db.path().display(), key.escape_ascii());
            StorageError::corrupt(place, "misshaped key")
        })
    }
}

impl ConsensusLogPort for RocksConsensusLog {
    fn value(&self, name: &str) -> Result<Option<Vec<u8>>, StorageError> {
        let family = self.db.family(VALUES)?;
        self.db.raw().get_cf(family, name).map_err(|error| self.db.failure("read", error))
    }

    fn set_value(&self, name: &str, value: &[u8]) -> Result<(), StorageError> {
        let mut batch = WriteBatch::default();
        batch.put_cf(self.db.family(VALUES)?, name, value);
        self.db.write(batch, Durability::Disk, "store a value")
    }

    fn append(&self, entries: Vec<IndexedEntry>) -> Result<(), StorageError> {
        let mut batch = WriteBatch::default();
        for (index, entry) in entries {
            batch.put(index.to_be_bytes(), entry);
        }
        self.db.write(batch, Durability::Disk, "append")
    }

    fn entries(&self, from: u64, to: u64) -> Result<Vec<IndexedEntry>, StorageError> {
        let mut entries = Vec::new();
        let family = self.db.family(ENTRIES)?;
        self.db.walk(family, &from.to_be_bytes(), &to.to_be_bytes(), |key, value| {
            entries.push((self.index(key)?, value.to_vec()));
            Ok(true)
        })?;
        Ok(entries)
    }

    fn last(&self) -> Result<Option<IndexedEntry>, StorageError> {
        let mut entries = self.db.entries(self.db.family(ENTRIES)?, &[], &u64::MAX.to_be_bytes());
        entries.seek_to_last();
        let last = entries.item().map(|(key, value)| Ok((self.index(key)?, value.to_vec()))).transpose();
        entries.status().map_err(|error| self.db.failure("read", error))?;
        last
    }

    fn truncate(&self, from: u64) -> Result<(), StorageError> {
        let mut batch = WriteBatch::default();
        batch.delete_range_cf(self.db.family(ENTRIES)?, from.to_be_bytes(), u64::MAX.to_be_bytes());
        self.db.write(batch, Durability::Disk, "truncate")
    }

    fn purge(&self, to: u64, name: &str, value: &[u8]) -> Result<(), StorageError> {
        let mut batch = WriteBatch::default();
        let end = to.saturating_add(1);
        batch.delete_range_cf(self.db.family(ENTRIES)?, 0u64.to_be_bytes(), end.to_be_bytes());
        batch.put_cf(self.db.family(VALUES)?, name, value);
        self.db.write(batch, Durability::Disk, "purge")
    }
}
