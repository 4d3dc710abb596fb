//! Group commit: one thread takes what has queued up, appends it to the log in one durable batch, hands the points to
//! the memtables in log order, and only then lets the writers answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crossbeam_channel::{Receiver, SendTimeoutError, Sender, bounded};
use hyperbytedb_domain::StorageError;
use hyperbytedb_domain::ports::{ReplicationPort, WalPort};
use hyperbytedb_domain::wal::{WalEntry, WalRecord, WriteEntry};

use crate::flush::FlushService;
use crate::memtable::ResolvedBatch;

/// Settings of the group commit.
#[derive(Debug, Clone)]
pub struct CommitOptions {
    /// Writes that may wait for the log.
    pub queue_length: usize,
    /// Writes in one log batch at most.
    pub group_writes_max: usize,
    /// Bytes of line protocol in one log batch, about.
    pub group_bytes_max: usize,
    /// How long a write may wait for a place in the queue.
    pub queue_timeout: Duration,
}

impl Default for CommitOptions {
    fn default() -> Self {
        Self {
            queue_length: 256,
            group_writes_max: 64,
            group_bytes_max: 16 << 20,
            queue_timeout: Duration::from_secs(10),
        }
    }
}

struct Pending {
    entry: WriteEntry,
    batches: Vec<ResolvedBatch>,
    done: Sender<Result<(), StorageError>>,
}

/// The queue to the log. Dropping it ends the thread after what is queued.
pub struct Committer {
    queue: Option<Sender<Pending>>,
    thread: Option<JoinHandle<()>>,
    timeout: Duration,
}

/// Why a write did not reach the log.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CommitError {
    #[error("the queue to the write-ahead log is full (wal.queue_length)")]
    QueueFull,
    #[error("the server is stopping")]
    Stopped,
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl Committer {
    pub fn start(
        options: CommitOptions,
        node: u64,
        wal: Arc<dyn WalPort>,
        flush: Arc<FlushService>,
        replication: Option<Arc<dyn ReplicationPort>>,
    ) -> std::io::Result<Self> {
        let (queue, pending) = bounded(options.queue_length);
        let timeout = options.queue_timeout;
        let worker = CommitWorker { options, clock: HybridClock::default(), node, wal, flush, replication };
        let thread =
            std::thread::Builder::new().name("committer".into()).spawn(move || worker.run(&pending))?;
        Ok(Self { queue: Some(queue), thread: Some(thread), timeout })
    }

    /// Returns when the entry is durable and its batches are in the memtables.
    pub fn commit(&self, entry: WriteEntry, batches: Vec<ResolvedBatch>) -> Result<(), CommitError> {
        let (done, answer) = bounded(1);
        let queue = self.queue.as_ref().ok_or(CommitError::Stopped)?;
        queue.send_timeout(Pending { entry, batches, done }, self.timeout).map_err(|error| match error {
            SendTimeoutError::Timeout(_) => CommitError::QueueFull,
            SendTimeoutError::Disconnected(_) => CommitError::Stopped,
        })?;
        Ok(answer.recv().map_err(|_| CommitError::Stopped)??)
    }
}

impl Drop for Committer {
    fn drop(&mut self) {
        self.queue.take();
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been reported by its writers' errors.
            let _ = thread.join();
        }
    }
}

struct CommitWorker {
    options: CommitOptions,
    clock: HybridClock,
    node: u64,
    wal: Arc<dyn WalPort>,
    flush: Arc<FlushService>,
    replication: Option<Arc<dyn ReplicationPort>>,
}

impl CommitWorker {
    fn run(&self, pending: &Receiver<Pending>) {
        while let Ok(first) = pending.recv() {
            self.commit_group(self.gather(first, pending));
        }
    }

    fn gather(&self, first: Pending, pending: &Receiver<Pending>) -> Vec<Pending> {
        let mut bytes = first.entry.body.len();
        let mut group = vec![first];
        while group.len() < self.options.group_writes_max && bytes < self.options.group_bytes_max {
            let Ok(next) = pending.try_recv() else { break };
            bytes += next.entry.body.len();
            group.push(next);
        }
        group
    }

    fn commit_group(&self, group: Vec<Pending>) {
        let (mut records, mut rest) = (Vec::with_capacity(group.len()), Vec::with_capacity(group.len()));
        for Pending { entry, batches, done } in group {
            records.push(WalRecord {
                origin: self.node,
                clock: self.clock.next(),
                entry: WalEntry::Write(entry),
            });
            rest.push((batches, done));
        }
        let appended = self.wal.append(&records);
        metrics::histogram!("hyperbytedb_wal_group_writes").record(records.len() as f64);
        for (offset, (batches, done)) in rest.into_iter().enumerate() {
            let answer = appended.clone().map(|first| self.flush.push(first + offset as u64, batches));
            // The writer may have gone away; its points stay.
            let _ = done.send(answer);
        }
        if let (Ok(first), Some(replication)) = (appended, &self.replication)
            && let Err(error) = replication.publish(first, &records)
        {
            tracing::warn!(%error, "records could not be handed to replication");
        }
    }
}

/// Milliseconds since 1970 and a counter, never going back.
#[derive(Debug, Default)]
pub struct HybridClock(AtomicU64);

impl HybridClock {
    pub fn next(&self) -> u64 {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as u64) << 16;
        let previous = self
            .0
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |last| Some(wall.max(last + 1)))
            .unwrap_or(wall);
        wall.max(previous + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_only_rises() {
        let clock = HybridClock::default();
        let times: Vec<u64> = (0..1000).map(|_| clock.next()).collect();
        assert!(times.windows(2).all(|w| w[0] < w[1]));
    }
}
