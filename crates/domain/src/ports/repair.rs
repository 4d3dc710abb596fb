//! Comparing the stored points of nodes, and bringing back what one of them has lost.

use serde::{Deserialize, Serialize};

use super::NodeStatus;
use super::cluster_node::ReceiveError;
use super::outbound::PeerError;
use crate::catalog::TableId;
use crate::cluster::{NodeAddress, NodeId};
use crate::scan::{Digest, DigestBy};
use crate::series::SeriesId;
use crate::wal::Sequence;

/// Asks what the rows of one partition come to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DigestQuery {
    /// The answer is of a node that has seen this agreed entry: what was deleted up to there is not part of it.
    pub agreed_index: u64,
    pub table: TableId,
    /// Number of the shard group.
    pub shard: u64,
    pub by: DigestBy,
}

/// Asks for rows of one partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowsQuery {
    /// As in [`DigestQuery`].
    pub agreed_index: u64,
    pub table: TableId,
    pub shard: u64,
    pub series: Vec<SeriesId>,
    /// Rows before this time are not wanted.
    pub from: i64,
    /// Rows of the answer at most.
    pub limit: u64,
}

/// The first of the rows asked for, by time.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowsPage {
    /// Line protocol, times in nanoseconds.
    pub lines: String,
    /// There are more: rows of this time and later may be missing.
    pub complete_before: Option<i64>,
    /// All that this node has taken from its clients up to this clock is part of the answer. 0: that is not known.
    pub clock: u64,
}

/// How far a node is with comparing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepairProgress {
    pub is_running: bool,
    /// Partitions to be compared, and those that have been.
    pub partitions: u64,
    pub compared: u64,
    /// Rows written by the run that runs now, or ran last.
    pub repaired_rows: u64,
    /// When the last run ended that was not stopped by an error, in milliseconds since 1970; 0: there was none.
    pub finished_ms: u64,
    /// Why the last run ended early.
    pub error: Option<String>,
}

/// What a node offers to the others, and to those who run it.
pub trait RepairPort: Send + Sync {
    fn digests(&self, query: &DigestQuery) -> Result<Vec<Digest>, ReceiveError>;

    fn rows(&self, query: &RowsQuery) -> Result<RowsPage, ReceiveError>;

    /// Another node has what it lacked of this node's records up to there.
    fn repaired(&self, node: NodeId, position: Sequence);

    /// Has this node compare itself with the others soon, and take what it lacks.
    fn start(&self);

    fn progress(&self) -> RepairProgress;
}

/// The other nodes, for one that compares.
pub trait RepairPeersPort: Send + Sync {
    /// The other nodes that answer.
    fn peers(&self) -> Vec<(NodeAddress, NodeStatus)>;

    fn digests(&self, of: &NodeAddress, query: &DigestQuery) -> Result<Vec<Digest>, PeerError>;

    fn rows(&self, of: &NodeAddress, query: &RowsQuery) -> Result<RowsPage, PeerError>;

    /// Tells a node that this one has what it lacked of its records up to there.
    fn tell_repaired(&self, to: &NodeAddress, position: Sequence) -> Result<(), PeerError>;
}
