//! The queues of all tables, and the account of what they hold.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hyperbytedb_domain::catalog::TableId;
use hyperbytedb_domain::wal::Sequence;
use parking_lot::RwLock;

use super::ResolvedBatch;
use super::queue::{Item, SealLimits, TableQueue, Ticket};

/// All queues. Cheap to share.
#[derive(Debug)]
pub struct MemtableSet {
    tables: RwLock<BTreeMap<TableId, Arc<TableQueue>>>,
    bytes: AtomicUsize,
    retry_pause: Duration,
}

impl MemtableSet {
    /// `retry_pause`: the pause after the first attempt at an item that fails.
    pub fn new(retry_pause: Duration) -> Self {
        Self { tables: RwLock::default(), bytes: AtomicUsize::new(0), retry_pause }
    }

    pub fn queue(&self, table: TableId) -> Option<Arc<TableQueue>> {
        self.tables.read().get(&table).cloned()
    }

    fn queue_or_new(&self, table: TableId) -> Arc<TableQueue> {
        if let Some(queue) = self.queue(table) {
            return queue;
        }
        self.tables
            .write()
            .entry(table)
            .or_insert_with(|| Arc::new(TableQueue::new(table, self.retry_pause)))
            .clone()
    }

    /// Appends a batch. Returns the queue if its memtable was sealed because it is full.
    pub fn push(
        &self,
        sequence: Sequence,
        batch: ResolvedBatch,
        limits: &SealLimits,
    ) -> Option<Arc<TableQueue>> {
        let queue = self.queue_or_new(batch.table.id);
        let (added, full) = queue.push(sequence, batch, limits);
        self.bytes.fetch_add(added, Ordering::Relaxed);
        full.then_some(queue)
    }

    /// Puts a removal behind everything that is there.
    pub fn push_removal(&self, table: TableId, item: Item) -> (Arc<TableQueue>, Ticket) {
        let queue = self.queue_or_new(table);
        let (ticket, freed) = queue.push_removal(item);
        self.release(freed);
        (queue, ticket)
    }

    /// Call with the bytes of what is in the engine or dropped.
    pub fn release(&self, bytes: usize) {
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Forgets the queue of a dropped table.
    pub fn remove(&self, table: TableId) {
        self.tables.write().remove(&table);
    }

    pub fn all(&self) -> Vec<Arc<TableQueue>> {
        self.tables.read().values().cloned().collect()
    }

    /// The oldest log record that is not in the engine yet.
    pub fn first_sequence(&self) -> Option<Sequence> {
        self.tables.read().values().filter_map(|queue| queue.first_sequence()).min()
    }

    /// Bytes held, about.
    pub fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use hyperbytedb_domain::catalog::Table;

    use super::*;
    use crate::testing::NEVER;

    const LIMITS: SealLimits =
        SealLimits { rows: 2, bytes: usize::MAX, age: NEVER, small_rows: 0, small_age: NEVER };

    fn batch(table: u64) -> ResolvedBatch {
        ResolvedBatch {
            table: Arc::new(Table { id: TableId(table), ..Table::default() }),
            times: vec![1],
            series_of_row: vec![0],
            series: Vec::new(),
            fields: Vec::new(),
            shards: Vec::new(),
        }
    }

    fn drop_table(table: u64) -> Item {
        Item::DropTable { table: Arc::new(Table { id: TableId(table), ..Table::default() }), sequence: 9 }
    }

    #[test]
    fn the_oldest_record_is_that_of_any_table() {
        let set = MemtableSet::new(NEVER);
        assert_eq!(set.first_sequence(), None);
        set.push(4, batch(1), &LIMITS);
        set.push(3, batch(2), &LIMITS);
        assert_eq!(set.first_sequence(), Some(3));
        set.remove(TableId(2));
        assert_eq!(set.first_sequence(), Some(4));
    }

    #[test]
    fn a_table_is_named_when_it_has_a_full_memtable() {
        let set = MemtableSet::new(NEVER);
        assert!(set.push(1, batch(1), &LIMITS).is_none());
        assert!(set.push(2, batch(2), &LIMITS).is_none());
        assert_eq!(set.push(3, batch(1), &LIMITS).expect("a queue").table, TableId(1));
    }

    #[test]
    fn what_is_flushed_or_dropped_is_not_accounted_for_any_more() {
        let set = MemtableSet::new(NEVER);
        let one = batch(1).bytes();
        (1..=3).for_each(|sequence| drop(set.push(sequence, batch(1), &LIMITS)));
        set.push(4, batch(2), &LIMITS);
        assert_eq!(set.bytes(), 4 * one);
        let queue = set.queue(TableId(1)).expect("a queue");
        set.release(queue.take().expect("a full memtable").finish());
        assert_eq!(set.bytes(), 2 * one);
        set.push(5, batch(1), &LIMITS);
        // At work while its table is dropped.
        let flush = queue.take().expect("a full memtable");
        set.push_removal(TableId(1), drop_table(1));
        set.release(flush.finish());
        assert_eq!(set.bytes(), one, "of the other table");
    }
}
