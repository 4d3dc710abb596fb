//! Making flushed points durable, moving the cursors, and truncating the log behind them.

use std::time::{Duration, Instant};

use hyperbytedb_domain::EngineError;
use hyperbytedb_domain::catalog::TableId;
use hyperbytedb_domain::wal::Sequence;
use parking_lot::Mutex;

use super::FlushService;
use crate::threads::Stop;

/// How often the thread looks whether a checkpoint is due.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);
/// How often the engine is asked what it has left to do.
const REPORT_INTERVAL: Duration = Duration::from_secs(5);

/// When the last checkpoint was; held during one.
pub(super) struct Checkpoint(Mutex<Instant>);

impl Default for Checkpoint {
    fn default() -> Self {
        Self(Mutex::new(Instant::now()))
    }
}

impl FlushService {
    pub(super) fn run_checkpoints(&self, stop: &Stop) {
        let mut reported = Instant::now();
        while stop.wait(LOOK_INTERVAL) {
            if reported.elapsed() >= REPORT_INTERVAL {
                if let Err(error) = self.report_unfinished_deletes() {
                    tracing::debug!(%error, "the engine did not say what it has left to do");
                }
                reported = Instant::now();
            }
            let size = self.ports.wal.size_bytes();
            let is_due = self.checkpoint.0.lock().elapsed() >= self.options.checkpoint_interval;
            if size == 0 || !(is_due || size > self.options.wal_size_bytes) {
                continue;
            }
            if let Err(error) = self.checkpoint() {
                tracing::error!(%error, "checkpoint failed; the log is kept and it is tried again");
                metrics::counter!("hyperbytedb_checkpoint_errors_total").increment(1);
                *self.checkpoint.0.lock() = Instant::now();
            }
        }
    }

    /// Makes everything flushed so far durable, moves the cursors and truncates the log up to the first record that is
    /// still needed.
    pub fn checkpoint(&self) -> Result<(), EngineError> {
        let mut last = self.checkpoint.0.lock();
        let started = Instant::now();
        // Read before anything is synced: what is done now is what the sync makes durable.
        let applied = self.applied();
        let flushed = self.memtables.first_sequence().map_or(applied, |first| applied.min(first - 1));
        let tables: Vec<(TableId, Sequence)> =
            self.memtables.all().iter().map(|queue| (queue.table, queue.done_sequence())).collect();
        self.ports.sink.sync()?;
        let failed = |context| move |error| EngineError::failed(context, error);
        // Cursors must never point beyond a log that a power failure cuts short.
        self.ports.wal.sync().map_err(failed("sync the log"))?;
        self.cursors.store_flushed(flushed, tables.into_iter()).map_err(failed("store cursors"))?;
        // A cursor that moves behind this call is not durable yet.
        let keep_from = self.cursors.oldest_needed();
        self.ports.local_state.sync().map_err(failed("sync the catalogue"))?;
        self.ports.wal.truncate_before(keep_from).map_err(failed("truncate the log"))?;
        *last = Instant::now();
        metrics::histogram!("hyperbytedb_checkpoint_seconds").record(started.elapsed().as_secs_f64());
        Ok(())
    }
}
