//! Which tables exist, with how many columns.

use std::collections::HashMap;

use hyperbytedb_domain::catalog::{Table, TableId};
use parking_lot::Mutex;

/// How many columns of each kind a table has. They are numbered and only added, in order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ColumnCounts {
    pub tags: usize,
    pub fields: usize,
}

impl ColumnCounts {
    pub fn of(table: &Table) -> Self {
        Self { tags: table.tags.len(), fields: table.fields.len() }
    }

    /// Counts a column; `time`, `sid` and `shard` have no number.
    pub fn add(&mut self, name: &str) {
        let numbered =
            |prefix| name.strip_prefix(prefix).is_some_and(|n: &str| n.bytes().all(|b| b.is_ascii_digit()));
        self.tags += usize::from(numbered('t'));
        self.fields += usize::from(numbered('f'));
    }

    pub fn covers(self, table: &Table) -> bool {
        self.tags >= table.tags.len() && self.fields >= table.fields.len()
    }

    /// What both have.
    pub fn common(self, other: Self) -> Self {
        Self { tags: self.tags.min(other.tags), fields: self.fields.min(other.fields) }
    }
}

/// Tables known to exist.
#[derive(Debug, Default)]
pub struct KnownTables(Mutex<HashMap<TableId, ColumnCounts>>);

impl KnownTables {
    pub fn get(&self, id: TableId) -> Option<ColumnCounts> {
        self.0.lock().get(&id).copied()
    }

    /// Notes columns that a table has; it may have more.
    pub fn remember(&self, id: TableId, counts: ColumnCounts) {
        let mut tables = self.0.lock();
        let known = tables.entry(id).or_default();
        known.tags = known.tags.max(counts.tags);
        known.fields = known.fields.max(counts.fields);
    }

    pub fn forget(&self, id: TableId) {
        self.0.lock().remove(&id);
    }

    pub fn forget_all(&self) {
        self.0.lock().clear();
    }
}
