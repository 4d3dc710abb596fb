//! Making flushed points durable, moving the cursors, and truncating the log behind them.

use std::time::{Duration, Instant};

use hyperbytedb_domain::EngineError;
use hyperbytedb_domain::catalog::TableId;
use hyperbytedb_domain::wal::Sequence;
use hyperbytedb_metrics as metrics;
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
            let is_due = self.checkpoint.0.lock().elapsed() >= self.options.checkpoint_interval;
            if self.ports.wal.size_bytes() == 0
                || !(is_due || self.bytes_since_checkpoint() > self.options.checkpoint_bytes)
            {
                continue;
            }
            if let Err(error) = self.checkpoint() {
                tracing::error!(%error, "checkpoint failed; the log is kept and it is tried again");
                metrics::CHECKPOINT_ERRORS.increment(1);
                *self.checkpoint.0.lock() = Instant::now();
            }
        }
    }

    /// Runs `copy` while cursors stand still, the log keeps its records and dirty partitions their marks. So a copy of
    /// the engine, then of the node's state, then of the log is what a crash would leave: what the engine's lacks is in
    /// the log behind the cursors. Flushes and writes go on meanwhile.
    pub fn while_cursors_stand<T>(&self, copy: impl FnOnce() -> T) -> T {
        let _no_checkpoint = self.checkpoint.0.lock();
        let _marks_stay = self.marks_clear.lock();
        copy()
    }

    /// The last record whose points, and those before it, have been flushed, durable or not.
    fn flushed(&self) -> Sequence {
        // Read first: what is pushed behind it is in a memtable that is asked later.
        let applied = self.applied();
        self.memtables.first_sequence().map_or(applied, |first| applied.min(first - 1))
    }

    /// Bytes of log whose points were flushed since the last checkpoint; 0 when the log cannot say.
    fn bytes_since_checkpoint(&self) -> u64 {
        let bytes_from = |sequence| self.ports.wal.bytes_from(sequence).unwrap_or(0);
        bytes_from(self.cursors.flushed() + 1).saturating_sub(bytes_from(self.flushed() + 1))
    }

    /// Makes everything flushed so far durable, moves the cursors and truncates the log up to the first record that is
    /// still needed.
    pub fn checkpoint(&self) -> Result<(), EngineError> {
        let mut last = self.checkpoint.0.lock();
        let started = Instant::now();
        // Read before anything is synced: what is done now is what the sync makes durable.
        let flushed = self.flushed();
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
        metrics::CHECKPOINT_DURATION.record_duration(started.elapsed());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use hyperbytedb_domain::QueryContext;
    use hyperbytedb_memory_ports::Call;

    use crate::testing::Node;

    fn flush(node: &Node, measurement: &str) {
        let table = node.table(measurement).expect("a table").id;
        node.flush.flush_tables(&[table], &QueryContext::unbounded()).expect("a flush");
    }

    #[test]
    fn what_a_checkpoint_would_release_is_counted_once() {
        let node = Node::new();
        node.flush.cursors().advance("slow", 0).expect("a consumer that needs the whole log");
        node.write("m v=1 1");
        let waiting = node.ports.wal.size_bytes() - node.flush.bytes_since_checkpoint();
        assert!(waiting > 0, "the point is not flushed");
        flush(&node, "m");
        assert_eq!(node.flush.bytes_since_checkpoint(), node.ports.wal.size_bytes());
        node.flush.checkpoint().expect("a checkpoint");
        assert_eq!(node.flush.bytes_since_checkpoint(), 0, "another would release nothing more");
        assert!(node.ports.wal.size_bytes() > 0, "kept for the consumer");
        let before = node.ports.wal.size_bytes();
        node.write("m v=2 2");
        assert_eq!(node.flush.bytes_since_checkpoint(), 0, "the new point is not flushed");
        flush(&node, "m");
        assert_eq!(node.flush.bytes_since_checkpoint(), node.ports.wal.size_bytes() - before);
    }

    #[test]
    fn the_log_is_kept_from_the_first_record_that_is_not_flushed() {
        let node = Node::new();
        node.write("m v=1 1");
        node.write("n v=1 1");
        let first_of_n = node.ports.wal.last_sequence();
        node.write("m v=2 2");
        flush(&node, "m");
        node.flush.checkpoint().expect("a checkpoint");
        assert_eq!(node.ports.wal.first_sequence(), first_of_n);
        assert_eq!(node.flush.cursors().flushed(), first_of_n - 1);
        let m = node.table("m").expect("a table").id;
        assert_eq!(node.flush.cursors().flushed_of(m), first_of_n + 1);
        flush(&node, "n");
        node.flush.checkpoint().expect("a checkpoint");
        assert_eq!(node.ports.wal.size_bytes(), 0);
    }

    /// What comes in during a checkpoint is not what it makes durable.
    #[test]
    fn what_is_written_during_a_checkpoint_stays_in_the_log() {
        let node = Node::new();
        node.write("m v=1 1");
        node.flush_all();
        node.before(Call::EngineSync, |node| node.write("m v=2 2"));
        node.flush.checkpoint().expect("a checkpoint");
        assert_eq!(node.ports.wal.first_sequence(), node.ports.wal.last_sequence());
        assert_eq!(node.restart().query("SELECT count(v) FROM m"), ["0 2"]);
    }

    #[test]
    fn a_removal_that_waits_is_kept_in_the_log() {
        let node = Node::new();
        node.write("m v=1 1");
        node.flush_all();
        node.before(Call::DistinctSeries, |node| node.flush.checkpoint().expect("a checkpoint"));
        node.query("DELETE FROM m");
        assert_eq!(node.ports.wal.first_sequence(), node.ports.wal.last_sequence(), "the delete");
    }

    #[test]
    fn nothing_is_truncated_when_something_could_not_be_synced() {
        for call in [Call::EngineSync, Call::WalSync, Call::StoreCursors, Call::NodeSync] {
            let node = Node::new();
            node.write("m,h=a v=1 1");
            node.flush_all();
            let first = node.ports.wal.first_sequence();
            node.faults.fail(call, 1);
            assert!(node.flush.checkpoint().is_err(), "{call:?}");
            assert_eq!(node.ports.wal.first_sequence(), first, "{call:?}");
            for seed in 0..10 {
                let node = node.fail_power(seed);
                assert_eq!(node.query("SELECT count(v) FROM m"), ["0 1"], "{call:?}, seed {seed}");
                assert_eq!(node.series("m"), ["m,h=a"], "{call:?}, seed {seed}");
            }
        }
    }

    #[test]
    fn what_was_truncated_survives_a_power_failure() {
        for seed in 0..10 {
            let node = Node::new();
            node.write("m,h=a v=1 1");
            node.flush_all();
            node.flush.checkpoint().expect("a checkpoint");
            assert_eq!(node.ports.wal.size_bytes(), 0);
            let node = node.fail_power(seed);
            assert_eq!(node.query("SELECT count(v) FROM m"), ["0 1"]);
            assert_eq!(node.series("m"), ["m,h=a"]);
        }
    }
}
