//! What comes from the other nodes: agreed entries and records.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hyperbytedb_domain::StorageError;
use hyperbytedb_domain::catalog::{Catalog, Command};
use hyperbytedb_domain::cluster::{AgreedChange, AgreedEntry, NodeId};
use hyperbytedb_domain::ports::{
    CatalogPort, ClusterNodePort, PeerBatch, PeerLag, PeerRecord, Proposer, ReceiveError, WalPort,
};
use hyperbytedb_domain::wal::WalEntry;
use hyperbytedb_metrics as metrics;
use parking_lot::Mutex;

use super::agreement::Waiting;
use super::conflicts::{Conflicts, Rivals, Stamp, without_losers};
use super::peers;
use super::replication::Replication;
use crate::api::{Phase, Readiness};
use crate::flush::FlushService;
use crate::log::LogError;
use crate::log::committer::{Committer, ReceivedWrite, ResolvedWrite};
use crate::log::replay::LoggedWrites;
use crate::waiting;

/// How long records wait for the schema they were made with, and for memory.
const PATIENCE: Duration = Duration::from_secs(5);
/// Bytes of log read at a time.
const READ_BYTES: usize = 8 << 20;
const POLL: Duration = Duration::from_millis(2);
/// How often what records were resolved against may change before they are refused for now.
const ATTEMPTS_MAX: usize = 64;

/// This node, as the others see it.
pub struct ClusterNode {
    pub id: NodeId,
    pub committer: Arc<Committer>,
    pub waiting: Arc<Waiting>,
    pub catalog: Arc<dyn CatalogPort>,
    pub wal: Arc<dyn WalPort>,
    pub flush: Arc<FlushService>,
    pub readiness: Arc<Readiness>,
    pub replication: Arc<Replication>,
    pub conflicts: Arc<Conflicts>,
    /// Held while records are taken, so that those of one node come in their order.
    pub receiving: Mutex<()>,
    /// Set when the log is replayed.
    pub is_open: AtomicBool,
}

impl ClusterNode {
    /// Waits until the condition holds.
    fn wait_for(&self, what: &str, holds: impl Fn() -> bool) -> Result<(), ReceiveError> {
        let until = waiting::now() + PATIENCE;
        while !holds() {
            if waiting::now() >= until {
                return Err(ReceiveError::NotNow(format!("node {}: {what}", self.id)));
            }
            waiting::sleep(POLL);
        }
        Ok(())
    }

    /// The records that are not here yet, resolved against the catalogue as it is.
    fn resolve(&self, batch: &PeerBatch) -> Result<Vec<ReceivedWrite>, ReceiveError> {
        let seen = self.wal.received().get(&batch.origin).copied().unwrap_or(0);
        let promised = self.conflicts.clock_of(batch.origin);
        let mut last = seen;
        let mut writes = LoggedWrites::new(None);
        let mut received = Vec::with_capacity(batch.records.len());
        for PeerRecord { agreed_index, bytes } in &batch.records {
            let (record, mut entry) =
                self.wal.decode(bytes).map_err(|error| ReceiveError::Bad(error.to_string()))?;
            let (origin, clock) = (record.origin, record.clock);
            if origin != batch.origin {
                return Err(ReceiveError::Bad(format!(
                    "a record of node {origin} from node {}",
                    batch.origin
                )));
            }
            if clock <= seen {
                continue;
            }
            // What its origin has passed over, and has been on its way meanwhile, is taken by comparing: what it would lose against
            // is forgotten.
            if clock <= promised {
                return Err(ReceiveError::NotNow(format!(
                    "node {origin} has said that this is not sent any more"
                )));
            }
            if clock <= last {
                return Err(ReceiveError::Bad(format!("records of node {origin} are not in their order")));
            }
            last = clock;
            let WalEntry::Write(mut write) = record.entry else {
                return Err(ReceiveError::Bad(format!("node {origin} sent something else than a write")));
            };
            let epoch = self.flush.epochs().now();
            let catalog = self.catalog.catalog();
            let place = || format!("a record of node {origin}");
            let stamp = Stamp { clock, origin };
            let rivals = Rivals { stamp, agreed_index: *agreed_index, hold: None };
            let mut batches = writes.batches(&catalog, &write, |_| true, place)?;
            if self.conflicts.has_losers(rivals, &batches) {
                write = without_losers(&self.conflicts, &catalog, &write, rivals, place)?;
                entry = self.wal.encode(&WalEntry::Write(write.clone()))?;
                batches = writes.batches(&catalog, &write, |_| true, place)?;
                metrics::CLUSTER_CONFLICTS.increment(1);
            }
            let write = ResolvedWrite { entry, catalog, epoch, batches };
            received.push(ReceivedWrite { rivals, compared: None, write });
        }
        Ok(received)
    }

    /// Notes records that may lose against what this node has forgotten.
    fn look_for_late(&self, origin: NodeId, writes: &[ReceivedWrite]) -> Result<(), StorageError> {
        let losses = &self.replication.losses;
        match writes.first().map(|first| first.rivals.stamp.clock) {
            Some(clock) if !self.conflicts.is_whole() && clock <= losses.forgotten() => {
                losses.take_late(origin, clock)
            }
            _ => Ok(()),
        }
    }

    /// What was a copy of another member begins a life of its own: what that member had taken has come from there.
    pub fn become_another(&self, source: NodeId) -> Result<(), StorageError> {
        // An older version did not note it.
        if !self.wal.received().contains_key(&source)
            && let Some(clock) = self.last_logged(source)?
        {
            self.wal.note_received(source, clock)?;
        }
        self.replication.losses.become_another()?;
        let membership = self.catalog.catalog().cluster.membership.clone();
        // Nothing of this log has begun here.
        for node in membership.nodes.keys().filter(|node| **node != self.id) {
            self.flush.cursors().advance(&peers::cursor(*node), self.flush.applied())?;
        }
        Ok(())
    }

    /// The clock of the last record of a node that the log holds.
    fn last_logged(&self, node: NodeId) -> Result<Option<u64>, StorageError> {
        let (mut next, mut clock) = (self.wal.first_sequence(), None);
        loop {
            let records = self.wal.read_stored(next, READ_BYTES)?;
            let Some(last) = records.last() else { return Ok(clock) };
            next = last.sequence + 1;
            let of_node = records.iter().rfind(|record| record.is_write && record.origin == node);
            clock = of_node.map(|record| record.clock).or(clock);
        }
    }

    /// Before it takes part: what the others may lack is kept for them, and what may still meet something from them is
    /// brought back. The log must be replayed.
    pub fn prepare(&self) -> Result<(), StorageError> {
        let membership = self.catalog.catalog().cluster.membership.clone();
        // A power failure may have taken cursors. All that the log has is sent again: what a node has it passes over.
        let begin = self.wal.first_sequence().saturating_sub(1);
        peers::follow(self.flush.cursors(), &membership, self.id, begin)?;
        self.remember()
    }

    fn remember(&self) -> Result<(), StorageError> {
        let membership = self.catalog.catalog().cluster.membership.clone();
        self.conflicts.follow(&membership, self.id, &self.wal.received());
        let Some(settled) = self.conflicts.settled_clock() else { return Ok(()) };
        self.conflicts.forget_until(self.replication.losses.forgotten());
        let catalog = self.catalog.catalog();
        let mut writes = LoggedWrites::new(None);
        let mut next = self.wal.first_sequence();
        loop {
            let records = self.wal.read_stored(next, READ_BYTES)?;
            let Some(last) = records.last() else { return Ok(()) };
            next = last.sequence + 1;
            // How far the others were when something was fetched from them is not in the log.
            if records.iter().any(|record| record.is_write && record.origin == peers::CLUSTER) {
                self.replication.losses.doubt()?;
            }
            for record in records.iter().filter(|record| !record.is_write || record.clock > settled) {
                match self.wal.decode(&record.bytes)?.0.entry {
                    WalEntry::Write(write) => {
                        let place = || format!("the write-ahead log, sequence {}", record.sequence);
                        let batches = writes.batches(&catalog, &write, |_| true, place)?;
                        let stamp = Stamp { clock: record.clock, origin: record.origin };
                        self.conflicts.note(stamp, &batches, record.sequence - 1);
                    }
                    WalEntry::Agreed(AgreedEntry {
                        position,
                        change: AgreedChange::Command(Command::DeletePoints { scopes }),
                    }) => self.conflicts.note_delete(position.index, &scopes, record.sequence - 1),
                    WalEntry::Agreed(_) | WalEntry::Command(_) => {}
                }
            }
        }
    }
}

impl ClusterNodePort for ClusterNode {
    fn id(&self) -> NodeId {
        self.id
    }

    fn catalog(&self) -> Arc<Catalog> {
        self.catalog.catalog()
    }

    fn stamp(&self, seen: u64) -> u64 {
        self.committer.clock().observe(seen);
        self.committer.clock().next()
    }

    fn agreed(&self, entry: AgreedEntry, clock: u64, proposer: Option<Proposer>) -> Result<(), StorageError> {
        let outcome = self.committer.agreed(entry, clock);
        let failure = match &outcome {
            Err(LogError::Storage(error)) => Some(error.clone()),
            Err(error @ (LogError::Stopped | LogError::QueueFull)) => {
                Some(StorageError::failed("carry out what the cluster agreed on", error))
            }
            // Refused by every node alike.
            Ok(_) | Err(_) => None,
        };
        if let Some(failure) = failure {
            return Err(failure);
        }
        if let Some((_, number)) = proposer.filter(|(node, _)| *node == self.id) {
            self.waiting.settle(number, outcome);
        }
        self.replication.notify();
        Ok(())
    }

    fn receive(&self, batch: &PeerBatch) -> Result<u64, ReceiveError> {
        if !self.is_open.load(Ordering::Acquire) {
            return Err(ReceiveError::NotNow(format!("node {} is not ready yet", self.id)));
        }
        if batch.origin == self.id {
            let text =
                format!("node {} gets its own records: see cluster.advertise_address of the others", self.id);
            return Err(ReceiveError::Bad(text));
        }
        if !self.catalog().cluster.membership.nodes.contains_key(&batch.origin) {
            return Err(ReceiveError::NotNow(format!("node {} is not of this cluster", batch.origin)));
        }
        let had = self.wal.received().get(&batch.origin).copied().unwrap_or(0);
        let losses = &self.replication.losses;
        if had < batch.after {
            losses.lost_of(batch.origin, had, batch.after)?;
        }
        losses.tell(batch.origin);
        if had < batch.after {
            return Ok(had);
        }
        self.wait_for("the schema of the records has not come yet", || {
            self.catalog().cluster.applied_index() >= batch.agreed_index
        })?;
        let has_room = || {
            let has_disk_space = self.flush.disk_space().read_only().is_none();
            let has_room = has_disk_space && self.flush.has_room() && self.flush.log_has_room();
            if !has_room {
                self.flush.press();
            }
            has_room
        };
        self.wait_for("there is no room for more points now", has_room)?;
        let _receiving = waiting::lock(&self.receiving);
        for _ in 0..ATTEMPTS_MAX {
            let writes = self.resolve(batch)?;
            self.look_for_late(batch.origin, &writes)?;
            let committed = if writes.is_empty() { Ok(()) } else { self.committer.receive(writes) };
            match committed {
                Err(LogError::Stale) => {}
                Err(LogError::Storage(error)) => return Err(error.into()),
                Err(error) => return Err(ReceiveError::NotNow(error.to_string())),
                Ok(()) => {
                    self.conflicts.advance(batch.origin, batch.clock, batch.agreed_index);
                    return Ok(had);
                }
            }
        }
        Err(ReceiveError::NotNow(LogError::Stale.to_string()))
    }

    fn lags(&self) -> Vec<PeerLag> {
        self.replication.lags()
    }

    fn needs_repair(&self) -> bool {
        self.replication.losses.has_lost()
    }

    fn is_proven(&self) -> bool {
        self.replication.is_proven()
    }

    fn is_ready(&self) -> bool {
        matches!(self.readiness.phase(), Phase::Ready)
    }

    fn drain(&self, timeout: Duration) -> Result<(), ReceiveError> {
        self.replication.drain(timeout).map_err(ReceiveError::NotNow)
    }

    fn drain_for_stop(&self, timeout: Duration) -> Result<Option<String>, ReceiveError> {
        self.replication.drain_for_stop(timeout).map_err(ReceiveError::NotNow)
    }

    fn is_draining(&self) -> bool {
        self.replication.gate.is_draining()
    }

    fn removed(&self) {
        self.replication.gate.remove();
    }

    fn is_removed(&self) -> bool {
        self.replication.gate.is_removed()
    }

    fn fail(&self, reason: String) {
        self.readiness.fail(reason);
    }
}
