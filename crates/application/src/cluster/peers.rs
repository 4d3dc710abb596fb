//! The cursors of the other nodes on this node's log: what they have not got yet stays in it.

use hyperbytedb_domain::StorageError;
use hyperbytedb_domain::cluster::{Membership, NodeId};
use hyperbytedb_domain::wal::Sequence;

use crate::log::cursors::Cursors;

/// The origin of what all nodes have agreed on: no node has this number.
pub const CLUSTER: NodeId = 0;
const PREFIX: &str = "peer/";

pub fn cursor(node: NodeId) -> String {
    format!("{PREFIX}{node}")
}

/// Gives each other node a cursor, and takes those of nodes that are gone.
///
/// A new node starts with a copy of some node that has everything the other cursors are past. So it begins at the least of
/// them, or where there are none, behind `sequence`: the record that says that it comes.
pub fn follow(cursors: &Cursors, membership: &Membership, own: NodeId, sequence: Sequence) {
    if let Err(error) = try_follow(cursors, membership, own, sequence) {
        tracing::error!(%error, "the cursors of the cluster's nodes could not be stored");
    }
}

fn try_follow(
    cursors: &Cursors,
    membership: &Membership,
    own: NodeId,
    sequence: Sequence,
) -> Result<(), StorageError> {
    let others = || membership.nodes.keys().copied().filter(|&node| node != own);
    let begin = others().filter_map(|node| cursors.position(&cursor(node))).min().unwrap_or(sequence);
    for name in others().map(cursor).filter(|name| cursors.position(name).is_none()) {
        cursors.advance(&name, begin)?;
    }
    let wanted: Vec<String> = others().map(cursor).collect();
    cursors.retain(PREFIX, |name| wanted.iter().any(|wanted| wanted == name))
}
