//! Tables that have something to do, for the workers.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

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

    /// The next table; `None` when the workers are stopped.
    pub fn take(&self, stop: &Stop) -> Option<Arc<TableQueue>> {
        let mut waiting = self.waiting.lock();
        loop {
            if stop.is_set() {
                return None;
            }
            if let Some(table) = waiting.tables.pop_front() {
                waiting.ids.remove(&table.table);
                return Some(table);
            }
            waiting::wait_until(&self.added, &mut waiting, Instant::now() + IDLE_WAIT);
        }
    }
}
