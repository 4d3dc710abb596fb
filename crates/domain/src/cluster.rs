//! What the nodes of a cluster agree on beside the catalogue, and how changes of the catalogue reach all of them.
//!
//! A command is a [`Proposal`] until a majority has it in the cluster's own log (Raft's); from there it comes to each node as
//! an [`AgreedEntry`], in the same order everywhere, and becomes a record of that node's log.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::catalog::{Catalog, Command};

/// Numbers the nodes of a cluster; never given twice.
pub type NodeId = u64;

/// A place in the log that the nodes agree on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LogPosition {
    pub term: u64,
    /// Who led in that term.
    pub leader: NodeId,
    pub index: u64,
}

/// Where a node is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeAddress {
    /// `host:port` for the other nodes.
    pub address: String,
    /// `host:port` for clients.
    pub http_address: String,
}

/// The nodes, and which of them vote: one set, or two while it changes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Membership {
    pub position: Option<LogPosition>,
    pub voters: Vec<BTreeSet<NodeId>>,
    pub nodes: BTreeMap<NodeId, NodeAddress>,
}

impl Membership {
    pub fn is_voter(&self, node: NodeId) -> bool {
        self.voters.iter().any(|voters| voters.contains(&node))
    }
}

/// Part of the catalogue, so that it is stored in the same batch.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterState {
    /// The last agreed entry that is part of the catalogue; `None` on a node that never was in a cluster.
    pub applied: Option<LogPosition>,
    pub membership: Membership,
}

impl ClusterState {
    /// As a number that only grows: 0 before the first entry.
    pub fn applied_index(&self) -> u64 {
        self.applied.map_or(0, |position| position.index)
    }
}

/// A command on its way to all nodes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Proposal {
    /// Who asks for it, and waits.
    pub node: NodeId,
    /// Tells the proposals of that node apart.
    pub number: u64,
    /// Given by the leader, whose clock is past that of the node that asks.
    pub clock: u64,
    pub command: Command,
}

/// What an agreed entry means for the catalogue.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum AgreedChange {
    /// It was refused, by every node alike, or never meant anything.
    Nothing,
    Command(Command),
    Membership(Membership),
    /// The whole catalogue, for a node that is too far behind for single commands.
    Catalog(Box<Catalog>),
}

/// What all nodes carry out at one place of their common order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AgreedEntry {
    pub position: LogPosition,
    pub change: AgreedChange,
}

/// How many nodes must have a write before it is answered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Consistency {
    Any,
    #[default]
    One,
    Quorum,
    All,
}

impl Consistency {
    /// As `/write` and the configuration spell it, in any case; `None` for other words.
    pub fn parse(text: &str) -> Option<Self> {
        [("any", Self::Any), ("one", Self::One), ("quorum", Self::Quorum), ("all", Self::All)]
            .into_iter()
            .find(|(name, _)| text.eq_ignore_ascii_case(name))
            .map(|(_, level)| level)
    }

    pub const fn name(self) -> &'static str {
        match self {
            Self::Any => "any",
            Self::One => "one",
            Self::Quorum => "quorum",
            Self::All => "all",
        }
    }

    /// Of a cluster of so many nodes.
    pub const fn nodes_of(self, nodes: usize) -> usize {
        match self {
            Self::Any | Self::One => 1,
            Self::Quorum => nodes / 2 + 1,
            Self::All => nodes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_of_the_configured_nodes() {
        let needed = |level: &str| Consistency::parse(level).map(|level| level.nodes_of(3));
        assert_eq!(
            [needed("any"), needed("ONE"), needed("Quorum"), needed("all")],
            [Some(1), Some(1), Some(2), Some(3)]
        );
        assert_eq!((Consistency::Quorum.nodes_of(5), Consistency::parse("most")), (3, None));
    }
}
