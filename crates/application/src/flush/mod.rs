//! Moving points from memory to the engine, and the log's truncation behind them.
//!
//! Invariant: a log record is truncated only after the rows it holds are in engine parts that survive a power failure.

pub mod dirty;
pub mod overlap;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use crossbeam_channel::{Receiver, Sender, bounded};
use hyperbytedb_domain::EngineError;
use hyperbytedb_domain::catalog::{Table, TableId};
use hyperbytedb_domain::ports::{FlushPort, MetadataPort, PointsSinkPort, TIME_COLUMN, WalPort};
use hyperbytedb_domain::wal::Sequence;
use parking_lot::Mutex;

use self::dirty::DirtyPartitions;
use self::overlap::OverlapTracker;
use crate::memtable::Memtable;
use crate::memtable::columns::sorted_rows;
use crate::memtable::set::{MemtableSet, SealLimits, TableBuffer};

/// Settings of flush and checkpoint.
#[derive(Debug, Clone)]
pub struct FlushOptions {
    pub limits: SealLimits,
    /// Writes are refused while memtables hold more.
    pub memory_limit_bytes: usize,
    /// Time between checkpoints: engine sync and log truncation.
    pub checkpoint_interval: Duration,
    /// The log's size that brings the next checkpoint forward.
    pub wal_size_bytes: u64,
    /// How long a partition with duplicates must be left alone before it is merged.
    pub merge_quiet: Duration,
    /// Series per table whose last time is remembered.
    pub overlap_series_max: usize,
}

impl Default for FlushOptions {
    fn default() -> Self {
        Self {
            limits: SealLimits {
                rows: 200_000,
                bytes: 64 << 20,
                age: Duration::from_secs(10),
                small_rows: 1_000,
                small_age: Duration::from_secs(60),
            },
            memory_limit_bytes: 512 << 20,
            checkpoint_interval: Duration::from_secs(5),
            wal_size_bytes: 256 << 20,
            merge_quiet: Duration::from_secs(30),
            overlap_series_max: 1_000_000,
        }
    }
}

/// Flushes on demand and, through [`FlushService::run`], by age, size and memory.
pub struct FlushService {
    pub memtables: MemtableSet,
    pub dirty: DirtyPartitions,
    pub overlap: OverlapTracker,
    pub options: FlushOptions,
    sink: Arc<dyn PointsSinkPort>,
    metadata: Arc<dyn MetadataPort>,
    wal: Arc<dyn WalPort>,
    /// The newest log record whose batches are in the memtables.
    pushed: AtomicU64,
    checkpoint: Mutex<Instant>,
    wake: (Sender<()>, Receiver<()>),
}

impl FlushService {
    pub fn new(
        options: FlushOptions,
        sink: Arc<dyn PointsSinkPort>,
        metadata: Arc<dyn MetadataPort>,
        wal: Arc<dyn WalPort>,
    ) -> Result<Self, hyperbytedb_domain::StorageError> {
        Ok(Self {
            memtables: MemtableSet::default(),
            dirty: DirtyPartitions::load(metadata.clone())?,
            overlap: OverlapTracker::new(options.overlap_series_max),
            pushed: AtomicU64::new(wal.last_sequence()),
            options,
            sink,
            metadata,
            wal,
            checkpoint: Mutex::new(Instant::now()),
            wake: bounded(1),
        })
    }

    /// Takes a log record's batches. Records must come in sequence order.
    pub fn push(&self, sequence: Sequence, batches: Vec<crate::memtable::ResolvedBatch>) {
        let mut full = false;
        for batch in batches {
            full |= self.memtables.push(sequence, batch, &self.options.limits);
        }
        self.pushed.store(sequence, Ordering::Release);
        if full {
            self.wake_up();
        }
    }

    /// Bytes the memtables may still take.
    pub fn has_room(&self) -> bool {
        self.memtables.bytes() < self.options.memory_limit_bytes
    }

    /// Makes the background thread look now.
    pub fn wake_up(&self) {
        // A full channel means that it is about to look anyway.
        let _ = self.wake.0.try_send(());
    }

    /// The background thread: flushes what is due, checkpoints, merges. Ends when `stop` is closed.
    pub fn run(&self, stop: &Receiver<()>) {
        let tick = crossbeam_channel::tick(Duration::from_millis(250));
        loop {
            crossbeam_channel::select! {
                recv(stop) -> _ => return,
                recv(self.wake.1) -> _ => {}
                recv(tick) -> _ => {}
            }
            if let Err(error) = self.run_once() {
                tracing::error!(%error, "flush failed; the points stay in memory and in the log, and it is tried again");
                metrics::counter!("hyperbytedb_flush_errors_total").increment(1);
                // Bounds the rate of retries.
                if stop.recv_timeout(Duration::from_secs(1)).is_ok() {
                    return;
                }
            }
        }
    }

    fn run_once(&self) -> Result<(), EngineError> {
        let pressed = self.memtables.bytes() > self.options.memory_limit_bytes / 2;
        for table in self.memtables.due(if pressed { None } else { Some(&self.options.limits) }) {
            self.flush_table(table)?;
        }
        metrics::gauge!("hyperbytedb_memtable_bytes").set(self.memtables.bytes() as f64);
        metrics::gauge!("hyperbytedb_wal_bytes").set(self.wal.size_bytes() as f64);
        let log_is_large = self.wal.size_bytes() > self.options.wal_size_bytes;
        let has_records = self.wal.size_bytes() > 0;
        let due = has_records && self.checkpoint.lock().elapsed() >= self.options.checkpoint_interval;
        if log_is_large || due {
            // Small memtables that have waited would otherwise keep the log from shrinking.
            if log_is_large {
                self.flush_tables(&self.memtables.due(None))?;
            }
            self.checkpoint()?;
        }
        for partition in self.dirty.settled(self.options.merge_quiet) {
            self.sink.merge_partition(partition.table, partition.partition)?;
            self.dirty.clear(&partition).map_err(|e| EngineError::failed("clear dirty mark", e))?;
            metrics::counter!("hyperbytedb_merged_partitions_total").increment(1);
        }
        Ok(())
    }

    fn flush_table(&self, table: TableId) -> Result<(), EngineError> {
        let Some(buffer) = self.memtables.buffer(table) else { return Ok(()) };
        if buffer.is_empty() {
            return Ok(());
        }
        let _flush = buffer.lock_flush();
        // A memtable left by a failed flush comes first.
        if let Some(memtable) = buffer.left_over() {
            self.flush_memtable(&buffer, &memtable)?;
        }
        match buffer.seal() {
            Some(memtable) => self.flush_memtable(&buffer, &memtable),
            None => Ok(()),
        }
    }

    fn flush_memtable(&self, buffer: &TableBuffer, memtable: &Memtable) -> Result<(), EngineError> {
        let Some(table) = memtable.table() else {
            self.memtables.release(buffer);
            return Ok(());
        };
        let started = Instant::now();
        let rows = sorted_rows(memtable).map_err(|e| EngineError::failed("sort memtable", e))?;
        self.sink.ensure_table(table)?;
        if !self.overlap.knows(table.id) {
            self.overlap.load(table.id, self.sink.max_time(table.id)?);
        }
        let times =
            rows.batch.column_by_name(TIME_COLUMN).map(|c| c.as_primitive::<Int64Type>().values().to_vec());
        let overlapping =
            self.overlap.overlapping(table, &rows.extents, times.as_deref().unwrap_or_default());
        if !overlapping.is_empty() {
            self.dirty.mark(table.id, &overlapping).map_err(|e| EngineError::failed("mark partitions", e))?;
        }
        let count = rows.batch.num_rows();
        self.sink.insert(table, rows.batch)?;
        self.overlap.flushed(table.id, &rows.extents);
        self.memtables.release(buffer);
        metrics::counter!("hyperbytedb_flushed_rows_total").increment(count as u64);
        metrics::histogram!("hyperbytedb_flush_seconds").record(started.elapsed().as_secs_f64());
        tracing::debug!(
            table = table.id.0,
            rows = count,
            ms = started.elapsed().as_millis() as u64,
            "flushed"
        );
        Ok(())
    }

    /// Makes everything flushed so far durable in the engine and truncates the log up to the first record that is not.
    pub fn checkpoint(&self) -> Result<(), EngineError> {
        let mut last = self.checkpoint.lock();
        let pushed = self.pushed.load(Ordering::Acquire);
        let keep_from = self.memtables.first_sequence().unwrap_or(pushed + 1).min(pushed + 1);
        self.sink.sync()?;
        self.metadata.sync().map_err(|e| EngineError::failed("sync catalogue", e))?;
        self.wal.truncate_before(keep_from).map_err(|e| EngineError::failed("truncate log", e))?;
        *last = Instant::now();
        Ok(())
    }

    /// Makes the table exist in the engine: one whose points are all in memory, or that has none yet, may not.
    pub fn ensure_table(&self, table: &Table) -> Result<(), EngineError> {
        self.sink.ensure_table(table)
    }

    /// Forgets everything about dropped tables.
    pub fn discard(&self, tables: &[TableId]) -> Result<(), EngineError> {
        self.memtables.discard(tables);
        tables.iter().for_each(|t| self.overlap.forget(*t));
        self.dirty.forget(tables).map_err(|e| EngineError::failed("forget dirty marks", e))
    }
}

impl FlushPort for FlushService {
    fn flush_tables(&self, tables: &[TableId]) -> Result<(), EngineError> {
        tables.iter().try_for_each(|t| self.flush_table(*t))
    }

    fn flush_all(&self) -> Result<(), EngineError> {
        self.flush_tables(&self.memtables.due(None))?;
        self.checkpoint()
    }
}
