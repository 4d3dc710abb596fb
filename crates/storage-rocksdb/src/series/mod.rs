//! The series index.
//!
//! Three views of a table's series, each a column family:
//!
//! | family | key | value |
//! | --- | --- | --- |
//! | `series_by_id` | series id | tag set |
//! | `series_by_tags` | tag set | series id |
//! | `postings` | tag key, tag value, chunk number | series ids |
//!
//! A fourth, `series_unlogged`, has the new series of each registration until their record is in the log: a crash between the
//! two must leave no series that nobody wrote.
//!
//! A tag value's chunk 0 exists as long as a series has the value, so one look-up tells whether a value is new. It
//! stays small; the many later series of a common value come in one further chunk a write batch instead
//! of one entry each.

mod counts;
mod keys;
mod read;
mod register;
mod remove;
#[cfg(test)]
mod tests;

use std::ops::ControlFlow;
use std::sync::Arc;

use hyperbytedb_domain::catalog::{Catalog, Table, TableId};
use hyperbytedb_domain::ports::{SeriesIndexPort, SeriesRefusal};
use hyperbytedb_domain::{SeriesId, StorageError, Tags};
use parking_lot::Mutex;
use quick_cache::sync::Cache;
use rocksdb::WriteBatch;

use crate::database::{Database, Durability};
use crate::options::StorageOptions;
use counts::Counts;

const BY_ID: &str = "series_by_id";
const BY_TAGS: &str = "series_by_tags";
const POSTINGS: &str = "postings";
const COUNTS: &str = "series_counts";
/// By table and the least of them, the new series of a registration that is not logged yet.
const UNLOGGED: &str = "series_unlogged";
pub(crate) const FAMILIES: [&str; 5] = [BY_ID, BY_TAGS, POSTINGS, COUNTS, UNLOGGED];

#[derive(Debug, Clone, Copy)]
struct Limits {
    series_per_database: u64,
    values_per_tag: u64,
}

pub struct RocksSeriesIndex {
    db: Arc<Database>,
    limits: Limits,
    /// Registered series, with a second hash of their tags that tells two series of one id apart.
    known: Cache<(TableId, SeriesId), u64>,
    /// Held while series come and go.
    counts: Mutex<Counts>,
}

impl RocksSeriesIndex {
    pub(crate) fn load(db: Arc<Database>, options: &StorageOptions) -> Result<Self, StorageError> {
        Ok(Self {
            limits: Limits {
                series_per_database: options.max_series_per_database,
                values_per_tag: options.max_values_per_tag,
            },
            known: Cache::new(options.series_cache_entries),
            counts: Mutex::new(Counts::load(&db)?),
            db,
        })
    }

    fn drop_table_id(&self, table: TableId) -> Result<(), StorageError> {
        let mut counts = self.counts.lock();
        let (from, to) = keys::table_range(table);
        self.db.walk(self.db.family(BY_ID)?, &from, &to, |key, _| {
            if let Some(series) = key.get(keys::TABLE_BYTES..).and_then(keys::read_id) {
                self.known.remove(&(table, series));
            }
            Ok(true)
        })?;
        let mut batch = WriteBatch::default();
        batch.delete_cf(self.db.family(COUNTS)?, from);
        for family in [BY_ID, BY_TAGS, POSTINGS, UNLOGGED] {
            batch.delete_range_cf(self.db.family(family)?, from, to);
        }
        self.db.write(batch, Durability::Process, "drop a table's series")?;
        counts.set(table, None);
        for family in [BY_ID, BY_TAGS, POSTINGS] {
            self.db.delete_files(self.db.family(family)?, &from, &to)?;
        }
        Ok(())
    }

    fn corrupt(&self, table: TableId, message: &str) -> StorageError {
        let place = format!("{}, series of table {}", self.db.path().display(), table.0);
        StorageError::corrupt(place, message)
    }
}

impl SeriesIndexPort for RocksSeriesIndex {
    /// The limits count as InfluxDB's do: all new series of a call are refused when they would not all fit the
    /// database; a new tag value is refused when the tag was at its limit before the call.
    fn register(
        &self,
        table: &Table,
        series: &[(SeriesId, &Tags)],
    ) -> Result<Vec<Result<bool, SeriesRefusal>>, StorageError> {
        register::register(self, table, series, Some(self.limits))
    }

    fn restore(&self, table: &Table, series: &[(SeriesId, &Tags)]) -> Result<(), StorageError> {
        register::register(self, table, series, None).map(drop)
    }

    fn settle(&self, table: TableId, series: &[SeriesId]) -> Result<(), StorageError> {
        let Some(&least) = series.iter().min() else { return Ok(()) };
        let mut batch = WriteBatch::default();
        batch.delete_cf(self.db.family(UNLOGGED)?, keys::id_key(table, least));
        self.db.write(batch, Durability::Process, "settle series")
    }

    fn unsettled(&self) -> Result<Vec<(TableId, Vec<SeriesId>)>, StorageError> {
        let mut unsettled = Vec::new();
        self.db.walk(self.db.family(UNLOGGED)?, &[], &keys::END, |key, ids| {
            let table = key.first_chunk().map(|id| TableId(u64::from_be_bytes(*id)));
            let Some((table, series)) = table.zip(keys::read_ids(ids)) else {
                let place = format!("{}, series that are not logged", self.db.path().display());
                return Err(StorageError::corrupt(place, "misshaped entry"));
            };
            unsettled.push((table, series));
            Ok(true)
        })?;
        Ok(unsettled)
    }

    fn series_count(&self, table: TableId) -> Result<u64, StorageError> {
        Ok(self.counts.lock().table(table).map_or(0, |counts| counts.series))
    }

    fn for_each_series(
        &self,
        table: TableId,
        visit: &mut dyn FnMut(SeriesId, &Tags) -> ControlFlow<()>,
    ) -> Result<(), StorageError> {
        read::for_each_series(self, table, visit)
    }

    fn for_each_tag_value(
        &self,
        table: TableId,
        key: &str,
        visit: &mut dyn FnMut(&str) -> ControlFlow<()>,
    ) -> Result<(), StorageError> {
        read::for_each_tag_value(self, table, key, visit)
    }

    /// In no particular order.
    fn for_each_series_with_tag(
        &self,
        table: TableId,
        key: &str,
        value: &str,
        visit: &mut dyn FnMut(SeriesId, &Tags) -> ControlFlow<()>,
    ) -> Result<(), StorageError> {
        read::for_each_series_with_tag(self, table, key, value, visit)
    }

    fn series_with_tag(
        &self,
        table: TableId,
        key: &str,
        value: &str,
        max: usize,
    ) -> Result<Option<Vec<SeriesId>>, StorageError> {
        read::series_with_tag(self, table, key, value, max)
    }

    fn tag_keys(&self, table: TableId) -> Result<Vec<String>, StorageError> {
        let counts = self.counts.lock();
        Ok(counts.table(table).map(|counts| counts.values.keys().cloned().collect()).unwrap_or_default())
    }

    fn remove_series(&self, table: &Table, series: &[SeriesId]) -> Result<(), StorageError> {
        remove::remove_series(self, table, series)
    }

    fn drop_table(&self, table: TableId) -> Result<(), StorageError> {
        self.drop_table_id(table)
    }

    fn retain_tables(&self, catalog: &Catalog) -> Result<(), StorageError> {
        let kept: std::collections::HashSet<TableId> = catalog.tables().map(|table| table.id).collect();
        let gone: Vec<TableId> = self.counts.lock().tables().filter(|id| !kept.contains(id)).collect();
        gone.into_iter().try_for_each(|table| self.drop_table_id(table))
    }
}
