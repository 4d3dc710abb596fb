//! Group commit: one thread takes what has queued up, checks it, appends it to the log in one durable batch, lets it take
//! effect in log order, and only then lets the callers go on.

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, SendTimeoutError, Sender, bounded};
use hyperbytedb_domain::HybridClock;
use hyperbytedb_domain::catalog::{Catalog, Command, DeleteScope, Effects, ShardGroup};
use hyperbytedb_domain::ports::{CatalogPort, EncodedEntry, NewRecord, SeriesIndexPort, WalPort};
use hyperbytedb_domain::wal::{Sequence, WalEntry};
use parking_lot::RwLock;

use super::epochs::Epoch;
use super::{LogError, take_effect};
use crate::api::Readiness;
use crate::flush::{FlushService, PendingWork};
use crate::memtable::ResolvedBatch;
use crate::threads::Threads;
use crate::waiting;

/// Settings of the group commit.
#[derive(Debug, Clone)]
pub struct CommitOptions {
    /// Records that may wait for the log.
    pub queue_length: usize,
    /// Records in one log batch at most.
    pub group_records_max: usize,
    /// Bytes in one log batch, about.
    pub group_bytes_max: usize,
    /// How long a record may wait for a place in the queue.
    pub queue_timeout: Duration,
}

impl Default for CommitOptions {
    fn default() -> Self {
        Self {
            queue_length: 256,
            group_records_max: 64,
            group_bytes_max: 16 << 20,
            queue_timeout: Duration::from_secs(10),
        }
    }
}

/// The ports and services the committer works on.
pub struct CommitPorts {
    /// This node's number in its records.
    pub origin: u64,
    pub wal: Arc<dyn WalPort>,
    pub catalog: Arc<dyn CatalogPort>,
    pub series: Arc<dyn SeriesIndexPort>,
    pub flush: Arc<FlushService>,
    pub readiness: Arc<Readiness>,
}

/// A write that has been resolved against a catalogue.
pub struct ResolvedWrite {
    pub entry: EncodedEntry,
    pub catalog: Arc<Catalog>,
    /// Taken before its series were registered.
    pub epoch: Epoch,
    pub batches: Vec<ResolvedBatch>,
}

/// What a record's caller should wait for; nothing for most.
pub type Outcome = Result<Vec<PendingWork>, LogError>;

enum Change {
    Write(ResolvedWrite),
    Command { command: Command, entry: EncodedEntry },
}

struct Pending {
    change: Change,
    done: Sender<Outcome>,
}

/// The queue to the log.
pub struct Committer {
    queue: RwLock<Option<Sender<Pending>>>,
    wal: Arc<dyn WalPort>,
    timeout: Duration,
}

impl Committer {
    /// Starts the thread. It ends when [`close`](Self::close) was called and the queue is empty.
    pub fn start(
        options: CommitOptions,
        ports: CommitPorts,
        threads: &Threads,
    ) -> std::io::Result<Arc<Self>> {
        let (committer, worker) = Self::new(options, ports);
        threads.spawn_vital("committer", move || while worker.commit_next() {})?;
        Ok(committer)
    }

    /// As [`start`](Self::start), for a caller that runs the worker.
    pub fn new(options: CommitOptions, ports: CommitPorts) -> (Arc<Self>, CommitWorker) {
        let (queue, pending) = bounded(options.queue_length);
        let (wal, timeout) = (ports.wal.clone(), options.queue_timeout);
        let clock = HybridClock::seeded(wal.last_clock());
        let committer = Self { queue: RwLock::new(Some(queue)), wal, timeout };
        (Arc::new(committer), CommitWorker { pending, options, clock, ports })
    }

    /// Returns when the write is durable and its points are in the memtables.
    pub fn write(&self, write: ResolvedWrite) -> Result<(), LogError> {
        self.commit(Change::Write(write)).map(drop)
    }

    /// Returns when the command is durable and part of the catalogue. What it removes from the engine may still be there:
    /// the caller can wait for it.
    pub fn command(&self, command: Command) -> Outcome {
        let entry = self.wal.encode(&WalEntry::Command(command.clone()))?;
        self.commit(Change::Command { command, entry })
    }

    /// Takes no more; what is queued is still committed.
    pub fn close(&self) {
        self.queue.write().take();
    }

    fn commit(&self, change: Change) -> Outcome {
        let answer = self.enqueue(change)?;
        waiting::receive(&answer).map_err(|_| LogError::Stopped)?
    }

    fn enqueue(&self, change: Change) -> Result<Receiver<Outcome>, LogError> {
        let queue = self.queue.read().clone().ok_or(LogError::Stopped)?;
        let (done, answer) = bounded(1);
        waiting::send(&queue, Pending { change, done }, self.timeout).map_err(|error| match error {
            SendTimeoutError::Timeout(_) => LogError::QueueFull,
            SendTimeoutError::Disconnected(_) => LogError::Stopped,
        })?;
        Ok(answer)
    }
}

impl Drop for Committer {
    fn drop(&mut self) {
        self.close();
    }
}

/// Works off the queue.
pub struct CommitWorker {
    pending: Receiver<Pending>,
    options: CommitOptions,
    clock: HybridClock,
    ports: CommitPorts,
}

/// A record that passed the checks: what takes effect once it is in the log.
struct Accepted {
    effect: Effect,
    done: Sender<Outcome>,
}

enum Effect {
    Write(Vec<ResolvedBatch>),
    Command(Command, Effects),
}

impl CommitWorker {
    /// Waits for records and commits them. False when there will be no more, or the server cannot go on.
    pub fn commit_next(&self) -> bool {
        waiting::receive(&self.pending).is_ok_and(|first| self.commit_group(self.gather(first)))
    }

    /// Whether [`commit_next`](Self::commit_next) would not wait.
    #[cfg(test)]
    pub(crate) fn has_records(&self) -> bool {
        !self.pending.is_empty()
    }

    fn gather(&self, first: Pending) -> Vec<Pending> {
        let mut bytes = first.change.bytes();
        let mut group = vec![first];
        while group.len() < self.options.group_records_max && bytes < self.options.group_bytes_max {
            let Ok(next) = self.pending.try_recv() else { break };
            bytes += next.change.bytes();
            group.push(next);
        }
        group
    }

    /// False when the server cannot go on.
    fn commit_group(&self, group: Vec<Pending>) -> bool {
        let flush = &self.ports.flush;
        // No series leaves the index between the check of a write and its effect.
        let _applying = flush.epochs().lock();
        let published = self.ports.catalog.catalog();
        let mut catalog = published.clone();
        let (mut records, mut accepted) = (Vec::with_capacity(group.len()), Vec::with_capacity(group.len()));
        for Pending { change, done } in group {
            match self.check(change, &mut catalog) {
                Ok((entry, effect)) => {
                    records.push(NewRecord { origin: self.ports.origin, clock: self.clock.next(), entry });
                    accepted.push(Accepted { effect, done });
                }
                // Whoever asked may have gone away.
                Err(error) => drop(done.send(Err(error))),
            }
        }
        if accepted.is_empty() {
            return true;
        }
        let changed = !Arc::ptr_eq(&published, &catalog);
        let is_command = |accepted: &Accepted| matches!(accepted.effect, Effect::Command(..));
        // A catalogue must never be ahead of a log that a power failure cuts short.
        let durable = accepted.iter().any(is_command);
        metrics::histogram!("hyperbytedb_wal_group_writes").record(records.len() as f64);
        let first = match self.ports.wal.append(records, durable) {
            Ok(first) => first,
            Err(error) => {
                for Accepted { done, .. } in accepted {
                    let _ = done.send(Err(error.clone().into()));
                }
                return true;
            }
        };
        let last = first + accepted.len() as Sequence - 1;
        if changed && let Err(error) = self.ports.catalog.publish(Catalog::clone(&catalog), last) {
            // The log is ahead of the catalogue now; only a replay brings them together.
            self.ports.readiness.fail(format!("the catalogue could not be stored: {error}"));
            return false;
        }
        for (sequence, Accepted { effect, done }) in (first..).zip(accepted) {
            let waits = self.take_effect(&catalog, sequence, effect);
            let _ = done.send(Ok(waits));
        }
        flush.set_applied(last);
        true
    }

    /// Whether a change may be logged behind those that made `catalog` what it is; a command moves it on.
    fn check(&self, change: Change, catalog: &mut Arc<Catalog>) -> Result<(EncodedEntry, Effect), LogError> {
        match change {
            Change::Write(write) => {
                if self.is_stale(&write, catalog) {
                    self.unregister_dropped(&write);
                    return Err(LogError::Stale);
                }
                Ok((write.entry, Effect::Write(write.batches)))
            }
            Change::Command { command, entry } => {
                self.check_command(&command, catalog)?;
                let mut changed = Catalog::clone(catalog);
                let effects = changed.apply(&command)?;
                if !matches!(command, Command::DeletePoints { .. }) {
                    *catalog = Arc::new(changed);
                }
                Ok((entry, Effect::Command(command, effects)))
            }
        }
    }

    fn check_command(&self, command: &Command, catalog: &Catalog) -> Result<(), LogError> {
        match command {
            Command::DeletePoints { scopes } => {
                // Dropped meanwhile, there is nothing to delete; another schema gives the condition another meaning.
                let is_stale = |scope: &DeleteScope| {
                    catalog.table_by_id(scope.table).is_some_and(|table| table.version != scope.version)
                };
                if scopes.iter().any(is_stale) { Err(LogError::Stale) } else { Ok(()) }
            }
            Command::DropEmptyTable { table } if self.ports.series.series_count(*table)? > 0 => {
                Err(LogError::Stale)
            }
            _ => Ok(()),
        }
    }

    /// Whether tables, shard groups or series that the write counts on may be gone.
    fn is_stale(&self, write: &ResolvedWrite, catalog: &Arc<Catalog>) -> bool {
        let epochs = self.ports.flush.epochs();
        if epochs.have_changed(write.epoch, write.batches.iter().map(|batch| batch.table.id)) {
            return true;
        }
        if Arc::ptr_eq(&write.catalog, catalog) {
            return false;
        }
        let is_there = |batch: &ResolvedBatch| {
            let Some(policy) = catalog.policy_of(&batch.table) else { return false };
            let same_group = |shard: &ShardGroup| {
                policy.shard_groups.get(&shard.start).is_some_and(|group| group.id == shard.id)
            };
            catalog.current(&batch.table).is_some() && batch.shards.iter().all(same_group)
        };
        !write.batches.iter().all(is_there)
    }

    /// Takes series out of the index that were registered after their table was dropped.
    fn unregister_dropped(&self, write: &ResolvedWrite) {
        let catalog = self.ports.catalog.catalog();
        for batch in write.batches.iter().filter(|batch| catalog.current(&batch.table).is_none()) {
            if let Err(error) = self.ports.series.drop_table(batch.table.id) {
                tracing::warn!(%error, table = batch.table.id.0, "series of a dropped table stay until the next start");
            }
        }
    }

    fn take_effect(&self, catalog: &Catalog, sequence: Sequence, effect: Effect) -> Vec<PendingWork> {
        let flush = &self.ports.flush;
        match effect {
            Effect::Write(batches) => {
                flush.push(sequence, batches);
                Vec::new()
            }
            Effect::Command(command, effects) => {
                take_effect(flush, catalog, sequence, &command, &effects, false)
            }
        }
    }
}

impl Change {
    fn bytes(&self) -> usize {
        match self {
            Self::Write(write) => write.entry.0.len(),
            Self::Command { entry, .. } => entry.0.len(),
        }
    }
}

#[cfg(test)]
mod tests;
