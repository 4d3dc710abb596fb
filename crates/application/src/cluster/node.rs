//! What comes from the other nodes: agreed entries and records.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use hyperbytedb_domain::StorageError;
use hyperbytedb_domain::catalog::Catalog;
use hyperbytedb_domain::cluster::{AgreedEntry, NodeId};
use hyperbytedb_domain::ports::{
    CatalogPort, ClusterNodePort, PeerBatch, PeerLag, Proposer, ReceiveError, SeriesIndexPort, WalPort,
};
use hyperbytedb_domain::wal::WalEntry;
use parking_lot::Mutex;

use super::agreement::Waiting;
use super::replication::Replication;
use crate::api::{Phase, Readiness};
use crate::flush::FlushService;
use crate::log::LogError;
use crate::log::committer::{Committer, ReceivedWrite, ResolvedWrite};
use crate::log::replay::LoggedWrites;
use crate::waiting;

/// How long records wait for the schema they were made with, and for memory.
const PATIENCE: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(2);
/// How often what records were resolved against may change before they are refused for now.
const ATTEMPTS_MAX: usize = 64;

/// This node, as the others see it.
pub struct ClusterNode {
    pub id: NodeId,
    pub committer: Arc<Committer>,
    pub waiting: Arc<Waiting>,
    pub catalog: Arc<dyn CatalogPort>,
    pub series: Arc<dyn SeriesIndexPort>,
    pub wal: Arc<dyn WalPort>,
    pub flush: Arc<FlushService>,
    pub readiness: Arc<Readiness>,
    pub replication: Arc<Replication>,
    /// Held while records are taken, so that those of one node come in their order.
    pub receiving: Mutex<()>,
    /// Set when the log is replayed.
    pub is_open: AtomicBool,
}

impl ClusterNode {
    /// Waits until the condition holds.
    fn wait_for(&self, what: &str, holds: impl Fn() -> bool) -> Result<(), ReceiveError> {
        let until = Instant::now() + PATIENCE;
        while !holds() {
            if Instant::now() >= until {
                return Err(ReceiveError::NotNow(format!("node {}: {what}", self.id)));
            }
            waiting::sleep(POLL);
        }
        Ok(())
    }

    /// The records that are not here yet, resolved against the catalogue as it is.
    fn resolve(&self, batch: &PeerBatch) -> Result<Vec<ReceivedWrite>, ReceiveError> {
        let seen = self.wal.received().get(&batch.origin).copied().unwrap_or(0);
        let mut last = seen;
        let mut writes = LoggedWrites::new(&*self.series);
        let mut received = Vec::with_capacity(batch.records.len());
        for bytes in &batch.records {
            let (record, entry) =
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
            if clock <= last {
                return Err(ReceiveError::Bad(format!("records of node {origin} are not in their order")));
            }
            last = clock;
            let WalEntry::Write(write) = record.entry else {
                return Err(ReceiveError::Bad(format!("node {origin} sent something else than a write")));
            };
            let epoch = self.flush.epochs().now();
            let catalog = self.catalog.catalog();
            let place = || format!("a record of node {origin}");
            let batches = writes.batches(&catalog, &write, |_| true, place)?;
            received.push(ReceivedWrite {
                origin,
                clock,
                write: ResolvedWrite { entry, catalog, epoch, batches },
            });
        }
        Ok(received)
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

    fn receive(&self, batch: &PeerBatch) -> Result<(), ReceiveError> {
        if !self.is_open.load(Ordering::Acquire) {
            return Err(ReceiveError::NotNow(format!("node {} is not ready yet", self.id)));
        }
        if !self.catalog().cluster.membership.nodes.contains_key(&batch.origin) {
            return Err(ReceiveError::NotNow(format!("node {} is not of this cluster", batch.origin)));
        }
        self.wait_for("the schema of the records has not come yet", || {
            self.catalog().cluster.applied_index() >= batch.agreed_index
        })?;
        let has_room = || {
            let has_room = self.flush.has_room() && self.flush.log_has_room();
            if !has_room {
                self.flush.press();
            }
            has_room
        };
        self.wait_for("there is no room for more points now", has_room)?;
        let _receiving = self.receiving.lock();
        for _ in 0..ATTEMPTS_MAX {
            let writes = self.resolve(batch)?;
            if writes.is_empty() {
                return Ok(());
            }
            match self.committer.receive(writes) {
                Err(LogError::Stale) => {}
                Err(LogError::Storage(error)) => return Err(error.into()),
                Err(error) => return Err(ReceiveError::NotNow(error.to_string())),
                Ok(()) => return Ok(()),
            }
        }
        Err(ReceiveError::NotNow(LogError::Stale.to_string()))
    }

    fn lags(&self) -> Vec<PeerLag> {
        self.replication.lags()
    }

    fn is_ready(&self) -> bool {
        matches!(self.readiness.phase(), Phase::Ready)
    }

    fn drain(&self, timeout: Duration) -> Result<(), ReceiveError> {
        self.replication.drain(timeout).map_err(ReceiveError::NotNow)
    }

    fn is_draining(&self) -> bool {
        self.replication.is_draining()
    }
}
