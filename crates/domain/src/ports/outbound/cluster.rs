//! The other nodes of a cluster.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::cluster::{NodeAddress, NodeId, Proposal};
use crate::wal::Sequence;

/// Why nodes did not agree on a command.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ProposalError {
    /// It has not taken effect, and never will.
    #[error("{0}")]
    NotAgreed(String),
    /// It may take effect.
    #[error("{0}")]
    Unknown(String),
}

/// Agreeing on commands.
pub trait ConsensusPort: Send + Sync {
    /// Brings a proposal to the leader, and returns when a majority has it. It takes effect on this node a moment before
    /// or after that.
    fn propose(&self, proposal: Proposal) -> Result<(), ProposalError>;

    /// Whether this node leads, has heard from a majority a moment ago, and lacks nothing that is known. Never blocks.
    fn holds_lease(&self) -> bool;
}

/// Records of one node, on their way to another one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerBatch {
    pub origin: NodeId,
    /// In the order of their clocks; none where there is only the clock to tell.
    pub records: Vec<PeerRecord>,
    /// What comes behind these records has a greater clock.
    pub clock: u64,
    /// What comes behind these records has seen this agreed entry.
    pub agreed_index: u64,
    /// The clock of the last record before these that the receiver has confirmed; 0: none is known.
    pub after: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerRecord {
    /// The last agreed entry before it in the log of its origin.
    pub agreed_index: u64,
    /// The record in its stored form.
    pub bytes: Bytes,
}

/// Why a node did not take records.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PeerError {
    /// It cannot be reached, or does not answer.
    #[error("{0}")]
    Unreachable(String),
    /// It answers, and cannot take them now.
    #[error("{0}")]
    Refused(String),
}

/// Sending records.
pub trait PeerPort: Send + Sync {
    /// Returns when the other node has the records on its disk: the greatest clock of this node's records that it had before,
    /// as [`ClusterNodePort::receive`](crate::ports::ClusterNodePort::receive) says; `None`: it is of a version that does not say.
    fn send(&self, to: &NodeAddress, batch: &PeerBatch) -> Result<Option<u64>, PeerError>;
}

/// How far a peer is behind the log of this node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerLag {
    pub node: NodeId,
    /// The last record of this node's log that it has.
    pub position: Sequence,
    pub lag_records: u64,
    pub lag_bytes: u64,
    /// Age of the oldest record that it lacks.
    #[serde(default)]
    pub lag_secs: u64,
    /// Why the last attempt failed; `None`: it did not.
    pub error: Option<String>,
    /// It has missed records, and takes what it lacks by comparing.
    pub needs_repair: bool,
}
