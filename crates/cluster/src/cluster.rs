//! A node of the cluster: Raft, the listener, and what changes who is in it.

mod lease;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use axum::http::StatusCode;
use futures_util::future::join_all;
use hyperbytedb_domain::cluster::{NodeAddress, NodeId, Proposal};
use hyperbytedb_domain::ports::{
    BackupPort, ClusterNodePort, ClusterPort, ConsensusLogPort, ConsensusPort, DigestQuery, NodeInfo,
    NodeStatus, PeerBatch, PeerError, PeerPort, ProposalError, RepairPeersPort, RepairPort, RepairProgress,
    RowsPage, RowsQuery,
};
use hyperbytedb_domain::scan::Digest;
use hyperbytedb_domain::wal::Sequence;
use hyperbytedb_metrics as metrics;
use openraft::error::{ClientWriteError, Fatal, RaftError};
use openraft::{ChangeMembers, Config, RaftMetrics, ServerState, SnapshotPolicy};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio::runtime::{Handle, Runtime};
use tokio::sync::watch;

use crate::client::{CallError, Client};
use crate::log_store::LogStore;
use crate::network::Network;
use crate::server::{
    self, DIGESTS, DRAIN, ELECT, JOIN, PROMOTE, PROPOSE, RECORDS, REMOVE, REPAIR, REPAIRED, ROWS, STATUS,
};
use crate::signature::{Secret, Seen};
use crate::state_machine::StateMachine;
use crate::tls::{Tls, TlsListener};
use crate::types::Raft;

const WORKERS: usize = 2;
const HEARTBEAT_MS: u64 = 200;
const ELECTION_MIN_MS: u64 = 1000;
const ELECTION_MAX_MS: u64 = 2000;
/// Entries between snapshots of the catalogue, and those kept behind one: a node that is further behind gets the catalogue
/// as a whole.
const SNAPSHOT_ENTRIES: u64 = 10_000;
const KEPT_ENTRIES: u64 = 100_000;
/// Between two looks for a leader.
const LEADER_POLL: Duration = Duration::from_millis(50);
const STATUS_TIMEOUT: Duration = Duration::from_secs(1);
/// Between two times that a node asks the others how they are.
const WATCH_INTERVAL: Duration = Duration::from_secs(1);
const CALL_TIMEOUT: Duration = Duration::from_secs(15);
/// How long all nodes may take to hear of a new one.
const JOIN_PATIENCE: Duration = Duration::from_secs(10);
/// How long another node may read what it has stored of a partition.
const COMPARE_TIMEOUT: Duration = Duration::from_secs(300);
const DRAIN_PATIENCE: Duration = Duration::from_secs(60);
/// How long records may be on their way.
const RECORDS_TIMEOUT: Duration = Duration::from_secs(30);

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
    /// A node that lacks what is older should not be asked; zero: it may.
    pub max_staleness: Duration,
    /// Of the server, for the others.
    pub version: String,
}

/// What a node that wants to join says.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct JoinRequest {
    pub node: NodeId,
    pub address: NodeAddress,
}

/// Where it gets everything from.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct JoinAnswer {
    pub source: NodeId,
    pub address: String,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct NodeRequest {
    pub node: NodeId,
}

/// A node says that it has what it lacked of another one's records.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct RepairedRequest {
    pub node: NodeId,
    pub position: Sequence,
}

/// What handlers work with.
pub(crate) struct Inner {
    pub options: ClusterOptions,
    pub secret: Secret,
    pub seen: Seen,
    pub node: Arc<dyn ClusterNodePort>,
    pub backups: Arc<dyn BackupPort>,
    pub repair: Arc<dyn RepairPort>,
    pub client: Client,
    raft: OnceLock<Raft>,
    /// When a majority last answered this node as its leader.
    majority_heard: Mutex<Option<Instant>>,
    /// What the nodes said when they were asked last.
    heard: Mutex<Vec<NodeStatus>>,
}

type Refusal = (StatusCode, String);

/// A running node. Dropping it stops it.
pub struct Cluster {
    inner: Arc<Inner>,
    /// `None` once this is dropped.
    runtime: Option<Runtime>,
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
        let client = Client::new(options.node, options.secret.clone(), options.tls.as_ref())?;
        let secret = options.secret.clone();
        let inner = Arc::new(Inner {
            options,
            secret,
            seen: Seen::default(),
            node,
            backups,
            repair,
            client,
            raft: OnceLock::new(),
            majority_heard: Mutex::default(),
            heard: Mutex::default(),
        });
        let (stop, stopping) = watch::channel(false);
        let local_address = runtime.block_on(inner.clone().begin(log, founds, stopping))?;
        let handle = runtime.handle().clone();
        Ok(Self { inner, runtime: Some(runtime), handle, stop, local_address })
    }

    /// Leaves the others alone, and lets nobody wait for them. What was agreed on is stored.
    pub fn stop(&self) {
        self.stop.send_replace(true);
        if let Some(raft) = self.inner.raft.get() {
            // It ends in any case.
            let _ = self.handle.block_on(raft.shutdown());
        }
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
        let statuses = self.block_on(self.inner.statuses()).unwrap_or_default();
        statuses
            .into_iter()
            .filter_map(|(node, status)| status.filter(|_| node != self.inner.options.node))
            .collect()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Notes when a majority was last heard, and ends the process when Raft has stopped by itself, as it does when its log or what
/// it decides cannot be stored.
async fn follow(mut metrics: watch::Receiver<RaftMetrics<NodeId, NodeAddress>>, inner: Arc<Inner>) {
    loop {
        let (state, heard) = {
            let metrics = metrics.borrow_and_update();
            let millis = metrics.millis_since_quorum_ack.filter(|_| metrics.state == ServerState::Leader);
            let heard = millis.and_then(|millis| Instant::now().checked_sub(Duration::from_millis(millis)));
            (metrics.running_state.clone(), heard)
        };
        *inner.majority_heard.lock() = heard;
        match state {
            Ok(()) => {}
            Err(Fatal::Stopped) => return,
            Err(error) => {
                return inner.node.fail(format!(
                    "what the cluster agrees on cannot be stored or carried out (is the disk full?): {error}"
                ));
            }
        }
        if metrics.changed().await.is_err() {
            return;
        }
    }
}

impl Inner {
    async fn begin(
        self: Arc<Self>,
        log: Arc<dyn ConsensusLogPort>,
        founds: bool,
        mut stopping: watch::Receiver<bool>,
    ) -> Result<SocketAddr, String> {
        let address = &self.options.bind_address;
        let listener = TcpListener::bind(address)
            .await
            .map_err(|error| format!("cannot listen on {address} (cluster.bind_address): {error}"))?;
        let local = listener.local_addr().map_err(|error| error.to_string())?;
        let config = Config {
            cluster_name: "hyperbytedb".to_owned(),
            heartbeat_interval: HEARTBEAT_MS,
            election_timeout_min: ELECTION_MIN_MS,
            election_timeout_max: ELECTION_MAX_MS,
            snapshot_policy: SnapshotPolicy::LogsSinceLast(SNAPSHOT_ENTRIES),
            max_in_snapshot_log_to_keep: KEPT_ENTRIES,
            ..Config::default()
        };
        let config = Arc::new(config.validate().map_err(|error| error.to_string())?);
        let store = LogStore::new(log);
        let is_used = store.is_used().map_err(|error| error.to_string())?;
        let (network, machine) = (Network(self.client.clone()), StateMachine::new(self.node.clone()));
        let node = self.options.node;
        let raft =
            Raft::new(node, config, network, store, machine).await.map_err(|error| error.to_string())?;
        if founds && !is_used {
            let founders = BTreeMap::from([(node, self.options.advertised.clone())]);
            raft.initialize(founders).await.map_err(|error| error.to_string())?;
            tracing::info!(node, "founded a cluster");
        }
        tokio::spawn(follow(raft.metrics(), self.clone()));
        // Nobody else sets it.
        let _ = self.raft.set(raft);
        let (watching, mut until) = (self.clone(), stopping.clone());
        tokio::spawn(async move {
            tokio::select! {
                _ = until.wait_for(|stop| *stop) => {}
                () = watching.watch() => {}
            }
        });
        let stopped = async move {
            // An error means that the node is gone: stop as well.
            let _ = stopping.wait_for(|stop| *stop).await;
        };
        let tls = self.options.tls.clone();
        let router = server::router(self);
        let served = match tls {
            None => axum::serve(listener, router).with_graceful_shutdown(stopped).into_future(),
            Some(tls) => {
                let listener = TlsListener::new(listener, tls.server).map_err(|error| error.to_string())?;
                axum::serve(listener, router).with_graceful_shutdown(stopped).into_future()
            }
        };
        tokio::spawn(async move {
            if let Err(error) = served.await {
                tracing::error!(%error, "the listener of the cluster ended");
            }
        });
        Ok(local)
    }

    pub fn raft(&self) -> Result<&Raft, Refusal> {
        let text = || (StatusCode::SERVICE_UNAVAILABLE, "this node starts".to_owned());
        self.raft.get().ok_or_else(text)
    }

    pub fn status(&self) -> NodeStatus {
        NodeStatus {
            id: self.options.node,
            version: self.options.version.clone(),
            is_ready: self.node.is_ready(),
            is_draining: self.node.is_draining(),
            applied_index: self.node.catalog().cluster.applied_index(),
            lags: self.node.lags(),
            repair: self.repair.progress(),
            needs_repair: self.node.needs_repair(),
            is_proven: self.node.is_proven(),
        }
    }

    fn nodes(&self) -> BTreeMap<NodeId, NodeAddress> {
        self.node.catalog().cluster.membership.nodes.clone()
    }

    fn leader(&self) -> Option<NodeId> {
        self.raft.get().and_then(|raft| raft.metrics().borrow().current_leader)
    }

    fn is_leader(&self) -> bool {
        self.leader() == Some(self.options.node)
    }

    /// The leader's address, as this node knows it.
    fn leader_address(&self) -> Option<String> {
        let leader = self.leader()?;
        let raft = self.raft.get()?;
        let metrics = raft.metrics();
        let metrics = metrics.borrow();
        metrics.membership_config.membership().get_node(&leader).map(|node| node.address.clone())
    }

    /// Appends a proposal, if this node leads.
    pub async fn propose_here(&self, mut proposal: Proposal) -> Result<(), Refusal> {
        proposal.clock = self.node.stamp(proposal.clock);
        match self.raft()?.client_write(proposal).await {
            Ok(_) => Ok(()),
            Err(RaftError::APIError(ClientWriteError::ForwardToLeader(_))) => {
                Err((StatusCode::MISDIRECTED_REQUEST, "another node leads".to_owned()))
            }
            Err(error) => Err((StatusCode::INTERNAL_SERVER_ERROR, error.to_string())),
        }
    }

    async fn propose(&self, proposal: Proposal) -> Result<(), ProposalError> {
        let until = Instant::now() + self.options.propose_timeout;
        let mut reason = "no node leads".to_owned();
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let text = format!("timeout: the cluster has no leader that a majority can reach ({reason})");
                return Err(ProposalError::NotAgreed(text));
            }
            if self.is_leader() {
                match tokio::time::timeout(left, self.propose_here(proposal.clone())).await {
                    Ok(Ok(())) => return Ok(()),
                    Ok(Err((StatusCode::MISDIRECTED_REQUEST, text))) => reason = text,
                    Ok(Err((_, text))) => return Err(ProposalError::Unknown(text)),
                    Err(_) => return Err(ProposalError::Unknown("a majority does not answer".to_owned())),
                }
            } else if let Some(address) = self.leader_address() {
                match self.client.call(&address, PROPOSE, &proposal, left).await {
                    Ok(()) => return Ok(()),
                    Err(CallError::Unreachable { reason: why, .. }) => reason = why,
                    Err(CallError::Refused {
                        status: StatusCode::MISDIRECTED_REQUEST | StatusCode::SERVICE_UNAVAILABLE,
                        text,
                    }) => reason = text,
                    Err(error) => return Err(ProposalError::Unknown(error.to_string())),
                }
            }
            tokio::time::sleep(LEADER_POLL).await;
        }
    }

    /// Each node with what it says of itself, if it answers.
    async fn statuses(&self) -> Vec<(NodeId, Option<NodeStatus>)> {
        let ask = async |(id, node): (NodeId, NodeAddress)| {
            if id == self.options.node {
                return (id, Some(self.status()));
            }
            (id, self.client.ask(&node.address, STATUS, &(), STATUS_TIMEOUT).await.ok())
        };
        join_all(self.nodes().into_iter().map(ask)).await
    }

    /// Keeps what the nodes say of each other. Never ends.
    async fn watch(&self) {
        let mut unfit_since = None;
        loop {
            tokio::time::sleep(WATCH_INTERVAL).await;
            let heard: Vec<NodeStatus> =
                self.statuses().await.into_iter().filter_map(|(_, status)| status).collect();
            metrics::CLUSTER_LEADER.set(self.leader().unwrap_or(0) as f64);
            metrics::CLUSTER_NODES.set(self.nodes().len() as f64);
            metrics::CLUSTER_NODES_UP.set(heard.len() as f64);
            *self.heard.lock() = heard;
            self.hand_over_if_unfit(&mut unfit_since).await;
        }
    }

    fn unready(&self) -> Option<String> {
        if self.node.is_draining() {
            return Some("draining: this node is being taken out of the cluster".to_owned());
        }
        let limit = self.options.max_staleness.as_secs();
        let heard = self.heard.lock();
        let lags = heard.iter().flat_map(|status| &status.lags).filter(|lag| lag.node == self.options.node);
        let lag_secs = lags.map(|lag| lag.lag_secs).max().unwrap_or(0);
        (limit > 0 && lag_secs > limit).then(|| {
            format!("behind: this node lacks what others took {lag_secs} s ago (cluster.max_staleness_secs)")
        })
    }

    /// Hands a request to the leader; `None`: this node leads.
    async fn forward<Q: Serialize, A: serde::de::DeserializeOwned>(
        &self,
        path: &str,
        request: &Q,
    ) -> Option<Result<A, String>> {
        if self.is_leader() {
            return None;
        }
        let Some(address) = self.leader_address() else {
            return Some(Err("the cluster has no leader now".to_owned()));
        };
        Some(self.client.ask(&address, path, request, CALL_TIMEOUT).await.map_err(|error| error.to_string()))
    }

    async fn change(&self, change: ChangeMembers<NodeId, NodeAddress>, retain: bool) -> Result<u64, String> {
        let raft = self.raft().map_err(|(_, text)| text)?;
        let changed = raft.change_membership(change, retain).await.map_err(|error| error.to_string())?;
        Ok(changed.log_id.index)
    }

    /// Lets a node in that will copy everything from this one. All others must know of it first: they keep what it will
    /// lack from here on.
    pub async fn join(&self, request: JoinRequest) -> Result<JoinAnswer, String> {
        if let Some(answer) = self.forward(JOIN, &request).await {
            return answer;
        }
        let JoinRequest { node, address } = request;
        let membership = self.node.catalog().cluster.membership.clone();
        if membership.is_voter(node) {
            return Err(format!(
                "node {node} is a member already: a node that lost its disk joins with a new number (cluster.node_id), and the old one is removed"
            ));
        }
        if membership.nodes.iter().any(|(id, other)| *id != node && other.address == address.address) {
            return Err(format!("{} is the address of another node", address.address));
        }
        let index = self.change(ChangeMembers::SetNodes(BTreeMap::from([(node, address)])), true).await?;
        let until = Instant::now() + JOIN_PATIENCE;
        loop {
            let statuses = self.statuses().await;
            let is_behind = |status: &Option<NodeStatus>| {
                status.as_ref().is_none_or(|status| status.applied_index < index)
            };
            let behind: Vec<String> = statuses
                .iter()
                .filter(|(id, status)| *id != node && is_behind(status))
                .map(|(id, _)| id.to_string())
                .collect();
            if behind.is_empty() {
                let address = self.options.advertised.address.clone();
                tracing::info!(node, "a node joins");
                return Ok(JoinAnswer { source: self.options.node, address });
            }
            if Instant::now() >= until {
                let text = "must be there when another one joins: start it, or remove it from the cluster";
                return Err(format!("node {} {text}", behind.join(", ")));
            }
            tokio::time::sleep(LEADER_POLL).await;
        }
    }

    /// Lets a node vote.
    pub async fn promote(&self, node: NodeId) -> Result<(), String> {
        if let Some(answer) = self.forward(PROMOTE, &NodeRequest { node }).await {
            return answer;
        }
        if self.node.catalog().cluster.membership.is_voter(node) {
            return Ok(());
        }
        self.change(ChangeMembers::AddVoterIds(BTreeSet::from([node])), true).await?;
        tracing::info!(node, "a node has joined");
        Ok(())
    }

    pub async fn remove(&self, node: NodeId) -> Result<(), String> {
        if let Some(answer) = self.forward(REMOVE, &NodeRequest { node }).await {
            return answer;
        }
        let membership = self.node.catalog().cluster.membership.clone();
        if !membership.nodes.contains_key(&node) {
            return Err(format!("node {node} is not of this cluster"));
        }
        if membership.nodes.len() == 1 {
            return Err("the last node cannot be removed".to_owned());
        }
        let change = if membership.is_voter(node) {
            ChangeMembers::RemoveVoters(BTreeSet::from([node]))
        } else {
            ChangeMembers::RemoveNodes(BTreeSet::from([node]))
        };
        self.change(change, false).await?;
        tracing::info!(node, "a node is removed");
        Ok(())
    }

    pub async fn drain(&self, node: NodeId) -> Result<(), String> {
        if node != self.options.node {
            let address = self.nodes().get(&node).map(|address| address.address.clone());
            let address = address.ok_or_else(|| format!("node {node} is not of this cluster"))?;
            let patience = DRAIN_PATIENCE + CALL_TIMEOUT;
            let asked = self.client.ask(&address, DRAIN, &NodeRequest { node }, patience).await;
            return asked.map_err(|error| error.to_string());
        }
        let draining = self.node.clone();
        let drained = tokio::task::spawn_blocking(move || draining.drain(DRAIN_PATIENCE)).await;
        drained.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
        if self.is_leader() {
            self.hand_over(|_| true).await;
        }
        tracing::info!(node, "this node is drained and can be stopped");
        Ok(())
    }

    async fn repair(&self) -> Result<(), String> {
        let start = async |(id, node): (NodeId, NodeAddress)| {
            if id == self.options.node {
                self.repair.start();
                return Ok(());
            }
            let asked: Result<(), CallError> =
                self.client.ask(&node.address, REPAIR, &(), CALL_TIMEOUT).await;
            asked.map_err(|error| error.to_string())
        };
        let failed: Vec<String> =
            join_all(self.nodes().into_iter().map(start)).await.into_iter().filter_map(Result::err).collect();
        if failed.is_empty() { Ok(()) } else { Err(failed.join("; ")) }
    }

    async fn infos(&self) -> Vec<NodeInfo> {
        let statuses = self.statuses().await;
        let (leader, membership) = (self.leader(), self.node.catalog().cluster.membership.clone());
        let info = |(id, status): &(NodeId, Option<NodeStatus>)| {
            let address = membership.nodes.get(id).cloned().unwrap_or_default();
            let lags = || {
                let others = statuses.iter().filter_map(|(_, status)| status.as_ref());
                others.flat_map(|other| other.lags.iter().filter(|lag| lag.node == *id))
            };
            let role = match leader {
                Some(leader) if leader == *id => "leader",
                _ if membership.is_voter(*id) => "follower",
                _ => "learner",
            };
            let state = match status {
                None => "down",
                Some(status) if status.needs_repair || lags().any(|lag| lag.needs_repair) => "repair",
                Some(status) if status.is_draining => "draining",
                Some(status) if !status.is_ready => "catching_up",
                Some(_) => "ready",
            };
            NodeInfo {
                id: *id,
                address: address.address,
                http_address: address.http_address,
                role: role.to_owned(),
                state: state.to_owned(),
                lag_records: lags().map(|lag| lag.lag_records).max().unwrap_or(0),
                lag_bytes: lags().map(|lag| lag.lag_bytes).max().unwrap_or(0),
                lag_secs: lags().map(|lag| lag.lag_secs).max().unwrap_or(0),
            }
        };
        statuses.iter().map(info).collect()
    }
}

impl Cluster {
    /// Asks a node something that needs it to read what it has stored.
    fn compare<Q: Serialize, A: serde::de::DeserializeOwned>(
        &self,
        address: &NodeAddress,
        path: &str,
        query: &Q,
    ) -> Result<A, PeerError> {
        let asked = self.inner.client.call_any(&address.address, path, query, COMPARE_TIMEOUT);
        let answer = self.block_on(asked);
        match answer {
            Some(answer) => answer.map_err(|error| PeerError::Refused(error.to_string())),
            None => Err(PeerError::Unreachable("the server is stopping".to_owned())),
        }
    }
}

impl RepairPeersPort for Cluster {
    fn peers(&self) -> Vec<(NodeAddress, NodeStatus)> {
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
        let told = self.block_on(self.inner.client.ask(&to.address, REPAIRED, &request, CALL_TIMEOUT));
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
        let sent = self.block_on(self.inner.client.tell(&to.address, RECORDS, batch, RECORDS_TIMEOUT));
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

    fn drain(&self, node: NodeId) -> Result<(), String> {
        self.block_on(self.inner.drain(node)).unwrap_or_else(|| Err("the server is stopping".to_owned()))
    }

    fn unready(&self) -> Option<String> {
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
