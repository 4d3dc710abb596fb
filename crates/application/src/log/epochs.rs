//! The lock under which log records take effect, and how often series were taken out of each table's index.
//!
//! A write registers its series before it is logged. When series were removed between the two, the write may count on
//! one that is gone: it must register them again. Epochs tell.

use std::sync::atomic::{AtomicU64, Ordering};

use hashbrown::HashMap;
use hyperbytedb_domain::catalog::TableId;
use parking_lot::{Mutex, MutexGuard};

/// Counts removals of series, by table.
#[derive(Debug, Default)]
pub struct RemovalEpochs {
    applying: Mutex<()>,
    /// Of all tables together: in most cases the only one to look at.
    all: AtomicU64,
    tables: Mutex<HashMap<TableId, u64>>,
}

/// What a write saw before it registered its series.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Epoch(u64);

/// Held while log records take effect, and while series are removed.
pub type Applying<'a> = MutexGuard<'a, ()>;

impl RemovalEpochs {
    /// Keeps log records from taking effect. Hold it only shortly.
    pub fn lock(&self) -> Applying<'_> {
        self.applying.lock()
    }

    /// Whether somebody holds the lock.
    pub fn is_locked(&self) -> bool {
        self.applying.is_locked()
    }

    pub fn now(&self) -> Epoch {
        Epoch(self.all.load(Ordering::Acquire))
    }

    /// Notes that series of a table were removed.
    pub fn advance(&self, _applying: &Applying<'_>, table: TableId) {
        let epoch = self.all.fetch_add(1, Ordering::AcqRel) + 1;
        self.tables.lock().insert(table, epoch);
    }

    /// Whether series of one of the tables were removed since.
    pub fn have_changed(&self, since: Epoch, mut tables: impl Iterator<Item = TableId>) -> bool {
        if self.now() == since {
            return false;
        }
        let epochs = self.tables.lock();
        tables.any(|table| epochs.get(&table).is_some_and(|&epoch| epoch > since.0))
    }

    pub fn forget(&self, table: TableId) {
        self.tables.lock().remove(&table);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: TableId = TableId(1);
    const SECOND: TableId = TableId(2);

    #[test]
    fn only_removals_since_then_and_of_the_same_table_count() {
        let epochs = RemovalEpochs::default();
        let before = epochs.now();
        epochs.advance(&epochs.lock(), FIRST);
        let between = epochs.now();
        epochs.advance(&epochs.lock(), SECOND);
        let changed = |since, table| epochs.have_changed(since, [table].into_iter());
        assert!(changed(before, FIRST) && changed(before, SECOND) && changed(between, SECOND));
        assert!(!changed(between, FIRST) && !changed(epochs.now(), SECOND) && !changed(before, TableId(3)));
    }

    #[test]
    fn a_table_that_is_forgotten_keeps_the_others() {
        let epochs = RemovalEpochs::default();
        let before = epochs.now();
        epochs.advance(&epochs.lock(), FIRST);
        epochs.advance(&epochs.lock(), SECOND);
        epochs.forget(FIRST);
        assert!(!epochs.have_changed(before, [FIRST].into_iter()));
        assert!(epochs.have_changed(before, [FIRST, SECOND].into_iter()));
    }
}
