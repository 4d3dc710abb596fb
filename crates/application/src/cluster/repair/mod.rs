//! Anti-entropy: nodes compare what they have stored, and each takes what it lacks.
//!
//! A node asks the others what the rows of each partition come to ([`Digest`]), by part of the series, then by series, and
//! fetches the rows of those series that differ ([`merge`] decides). What it takes becomes a record of its log that is sent to
//! nobody, older than everything: whatever is written or deleted meanwhile stays. So a node that has lost a part of its disk, or
//! missed what the others' logs do not hold any more, becomes as the others are.

mod merge;
mod page;
mod run;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hyperbytedb_domain::cluster::{NodeAddress, NodeId};
use hyperbytedb_domain::ports::{
    CatalogPort, DigestQuery, NodeStatus, PeerError, PeerLag, ReceiveError, RepairPeersPort, RepairPort,
    RepairProgress, RowsPage, RowsQuery, WalPort,
};
use hyperbytedb_domain::scan::Digest;
use hyperbytedb_domain::wal::Sequence;
use hyperbytedb_domain::{EngineError, QueryContext, StorageError};
use parking_lot::Mutex;
use thiserror::Error;

use self::page::Partition;
use self::run::{Left, Peer, Run};
use super::conflicts::Conflicts;
use super::replication::Replication;
use crate::flush::FlushService;
use crate::log::LogError;
use crate::log::committer::Committer;
use crate::reader::TableReader;
use crate::threads::Stop;
use crate::waiting;

/// How often it is looked whether there is something to do.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// Before a run that failed is tried again.
const RETRY_INTERVAL: Duration = Duration::from_secs(10);
/// The pause is so many times as long as the run was: comparing reads all that is stored.
const REST_FACTOR: u32 = 4;
const POLL: Duration = Duration::from_millis(10);

/// Compares this node with the others.
pub struct RepairService {
    pub node: NodeId,
    pub reader: TableReader,
    pub catalog: Arc<dyn CatalogPort>,
    pub wal: Arc<dyn WalPort>,
    pub flush: Arc<FlushService>,
    pub committer: Arc<Committer>,
    pub conflicts: Arc<Conflicts>,
    pub replication: Arc<Replication>,
    /// Between two runs without being asked; `None`: none.
    pub interval: Option<Duration>,
    pub state: RepairState,
}

/// What has been asked for, and how far it is.
#[derive(Default)]
pub struct RepairState {
    progress: Mutex<RepairProgress>,
    is_wanted: Mutex<bool>,
}

/// Nodes that have missed or lost something, with the one that knows of it.
type Lacking = BTreeSet<(NodeId, NodeId)>;

/// Why a run ended early.
#[derive(Debug, Error)]
enum RepairError {
    #[error(transparent)]
    Peer(#[from] PeerError),
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error(transparent)]
    Log(#[from] LogError),
    /// Fewer series have fewer rows.
    #[error("the rows of {series} series at one time, or what is written of them meanwhile, are too many")]
    TooMuch { series: usize },
    #[error("{0} series were written or changed each time that they were compared")]
    Busy(u64),
    #[error("no other node is known to have missed and lost nothing")]
    NobodyKnows,
    #[error(
        "{0} values differ, and cannot be settled before another node is known to have missed and lost nothing, or all are there"
    )]
    Unsettled(u64),
    #[error("the server is stopping")]
    Stopped,
}

fn background() -> QueryContext {
    QueryContext { max_threads: 1, ..QueryContext::unbounded() }
}

impl RepairService {
    /// Compares when it is asked for, when this node has missed records or may have wrong ones, and from time to time.
    pub fn run(&self, port: &dyn RepairPeersPort, stop: &Stop) {
        let mut next = self.interval.map(|interval| waiting::now() + interval);
        let mut not_before = waiting::now();
        while stop.wait(LOOK_INTERVAL) {
            if waiting::now() < not_before {
                continue;
            }
            let peers = port.peers();
            // A table that is not known here yet would not be compared.
            let applied = self.catalog.catalog().cluster.applied_index();
            if peers.iter().any(|(_, status)| status.applied_index > applied) {
                continue;
            }
            let is_wanted = *self.state.is_wanted.lock();
            let missed = self.missed(&peers);
            let is_due = next.is_some_and(|next| waiting::now() >= next);
            let is_behind = !missed.is_empty() || self.replication.losses.has_lost();
            let is_in_doubt = self.replication.losses.is_in_doubt() && self.can_settle(&peers);
            if !(is_wanted || is_due || is_behind || is_in_doubt) || peers.is_empty() {
                continue;
            }
            *self.state.is_wanted.lock() = false;
            let started = waiting::now();
            let ended = self.run_once(port, stop, peers, &missed, !is_wanted && !is_behind && !is_in_doubt);
            match &ended {
                Err(error) => {
                    tracing::warn!(%error, "comparing with the other nodes ended early; it is tried again");
                    *self.state.is_wanted.lock() |= is_wanted || is_behind;
                }
                Ok(()) => next = self.interval.map(|interval| waiting::now() + interval),
            }
            if ended.is_err() || self.replication.losses.is_in_doubt() {
                not_before = waiting::now() + RETRY_INTERVAL.max((waiting::now() - started) * REST_FACTOR);
            }
        }
    }

    /// Compares once, as when it is asked for.
    pub fn run_now(&self, port: &dyn RepairPeersPort, stop: &Stop) -> Result<(), String> {
        let peers = port.peers();
        let missed = self.missed(&peers);
        self.run_once(port, stop, peers, &missed, false).map_err(|error| error.to_string())
    }

    /// The nodes that have gone on without this one, and how far they were then.
    fn missed(&self, peers: &[(NodeAddress, NodeStatus)]) -> Vec<(NodeAddress, Sequence)> {
        let lag = |(address, status): &(NodeAddress, NodeStatus)| {
            let lag = status.lags.iter().find(|lag| lag.node == self.node && lag.needs_repair)?;
            Some((address.clone(), lag.position))
        };
        peers.iter().filter_map(lag).collect()
    }

    /// What the nodes say of each other, by the one that says it.
    fn said(&self, peers: &[(NodeAddress, NodeStatus)]) -> impl Iterator<Item = (NodeId, PeerLag)> {
        let own = self.replication.lags().into_iter().map(|lag| (self.node, lag));
        own.chain(peers.iter().flat_map(|(_, status)| status.lags.iter().map(|lag| (status.id, lag.clone()))))
    }

    /// Who lacks something, or does not know that, as these nodes and this one say.
    fn lacking(&self, peers: &[(NodeAddress, NodeStatus)]) -> Lacking {
        let missed = self.said(peers).filter(|(_, lag)| lag.needs_repair).map(|(from, lag)| (from, lag.node));
        let own = (self.node, self.replication.losses.has_lost(), self.replication.is_proven());
        let of_peer =
            |(_, status): &(NodeAddress, NodeStatus)| (status.id, status.needs_repair, status.is_proven);
        let lost = peers.iter().map(of_peer).chain([own]);
        let lost = lost.filter(|(_, has_lost, is_proven)| *has_lost || !is_proven);
        missed.chain(lost.map(|(id, ..)| (id, id))).collect()
    }

    /// Whether there are no more nodes than so many others.
    fn are_all(&self, others: usize) -> bool {
        others + 1 == self.catalog.catalog().cluster.membership.nodes.len()
    }

    /// Whether all nodes are there, and nothing that still comes can lose against what is not remembered.
    fn can_settle(&self, peers: &[(NodeAddress, NodeStatus)]) -> bool {
        self.are_all(peers.len()) && self.conflicts.is_whole()
    }

    fn run_once(
        &self,
        port: &dyn RepairPeersPort,
        stop: &Stop,
        peers: Vec<(NodeAddress, NodeStatus)>,
        missed: &[(NodeAddress, Sequence)],
        only_quiet: bool,
    ) -> Result<(), RepairError> {
        let lacking = self.lacking(&peers);
        let is_sound = |id: NodeId| !lacking.iter().any(|(_, lacks)| *lacks == id);
        let peer = |(address, status): &(NodeAddress, NodeStatus)| Peer {
            id: status.id,
            address: address.clone(),
            counts: is_sound(status.id),
        };
        let others: Vec<Peer> = peers.iter().map(peer).collect();
        let sound = others.iter().filter(|peer| peer.counts).count();
        let losses = &self.replication.losses;
        let (signs, doubts, can_settle) = (losses.signs(), losses.doubts(), self.can_settle(&peers));
        let is_behind = !missed.is_empty() || losses.has_lost();
        let counts = is_sound(self.node);
        let are_all_here = self.are_all(others.len())
            && self.replication.is_proven()
            && peers.iter().all(|(_, status)| status.is_proven);
        // Where each one lacks something, all know as much: most of them decide.
        let is_vote = is_behind && sound == 0 && are_all_here;
        let settles = if is_behind { sound > 0 || is_vote } else { counts && self.are_all(sound) };
        let peers = others.into_iter().map(|peer| Peer { counts: peer.counts || is_vote, ..peer }).collect();
        let (service, counts, left) = (self, counts || is_vote, Left::default());
        let run = Run { service, port, stop, peers, counts, lacking, settles, only_quiet, left };
        *self.state.progress.lock() =
            RepairProgress { is_running: true, error: None, repaired_rows: 0, ..self.progress() };
        let ended = run.compare();
        let rows = self.note_end(&ended);
        let unsettled = ended?;
        if rows > 0 || !missed.is_empty() {
            tracing::info!(rows, "took what this node lacked from the others");
        }
        if unsettled > 0 && is_behind {
            return Err(RepairError::Unsettled(unsettled));
        }
        for (address, position) in missed {
            port.tell_repaired(address, *position)?;
        }
        if losses.has_lost() && !settles {
            return Err(RepairError::NobodyKnows);
        }
        losses.recovered(signs)?;
        // What a node that is away has to send may be older than what was taken.
        if can_settle && settles && unsettled == 0 {
            losses.settled(doubts)?;
        } else if rows > 0 {
            losses.doubt()?;
        }
        Ok(())
    }

    /// Returns the number of rows that were taken.
    fn note_end(&self, ended: &Result<u64, RepairError>) -> u64 {
        let mut progress = self.state.progress.lock();
        progress.is_running = false;
        progress.error = ended.as_ref().err().map(ToString::to_string);
        if ended.is_ok() {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            progress.finished_ms = now.as_millis() as u64;
        }
        progress.repaired_rows
    }
}

fn not_now(error: EngineError) -> ReceiveError {
    ReceiveError::NotNow(error.to_string())
}

impl RepairPort for RepairService {
    fn digests(&self, query: &DigestQuery) -> Result<Vec<Digest>, ReceiveError> {
        let partition = Partition::seen(self, query.agreed_index, query.table, query.shard)?;
        let Some(Partition { table, group }) = partition else { return Ok(Vec::new()) };
        self.reader.digests(&table, &group, &query.by, &background()).map_err(not_now)
    }

    fn rows(&self, query: &RowsQuery) -> Result<RowsPage, ReceiveError> {
        // Where nothing is being committed, all that has a smaller clock has taken effect, and is of the schema that is known now.
        let clock = {
            let _applying = self.flush.epochs().lock();
            self.committer.clock().next()
        };
        let partition = Partition::seen(self, query.agreed_index, query.table, query.shard)?;
        let Some(partition) = partition else { return Ok(RowsPage::default()) };
        let page = partition.read(&self.reader, query).map_err(not_now)?;
        Ok(RowsPage { clock, ..page })
    }

    fn repaired(&self, node: NodeId, position: Sequence) {
        if let Err(error) = self.replication.losses.repaired(node, position) {
            tracing::warn!(%error, node, "that a node has what it missed could not be stored");
        }
    }

    fn start(&self) {
        *self.state.is_wanted.lock() = true;
    }

    fn progress(&self) -> RepairProgress {
        let progress = self.state.progress.lock().clone();
        let is_wanted = *self.state.is_wanted.lock();
        RepairProgress { is_running: progress.is_running || is_wanted, ..progress }
    }
}
