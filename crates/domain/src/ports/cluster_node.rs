//! What a node offers to the other nodes of its cluster.

use thiserror::Error;

use super::outbound::{PeerBatch, PeerLag};
use crate::catalog::Catalog;
use crate::cluster::{AgreedEntry, NodeId};
use crate::error::StorageError;

/// Who waits for an agreed entry: a node, and its number of the proposal.
pub type Proposer = (NodeId, u64);

/// Why a node does not take records of another one.
#[derive(Debug, Clone, Error)]
pub enum ReceiveError {
    /// It will, later.
    #[error("{0}")]
    NotNow(String),
    /// They are not what they should be.
    #[error("{0}")]
    Bad(String),
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// A node as its peers see it. Calls block.
pub trait ClusterNodePort: Send + Sync {
    fn id(&self) -> NodeId;

    /// The catalogue, with what was agreed on up to now.
    fn catalog(&self) -> std::sync::Arc<Catalog>;

    /// A clock for a proposal: past what this node and the one that asks have seen.
    fn stamp(&self, seen: u64) -> u64;

    /// Carries out what was agreed on: durable when it returns. Once more does nothing.
    fn agreed(&self, entry: AgreedEntry, clock: u64, proposer: Option<Proposer>) -> Result<(), StorageError>;

    /// Takes records of another node: durable when it returns. Those that are here already are passed over. Returns the
    /// greatest clock of that node's records that were here before. Where that is less than what the sender says was confirmed,
    /// this node has lost something, and nothing is taken.
    fn receive(&self, batch: &PeerBatch) -> Result<u64, ReceiveError>;

    /// How far the others are behind this node's log.
    fn lags(&self) -> Vec<PeerLag>;

    /// It has lost what its disk once held, and takes it by comparing.
    fn needs_repair(&self) -> bool;

    /// It has heard from all others since its start what they have of it and it of them: it knows what it has lost.
    fn is_proven(&self) -> bool;

    /// Whether the node can be asked and written to.
    fn is_ready(&self) -> bool;

    /// Takes no writes any more, and returns when all others have what it took, or the time is over.
    fn drain(&self, timeout: std::time::Duration) -> Result<(), ReceiveError>;

    /// The same for a node that is to come back: members that are away may lack some of it, which they get then. Says so.
    fn drain_for_stop(&self, timeout: std::time::Duration) -> Result<Option<String>, ReceiveError>;

    fn is_draining(&self) -> bool;

    /// The others have taken it out: it takes no writes any more, for they would get to nobody.
    fn removed(&self);

    fn is_removed(&self) -> bool;

    /// It cannot take part any more: what was agreed on cannot be stored. The process ends, and starts with what is stored.
    fn fail(&self, reason: String);
}
