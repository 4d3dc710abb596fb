//! Tables that have something to do, for the workers.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashSet;
use hyperbytedb_domain::catalog::TableId;
use parking_lot::{Condvar, Mutex};

use crate::memtable::queue::TableQueue;
use crate::threads::Stop;
use crate::waiting;

/// How often an idle worker looks whether it is stopped.
const IDLE_WAIT: Duration = Duration::from_millis(100);

/// Two kinds of work, so that long removals do not hold up flushes.
pub(super) struct WorkQueues {
    pub flushes: WorkQueue,
    pub removals: WorkQueue,
}

/// Tables in the order in which they came, each at most once.
pub(super) struct WorkQueue {
    for_removals: bool,
    waiting: Mutex<Waiting>,
    added: Condvar,
}

#[derive(Default)]
struct Waiting {
    tables: VecDeque<Arc<TableQueue>>,
    ids: HashSet<TableId>,
}

impl Waiting {
    fn pop(&mut self) -> Option<Arc<TableQueue>> {
        let table = self.tables.pop_front()?;
        self.ids.remove(&table.table);
        Some(table)
    }
}

impl Default for WorkQueues {
    fn default() -> Self {
        Self { flushes: WorkQueue::new(false), removals: WorkQueue::new(true) }
    }
}

impl WorkQueues {
    /// Has the table's items done.
    pub fn add(&self, table: &Arc<TableQueue>) {
        self.add_at(table, false);
    }

    /// As [`add`](Self::add), before the tables that nobody waits for.
    pub fn add_urgent(&self, table: &Arc<TableQueue>) {
        self.add_at(table, true);
    }

    fn add_at(&self, table: &Arc<TableQueue>, urgent: bool) {
        match table.front_is_removal() {
            Some(true) => self.removals.add(table, urgent),
            Some(false) => self.flushes.add(table, urgent),
            None => {}
        }
    }
}

impl WorkQueue {
    fn new(for_removals: bool) -> Self {
        Self { for_removals, waiting: Mutex::default(), added: Condvar::new() }
    }

    pub fn for_removals(&self) -> bool {
        self.for_removals
    }

    fn add(&self, table: &Arc<TableQueue>, urgent: bool) {
        let mut waiting = self.waiting.lock();
        let is_new = waiting.ids.insert(table.table);
        match (is_new, urgent) {
            (true, true) => waiting.tables.push_front(table.clone()),
            (true, false) => waiting.tables.push_back(table.clone()),
            (false, _) => return,
        }
        drop(waiting);
        self.added.notify_one();
    }

    /// The next table, if there is one.
    #[cfg(test)]
    pub fn try_take(&self) -> Option<Arc<TableQueue>> {
        self.waiting.lock().pop()
    }

    /// The next table; `None` when the workers are stopped.
    pub fn take(&self, stop: &Stop) -> Option<Arc<TableQueue>> {
        let mut waiting = self.waiting.lock();
        loop {
            if stop.is_set() {
                return None;
            }
            if let Some(table) = waiting.pop() {
                return Some(table);
            }
            waiting::wait_until(&self.added, &mut waiting, waiting::now() + IDLE_WAIT);
        }
    }
}

#[cfg(test)]
mod tests {
    use hyperbytedb_domain::TimeRange;
    use hyperbytedb_domain::catalog::{DeleteScope, Table};

    use super::*;
    use crate::memtable::Memtable;
    use crate::memtable::queue::{Delete, Item};

    /// A table with a removal in front, or with a memtable.
    fn table(id: u64, removal: bool) -> Arc<TableQueue> {
        let queue = Arc::new(TableQueue::new(TableId(id), Duration::ZERO));
        let scope = DeleteScope { table: TableId(id), version: 0, time: TimeRange::ALL, filter: None };
        let delete = Delete { table: Arc::new(Table::default()), scope, sequence: 1, again: false };
        let flush = Item::Flush(Arc::new(Memtable::new(1)));
        queue.push_removal(if removal { Item::Delete(Arc::new(delete)) } else { flush });
        queue
    }

    fn taken(queue: &WorkQueue) -> Vec<u64> {
        std::iter::from_fn(|| queue.try_take()).map(|table| table.table.0).collect()
    }

    #[test]
    fn tables_come_once_in_their_order_but_the_urgent_ones_first() {
        let queues = WorkQueues::default();
        let tables: Vec<_> = (1..=3).map(|id| table(id, false)).collect();
        tables[..2].iter().chain(&tables[..2]).for_each(|table| queues.add(table));
        queues.add_urgent(&tables[2]);
        assert_eq!(taken(&queues.flushes), [3, 1, 2]);
        queues.add(&tables[0]);
        assert_eq!(taken(&queues.flushes), [1], "it may come again");
    }

    #[test]
    fn removals_have_a_queue_of_their_own() {
        let queues = WorkQueues::default();
        queues.add(&table(1, false));
        queues.add(&table(2, true));
        queues.add(&Arc::new(TableQueue::new(TableId(3), Duration::ZERO)));
        assert_eq!((taken(&queues.flushes), taken(&queues.removals)), (vec![1], vec![2]));
    }

    #[test]
    fn a_worker_that_is_stopped_takes_nothing() {
        let queues = WorkQueues::default();
        queues.add(&table(1, false));
        let stop = Stop::default();
        stop.set();
        assert!(queues.flushes.take(&stop).is_none());
        assert!(queues.flushes.take(&Stop::default()).is_some());
    }
}
