//! What waits for one table's engine table, in log order: the active memtable, sealed ones, and removals between them.
//!
//! One worker at a time works at the front. Whoever must see an item done waits for its ticket; a failure is told to all
//! who wait, and the item stays in front.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hashbrown::HashMap;
use hyperbytedb_domain::catalog::{DeleteScope, Table, TableId};
use hyperbytedb_domain::wal::Sequence;
use hyperbytedb_domain::{EngineError, QueryContext, SeriesId, TimeRange};
use parking_lot::{Condvar, Mutex};

use super::{Memtable, ResolvedBatch};
use crate::waiting;

/// How often a waiting call looks whether it is still wanted.
const WATCH_INTERVAL: Duration = Duration::from_millis(50);
/// Pauses between attempts at an item that fails are doubled, up to this multiple of the first.
const RETRY_MULTIPLE_MAX: u32 = 100;

/// Position of an item among all items of its queue; the first is 1.
pub type Ticket = u64;

/// Something to be done in the engine.
#[derive(Debug, Clone)]
pub enum Item {
    Flush(Arc<Memtable>),
    Delete(Arc<Delete>),
    DropPartitions(Arc<DropPartitions>),
    DropTable { table: Arc<Table>, sequence: Sequence },
    Unregister(Arc<Unregister>),
}

/// Takes series out of the index that may have no points, if so.
#[derive(Debug, Clone)]
pub struct Unregister {
    pub table: Arc<Table>,
    pub series: Vec<SeriesId>,
    pub sequence: Sequence,
    /// They were registered for a write that was not logged.
    pub is_unlogged: bool,
}

/// A drop of the partitions of some shard groups.
#[derive(Debug, Clone)]
pub struct DropPartitions {
    pub table: Arc<Table>,
    /// Numbers of the shard groups.
    pub shards: Vec<u64>,
    pub sequence: Sequence,
    /// As of [`Delete`].
    pub again: bool,
}

/// A delete of the points before it.
#[derive(Debug, Clone)]
pub struct Delete {
    pub table: Arc<Table>,
    pub scope: DeleteScope,
    pub sequence: Sequence,
    /// It may have been carried out in part already: by an attempt that failed, or before a restart.
    pub again: bool,
}

impl Item {
    fn first_sequence(&self) -> Sequence {
        match self {
            Self::Flush(memtable) => memtable.first_sequence,
            Self::Delete(delete) => delete.sequence,
            Self::DropPartitions(drop) => drop.sequence,
            Self::DropTable { sequence, .. } => *sequence,
            Self::Unregister(unregister) => unregister.sequence,
        }
    }

    fn last_sequence(&self) -> Sequence {
        match self {
            Self::Flush(memtable) => memtable.last_sequence,
            other => other.first_sequence(),
        }
    }

    fn memtable(&self) -> Option<&Arc<Memtable>> {
        if let Self::Flush(memtable) = self { Some(memtable) } else { None }
    }

    fn bytes(&self) -> usize {
        self.memtable().map_or(0, |memtable| memtable.bytes)
    }

    pub fn is_removal(&self) -> bool {
        !matches!(self, Self::Flush(_))
    }

    /// Whether somebody may have been told already that it is done.
    fn is_again(&self) -> bool {
        match self {
            Self::Delete(delete) => delete.again,
            Self::DropPartitions(drop) => drop.again,
            Self::Flush(_) | Self::DropTable { .. } | Self::Unregister(_) => false,
        }
    }

    /// Whether scans of the engine may differ by who answers them, or see what somebody knows to be gone. Of dropped partitions they
    /// ask nothing.
    fn is_half_deleted(&self) -> bool {
        matches!(self, Self::Delete(delete) if delete.again)
    }

    fn set_again(&mut self) {
        if let Self::Delete(delete) = self {
            Arc::make_mut(delete).again = true;
        }
    }
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

    fn is_due(&self, memtable: &Memtable) -> bool {
        let age = if memtable.rows < self.small_rows { self.small_age } else { self.age };
        self.is_full(memtable) || memtable.created.elapsed() >= age
    }
}

#[derive(Debug)]
pub struct TableQueue {
    pub table: TableId,
    /// The pause after the first attempt that fails.
    retry_pause: Duration,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    active: Option<Memtable>,
    items: VecDeque<Item>,
    /// Ticket of the last item that is done; `items[0]` has the next one.
    done: Ticket,
    /// The last log record of the items that are done.
    done_sequence: Sequence,
    busy: bool,
    failure: Option<Failure>,
    /// The front item must wait until then.
    postponed_until: Option<Instant>,
    /// Attempts that failed, of all items.
    failures: u64,
    /// The table is dropped: nothing may come in any more.
    closed: bool,
    /// Removals in the queue or at work, and the last log record of each series written behind the first of them.
    removals: usize,
    written: HashMap<SeriesId, Sequence>,
}

#[derive(Debug)]
struct Failure {
    error: EngineError,
    attempts: u32,
    retry_at: Instant,
}

/// The right to work at the front of a queue. Dropped without [`Work::finish`], it counts as a failure.
#[derive(Debug)]
pub struct Work {
    pub queue: Arc<TableQueue>,
    pub item: Item,
    /// Attempts before this one.
    pub attempts: u32,
    ended: bool,
}

impl TableQueue {
    pub fn new(table: TableId, retry_pause: Duration) -> Self {
        Self { table, retry_pause, state: Mutex::default(), changed: Condvar::new() }
    }

    /// Appends a batch to the active memtable. Returns the bytes added, and whether it was sealed because it is full.
    pub fn push(&self, sequence: Sequence, batch: ResolvedBatch, limits: &SealLimits) -> (usize, bool) {
        let mut state = self.state.lock();
        if state.closed {
            return (0, false);
        }
        if state.removals > 0 {
            state.written.extend(batch.series.iter().map(|(id, _)| (*id, sequence)));
        }
        let memtable = state.active.get_or_insert_with(|| Memtable::new(sequence));
        let added = memtable.push(sequence, batch);
        let full = limits.is_full(memtable);
        if full {
            state.seal();
        }
        (added, full)
    }

    /// Seals the active memtable if it is due, in any case when `limits` is `None`. Whether there is work.
    pub fn seal(&self, limits: Option<&SealLimits>) -> bool {
        let mut state = self.state.lock();
        if state.active.as_ref().is_some_and(|memtable| limits.is_none_or(|limits| limits.is_due(memtable))) {
            state.seal();
        }
        state.has_work()
    }

    /// Puts a removal behind everything that is there. Returns its ticket, and the bytes that need not be flushed any more.
    pub fn push_removal(&self, item: Item) -> (Ticket, usize) {
        let mut state = self.state.lock();
        let mut freed = 0;
        if let Item::DropTable { .. } = item {
            freed = state.discard();
            state.closed = true;
        } else {
            state.seal();
        }
        state.removals += 1;
        state.items.push_back(item);
        (state.last_ticket(), freed)
    }

    /// The front item, unless somebody is at it, or its time to be tried again has not come.
    pub fn take(self: &Arc<Self>) -> Option<Work> {
        let mut state = self.state.lock();
        if !state.has_work() {
            return None;
        }
        let item = state.items.front()?.clone();
        state.busy = true;
        let attempts = state.failure.as_ref().map_or(0, |failure| failure.attempts);
        Some(Work { queue: self.clone(), item, attempts, ended: false })
    }

    /// Whether a removal waits or is at work.
    pub fn has_removals(&self) -> bool {
        self.state.lock().removals > 0
    }

    /// The ticket of the last removal in the queue that was logged before a restart: who asked for it may know it done.
    pub fn last_again(&self) -> Option<Ticket> {
        self.last(Item::is_again)
    }

    /// The ticket of the last delete in the queue that may be carried out in part.
    pub fn last_half_deleted(&self) -> Option<Ticket> {
        self.last(Item::is_half_deleted)
    }

    /// The ticket of the last removal in the queue.
    pub fn last_removal(&self) -> Option<Ticket> {
        self.last(Item::is_removal)
    }

    fn last(&self, is_meant: impl Fn(&Item) -> bool) -> Option<Ticket> {
        let state = self.state.lock();
        let position = state.items.iter().rposition(is_meant)?;
        Some(state.done + position as Ticket + 1)
    }

    /// Whether the front item, if any, is a removal.
    pub fn front_is_removal(&self) -> Option<bool> {
        self.state.lock().items.front().map(Item::is_removal)
    }

    /// Seals what is there and returns the ticket that stands for all of it, for [`wait`](Self::wait).
    pub fn barrier(&self) -> Option<Ticket> {
        let mut state = self.state.lock();
        state.seal();
        if let Some(failure) = &mut state.failure {
            failure.retry_at = Instant::now();
        }
        (!state.items.is_empty()).then(|| state.last_ticket())
    }

    /// Returns when the item of this ticket is done, or with the error of the next attempt that fails.
    pub fn wait(&self, ticket: Ticket, context: &QueryContext) -> Result<(), EngineError> {
        let mut state = self.state.lock();
        let failures = state.failures;
        loop {
            if state.done >= ticket {
                return Ok(());
            }
            if let Some(failure) = state.failure.as_ref().filter(|_| state.failures > failures) {
                return Err(failure.error.clone());
            }
            context.check()?;
            let now = waiting::now();
            let until = context.deadline.unwrap_or(now + WATCH_INTERVAL).min(now + WATCH_INTERVAL);
            waiting::wait_until(&self.changed, &mut state, until);
        }
    }

    /// The oldest log record that is not in the engine yet.
    pub fn first_sequence(&self) -> Option<Sequence> {
        let state = self.state.lock();
        let active = state.active.as_ref().map(|memtable| memtable.first_sequence);
        state.items.front().map(Item::first_sequence).or(active)
    }

    /// The earliest time within a range that a waiting point may have.
    pub fn first_time(&self, range: TimeRange) -> Option<i64> {
        let state = self.state.lock();
        let of_items = state.items.iter().filter_map(Item::memtable).map(|memtable| &**memtable);
        let overlaps =
            |memtable: &&Memtable| memtable.min_time <= range.max && memtable.max_time >= range.min;
        let memtables = of_items.chain(&state.active).filter(overlaps);
        memtables.map(|memtable| memtable.min_time.max(range.min)).min()
    }

    /// The last log record of the items that are done; 0 = none.
    pub fn done_sequence(&self) -> Sequence {
        self.state.lock().done_sequence
    }

    pub fn active_bytes(&self) -> usize {
        self.state.lock().active.as_ref().map_or(0, |memtable| memtable.bytes)
    }

    pub fn is_empty(&self) -> bool {
        let state = self.state.lock();
        state.items.is_empty() && state.active.is_none()
    }

    /// Takes out of `series` those that were written after the removal of this sequence.
    pub fn retain_unwritten_since(&self, removal: Sequence, series: &mut Vec<SeriesId>) {
        let state = self.state.lock();
        series.retain(|id| state.written.get(id).is_none_or(|&written| written < removal));
    }

    fn finish(&self, item: &Item) -> usize {
        let mut state = self.state.lock();
        state.busy = false;
        state.failure = None;
        state.postponed_until = None;
        // The queue may have been emptied by a drop meanwhile.
        let is_front = |front: &Item| front.first_sequence() == item.first_sequence();
        if !state.items.front().is_some_and(is_front) {
            self.changed.notify_all();
            return 0;
        }
        state.items.pop_front();
        state.done += 1;
        state.done_sequence = state.done_sequence.max(item.last_sequence());
        if item.is_removal() {
            state.removals -= 1;
            if state.removals == 0 {
                state.written = HashMap::new();
            }
        }
        self.changed.notify_all();
        item.bytes()
    }

    fn postpone(&self) {
        let mut state = self.state.lock();
        state.busy = false;
        state.postponed_until = Some(Instant::now() + self.retry_pause);
    }

    fn fail(&self, error: EngineError) {
        let mut state = self.state.lock();
        state.busy = false;
        state.failures += 1;
        let attempts = state.failure.as_ref().map_or(0, |failure| failure.attempts).saturating_add(1);
        let pause = self.retry_pause * (1 << (attempts - 1).min(16)).min(RETRY_MULTIPLE_MAX);
        state.failure = Some(Failure { error, attempts, retry_at: Instant::now() + pause });
        if let Some(item) = state.items.front_mut() {
            item.set_again();
        }
        self.changed.notify_all();
    }
}

impl State {
    fn seal(&mut self) {
        if let Some(memtable) = self.active.take() {
            self.items.push_back(Item::Flush(Arc::new(memtable)));
        }
    }

    fn has_work(&self) -> bool {
        let now = Instant::now();
        let is_time = self.failure.as_ref().is_none_or(|failure| failure.retry_at <= now)
            && self.postponed_until.is_none_or(|until| until <= now);
        !self.busy && !self.items.is_empty() && is_time
    }

    fn last_ticket(&self) -> Ticket {
        self.done + self.items.len() as Ticket
    }

    /// Forgets everything: the table is dropped. Whoever waits for an item finds it done.
    fn discard(&mut self) -> usize {
        let bytes = self.active.take().map_or(0, |memtable| memtable.bytes)
            + self.items.iter().map(Item::bytes).sum::<usize>();
        self.done += self.items.len() as Ticket;
        self.items.clear();
        self.failure = None;
        self.postponed_until = None;
        self.removals = 0;
        bytes
    }
}

impl Work {
    /// The item is done. Returns the bytes it held.
    pub fn finish(mut self) -> usize {
        self.ended = true;
        self.queue.finish(&self.item)
    }

    /// The item stays in front for a moment. Not a failure: whoever waits for it goes on waiting.
    pub fn postpone(mut self) {
        self.ended = true;
        self.queue.postpone();
    }

    /// The item stays in front and is tried again later.
    pub fn fail(mut self, error: EngineError) {
        self.ended = true;
        self.queue.fail(error);
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        if !self.ended {
            self.queue.fail(EngineError::failed("flush", "the worker ended abnormally"));
        }
    }
}

#[cfg(test)]
mod tests;
