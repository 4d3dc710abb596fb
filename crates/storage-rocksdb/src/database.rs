//! A RocksDB database whose errors say where they happened, and what both of ours have in common.

use std::path::{Path, PathBuf};

use hyperbytedb_domain::StorageError;
use rocksdb::checkpoint::Checkpoint;
use rocksdb::{
    ColumnFamily, ColumnFamilyDescriptor, DB, DBRawIterator, Error, ErrorKind, FlushOptions, LogLevel,
    Options, ReadOptions, WriteBatch, WriteOptions,
};

/// RocksDB's own information log.
const INFO_LOG_BYTES_MAX: usize = 4 << 20;
const INFO_LOG_FILES_MAX: usize = 2;

/// Whether a write is on disk when it returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Durability {
    /// Survives a power failure.
    Disk,
    /// Survives the process; a power failure may lose it until the next synced write.
    Process,
}

/// [`Database::open`] or [`Database::open_read_only`].
pub(crate) type OpenDatabase =
    fn(&Path, &Options, Vec<ColumnFamilyDescriptor>) -> Result<Database, StorageError>;

pub(crate) struct Database {
    db: DB,
    path: PathBuf,
}

impl Database {
    pub fn open(
        path: &Path,
        options: &Options,
        families: Vec<ColumnFamilyDescriptor>,
    ) -> Result<Self, StorageError> {
        let at =
            |error: &dyn std::fmt::Display| StorageError::failed(format!("open {}", path.display()), error);
        std::fs::create_dir_all(path).map_err(|error| at(&error))?;
        let db = DB::open_cf_descriptors(options, path, families).map_err(|error| {
            if is_locked(&error) {
                return at(&"the directory is in use by another server");
            }
            failure(path, "open", error)
        })?;
        Ok(Self { db, path: path.to_owned() })
    }

    /// As [`open`](Self::open), of what exists, to look at: nothing of it changes. An earlier version may lack families.
    pub fn open_read_only(
        path: &Path,
        options: &Options,
        mut families: Vec<ColumnFamilyDescriptor>,
    ) -> Result<Self, StorageError> {
        let known = DB::list_cf(options, path).map_err(|error| failure(path, "open", error))?;
        families.retain(|family| known.iter().any(|name| name == family.name()));
        let db = DB::open_cf_descriptors_read_only(options, path, families, false)
            .map_err(|error| failure(path, "open", error))?;
        Ok(Self { db, path: path.to_owned() })
    }

    /// Puts the database as it is at one moment into a folder that does not exist yet: links to its tables, copies of
    /// its log.
    pub fn checkpoint(&self, target: &Path) -> Result<(), StorageError> {
        let context = || format!("copy {} to", self.path.display());
        let failed = |error| StorageError::failed(format!("{} {}", context(), target.display()), error);
        let checkpoint = Checkpoint::new(&self.db).map_err(failed)?;
        // Without a flush: its log is short.
        checkpoint.create_checkpoint_with_log_size(target, u64::MAX).map_err(failed)
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The raw database, for operations whose errors the caller maps with [`Database::failure`].
    pub fn raw(&self) -> &DB {
        &self.db
    }

    pub fn failure(&self, operation: &str, error: Error) -> StorageError {
        failure(&self.path, operation, error)
    }

    pub fn family(&self, name: &str) -> Result<&ColumnFamily, StorageError> {
        self.db.cf_handle(name).ok_or_else(|| {
            StorageError::corrupt(self.path.display().to_string(), format!("column family {name} is missing"))
        })
    }

    pub fn write(
        &self,
        batch: WriteBatch,
        durability: Durability,
        operation: &str,
    ) -> Result<(), StorageError> {
        let mut options = WriteOptions::new();
        options.set_sync(durability == Durability::Disk);
        options.set_memtable_insert_hint_per_batch(true);
        self.db.write_opt(batch, &options).map_err(|error| self.failure(operation, error))
    }

    /// Makes everything written so far survive a power failure.
    pub fn sync(&self) -> Result<(), StorageError> {
        self.db.flush_wal(true).map_err(|error| self.failure("sync", error))
    }

    /// Walks the entries of `from..to` in order of their keys until `visit` returns false.
    pub fn walk(
        &self,
        family: &ColumnFamily,
        from: &[u8],
        to: &[u8],
        mut visit: impl FnMut(&[u8], &[u8]) -> Result<bool, StorageError>,
    ) -> Result<(), StorageError> {
        let mut entries = self.entries(family, from, to);
        entries.seek_to_first();
        while let Some((key, value)) = entries.item() {
            if !visit(key, value)? {
                return Ok(());
            }
            entries.next();
        }
        entries.status().map_err(|error| self.failure("read", error))
    }

    /// An iterator over `from..to`, not yet positioned.
    pub fn entries(&self, family: &ColumnFamily, from: &[u8], to: &[u8]) -> DBRawIterator<'_> {
        let mut options = ReadOptions::default();
        options.set_iterate_lower_bound(from);
        options.set_iterate_upper_bound(to);
        self.db.raw_iterator_cf_opt(family, options)
    }

    /// Gives back the disk space of what was deleted: in the files of the database's own log, and in tables.
    pub fn release(&self, families: &[&str]) -> Result<(), StorageError> {
        let families = families.iter().map(|name| self.family(name)).collect::<Result<Vec<_>, _>>()?;
        self.db
            .flush_cfs_opt(&families, &FlushOptions::default())
            .map_err(|error| self.failure("flush", error))?;
        for family in families {
            self.db.compact_range_cf(family, None::<&[u8]>, None::<&[u8]>);
        }
        Ok(())
    }

    /// Deletes whole files between two keys, both included, at once; what is left goes with the range deletion beside it.
    pub fn delete_files(&self, family: &ColumnFamily, from: &[u8], to: &[u8]) -> Result<(), StorageError> {
        self.db.delete_file_in_range_cf(family, from, to).map_err(|error| self.failure("delete files", error))
    }
}

fn failure(path: &Path, operation: &str, error: Error) -> StorageError {
    match error.kind() {
        ErrorKind::Corruption => {
            StorageError::corrupt(path.display().to_string(), format!("{operation}: {error}"))
        }
        _ => StorageError::failed(format!("{operation} {}", path.display()), error),
    }
}

fn is_locked(error: &Error) -> bool {
    let text = error.to_string();
    matches!(error.kind(), ErrorKind::IOError | ErrorKind::Busy)
        && (text.contains("While lock file") || text.contains("lock hold by current process"))
}

/// Options that both databases share.
pub(crate) fn common_options(max_open_files: u32) -> Result<Options, StorageError> {
    // Space reserved for a file that grows counts as used, and makes no append faster.
    let mut options = Options::default()
        .get_options_from_string("allow_fallocate=false")
        .map_err(|error| StorageError::failed("RocksDB's options", error))?;
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    options.set_max_open_files(i32::try_from(max_open_files).unwrap_or(i32::MAX));
    options.set_max_background_jobs(2);
    options.set_log_level(LogLevel::Warn);
    options.set_max_log_file_size(INFO_LOG_BYTES_MAX);
    options.set_keep_log_file_num(INFO_LOG_FILES_MAX);
    options.set_stats_dump_period_sec(0);
    options.set_stats_persist_period_sec(0);
    Ok(options)
}
