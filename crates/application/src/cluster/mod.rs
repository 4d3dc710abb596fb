//! A node among others: commands are agreed on, writes are sent to all.
//!
//! [`agreement`] hands commands to the nodes' common order; what comes back becomes a record of this node's log ([`node`]).
//! [`replication`] reads the log behind a cursor for each other node ([`peers`]) and sends what this node took from its
//! clients; what another node sends is taken by [`node`], in the order of its clocks, without what loses
//! against something that is here ([`conflicts`]). Nothing received is sent on. What a node has lost is noticed ([`losses`]), and
//! comes back when it compares itself with the others ([`repair`]). A node that is to go hands over first ([`leaving`]).

pub mod agreement;
pub mod conflicts;
pub mod leaving;
pub mod losses;
pub mod node;
pub mod peers;
pub mod repair;
pub mod replication;
mod sender;

use std::sync::{Arc, OnceLock};

use hyperbytedb_domain::ports::ConsensusPort;

/// The right to do what only one node of a cluster does: continuous queries, views, retention. The leader holds it, who
/// has heard from a majority a moment ago, where it has what the others have; on a node of its own it is always held.
#[derive(Clone, Default)]
pub struct Lease {
    is_clustered: bool,
    port: Arc<OnceLock<Arc<dyn ConsensusPort>>>,
}

impl Lease {
    /// Nobody holds it until the cluster is there.
    pub fn of_cluster() -> Self {
        Self { is_clustered: true, port: Arc::default() }
    }

    pub fn set(&self, port: Arc<dyn ConsensusPort>) {
        // A second call would be of the same node.
        let _ = self.port.set(port);
    }

    pub fn is_held(&self) -> bool {
        !self.is_clustered || self.port.get().is_some_and(|port| port.holds_lease())
    }
}

#[cfg(test)]
mod tests;
