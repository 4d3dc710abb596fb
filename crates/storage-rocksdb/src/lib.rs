//! The write-ahead log, the catalogue and the series index, kept in RocksDB.
//!
//! Two databases in two directories: the log is written once, in sequence, and forgotten soon; catalogue and
//! series index are read at random and stay. Each has options of its own, and the log can live on a disk of its own.
//!
//! Everything stored starts with a version byte, and nothing that a decoder can meet on disk makes it panic.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod catalog;
mod consensus_log;
mod database;
mod local_state;
mod options;
mod report;
mod series;
mod stored;
mod wal;

use std::sync::Arc;

use hyperbytedb_domain::StorageError;

pub use catalog::RocksCatalog;
pub use consensus_log::RocksConsensusLog;
use database::{Database, OpenDatabase};
pub use local_state::RocksLocalState;
pub use options::{StorageOptions, WalSync};
pub use series::RocksSeriesIndex;
pub use wal::{RecordError, RocksWal, decode_record, encode_record};

/// The adapters of one server.
pub struct Storage {
    pub wal: Arc<RocksWal>,
    pub catalog: Arc<RocksCatalog>,
    pub local_state: Arc<RocksLocalState>,
    pub series: Arc<RocksSeriesIndex>,
}

impl Storage {
    /// Opens or creates both databases. Fails with a clear error when another process has one of them open.
    pub fn open(options: &StorageOptions) -> Result<Self, StorageError> {
        options.validate()?;
        Self::load(RocksWal::open(options)?, Database::open, options)
    }

    /// Opens what exists, to look at it: nothing of it changes.
    pub fn open_read_only(options: &StorageOptions) -> Result<Self, StorageError> {
        Self::load(RocksWal::open_read_only(options)?, Database::open_read_only, options)
    }

    /// Sets the gauges of both databases when it is called.
    pub fn reporter(&self) -> impl Fn() + Send + Sync + use<> {
        let (wal, catalog) = (self.wal.clone(), self.catalog.clone());
        move || {
            wal.report();
            catalog.report();
        }
    }

    fn load(wal: RocksWal, open: OpenDatabase, options: &StorageOptions) -> Result<Self, StorageError> {
        let db = catalog::open_database(options, open)?;
        Ok(Self {
            wal: Arc::new(wal),
            catalog: Arc::new(RocksCatalog::load(db.clone())?),
            local_state: Arc::new(RocksLocalState::new(db.clone())),
            series: Arc::new(RocksSeriesIndex::load(db, options)?),
        })
    }
}
