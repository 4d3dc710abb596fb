//! The catalogue and the dirty partitions.
//!
//! The catalogue is in memory as a whole, as an immutable snapshot that readers share; RocksDB holds it in small
//! [rows], so that a new field rewrites one table's row. A change is on disk, whatever the sync mode of
//! the log, before anyone sees it: positions of tags and fields name columns of the engine and must never change.

mod dirty;
mod rows;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use arc_swap::ArcSwap;
use hyperbytedb_domain::StorageError;
use hyperbytedb_domain::catalog::{Catalog, Command, Effects, TableId};
use hyperbytedb_domain::ports::{MetadataError, MetadataPort};
use parking_lot::Mutex;
use rocksdb::{
    BlockBasedOptions, Cache, ColumnFamilyDescriptor, DBCompressionType, DBRecoveryMode, Options, WriteBatch,
};

use crate::database::{Database, Durability, common_options};
use crate::options::StorageOptions;
use crate::series;
use dirty::DirtyPartitions;

pub(crate) const CATALOG: &str = "catalog";
pub(crate) const DIRTY: &str = "dirty";

pub struct RocksMetadata {
    db: Arc<Database>,
    catalog: ArcSwap<Catalog>,
    /// Held while a command is applied.
    applying: Mutex<()>,
    dirty: DirtyPartitions,
}

impl RocksMetadata {
    pub(crate) fn load(db: Arc<Database>) -> Result<Self, StorageError> {
        let catalog = rows::read_catalog(&db)?;
        let dirty = DirtyPartitions::load(db.clone())?;
        Ok(Self { db, catalog: ArcSwap::from_pointee(catalog), applying: Mutex::new(()), dirty })
    }
}

impl MetadataPort for RocksMetadata {
    fn catalog(&self) -> Arc<Catalog> {
        self.catalog.load_full()
    }

    fn apply(&self, command: &Command) -> Result<Effects, MetadataError> {
        let _applying = self.applying.lock();
        let old = self.catalog.load_full();
        let mut new = Catalog::clone(&old);
        let effects = new.apply(command)?;
        let mut batch = WriteBatch::default();
        rows::write_difference(&self.db, &mut batch, &old, &new)?;
        if batch.is_empty() {
            return Ok(effects);
        }
        for table in &effects.dropped_tables {
            self.dirty.delete_table(&mut batch, table.id)?;
        }
        self.db.write(batch, Durability::Disk, "apply a command to the catalogue")?;
        self.catalog.store(Arc::new(new));
        for table in &effects.dropped_tables {
            self.dirty.forget(table.id);
        }
        Ok(effects)
    }

    fn dirty_partitions(&self, table: TableId) -> Result<Vec<i64>, StorageError> {
        Ok(self.dirty.of(table))
    }

    fn mark_dirty(&self, table: TableId, partitions: &[i64]) -> Result<(), StorageError> {
        self.dirty.mark(table, partitions)
    }

    fn clear_dirty(&self, table: TableId, partitions: &[i64]) -> Result<(), StorageError> {
        self.dirty.clear(table, partitions)
    }

    fn sync(&self) -> Result<(), StorageError> {
        self.db.sync()
    }
}

const BLOCK_BYTES: usize = 16 << 10;
const FILTER_BITS_PER_KEY: f64 = 10.0;

/// The database of catalogue, dirty partitions and series index.
pub(crate) fn open_database(settings: &StorageOptions) -> Result<Arc<Database>, StorageError> {
    let mut options = common_options(settings.max_open_files);
    options.set_wal_recovery_mode(DBRecoveryMode::PointInTime);
    options.set_db_write_buffer_size(settings.meta_write_buffer_bytes);
    options.set_max_total_wal_size(2 * settings.meta_write_buffer_bytes as u64);
    let cache = Cache::new_lru_cache(settings.meta_cache_bytes);
    let names = [CATALOG, DIRTY].into_iter().chain(series::FAMILIES);
    let families =
        names.map(|name| ColumnFamilyDescriptor::new(name, family_options(settings, &cache))).collect();
    Ok(Arc::new(Database::open(&settings.meta_dir, &options, families)?))
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
