//! What a cluster offers to those who run it.

use serde::{Deserialize, Serialize};

use super::RepairProgress;
use super::outbound::PeerLag;
use crate::cluster::NodeId;

/// What a node says of itself to the others.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeStatus {
    pub id: NodeId,
    pub version: String,
    pub is_ready: bool,
    pub is_draining: bool,
    /// Of the agreed entries.
    pub applied_index: u64,
    /// How far the others are behind it.
    pub lags: Vec<PeerLag>,
    #[serde(default)]
    pub repair: RepairProgress,
    /// It has lost what its disk once held, and takes it by comparing.
    #[serde(default)]
    pub needs_repair: bool,
    /// It knows what it has lost. One that does not has no say in what stays of values that differ.
    #[serde(default)]
    pub is_proven: bool,
    /// The nodes of the cluster, as it knows them; none where an older version does not say.
    #[serde(default)]
    pub members: Vec<NodeId>,
}

/// A node of the cluster, as `/cluster/nodes` and SHOW SERVERS print it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeInfo {
    pub id: NodeId,
    pub address: String,
    pub http_address: String,
    /// `leader`, `follower` or `learner`.
    pub role: String,
    /// `ready`, `catching_up`, `draining`, `repair` or `down`.
    pub state: String,
    /// The most that any other node has and this one lacks.
    pub lag_records: u64,
    pub lag_bytes: u64,
    /// Age of the oldest of it.
    #[serde(default)]
    pub lag_secs: u64,
}

/// Why a node should not be asked now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unready {
    /// It is leaving, or has left: also where no other node is ready it should not be asked.
    pub is_leaving: bool,
    pub reason: String,
}

/// Looking at the cluster and changing who is in it. Calls block.
pub trait ClusterPort: Send + Sync {
    fn own_id(&self) -> NodeId;

    /// All nodes, by number. Asks the others.
    fn nodes(&self) -> Vec<NodeInfo>;

    fn leader(&self) -> Option<NodeId>;

    /// Takes a node out, for ever: its number is never used again. One that answers hands over what it has first.
    fn remove(&self, node: NodeId) -> Result<(), String>;

    /// Has a node take no more writes, hand over what it has and stop leading. Says what members that are away still lack.
    fn drain(&self, node: NodeId) -> Result<Option<String>, String>;

    /// Never blocks.
    fn unready(&self) -> Option<Unready>;

    /// Has all nodes compare themselves with each other and take what they lack.
    fn repair(&self) -> Result<(), String>;

    /// How far the nodes that answer are with that.
    fn repairs(&self) -> Vec<(NodeId, RepairProgress)>;
}
