//! Group commit: one thread takes what has queued up, checks it, appends it to the log in one durable batch, lets it take
//! effect in log order, and only then lets the callers go on.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, SendTimeoutError, Sender, bounded};
use hyperbytedb_domain::catalog::{Catalog, Command, DeleteScope, Effects, ShardGroup, Table};
use hyperbytedb_domain::cluster::{AgreedChange, AgreedEntry, Membership};
use hyperbytedb_domain::ports::{CatalogPort, EncodedEntry, NewRecord, SeriesIndexPort, WalPort};
use hyperbytedb_domain::wal::{Sequence, WalEntry};
use hyperbytedb_domain::{HybridClock, StorageError, TimeRange};
use hyperbytedb_metrics as metrics;
use parking_lot::RwLock;

use super::epochs::Epoch;
use super::replay::register;
use super::{LogError, prepare, take_effect};
use crate::api::Readiness;
use crate::cluster::agreement::Agreement;
use crate::cluster::conflicts::{Conflicts, Reach, Rivals, Stamp};
use crate::cluster::peers;
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
    /// `None`: there are no other nodes.
    pub conflicts: Option<Arc<Conflicts>>,
}

/// A write that has been resolved against a catalogue.
pub struct ResolvedWrite {
    pub entry: EncodedEntry,
    pub catalog: Arc<Catalog>,
    /// Taken before its series were registered.
    pub epoch: Epoch,
    pub batches: Vec<ResolvedBatch>,
}

/// A write of another node, resolved against this node's catalogue.
pub struct ReceivedWrite {
    pub rivals: Rivals,
    /// Of what a comparison has brought.
    pub compared: Option<Reach>,
    /// Without what loses against its rivals.
    pub write: ResolvedWrite,
}

/// A change that is in the log.
#[derive(Default)]
pub struct Committed {
    /// Its last record.
    pub sequence: Sequence,
    /// What its caller should wait for; nothing for most.
    pub waits: Vec<PendingWork>,
}

pub type Outcome = Result<Committed, LogError>;

enum Change {
    Write(ResolvedWrite),
    Command {
        command: Command,
        entry: EncodedEntry,
    },
    /// All or none: what is received of a node is never with gaps.
    Received(Vec<ReceivedWrite>),
    Agreed {
        agreed: AgreedEntry,
        clock: u64,
        entry: EncodedEntry,
    },
}

struct Pending {
    change: Change,
    done: Sender<Outcome>,
}

/// The queue to the log.
pub struct Committer {
    queue: RwLock<Option<Sender<Pending>>>,
    wal: Arc<dyn WalPort>,
    clock: Arc<HybridClock>,
    timeout: Duration,
    /// Whom commands go to in a cluster.
    agreement: OnceLock<Arc<Agreement>>,
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
        let clock = HybridClock::seeded(ports.wal.last_clock());
        Self::with_clock(options, ports, clock)
    }

    /// As [`new`](Self::new), with a clock that is past the log.
    pub fn with_clock(
        options: CommitOptions,
        ports: CommitPorts,
        clock: HybridClock,
    ) -> (Arc<Self>, CommitWorker) {
        let (queue, pending) = bounded(options.queue_length);
        let (wal, timeout) = (ports.wal.clone(), options.queue_timeout);
        clock.observe(ports.flush.cursors().position(peers::PROMISED).unwrap_or(0));
        let clock = Arc::new(clock);
        let queue = RwLock::new(Some(queue));
        let committer = Self { queue, wal, clock: clock.clone(), timeout, agreement: OnceLock::new() };
        (Arc::new(committer), CommitWorker { pending, options, clock, ports })
    }

    /// Returns when the write is durable and its points are in the memtables.
    pub fn write(&self, write: ResolvedWrite) -> Result<Sequence, LogError> {
        Ok(self.commit(Change::Write(write))?.sequence)
    }

    /// As [`write`](Self::write), for what another node sent: in the order of its clocks, none of it twice.
    pub fn receive(&self, writes: Vec<ReceivedWrite>) -> Result<(), LogError> {
        self.commit(Change::Received(writes)).map(drop)
    }

    /// Carries out what the nodes of a cluster have agreed on; once more does nothing.
    pub fn agreed(&self, agreed: AgreedEntry, clock: u64) -> Outcome {
        let entry = self.wal.encode(&WalEntry::Agreed(agreed.clone()))?;
        self.commit(Change::Agreed { agreed, clock, entry })
    }

    /// From now on commands are agreed on with the other nodes of a cluster.
    pub fn join_cluster(&self, agreement: Arc<Agreement>) {
        // A second call would be of the same node.
        let _ = self.agreement.set(agreement);
    }

    pub fn is_in_cluster(&self) -> bool {
        self.agreement.get().is_some()
    }

    /// The node's clock.
    pub fn clock(&self) -> &Arc<HybridClock> {
        &self.clock
    }

    /// Returns when the command is durable and part of the catalogue. What it removes from the engine may still be there:
    /// the caller can wait for it.
    pub fn command(&self, command: Command) -> Outcome {
        if let Some(agreement) = self.agreement.get() {
            return agreement.propose(command);
        }
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

/// The part of the server that fails when records cannot be appended.
pub const LOG: &str = "log";
const NOT_WRITABLE: &str = "the write-ahead log cannot be written, so that no write or change of the schema goes through; \
                            the server's log has the details";

/// Works off the queue.
pub struct CommitWorker {
    pending: Receiver<Pending>,
    options: CommitOptions,
    clock: Arc<HybridClock>,
    ports: CommitPorts,
}

/// A change that passed the checks.
struct Accepted {
    /// What takes effect once its records are in the log; one for each.
    effects: Vec<Effect>,
    done: Sender<Outcome>,
}

enum Effect {
    Write(Vec<ResolvedBatch>),
    /// Of another node: its series are not registered yet.
    Received(Vec<ResolvedBatch>),
    Command(Command, Effects),
    Agreed(AgreedChange, Effects),
    /// Agreed on, and refused by all nodes alike.
    Refused(LogError),
}

impl Effect {
    const fn command(&self) -> Option<&Command> {
        match self {
            Self::Command(command, _) => Some(command),
            Self::Agreed(change, _) => command_of(change),
            _ => None,
        }
    }
}

const fn command_of(change: &AgreedChange) -> Option<&Command> {
    match change {
        AgreedChange::Command(command) => Some(command),
        _ => None,
    }
}

/// The records of a change, and their effects.
type Checked = Vec<(NewRecord, Effect)>;

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
        let noted = self.ports.conflicts.as_ref().map(|conflicts| conflicts.noted());
        let (mut records, mut accepted) = (Vec::with_capacity(group.len()), Vec::with_capacity(group.len()));
        for Pending { change, done } in group {
            match self.check(change, &mut catalog) {
                // It was agreed on, and carried out, before.
                Ok(checked) if checked.is_empty() => drop(done.send(Ok(Committed::default()))),
                Ok(checked) => {
                    let (new, effects): (Vec<_>, Vec<_>) = checked.into_iter().unzip();
                    records.extend(new);
                    accepted.push(Accepted { effects, done });
                }
                // Whoever asked may have gone away.
                Err(error) => drop(done.send(Err(error))),
            }
        }
        if accepted.is_empty() {
            return true;
        }
        let changed = !Arc::ptr_eq(&published, &catalog);
        let is_write = |effect: &Effect| matches!(effect, Effect::Write(_) | Effect::Received(_));
        // A catalogue must never be ahead of a log that a power failure cuts short.
        let durable = !accepted.iter().flat_map(|accepted| &accepted.effects).all(is_write);
        let count = records.len() as Sequence;
        metrics::WAL_GROUP_RECORDS.record(records.len() as f64);
        metrics::WAL_QUEUED_RECORDS.set(self.pending.len() as f64);
        let first = match self.ports.wal.append(records, durable) {
            Ok(first) => first,
            Err(error) => {
                self.ports.readiness.note(LOG, Some(NOT_WRITABLE.to_owned()));
                if let Some((conflicts, noted)) = self.ports.conflicts.as_ref().zip(noted) {
                    conflicts.retract(noted);
                }
                for Accepted { done, .. } in accepted {
                    let _ = done.send(Err(error.clone().into()));
                }
                return true;
            }
        };
        self.ports.readiness.note(LOG, None);
        let last = first + count - 1;
        let effects = accepted.iter().flat_map(|accepted| &accepted.effects);
        effects.zip(first..).for_each(|(effect, sequence)| prepare(flush, sequence, effect.command()));
        if changed && let Err(error) = self.ports.catalog.publish(Catalog::clone(&catalog), last) {
            // The log is ahead of the catalogue now; only a replay brings them together.
            self.ports.readiness.fail(format!("the catalogue could not be stored: {error}"));
            return false;
        }
        if let Err(error) = self.register_received(&accepted) {
            self.ports.readiness.fail(format!("series of another node could not be stored: {error}"));
            return false;
        }
        let (mut next, applying) = (first, Instant::now());
        for Accepted { effects, done } in accepted {
            let mut outcome = Ok(Committed::default());
            for effect in effects {
                outcome =
                    self.take_effect(&catalog, next, effect).map(|waits| Committed { sequence: next, waits });
                next += 1;
            }
            let _ = done.send(outcome);
        }
        flush.set_applied(last);
        metrics::HEAD_APPLY.record_duration(applying.elapsed());
        metrics::WAL_LAST_SEQUENCE.set(last as f64);
        true
    }

    /// Whether a change may be logged behind those that made `catalog` what it is; a command moves it on.
    fn check(&self, change: Change, catalog: &mut Arc<Catalog>) -> Result<Checked, LogError> {
        match change {
            Change::Write(write) => {
                self.check_write(&write, catalog)?;
                let record = self.own(write.entry);
                if let Some(conflicts) = &self.ports.conflicts {
                    let stamp = Stamp { clock: record.clock, origin: record.origin };
                    conflicts.note(stamp, &write.batches, self.ports.flush.applied());
                }
                Ok(vec![(record, Effect::Write(write.batches))])
            }
            Change::Received(writes) => {
                writes.iter().try_for_each(|received| self.check_received(received, catalog))?;
                let checked = |ReceivedWrite { rivals, compared, write }: ReceivedWrite| {
                    let stamp @ Stamp { clock, origin } = rivals.stamp;
                    self.clock.observe(clock);
                    if let Some(conflicts) = &self.ports.conflicts {
                        let behind = self.ports.flush.applied();
                        match compared {
                            Some(reach) => conflicts.note_compared(reach, &write.batches, behind),
                            None => conflicts.note(stamp, &write.batches, behind),
                        }
                    }
                    let record = NewRecord { origin, clock, entry: write.entry, is_foreign: true };
                    (record, Effect::Received(write.batches))
                };
                Ok(writes.into_iter().map(checked).collect())
            }
            Change::Agreed { agreed, clock, entry } => self.check_agreed(agreed, clock, entry, catalog),
            Change::Command { command, entry } => {
                self.check_command(&command, catalog)?;
                let mut changed = Catalog::clone(catalog);
                let effects = changed.apply(&command)?;
                if !matches!(command, Command::DeletePoints { .. }) {
                    *catalog = Arc::new(changed);
                }
                Ok(vec![(self.own(entry), Effect::Command(command, effects))])
            }
        }
    }

    /// What a majority has decided is logged in any case: of what cannot be carried out, its place.
    fn check_agreed(
        &self,
        mut agreed: AgreedEntry,
        clock: u64,
        mut entry: EncodedEntry,
        catalog: &mut Arc<Catalog>,
    ) -> Result<Checked, LogError> {
        let index = agreed.position.index;
        if index <= catalog.cluster.applied_index() {
            return Ok(Vec::new());
        }
        let refusal = match &agreed.change {
            AgreedChange::Command(command) => self.check_command(command, catalog).err(),
            _ => None,
        };
        if refusal.is_some() {
            agreed.change = AgreedChange::Nothing;
        }
        let mut changed = Catalog::clone(catalog);
        let effect = match (changed.agree(&agreed), refusal) {
            (_, Some(refusal)) => Effect::Refused(refusal),
            (Ok(effects), None) => Effect::Agreed(agreed.change.clone(), effects),
            (Err(refusal), None) => Effect::Refused(refusal.into()),
        };
        if matches!(effect, Effect::Refused(_)) {
            let change = AgreedChange::Nothing;
            entry = self.ports.wal.encode(&WalEntry::Agreed(AgreedEntry { change, ..agreed }))?;
        }
        *catalog = Arc::new(changed);
        self.clock.observe(clock);
        if let (Effect::Agreed(change, effects), Some(conflicts)) = (&effect, &self.ports.conflicts) {
            let behind = self.ports.flush.applied();
            // What comes next may already meet something from a node that is new.
            if let AgreedChange::Membership(_) | AgreedChange::Catalog(_) = change {
                let received = self.ports.wal.received();
                conflicts.follow(&catalog.cluster.membership, self.ports.origin, &received);
            }
            if let AgreedChange::Command(Command::DeletePoints { scopes }) = change {
                conflicts.note_delete(index, scopes, behind);
            }
            conflicts.note_delete(index, &scopes_of_shards(effects), behind);
        }
        let record = NewRecord { origin: peers::CLUSTER, clock, entry, is_foreign: true };
        Ok(vec![(record, effect)])
    }

    /// A record of this node.
    fn own(&self, entry: EncodedEntry) -> NewRecord {
        NewRecord { origin: self.ports.origin, clock: self.clock.next(), entry, is_foreign: false }
    }

    /// What was resolved before something greater came must be resolved again.
    fn check_received(&self, received: &ReceivedWrite, catalog: &Arc<Catalog>) -> Result<(), LogError> {
        let ReceivedWrite { rivals, write, .. } = received;
        self.check_write(write, catalog)?;
        let conflicts = self.ports.conflicts.as_ref();
        if conflicts.is_some_and(|conflicts| conflicts.has_losers(*rivals, &write.batches)) {
            return Err(LogError::Stale);
        }
        Ok(())
    }

    fn check_write(&self, write: &ResolvedWrite, catalog: &Arc<Catalog>) -> Result<(), LogError> {
        if self.is_stale(write, catalog) {
            self.unregister_dropped(write);
            return Err(LogError::Stale);
        }
        Ok(())
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

    /// Behind their records: what is refused, or loses all its points to a delete, must leave no series behind.
    fn register_received(&self, accepted: &[Accepted]) -> Result<(), StorageError> {
        let effects = accepted.iter().flat_map(|accepted| &accepted.effects);
        let received = effects.filter_map(|effect| match effect {
            Effect::Received(batches) => Some(batches),
            _ => None,
        });
        received.flatten().try_for_each(|batch| register(&*self.ports.series, batch))
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

    /// Gives new nodes of the cluster their cursors. Each starts with a copy of some node that has everything the other
    /// cursors are past. So it begins at the least of them, or where there are none, behind the record that says that it comes.
    fn follow(&self, membership: &Membership, sequence: Sequence) {
        let (cursors, own) = (self.ports.flush.cursors(), self.ports.origin);
        let begin = peers::least(cursors, membership, own).unwrap_or(sequence);
        if let Err(error) = peers::follow(cursors, membership, own, begin) {
            // The log would not be kept for them; a start makes cursors from what it has.
            self.ports
                .readiness
                .fail(format!("the cursors of the cluster's nodes could not be stored: {error}"));
        }
    }

    fn take_effect(
        &self,
        catalog: &Catalog,
        sequence: Sequence,
        effect: Effect,
    ) -> Result<Vec<PendingWork>, LogError> {
        let flush = &self.ports.flush;
        match effect {
            Effect::Write(batches) | Effect::Received(batches) => {
                flush.push(sequence, batches);
                Ok(Vec::new())
            }
            Effect::Command(command, effects) => {
                Ok(take_effect(flush, catalog, sequence, Some(&command), &effects, false))
            }
            Effect::Agreed(change, effects) => {
                if let AgreedChange::Membership(_) | AgreedChange::Catalog(_) = &change {
                    self.follow(&catalog.cluster.membership, sequence);
                }
                Ok(take_effect(flush, catalog, sequence, command_of(&change), &effects, false))
            }
            Effect::Refused(refusal) => Err(refusal),
        }
    }
}

/// What goes with shard groups, as a delete of it.
fn scopes_of_shards(effects: &Effects) -> Vec<DeleteScope> {
    let scope = |table: &Table, shard: &ShardGroup| {
        let time = TimeRange { min: shard.start, max: shard.end.saturating_sub(1) };
        DeleteScope { table: table.id, version: table.version, time, filter: None }
    };
    let dropped = effects.dropped_shards.iter();
    dropped.flat_map(|(table, shards)| shards.iter().map(move |shard| scope(table, shard))).collect()
}

impl Change {
    fn bytes(&self) -> usize {
        match self {
            Self::Write(write) => write.entry.0.len(),
            Self::Command { entry, .. } | Self::Agreed { entry, .. } => entry.0.len(),
            Self::Received(writes) => writes.iter().map(|received| received.write.entry.0.len()).sum(),
        }
    }
}

#[cfg(test)]
mod tests;
