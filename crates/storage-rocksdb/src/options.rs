//! Settings of the storage.

use std::path::PathBuf;
use std::time::Duration;

use hyperbytedb_domain::StorageError;

/// When an appended record is on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WalSync {
    /// Before the append returns: nothing acknowledged is ever lost.
    #[default]
    Always,
    /// At most this long after it: a power failure loses what came since; a crash of the process loses nothing.
    Interval(Duration),
    /// When the operating system sees fit: a power failure loses what it had not written, usually up to half a
    /// minute; a crash of the process loses nothing.
    Off,
}

/// Where the data lives and how much memory and how many series it may take.
#[derive(Debug, Clone)]
pub struct StorageOptions {
    /// Directory of the write-ahead log.
    pub wal_dir: PathBuf,
    /// Directory of the catalogue and the series index. Not the same as `wal_dir`.
    pub meta_dir: PathBuf,
    /// Default [`WalSync::Always`].
    pub wal_sync: WalSync,
    /// Bytes of records that RocksDB keeps in memory before it writes them a second time, into its tables.
    /// Records forgotten before that are written only once. Default 64 MiB.
    pub wal_write_buffer_bytes: usize,
    /// Bytes of new series that RocksDB keeps in memory. Default 64 MiB.
    pub meta_write_buffer_bytes: usize,
    /// Bytes of series index kept in memory for reading. Default 64 MiB.
    pub meta_cache_bytes: usize,
    /// Series known without a look-up in RocksDB; about 60 bytes each. Default 1,000,000.
    pub series_cache_entries: usize,
    /// Default 1,000,000, as in InfluxDB; 0 = no limit.
    pub max_series_per_database: u64,
    /// Distinct values of one tag in one table. Default 100,000, as in InfluxDB; 0 = no limit.
    pub max_values_per_tag: u64,
    /// Files that each of the two databases may hold open. Default 512.
    pub max_open_files: u32,
}

/// RocksDB needs some for itself.
const OPEN_FILES_MIN: u32 = 32;
const WRITE_BUFFER_BYTES_MIN: usize = 1 << 20;

impl StorageOptions {
    /// The defaults, with both databases below `dir`.
    pub fn in_directory(dir: impl Into<PathBuf>) -> Self {
        let dir = dir.into();
        Self {
            wal_dir: dir.join("wal"),
            meta_dir: dir.join("meta"),
            wal_sync: WalSync::Always,
            wal_write_buffer_bytes: 64 << 20,
            meta_write_buffer_bytes: 64 << 20,
            meta_cache_bytes: 64 << 20,
            series_cache_entries: 1_000_000,
            max_series_per_database: 1_000_000,
            max_values_per_tag: 100_000,
            max_open_files: 512,
        }
    }

    pub(crate) fn validate(&self) -> Result<(), StorageError> {
        let refuse = |message: &str| Err(StorageError::failed("settings", message));
        if self.wal_dir == self.meta_dir {
            return refuse("the write-ahead log and the catalogue need directories of their own");
        }
        if self.max_open_files < OPEN_FILES_MIN {
            return refuse("max_open_files must be at least 32");
        }
        if self.wal_write_buffer_bytes < WRITE_BUFFER_BYTES_MIN
            || self.meta_write_buffer_bytes < WRITE_BUFFER_BYTES_MIN
        {
            return refuse("write buffers must be at least 1 MiB");
        }
        if self.wal_sync == WalSync::Interval(Duration::ZERO) {
            return refuse("the sync interval must be greater than 0");
        }
        Ok(())
    }
}
