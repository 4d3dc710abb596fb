//! The write-ahead log, the catalogue and the series index, kept in RocksDB.
//!
//! Two databases in two directories: the log is written once, in sequence, and forgotten soon; catalogue and
//! series index are read at random and stay. Each has options of its own, and the log can live on a disk of its own.
//!
//! Everything stored starts with a version byte, and nothing that a decoder can meet on disk makes it panic.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod database;
mod metadata;
mod options;
mod series;
mod stored;
mod wal;

use std::sync::Arc;

use hyperbytedb_domain::StorageError;
use hyperbytedb_domain::ports::MetadataPort;

pub use metadata::RocksMetadata;
pub use options::{StorageOptions, WalSync};
pub use series::RocksSeriesIndex;
pub use wal::{RecordError, RocksWal, decode_record, encode_record};

/// The adapters of one server.
pub struct Storage {
    pub wal: Arc<RocksWal>,
    pub metadata: Arc<RocksMetadata>,
    pub series: Arc<RocksSeriesIndex>,
}

impl Storage {
    /// Opens or creates both databases. Fails with a clear error when another process has one of them open.
    pub fn open(options: &StorageOptions) -> Result<Self, StorageError> {
        options.validate()?;
        let wal = RocksWal::open(options)?;
        let db = metadata::open_database(options)?;
        let metadata = RocksMetadata::load(db.clone())?;
        let series = RocksSeriesIndex::load(db, options)?;
        series.retain_tables(&metadata.catalog())?;
        Ok(Self { wal: Arc::new(wal), metadata: Arc::new(metadata), series: Arc::new(series) })
    }
}
