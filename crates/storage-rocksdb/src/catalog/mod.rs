//! The catalogue.
//!
//! It is in memory as a whole, as an immutable snapshot that readers share; RocksDB holds it in small [rows], so that a
//! new field rewrites one table's row. The log has every change before it is stored here, so nothing is synced: after a
//! power failure the log's commands are applied again from [`applied`](CatalogPort::applied) on.

mod rows;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use hyperbytedb_domain::StorageError;
use hyperbytedb_domain::catalog::Catalog;
use hyperbytedb_domain::ports::CatalogPort;
use hyperbytedb_domain::wal::Sequence;
use rocksdb::{
    BlockBasedOptions, Cache, ColumnFamilyDescriptor, DBCompressionType, DBRecoveryMode, Options, WriteBatch,
};

use crate::database::{Database, Durability, OpenDatabase, common_options};
use crate::local_state::{CURSORS, DIRTY, WINDOWS};
use crate::options::StorageOptions;
use crate::report::report;
use crate::series;

pub(crate) const CATALOG: &str = "catalog";
/// Beside those of the series index.
const FAMILIES: [&str; 4] = [CATALOG, DIRTY, CURSORS, WINDOWS];

pub struct RocksCatalog {
    db: Arc<Database>,
    catalog: ArcSwap<Catalog>,
    applied: AtomicU64,
}

impl RocksCatalog {
    pub(crate) fn load(db: Arc<Database>) -> Result<Self, StorageError> {
        let (catalog, applied) = rows::read_catalog(&db)?;
        Ok(Self { db, catalog: ArcSwap::from_pointee(catalog), applied: AtomicU64::new(applied) })
    }

    /// Of the whole database, in which local state and series index are too.
    pub(crate) fn report(&self) {
        report(&self.db, "meta", FAMILIES.into_iter().chain(series::FAMILIES));
    }
}

impl CatalogPort for RocksCatalog {
    fn catalog(&self) -> Arc<Catalog> {
        self.catalog.load_full()
    }

    fn applied(&self) -> Sequence {
        self.applied.load(Ordering::Acquire)
    }

    fn publish(&self, catalog: Catalog, applied: Sequence) -> Result<(), StorageError> {
        let mut batch = WriteBatch::default();
        rows::write_difference(&self.db, &mut batch, &self.catalog.load(), &catalog, applied)?;
        self.db.write(batch, Durability::Process, "store the catalogue")?;
        self.catalog.store(Arc::new(catalog));
        self.applied.store(applied, Ordering::Release);
        Ok(())
    }
}

const BLOCK_BYTES: usize = 16 << 10;
const FILTER_BITS_PER_KEY: f64 = 10.0;

/// The database of catalogue, local state and series index.
pub(crate) fn open_database(
    settings: &StorageOptions,
    open: OpenDatabase,
) -> Result<Arc<Database>, StorageError> {
    let mut options = common_options(settings.max_open_files)?;
    options.set_wal_recovery_mode(DBRecoveryMode::PointInTime);
    options.set_db_write_buffer_size(settings.meta_write_buffer_bytes);
    options.set_max_total_wal_size(2 * settings.meta_write_buffer_bytes as u64);
    let cache = Cache::new_lru_cache(settings.meta_cache_bytes);
    let names = FAMILIES.into_iter().chain(series::FAMILIES);
    let families =
        names.map(|name| ColumnFamilyDescriptor::new(name, family_options(settings, &cache))).collect();
    Ok(Arc::new(open(&settings.meta_dir, &options, families)?))
}

fn family_options(settings: &StorageOptions, cache: &Cache) -> Options {
    let mut options = Options::default();
    options.set_compression_type(DBCompressionType::Lz4);
    options.set_write_buffer_size(settings.meta_write_buffer_bytes / 2);
    options.set_memtable_whole_key_filtering(true);
    options.set_memtable_prefix_bloom_ratio(0.02);
    let mut blocks = BlockBasedOptions::default();
    blocks.set_block_size(BLOCK_BYTES);
    blocks.set_block_cache(cache);
    blocks.set_bloom_filter(FILTER_BITS_PER_KEY, false);
    blocks.set_cache_index_and_filter_blocks(true);
    blocks.set_pin_l0_filter_and_index_blocks_in_cache(true);
    blocks.set_format_version(6);
    options.set_block_based_table_factory(&blocks);
    options
}
