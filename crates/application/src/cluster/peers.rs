//! The cursors of the other nodes on this node's log: what they have not got yet stays in it.

use hyperbytedb_domain::StorageError;
use hyperbytedb_domain::cluster::{Membership, NodeId};
use hyperbytedb_domain::wal::Sequence;

use crate::log::cursors::Cursors;

/// The origin of what all nodes have agreed on: no node has this number.
pub const CLUSTER: NodeId = 0;
const PREFIX: &str = "peer/";
pub const CONFIRMED: &str = "note/confirmed/";
pub const MISSED: &str = "note/missed/";
/// The cursor of what may still meet something from another node: after a start that is read from the log.
pub const CONFLICTS: &str = "conflicts";
/// The note of a clock that no promise of this node to the others is past: after a start its clock goes on from there.
pub const PROMISED: &str = "note/promised";

pub fn cursor(node: NodeId) -> String {
    format!("{PREFIX}{node}")
}

/// The note of the last clock of this node's records that a node has confirmed.
pub fn confirmed(node: NodeId) -> String {
    format!("{CONFIRMED}{node}")
}

/// The note of a node that has missed records of this one: it had all up to there when that was seen.
pub fn missed(node: NodeId) -> String {
    format!("{MISSED}{node}")
}

/// The least of the other nodes' cursors.
pub fn least(cursors: &Cursors, membership: &Membership, own: NodeId) -> Option<Sequence> {
    others(membership, own).filter_map(|node| cursors.position(&cursor(node))).min()
}

/// Gives each other node that has none a cursor that begins there, and takes those of nodes that are gone.
pub fn follow(
    cursors: &Cursors,
    membership: &Membership,
    own: NodeId,
    begin: Sequence,
) -> Result<(), StorageError> {
    let new: Vec<NodeId> =
        others(membership, own).filter(|node| cursors.position(&cursor(*node)).is_none()).collect();
    // Which node a new one is a copy of is not known here: it may be one that has missed records.
    let has_missed = others(membership, own).any(|node| cursors.position(&missed(node)).is_some());
    for node in new {
        cursors.advance(&cursor(node), begin)?;
        if has_missed {
            cursors.set(&[(missed(node), Some(begin))])?;
        }
    }
    for (prefix, name_of) in
        [(PREFIX, cursor as fn(NodeId) -> String), (CONFIRMED, confirmed), (MISSED, missed)]
    {
        let wanted: Vec<String> = others(membership, own).map(name_of).collect();
        cursors.retain(prefix, Sequence::MAX, |name| wanted.iter().any(|wanted| wanted == name))?;
    }
    Ok(())
}

fn others(membership: &Membership, own: NodeId) -> impl Iterator<Item = NodeId> {
    membership.nodes.keys().copied().filter(move |&node| node != own)
}
