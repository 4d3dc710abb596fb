//! The memtables of all tables, and the account of what they hold.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use hyperbytedb_domain::catalog::TableId;
use hyperbytedb_domain::wal::Sequence;
use parking_lot::{Mutex, MutexGuard, RwLock};

use super::{Memtable, ResolvedBatch};

/// The memtables of one table: one that takes points, and at most one sealed for its flush.
#[derive(Debug, Default)]
pub struct TableBuffer {
    state: Mutex<BufferState>,
    /// Held during a flush: flushes of a table happen one after the other, in log order.
    flushing: Mutex<()>,
}

#[derive(Debug, Default)]
struct BufferState {
    active: Option<Memtable>,
    sealed: Option<Arc<Memtable>>,
}

/// All buffers. Cheap to share.
#[derive(Debug, Default)]
pub struct MemtableSet {
    tables: RwLock<HashMap<TableId, Arc<TableBuffer>>>,
    bytes: AtomicUsize,
}

/// When an active memtable is due for a flush.
#[derive(Debug, Clone, Copy)]
pub struct SealLimits {
    pub rows: usize,
    pub bytes: usize,
    pub age: Duration,
    /// Memtables with fewer rows than this wait `small_age` instead of `age`.
    pub small_rows: usize,
    pub small_age: Duration,
}

impl SealLimits {
    fn is_full(&self, memtable: &Memtable) -> bool {
        memtable.rows >= self.rows || memtable.bytes >= self.bytes
    }

    fn is_due(&self, memtable: &Memtable, now: Instant) -> bool {
        let age = if memtable.rows < self.small_rows { self.small_age } else { self.age };
        self.is_full(memtable) || now.duration_since(memtable.created) >= age
    }
}

impl TableBuffer {
    /// Waits for a running flush of this table, then keeps others out.
    pub fn lock_flush(&self) -> MutexGuard<'_, ()> {
        self.flushing.lock()
    }

    /// The sealed memtable of a flush that failed. Call with the flush lock held.
    pub fn left_over(&self) -> Option<Arc<Memtable>> {
        self.state.lock().sealed.clone()
    }

    /// Seals the active memtable. Call with the flush lock held and nothing left over.
    pub fn seal(&self) -> Option<Arc<Memtable>> {
        let mut state = self.state.lock();
        state.sealed = state.active.take().map(Arc::new);
        state.sealed.clone()
    }

    /// Forgets the sealed memtable: its rows are in the engine.
    fn release(&self) -> usize {
        self.state.lock().sealed.take().map_or(0, |m| m.bytes)
    }

    fn first_sequence(&self) -> Option<Sequence> {
        let state = self.state.lock();
        let sealed = state.sealed.as_ref().map(|m| m.first_sequence);
        sealed.or(state.active.as_ref().map(|m| m.first_sequence))
    }

    pub fn is_empty(&self) -> bool {
        let state = self.state.lock();
        state.sealed.is_none() && state.active.is_none()
    }
}

impl MemtableSet {
    pub fn buffer(&self, table: TableId) -> Option<Arc<TableBuffer>> {
        self.tables.read().get(&table).cloned()
    }

    fn buffer_or_new(&self, table: TableId) -> Arc<TableBuffer> {
        if let Some(buffer) = self.buffer(table) {
            return buffer;
        }
        self.tables.write().entry(table).or_default().clone()
    }

    /// Appends a batch; true when its table's memtable is now full.
    pub fn push(&self, sequence: Sequence, batch: ResolvedBatch, limits: &SealLimits) -> bool {
        let buffer = self.buffer_or_new(batch.table.id);
        let mut state = buffer.state.lock();
        let memtable = state.active.get_or_insert_with(|| Memtable::new(sequence));
        let added = memtable.push(batch);
        let full = limits.is_full(memtable);
        drop(state);
        self.bytes.fetch_add(added, Ordering::Relaxed);
        full
    }

    /// Call after the sealed memtable of `buffer` is in the engine.
    pub fn release(&self, buffer: &TableBuffer) {
        self.bytes.fetch_sub(buffer.release(), Ordering::Relaxed);
    }

    /// Tables with points that are due for a flush; all that have points when `limits` is `None`.
    pub fn due(&self, limits: Option<&SealLimits>) -> Vec<TableId> {
        let now = Instant::now();
        let due = |buffer: &TableBuffer| {
            let state = buffer.state.lock();
            state.sealed.is_some()
                || state.active.as_ref().is_some_and(|m| limits.is_none_or(|limits| limits.is_due(m, now)))
        };
        self.tables.read().iter().filter(|(_, b)| due(b)).map(|(id, _)| *id).collect()
    }

    /// Forgets the points of dropped tables.
    pub fn discard(&self, tables: &[TableId]) {
        for table in tables {
            let Some(buffer) = self.tables.write().remove(table) else { continue };
            let _flush = buffer.lock_flush();
            let mut state = buffer.state.lock();
            let sealed = state.sealed.take().map_or(0, |m| m.bytes);
            let active = state.active.take().map_or(0, |m| m.bytes);
            self.bytes.fetch_sub(sealed + active, Ordering::Relaxed);
        }
    }

    /// The oldest log record that is not in the engine yet.
    pub fn first_sequence(&self) -> Option<Sequence> {
        self.tables.read().values().filter_map(|b| b.first_sequence()).min()
    }

    /// Bytes held, about.
    pub fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }
}
