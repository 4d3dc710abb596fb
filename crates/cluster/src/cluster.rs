//! A node of the cluster, as the server holds it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyperbytedb_domain::cluster::{NodeAddress, NodeId, Proposal};
use hyperbytedb_domain::ports::{
    BackupPort, ClusterNodePort, ClusterPort, ConsensusLogPort, ConsensusPort, DigestQuery, NodeInfo,
    NodeStatus, PeerBatch, PeerError, PeerPort, ProposalError, RepairPeersPort, RepairPort, RepairProgress,
    RowsPage, RowsQuery, Unready,
};
use hyperbytedb_domain::scan::Digest;
use hyperbytedb_domain::wal::Sequence;
use parking_lot::Mutex;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::runtime::{Handle, Runtime};
use tokio::sync::watch;

use crate::client::CallError;
use crate::member::{CALL_TIMEOUT, Inner};
use crate::server::{DIGESTS, RECORDS, REPAIRED, ROWS};
use crate::signature::Secret;
use crate::tls::Tls;

const WORKERS: usize = 2;
/// How long another node may read what it has stored of a partition.
const COMPARE_TIMEOUT: Duration = Duration::from_secs(300);
/// How long records may be on their way.
const RECORDS_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a stop waits for what is being carried out for other nodes.
const STOP_PATIENCE: Duration = Duration::from_secs(5);

/// Settings of a node.
#[derive(Clone)]
pub struct ClusterOptions {
    pub node: NodeId,
    /// `host:port` to listen on for the other nodes.
    pub bind_address: String,
    /// What the others and clients are told.
    pub advertised: NodeAddress,
    pub secret: Secret,
    /// `None`: what goes from node to node is signed, and can be read by whoever sees it.
    pub tls: Option<Tls>,
    /// How long a command waits for a leader and a majority.
    pub propose_timeout: Duration,
    /// A node that lacks what is older, or has not heard from a majority for longer, should not be asked; zero: it may.
    pub max_staleness: Duration,
    /// The newest protocol that it speaks with the others.
    pub protocol: u32,
    /// Of the server, for the others.
    pub version: String,
}

/// A node says that it has what it lacked of another one's records.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct RepairedRequest {
    pub node: NodeId,
    pub position: Sequence,
}

/// A running node. Dropping it stops it.
pub struct Cluster {
    inner: Arc<Inner>,
    /// `None` once this is stopped.
    runtime: Mutex<Option<Runtime>>,
    handle: Handle,
    stop: watch::Sender<bool>,
    pub local_address: SocketAddr,
}

impl Cluster {
    /// Listens for the other nodes and takes part. A node that never was in a cluster founds one when `founds` says so.
    pub fn start(
        options: ClusterOptions,
        log: Arc<dyn ConsensusLogPort>,
        node: Arc<dyn ClusterNodePort>,
        backups: Arc<dyn BackupPort>,
        repair: Arc<dyn RepairPort>,
        founds: bool,
    ) -> Result<Self, String> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(WORKERS)
            .thread_name("cluster")
            .enable_all()
            .build()
            .map_err(|error| format!("threads of the cluster: {error}"))?;
        let inner = Arc::new(Inner::new(options, node, backups, repair)?);
        let (stop, stopping) = watch::channel(false);
        let local_address = runtime.block_on(inner.clone().begin(log, founds, stopping))?;
        let handle = runtime.handle().clone();
        Ok(Self { inner, runtime: Mutex::new(Some(runtime)), handle, stop, local_address })
    }

    /// Leaves the others alone, and lets nobody wait for them. Behind it nothing of this node works any more, and the log is closed
    /// where nobody else holds it.
    pub fn stop(&self) {
        self.stop.send_replace(true);
        let Some(runtime) = self.runtime.lock().take() else { return };
        runtime.block_on(self.inner.end());
        runtime.shutdown_timeout(STOP_PATIENCE);
    }

    /// Waits for work; `None` when the node stops.
    fn block_on<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let mut stopping = self.stop.subscribe();
        self.handle.block_on(async {
            tokio::select! {
                biased;
                _ = stopping.wait_for(|stop| *stop) => None,
                done = work => Some(done),
            }
        })
    }

    /// Becomes a voter. Returns when the others have agreed.
    pub fn promote_self(&self) -> Result<(), String> {
        let node = self.inner.options.node;
        self.block_on(self.inner.promote(node)).unwrap_or_else(|| Err("stopped".to_owned()))
    }

    /// What the other nodes that answer say of themselves.
    pub fn peers(&self) -> Vec<NodeStatus> {
        let mut statuses = self.block_on(self.inner.look()).unwrap_or_default();
        statuses.retain(|status| status.id != self.inner.options.node);
        statuses
    }

    /// Some node leads, and has answered a moment ago.
    pub fn hears_leader(&self) -> bool {
        self.inner.hears_leader()
    }

    /// The others have taken this node out.
    pub fn is_removed(&self) -> bool {
        self.inner.node.is_removed()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Cluster {
    /// Asks a node something that needs it to read what it has stored.
    fn compare<Q: Serialize, A: DeserializeOwned>(
        &self,
        address: &NodeAddress,
        path: &str,
        query: &Q,
    ) -> Result<A, PeerError> {
        let asked = self.inner.client.call_any(self.inner.to(address), path, query, COMPARE_TIMEOUT);
        let answer = self.block_on(asked);
        match answer {
            Some(answer) => answer.map_err(|error| PeerError::Refused(error.to_string())),
            None => Err(PeerError::Unreachable("the server is stopping".to_owned())),
        }
    }
}

impl RepairPeersPort for Cluster {
    fn peers(&self) -> Vec<(NodeAddress, NodeStatus)> {
        if self.is_removed() {
            return Vec::new();
        }
        let nodes = self.inner.nodes();
        let address = |status: NodeStatus| Some((nodes.get(&status.id)?.clone(), status));
        Self::peers(self).into_iter().filter_map(address).collect()
    }

    fn digests(&self, of: &NodeAddress, query: &DigestQuery) -> Result<Vec<Digest>, PeerError> {
        self.compare(of, DIGESTS, query)
    }

    fn rows(&self, of: &NodeAddress, query: &RowsQuery) -> Result<RowsPage, PeerError> {
        self.compare(of, ROWS, query)
    }

    fn tell_repaired(&self, to: &NodeAddress, position: Sequence) -> Result<(), PeerError> {
        let request = RepairedRequest { node: self.inner.options.node, position };
        let told = self.block_on(self.inner.client.ask(self.inner.to(to), REPAIRED, &request, CALL_TIMEOUT));
        told.unwrap_or(Ok(())).map_err(|error| PeerError::Refused(error.to_string()))
    }
}

impl ConsensusPort for Cluster {
    fn propose(&self, proposal: Proposal) -> Result<(), ProposalError> {
        let stopped = || Err(ProposalError::NotAgreed("the server is stopping".to_owned()));
        self.block_on(self.inner.propose(proposal)).unwrap_or_else(stopped)
    }

    fn holds_lease(&self) -> bool {
        self.inner.holds_lease()
    }
}

impl PeerPort for Cluster {
    fn send(&self, to: &NodeAddress, batch: &PeerBatch) -> Result<Option<u64>, PeerError> {
        let sent = self.block_on(self.inner.client.tell(self.inner.to(to), RECORDS, batch, RECORDS_TIMEOUT));
        match sent {
            Some(Ok(had)) => Ok(had),
            Some(Err(error @ CallError::Refused { .. })) => Err(PeerError::Refused(error.to_string())),
            Some(Err(error)) => Err(PeerError::Unreachable(error.to_string())),
            None => Err(PeerError::Unreachable("the server is stopping".to_owned())),
        }
    }
}

impl ClusterPort for Cluster {
    fn own_id(&self) -> NodeId {
        self.inner.options.node
    }

    fn nodes(&self) -> Vec<NodeInfo> {
        self.block_on(self.inner.infos()).unwrap_or_default()
    }

    fn leader(&self) -> Option<NodeId> {
        self.inner.leader()
    }

    fn remove(&self, node: NodeId) -> Result<(), String> {
        self.block_on(self.inner.remove(node)).unwrap_or_else(|| Err("the server is stopping".to_owned()))
    }

    fn drain(&self, node: NodeId) -> Result<Option<String>, String> {
        self.block_on(self.inner.drain(node, false))
            .unwrap_or_else(|| Err("the server is stopping".to_owned()))
    }

    fn unready(&self) -> Option<Unready> {
        self.inner.unready()
    }

    fn repair(&self) -> Result<(), String> {
        self.block_on(self.inner.repair()).unwrap_or_else(|| Err("the server is stopping".to_owned()))
    }

    fn repairs(&self) -> Vec<(NodeId, RepairProgress)> {
        let statuses = self.block_on(self.inner.statuses()).unwrap_or_default();
        statuses.into_iter().filter_map(|(node, status)| Some((node, status?.repair))).collect()
    }
}
