//! This node as a member: Raft, the listener, and what it asks of the others.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use axum::http::StatusCode;
use futures_util::future::join_all;
use hyperbytedb_domain::cluster::{Membership, NodeAddress, NodeId, Proposal};
use hyperbytedb_domain::ports::{
    BackupPort, ClusterNodePort, ConsensusLogPort, NodeStatus, ProposalError, RepairPort,
};
use openraft::error::{ClientWriteError, Fatal, RaftError};
use openraft::{Config, RaftMetrics, ServerState, SnapshotPolicy};
use parking_lot::Mutex;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::access::Access;
use crate::client::{CallError, Client, To};
use crate::cluster::ClusterOptions;
use crate::health::{Heard, REMOVED};
use crate::log_store::LogStore;
use crate::network::Network;
use crate::server::{self, PROPOSE, REPAIR, Refusal, STATUS};
use crate::state_machine::StateMachine;
use crate::tls::TlsListener;
use crate::types::Raft;

const HEARTBEAT_MS: u64 = 200;
/// A node that hears no leader for the longest time and one between both stands for election: 1.9 to 2.4 s. Nobody votes for it
/// before the longest time is over, which is longer than the lease (`lease.rs`).
const ELECTION_MIN_MS: u64 = 700;
const ELECTION_MAX_MS: u64 = 1200;
/// Entries between snapshots of the catalogue, and those kept behind one: a node that is further behind gets the catalogue
/// as a whole.
const SNAPSHOT_ENTRIES: u64 = 10_000;
const KEPT_ENTRIES: u64 = 100_000;
/// Between two looks for a leader.
pub const LEADER_POLL: Duration = Duration::from_millis(50);
pub const STATUS_TIMEOUT: Duration = Duration::from_secs(1);
pub const CALL_TIMEOUT: Duration = Duration::from_secs(15);

/// What handlers work with.
pub struct Inner {
    pub options: ClusterOptions,
    pub access: Access,
    pub node: Arc<dyn ClusterNodePort>,
    pub backups: Arc<dyn BackupPort>,
    pub repair: Arc<dyn RepairPort>,
    pub client: Client,
    raft: OnceLock<Raft>,
    /// When a majority last answered this node as its leader.
    pub majority_heard: Mutex<Option<Instant>>,
    pub heard: Mutex<Heard>,
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
    pub fn new(
        options: ClusterOptions,
        node: Arc<dyn ClusterNodePort>,
        backups: Arc<dyn BackupPort>,
        repair: Arc<dyn RepairPort>,
    ) -> Result<Self, String> {
        let ClusterOptions { node: id, secret, tls, protocol, .. } = &options;
        Ok(Self {
            access: Access::new(*id, secret.clone(), *protocol)?,
            client: Client::new(*id, secret.clone(), tls.as_ref(), *protocol)?,
            options,
            node,
            backups,
            repair,
            raft: OnceLock::new(),
            majority_heard: Mutex::default(),
            heard: Mutex::default(),
        })
    }

    pub async fn begin(
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
            members: self.nodes().into_keys().collect(),
        }
    }

    /// Ends Raft. What was agreed on is stored.
    pub async fn end(&self) {
        if let Some(raft) = self.raft.get() {
            // It ends in any case.
            let _ = raft.shutdown().await;
        }
    }

    pub fn membership(&self) -> Membership {
        self.node.catalog().cluster.membership.clone()
    }

    pub fn nodes(&self) -> BTreeMap<NodeId, NodeAddress> {
        self.membership().nodes
    }

    /// Whose address it is.
    pub fn to<'a>(&self, address: &'a NodeAddress) -> To<'a> {
        let catalog = self.node.catalog();
        let nodes = &catalog.cluster.membership.nodes;
        let node = nodes.iter().find(|(_, known)| known.address == address.address);
        To { node: node.map_or(0, |(node, _)| *node), address: &address.address }
    }

    pub fn leader(&self) -> Option<NodeId> {
        self.raft.get().and_then(|raft| raft.metrics().borrow().current_leader)
    }

    pub fn is_leader(&self) -> bool {
        self.leader() == Some(self.options.node)
    }

    /// The leader and its address, as this node knows them.
    fn leader_address(&self) -> Option<(NodeId, String)> {
        let leader = self.leader()?;
        let raft = self.raft.get()?;
        let metrics = raft.metrics();
        let metrics = metrics.borrow();
        let node = metrics.membership_config.membership().get_node(&leader);
        node.map(|node| (leader, node.address.clone()))
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

    pub async fn propose(&self, proposal: Proposal) -> Result<(), ProposalError> {
        if self.node.is_removed() {
            return Err(ProposalError::NotAgreed(REMOVED.to_owned()));
        }
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
            } else if let Some((node, address)) = self.leader_address() {
                match self.client.call(To { node, address: &address }, PROPOSE, &proposal, left).await {
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
    pub async fn statuses(&self) -> Vec<(NodeId, Option<NodeStatus>)> {
        let ask = async |(id, node): (NodeId, NodeAddress)| {
            if id == self.options.node {
                return (id, Some(self.status()));
            }
            let to = To { node: id, address: &node.address };
            (id, self.client.ask(to, STATUS, &(), STATUS_TIMEOUT).await.ok())
        };
        join_all(self.nodes().into_iter().map(ask)).await
    }

    /// Hands a request to the leader; `None`: this node leads.
    pub async fn forward<Q: Serialize, A: DeserializeOwned>(
        &self,
        path: &str,
        request: &Q,
        timeout: Duration,
    ) -> Option<Result<A, String>> {
        if self.is_leader() {
            return None;
        }
        let Some((node, address)) = self.leader_address() else {
            return Some(Err("the cluster has no leader now".to_owned()));
        };
        let to = To { node, address: &address };
        Some(self.client.ask(to, path, request, timeout).await.map_err(|error| error.to_string()))
    }

    pub async fn repair(&self) -> Result<(), String> {
        let start = async |(id, node): (NodeId, NodeAddress)| {
            if id == self.options.node {
                self.repair.start();
                return Ok(());
            }
            let asked: Result<(), CallError> =
                self.client.ask(To { node: id, address: &node.address }, REPAIR, &(), CALL_TIMEOUT).await;
            asked.map_err(|error| error.to_string())
        };
        let failed: Vec<String> =
            join_all(self.nodes().into_iter().map(start)).await.into_iter().filter_map(Result::err).collect();
        if failed.is_empty() { Ok(()) } else { Err(failed.join("; ")) }
    }
}
