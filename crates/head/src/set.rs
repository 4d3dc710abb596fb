//! The heads of all tables, and their common budget.

use std::sync::Arc;

use hashbrown::{HashMap, HashSet};
use hyperbytedb_domain::TimeRange;
use hyperbytedb_domain::catalog::{Table, TableId};
use hyperbytedb_domain::scan::Predicate;
use parking_lot::RwLock;

use crate::table::{NewRows, TableHead};

/// What eviction leaves of the budget, so that it does not come again at once.
const KEPT_PART: f64 = 0.9;

/// The newest points of all tables.
#[derive(Debug)]
pub struct Head {
    tables: RwLock<HashMap<TableId, Arc<TableHead>>>,
    /// Tables that the engine held when the server started.
    stored: HashSet<TableId>,
    budget_bytes: usize,
}

impl Head {
    /// `stored`: the tables that the engine holds. A budget of 0 keeps no points.
    pub fn new(budget_bytes: usize, stored: impl IntoIterator<Item = TableId>) -> Self {
        Self { tables: RwLock::default(), stored: stored.into_iter().collect(), budget_bytes }
    }

    pub fn table(&self, table: TableId) -> Option<Arc<TableHead>> {
        self.tables.read().get(&table).cloned()
    }

    /// The head of a table, made if need be; `None` without a budget.
    pub fn open(&self, table: &Table) -> Option<Arc<TableHead>> {
        if self.budget_bytes == 0 {
            return None;
        }
        if let Some(head) = self.table(table.id) {
            return Some(head);
        }
        let new = || Arc::new(TableHead::new(table.id, !self.was_stored(table.id)));
        Some(self.tables.write().entry(table.id).or_insert_with(new).clone())
    }

    /// Whether the engine held the table when the server started.
    pub fn was_stored(&self, table: TableId) -> bool {
        self.stored.contains(&table)
    }

    pub fn budget_bytes(&self) -> usize {
        self.budget_bytes
    }

    /// Takes the rows of a log record, in log order.
    pub fn push(&self, rows: NewRows<'_>) {
        if let Some(head) = self.open(rows.table) {
            head.push(rows);
        }
    }

    /// Removes the rows of a range whose series meet a condition over tags, in log order.
    pub fn remove(&self, table: &Table, filter: Option<&Predicate>, range: TimeRange) {
        if let Some(head) = self.table(table.id) {
            head.remove(table, filter, range);
        }
    }

    /// All heads, in no order.
    pub(crate) fn tables(&self) -> Vec<Arc<TableHead>> {
        self.tables.read().values().cloned().collect()
    }

    /// Takes a head that was read back, if there is a budget for it.
    pub(crate) fn put(&self, table: TableHead) {
        if self.budget_bytes > 0 {
            self.tables.write().insert(table.table, Arc::new(table));
        }
    }

    /// Forgets a dropped table.
    pub fn drop_table(&self, table: TableId) {
        self.tables.write().remove(&table);
    }

    /// Bytes held, about.
    pub fn bytes(&self) -> usize {
        self.tables.read().values().map(|head| head.bytes()).sum()
    }

    /// Lets the oldest times go when the budget is used up.
    pub fn keep_budget(&self) {
        let held = self.bytes();
        if held <= self.budget_bytes {
            return;
        }
        let tables = self.tables();
        let mut chunks: Vec<(i64, usize)> = Vec::new();
        tables
            .iter()
            .for_each(|table| table.for_each_chunk(|max_time, bytes| chunks.push((max_time, bytes))));
        chunks.sort_unstable();
        let mut excess = held as f64 - self.budget_bytes as f64 * KEPT_PART;
        let mut before = i64::MIN;
        for (max_time, bytes) in chunks {
            if excess <= 0.0 {
                break;
            }
            excess -= bytes as f64;
            before = max_time.saturating_add(1);
        }
        tables.iter().for_each(|table| table.evict(before));
    }
}
