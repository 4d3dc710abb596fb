//! How many series and tag values there are, by table and database. Small, so in memory as a whole; stored
//! in the same write batch as the series they count.

use std::collections::HashMap;

use hyperbytedb_domain::StorageError;
use hyperbytedb_domain::catalog::{Table, TableId};
use rocksdb::WriteBatch;
use serde::{Deserialize, Serialize};

use super::COUNTS;
use super::keys::{END, table_range};
use crate::database::Database;
use crate::stored;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct TableCounts {
    pub database: String,
    pub series: u64,
    /// Number of the next chunk of postings; chunk 0 is every value's first.
    pub next_chunk: u64,
    /// Distinct values by tag key; no zeros.
    pub values: std::collections::BTreeMap<String, u64>,
}

impl TableCounts {
    fn new(database: &str) -> Self {
        Self { database: database.to_owned(), series: 0, next_chunk: 1, values: Default::default() }
    }

    pub fn add_values(&mut self, key: &str, count: u64) {
        if count > 0 {
            *self.values.entry(key.to_owned()).or_default() += count;
        }
    }

    pub fn remove_value(&mut self, key: &str) {
        if let Some(count) = self.values.get_mut(key) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.values.remove(key);
            }
        }
    }
}

#[derive(Default)]
pub(super) struct Counts {
    tables: HashMap<TableId, TableCounts>,
    series_by_database: HashMap<String, u64>,
}

impl Counts {
    pub fn load(db: &Database) -> Result<Self, StorageError> {
        let mut counts = Self::default();
        db.walk(db.family(COUNTS)?, &[], &END, |key, value| {
            let place = || format!("{}, series counts {}", db.path().display(), key.escape_ascii());
            let id = key.try_into().map_err(|_| StorageError::corrupt(place(), "misshaped key"))?;
            let row: TableCounts = stored::decode(value, place)?;
            counts.set(TableId(u64::from_be_bytes(id)), Some(row));
            Ok(true)
        })?;
        Ok(counts)
    }

    pub fn tables(&self) -> impl Iterator<Item = TableId> {
        self.tables.keys().copied()
    }

    pub fn table(&self, table: TableId) -> Option<&TableCounts> {
        self.tables.get(&table)
    }

    /// A copy to change and [`set`](Self::set) once it is stored.
    pub fn copy(&self, table: &Table) -> TableCounts {
        self.tables.get(&table.id).cloned().unwrap_or_else(|| TableCounts::new(&table.database))
    }

    pub fn database_series(&self, database: &str) -> u64 {
        self.series_by_database.get(database).copied().unwrap_or(0)
    }

    pub fn set(&mut self, table: TableId, counts: Option<TableCounts>) {
        let old = match counts {
            Some(new) => {
                *self.series_by_database.entry(new.database.clone()).or_default() += new.series;
                self.tables.insert(table, new)
            }
            None => self.tables.remove(&table),
        };
        let Some(old) = old else { return };
        if let Some(total) = self.series_by_database.get_mut(&old.database) {
            *total = total.saturating_sub(old.series);
            if *total == 0 {
                self.series_by_database.remove(&old.database);
            }
        }
    }
}

/// Adds to `batch` the row of a table's counts.
pub(super) fn store(
    db: &Database,
    batch: &mut WriteBatch,
    table: TableId,
    counts: &TableCounts,
) -> Result<(), StorageError> {
    batch.put_cf(db.family(COUNTS)?, table_range(table).0, stored::encode(counts)?);
    Ok(())
}
