//! Moving points from memory to the engine, and carrying out removals there, table by table and in log order.
//!
//! Workers take tables that have something to do; a table that fails is tried again later and delays no other. Removals
//! have workers of their own, so that a long one does not hold up flushes.
//!
//! Invariant: a log record is truncated only after what it says is in engine parts that survive a power failure.

pub mod checkpoint;
pub mod duplicates;
mod ended;
pub mod merge;
pub mod overlap;
mod removal;
mod work;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use crate::disk_space::{DiskSpace, DiskSpaceOptions};
use hyperbytedb_domain::catalog::{DeleteScope, ShardGroup, Table, TableId};
use hyperbytedb_domain::ports::{Outbound, PartitionInfo};
use hyperbytedb_domain::wal::Sequence;
use hyperbytedb_domain::{EngineError, QueryContext, SeriesId, StorageError, TimeRange};
use hyperbytedb_head::{Head, TableHead};
use hyperbytedb_metrics as metrics;
use parking_lot::Mutex;

use self::checkpoint::Checkpoint;
use self::duplicates::DirtyPartitions;
use self::ended::FlushedPartitions;
use self::overlap::OverlapTracker;
use self::work::{WorkQueue, WorkQueues};
use crate::log::LogError;
use crate::log::cursors::Cursors;
use crate::log::epochs::RemovalEpochs;
use crate::memtable::ResolvedBatch;
use crate::memtable::columns::sorted_rows;
use crate::memtable::queue::{
    Delete, DropPartitions, Item, SealLimits, TableQueue, Ticket, Unregister, Work,
};
use crate::memtable::set::MemtableSet;
use crate::threads::{Stop, Threads};

/// Settings of flush and checkpoint.
#[derive(Debug, Clone)]
pub struct FlushOptions {
    pub limits: SealLimits,
    /// Writes are refused while memtables hold more.
    pub memory_limit_bytes: usize,
    /// Time between checkpoints: engine sync and log truncation.
    pub checkpoint_interval: Duration,
    /// Bytes of log, flushed since the last checkpoint, that bring the next one forward.
    pub checkpoint_bytes: u64,
    /// The log's size beyond which what holds it back is flushed early.
    pub wal_size_bytes: u64,
    /// The log's size beyond which writes are refused.
    pub wal_size_bytes_max: u64,
    pub disk_space: DiskSpaceOptions,
    /// How long a partition with duplicates must be left alone before it is merged.
    pub merge_quiet: Duration,
    /// How long a partition of a shard group whose time is over must be left alone before it is merged; `None`: the engine
    /// alone decides.
    pub ended_quiet: Option<Duration>,
    /// Series per table whose last time is remembered.
    pub overlap_series_max: usize,
    /// Bytes of points that stay in memory behind their flush, for queries; 0 = none.
    pub head_bytes: usize,
    /// Tables that are flushed at the same time.
    pub workers: usize,
    /// The pause after the first attempt at a flush or a removal that fails.
    pub retry_pause: Duration,
    /// How long an orderly stop flushes; what is left then stays in the log.
    pub stop_timeout: Duration,
}

impl Default for FlushOptions {
    fn default() -> Self {
        Self {
            limits: SealLimits {
                rows: 500_000,
                bytes: 64 << 20,
                age: Duration::from_secs(10),
                small_rows: 1_000,
                small_age: Duration::from_secs(60),
            },
            memory_limit_bytes: 512 << 20,
            checkpoint_interval: Duration::from_secs(5),
            checkpoint_bytes: 32 << 20,
            wal_size_bytes: 256 << 20,
            wal_size_bytes_max: 4 << 30,
            disk_space: DiskSpaceOptions::default(),
            merge_quiet: Duration::from_secs(30),
            ended_quiet: Some(Duration::from_secs(5)),
            overlap_series_max: 1_000_000,
            head_bytes: 1 << 30,
            workers: 2,
            retry_pause: Duration::from_millis(100),
            stop_timeout: Duration::from_secs(2),
        }
    }
}

/// Tables that the engine may hold: all that there are, where it cannot be asked.
fn stored_tables(ports: &Outbound) -> Result<Vec<TableId>, EngineError> {
    match ports.sink.existing_tables() {
        Err(EngineError::Unavailable(_)) => {
            Ok(ports.catalog.catalog().tables().map(|table| table.id).collect())
        }
        known => known,
    }
}

/// How often memtables are looked at for their age.
const SEAL_INTERVAL: Duration = Duration::from_millis(250);

/// Flushes on demand and, through its threads, by age, size and memory.
pub struct FlushService {
    memtables: MemtableSet,
    head: Head,
    dirty: DirtyPartitions,
    overlap: OverlapTracker,
    flushed_partitions: FlushedPartitions,
    epochs: RemovalEpochs,
    cursors: Cursors,
    disk_space: DiskSpace,
    options: FlushOptions,
    ports: Outbound,
    queues: WorkQueues,
    checkpoint: Checkpoint,
    /// Held while marks of merged partitions are cleared.
    marks_clear: Mutex<()>,
    /// The newest log record whose effects are in the queues.
    applied: AtomicU64,
    /// Told of tables whose last series is gone.
    emptied: OnceLock<Box<dyn Fn(TableId) + Send + Sync>>,
}

impl FlushService {
    pub fn new(options: FlushOptions, ports: Outbound) -> Result<Self, LogError> {
        let cursors = Cursors::load(ports.local_state.clone())?;
        Ok(Self {
            memtables: MemtableSet::new(options.retry_pause),
            head: Head::new(options.head_bytes, stored_tables(&ports)?),
            dirty: DirtyPartitions::load(ports.local_state.clone())?,
            overlap: OverlapTracker::new(options.overlap_series_max),
            flushed_partitions: FlushedPartitions::default(),
            epochs: RemovalEpochs::default(),
            // Nothing beyond the cursor has been replayed yet, so nothing beyond it may be truncated.
            applied: AtomicU64::new(cursors.flushed()),
            cursors,
            disk_space: DiskSpace::new(options.disk_space),
            options,
            ports,
            queues: WorkQueues::default(),
            checkpoint: Checkpoint::default(),
            marks_clear: Mutex::default(),
            emptied: OnceLock::new(),
        })
    }

    /// Starts the threads.
    pub fn start(self: &Arc<Self>, threads: &Threads) -> std::io::Result<()> {
        for worker in 0..self.options.workers.max(1) {
            let flush = self.clone();
            threads.spawn(&format!("flush-{worker}"), move |stop| flush.run_flushes(stop))?;
        }
        let flush = self.clone();
        threads.spawn("removal", move |stop| flush.run_removals(stop))?;
        let flush = self.clone();
        threads.spawn("seal", move |stop| {
            while stop.wait(SEAL_INTERVAL) {
                flush.seal_due();
            }
        })?;
        let flush = self.clone();
        threads.spawn("checkpoint", move |stop| flush.run_checkpoints(stop))?;
        let flush = self.clone();
        threads.spawn("merge", move |stop| flush.run_merges(stop))?;
        let Some(quiet) = self.options.ended_quiet else { return Ok(()) };
        let flush = self.clone();
        threads.spawn("merge-ended", move |stop| flush.run_ended_merges(quiet, stop))
    }

    /// Who drops tables whose last series is gone. Set once; those that were emptied before are named at once.
    pub fn on_emptied(
        &self,
        drop_table: impl Fn(TableId) + Send + Sync + 'static,
    ) -> Result<(), StorageError> {
        let drop_table = self.emptied.get_or_init(|| Box::new(drop_table));
        for table in self.ports.catalog.catalog().tables() {
            if self.ports.series.series_count(table.id)? == 0 {
                drop_table(table.id);
            }
        }
        Ok(())
    }

    /// Takes a log record's batches. Records must come in sequence order.
    pub fn push(&self, sequence: Sequence, batches: Vec<ResolvedBatch>) {
        for batch in batches {
            self.head.push(batch.new_rows());
            if let Some(queue) = self.memtables.push(sequence, batch, &self.options.limits) {
                self.queues.add(&queue);
            }
        }
    }

    /// Puts a delete behind everything that has been pushed. `again`: it may have been carried out before.
    pub fn delete(
        &self,
        sequence: Sequence,
        table: &Arc<Table>,
        scope: &DeleteScope,
        again: bool,
    ) -> PendingWork {
        self.head.remove(table, scope.filter.as_ref(), scope.time);
        let delete = Delete { table: table.clone(), scope: scope.clone(), sequence, again };
        self.remove(table, Item::Delete(Arc::new(delete)))
    }

    /// Drops the partitions that a table has of these shard groups, behind everything that has been pushed. `again` as of
    /// [`delete`](Self::delete).
    pub fn drop_partitions(
        &self,
        sequence: Sequence,
        table: &Arc<Table>,
        shards: &[ShardGroup],
        again: bool,
    ) -> PendingWork {
        for shard in shards {
            self.head.remove(table, None, TimeRange { min: shard.start, max: shard.end.saturating_sub(1) });
        }
        let numbers = shards.iter().map(|shard| shard.id).collect();
        self.drop_stored_partitions(sequence, table, numbers, again)
    }

    /// As [`drop_partitions`](Self::drop_partitions), of shard groups of which only the numbers are known and whose points
    /// are not in memory.
    pub fn drop_stored_partitions(
        &self,
        sequence: Sequence,
        table: &Arc<Table>,
        shards: Vec<u64>,
        again: bool,
    ) -> PendingWork {
        let drop = DropPartitions { table: table.clone(), shards, sequence, again };
        self.remove(table, Item::DropPartitions(Arc::new(drop)))
    }

    /// Forgets the points of a dropped table, and drops it.
    pub fn drop_table(&self, sequence: Sequence, table: &Arc<Table>) -> PendingWork {
        self.head.drop_table(table.id);
        self.remove(table, Item::DropTable { table: table.clone(), sequence })
    }

    /// Takes series out of the index that were registered for a write that is not in the log, but for those that have points.
    pub fn unregister_unlogged(&self, table: &Arc<Table>, series: Vec<SeriesId>) {
        // With a dropped table its series go.
        if self.ports.catalog.catalog().current(table).is_none() {
            return;
        }
        let (sequence, is_unlogged) = (self.applied(), true);
        let unregister = Unregister { table: table.clone(), series, sequence, is_unlogged };
        self.remove(table, Item::Unregister(Arc::new(unregister)));
    }

    fn remove(&self, table: &Table, item: Item) -> PendingWork {
        let (queue, ticket) = self.memtables.push_removal(table.id, item);
        self.queues.add(&queue);
        PendingWork { queue, ticket }
    }

    /// Notes that everything up to a log record has been pushed.
    pub fn set_applied(&self, sequence: Sequence) {
        self.applied.store(sequence, Ordering::Release);
    }

    pub fn applied(&self) -> Sequence {
        self.applied.load(Ordering::Acquire)
    }

    /// Returns when everything pushed before the call is in the engine, for these tables.
    pub fn flush_tables(&self, tables: &[TableId], context: &QueryContext) -> Result<(), EngineError> {
        let pending: Vec<PendingWork> = tables
            .iter()
            .filter_map(|&table| {
                let queue = self.memtables.queue(table)?;
                let ticket = queue.barrier()?;
                self.queues.add_urgent(&queue);
                Some(PendingWork { queue, ticket })
            })
            .collect();
        pending.iter().try_for_each(|work| work.wait(context))
    }

    /// Returns when scans of the engine that name the shard groups they mean can see nothing of what was removed from the table before
    /// a restart.
    pub fn wait_for_half_deletes(&self, table: TableId, context: &QueryContext) -> Result<(), EngineError> {
        self.wait_for(table, TableQueue::last_half_deleted, context)
    }

    /// Returns when what was removed from the table before a restart is gone, also from the series index.
    pub fn wait_for_replayed_removals(
        &self,
        table: TableId,
        context: &QueryContext,
    ) -> Result<(), EngineError> {
        self.wait_for(table, TableQueue::last_again, context)
    }

    /// Returns when no scan of the engine can see what the records that have taken effect removed from the table. Whoever
    /// asked for a removal waits for it; whoever follows the log has to wait here.
    pub fn wait_for_removals(&self, table: TableId, context: &QueryContext) -> Result<(), EngineError> {
        self.wait_for(table, TableQueue::last_removal, context)
    }

    /// Has a table's items done up to the one that `ticket` names, if any, and waits for it.
    fn wait_for(
        &self,
        table: TableId,
        ticket: impl Fn(&TableQueue) -> Option<Ticket>,
        context: &QueryContext,
    ) -> Result<(), EngineError> {
        let Some(queue) = self.memtables.queue(table) else { return Ok(()) };
        let Some(ticket) = ticket(&queue) else { return Ok(()) };
        self.queues.add_urgent(&queue);
        queue.wait(ticket, context)
    }

    /// As [`flush_tables`](Self::flush_tables), for all tables.
    pub fn flush_all(&self, context: &QueryContext) -> Result<(), EngineError> {
        let tables: Vec<TableId> = self.memtables.all().iter().map(|queue| queue.table).collect();
        self.flush_tables(&tables, context)
    }

    /// The earliest time within a range that a point has which is not in the engine yet; about, but never too late.
    pub fn first_unflushed(&self, table: TableId, range: TimeRange) -> Option<i64> {
        self.memtables.queue(table)?.first_time(range)
    }

    pub fn head(&self) -> &Head {
        &self.head
    }

    /// How often points were removed from a table's head; `None` while the engine still has to remove some.
    pub fn removals_done(&self, head: &TableHead) -> Option<u64> {
        let _applying = self.epochs.lock();
        (!self.is_removing(head.table)).then(|| head.removals())
    }

    /// Whether the engine still has to remove points of a table.
    pub fn is_removing(&self, table: TableId) -> bool {
        self.memtables.queue(table).is_some_and(|queue| queue.has_removals())
    }

    /// Finds out what the engine holds of a table, so that it is known what its head has.
    pub fn know_stored(&self, table: TableId) -> Result<(), EngineError> {
        let head = self.head.table(table).filter(|head| !head.is_known());
        if head.is_none() && self.overlap.knows(table) {
            return Ok(());
        }
        let max_times = self.ports.sink.max_times(table)?;
        if let Some(head) = head {
            head.know_stored(max_times.iter().map(|(_, time)| *time).max());
        }
        self.overlap.load(table, max_times);
        Ok(())
    }

    /// The partitions of all tables in the engine.
    pub fn partitions(&self) -> Result<Vec<PartitionInfo>, EngineError> {
        self.ports.sink.partitions(None)
    }

    pub fn disk_space(&self) -> &DiskSpace {
        &self.disk_space
    }

    /// Whether the memtables may take more.
    pub fn has_room(&self) -> bool {
        self.memtables.bytes() < self.options.memory_limit_bytes
    }

    /// Whether the log may take more.
    pub fn log_has_room(&self) -> bool {
        self.ports.wal.size_bytes() < self.options.wal_size_bytes_max
    }

    /// Whether more of the log waits for the flush than should. What waits for others alone does not count.
    fn log_is_large(&self) -> bool {
        let limit = self.options.wal_size_bytes;
        self.ports.wal.size_bytes() > limit
            && self.ports.wal.bytes_from(self.cursors.flushed() + 1).is_ok_and(|bytes| bytes > limit)
    }

    /// Bytes in memory that are not in the engine yet.
    pub fn memory_bytes(&self) -> usize {
        self.memtables.bytes()
    }

    pub fn dirty(&self) -> &DirtyPartitions {
        &self.dirty
    }

    pub fn overlap(&self) -> &OverlapTracker {
        &self.overlap
    }

    pub fn epochs(&self) -> &RemovalEpochs {
        &self.epochs
    }

    pub fn cursors(&self) -> &Cursors {
        &self.cursors
    }

    /// Makes memory: seals everything and has it flushed.
    pub fn press(&self) {
        self.seal(None);
    }

    fn seal_due(&self) {
        let pressed = self.memtables.bytes() > self.options.memory_limit_bytes / 2 || self.log_is_large();
        self.seal((!pressed).then_some(&self.options.limits));
        self.head.keep_budget();
        metrics::HEAD_BYTES.set(self.head.bytes() as f64);
        metrics::MEMTABLE_BYTES.set(self.memtables.bytes() as f64);
        metrics::WAL_BYTES.set(self.ports.wal.size_bytes() as f64);
    }

    fn seal(&self, limits: Option<&SealLimits>) {
        for queue in self.memtables.all() {
            if queue.seal(limits) {
                self.queues.add(&queue);
            }
        }
    }

    /// Flushes tables until it is stopped.
    pub fn run_flushes(&self, stop: &Stop) {
        self.work(&self.queues.flushes, stop);
    }

    /// Carries out removals until it is stopped.
    pub fn run_removals(&self, stop: &Stop) {
        self.work(&self.queues.removals, stop);
    }

    /// A worker: takes tables until it is stopped.
    fn work(&self, queue: &WorkQueue, stop: &Stop) {
        while let Some(table) = queue.take(stop) {
            self.work_at(&table, queue);
        }
    }

    /// Does what the workers would find to do, on this thread. Whether there was anything.
    #[cfg(test)]
    pub(crate) fn work_off(&self) -> bool {
        let mut worked = false;
        for queue in [&self.queues.flushes, &self.queues.removals] {
            while let Some(table) = queue.try_take() {
                self.work_at(&table, queue);
                worked = true;
            }
        }
        worked
    }

    fn work_at(&self, table: &Arc<TableQueue>, queue: &WorkQueue) {
        while let Some(work) = self.take_work(table, queue) {
            self.carry_out(work);
        }
    }

    /// The table's next item, if it is for workers of this queue; else the table goes to the other one.
    fn take_work(&self, table: &Arc<TableQueue>, queue: &WorkQueue) -> Option<Work> {
        if table.front_is_removal()? == queue.for_removals() {
            return table.take();
        }
        self.queues.add(table);
        None
    }

    fn carry_out(&self, work: Work) {
        let outcome = match &work.item {
            Item::Flush(memtable) => self.flush_memtable(memtable, work.attempts).map(Progress::done),
            Item::Delete(delete) => self.carry_out_delete(&work, delete),
            Item::DropPartitions(drop) => self.carry_out_drop_partitions(&work, drop).map(Progress::done),
            Item::DropTable { table, .. } => self.carry_out_drop_table(table).map(Progress::done),
            Item::Unregister(unregister) => self.carry_out_unregister(&work, unregister).map(Progress::done),
        };
        match outcome {
            Ok(Progress::Done) => self.memtables.release(work.finish()),
            Ok(Progress::Postponed) => work.postpone(),
            Err(error) => {
                tracing::error!(%error, attempts = work.attempts, "flush or removal failed; it stays in the log and is tried again");
                metrics::FLUSH_ERRORS.increment(1);
                work.fail(error);
            }
        }
    }

    fn flush_memtable(&self, memtable: &crate::memtable::Memtable, attempts: u32) -> Result<(), EngineError> {
        let Some(table) = memtable.table() else { return Ok(()) };
        let started = Instant::now();
        let rows = sorted_rows(memtable).map_err(|e| EngineError::failed("sort memtable", e))?;
        metrics::FLUSH_SORT.record_duration(started.elapsed());
        self.ports.sink.ensure_table(table)?;
        self.know_stored(table.id)?;
        // An insert that failed may have stored any part of its rows.
        let overlapping =
            if attempts > 0 { rows.shards.clone() } else { self.overlap.overlapping(table.id, &rows) };
        let marks = self
            .dirty
            .mark(table.id, &overlapping)
            .map_err(|error| EngineError::failed("mark partitions", error))?;
        let inserting = Instant::now();
        let records = memtable.first_sequence..=memtable.last_sequence;
        self.ports.sink.insert(table, rows.batch.clone(), records)?;
        metrics::FLUSH_INSERT.record_duration(inserting.elapsed());
        drop(marks);
        self.overlap.flushed(table.id, &rows);
        if self.options.ended_quiet.is_some() {
            self.flushed_partitions.note(table.id, &rows);
        }
        metrics::FLUSH_POINTS.increment(rows.times.len() as u64);
        metrics::FLUSH_RUNS.increment(1);
        metrics::FLUSH_DURATION.record_duration(started.elapsed());
        let ms = started.elapsed().as_millis() as u64;
        tracing::debug!(table = table.id.0, rows = rows.times.len(), ms, "flushed");
        Ok(())
    }

    /// An orderly stop: flushes for a while, the largest memtables first. What is left stays in the log.
    pub fn flush_for_stop(&self) {
        let deadline = Instant::now() + self.options.stop_timeout;
        let context = QueryContext { deadline: Some(deadline), ..QueryContext::unbounded() };
        let mut queues = self.memtables.all();
        queues.sort_by_key(|queue| std::cmp::Reverse(queue.active_bytes()));
        for queue in queues {
            if Instant::now() >= deadline {
                break;
            }
            let Some(ticket) = queue.barrier() else { continue };
            self.queues.add(&queue);
            let work = PendingWork { queue, ticket };
            if let Err(error) = work.wait(&context) {
                tracing::debug!(%error, table = work.queue.table.0, "not flushed at the stop");
            }
        }
    }
}

/// What came of an attempt at an item.
enum Progress {
    Done,
    /// The engine is not ready for it.
    Postponed,
}

impl Progress {
    fn done((): ()) -> Self {
        Self::Done
    }
}

/// Something that a worker will do.
pub struct PendingWork {
    queue: Arc<TableQueue>,
    ticket: Ticket,
}

impl PendingWork {
    /// Returns when it is done, or with the error of the next attempt that fails.
    pub fn wait(&self, context: &QueryContext) -> Result<(), EngineError> {
        self.queue.wait(self.ticket, context)
    }
}

#[cfg(test)]
mod tests;
