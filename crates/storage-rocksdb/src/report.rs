//! What RocksDB says of itself, for the metrics.

use hyperbytedb_metrics as metrics;
use hyperbytedb_metrics::LabelledGauge;
use rocksdb::properties::{
    BACKGROUND_ERRORS, BLOCK_CACHE_USAGE, CUR_SIZE_ALL_MEM_TABLES, ESTIMATE_NUM_KEYS,
    ESTIMATE_PENDING_COMPACTION_BYTES, IS_WRITE_STOPPED, NUM_RUNNING_COMPACTIONS, NUM_RUNNING_FLUSHES,
    PropName, TOTAL_SST_FILES_SIZE,
};

use crate::database::Database;

/// Of each column family.
const OF_FAMILIES: [(&PropName, &LabelledGauge<1>); 4] = [
    (CUR_SIZE_ALL_MEM_TABLES, &metrics::ROCKSDB_MEMTABLE_BYTES),
    (TOTAL_SST_FILES_SIZE, &metrics::ROCKSDB_TABLE_BYTES),
    (ESTIMATE_NUM_KEYS, &metrics::ROCKSDB_KEYS),
    (ESTIMATE_PENDING_COMPACTION_BYTES, &metrics::ROCKSDB_PENDING_COMPACTION_BYTES),
];

/// Of the whole database; the cache is shared by its families.
const OF_DATABASE: [(&PropName, &LabelledGauge<1>); 5] = [
    (BLOCK_CACHE_USAGE, &metrics::ROCKSDB_BLOCK_CACHE_BYTES),
    (NUM_RUNNING_COMPACTIONS, &metrics::ROCKSDB_COMPACTIONS),
    (NUM_RUNNING_FLUSHES, &metrics::ROCKSDB_FLUSHES),
    (BACKGROUND_ERRORS, &metrics::ROCKSDB_BACKGROUND_ERRORS),
    (IS_WRITE_STOPPED, &metrics::ROCKSDB_WRITES_STOPPED),
];

/// Sets the gauges of a database. `families`: those that it was opened with.
pub(crate) fn report<'a>(db: &Database, name: &str, families: impl Iterator<Item = &'a str> + Clone) {
    for (property, gauge) in OF_FAMILIES {
        let value = |family| db.raw().property_int_value_cf(db.family(family).ok()?, property).ok()?;
        gauge.with([name]).set(families.clone().filter_map(value).sum::<u64>() as f64);
    }
    for (property, gauge) in OF_DATABASE {
        if let Ok(Some(value)) = db.raw().property_int_value(property) {
            gauge.with([name]).set(value as f64);
        }
    }
}
