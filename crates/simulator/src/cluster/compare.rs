//! Nodes that compare themselves with each other, and take what they lack.

use std::sync::Arc;

use hyperbytedb_application::cluster::node::ClusterNode;
use hyperbytedb_application::cluster::repair::{RepairService, RepairState};
use hyperbytedb_application::threads::Stop;
use hyperbytedb_domain::cluster::{NodeAddress, NodeId};
use hyperbytedb_domain::ports::{
    ClusterNodePort, DigestQuery, NodeStatus, PeerError, ReceiveError, RepairPeersPort, RepairPort, RowsPage,
    RowsQuery,
};
use hyperbytedb_domain::scan::Digest;
use hyperbytedb_domain::wal::Sequence;

use super::agreement::address;
use crate::process::Process;

/// A node that compares, or is asked.
pub struct Comparing {
    process: Arc<Process>,
    node: Arc<ClusterNode>,
    service: RepairService,
}

impl Comparing {
    pub fn new(process: &Arc<Process>) -> Option<Self> {
        let node = process.node.clone()?;
        let service = RepairService {
            node: node.id,
            reader: process.reader(),
            catalog: node.catalog.clone(),
            wal: node.wal.clone(),
            flush: node.flush.clone(),
            committer: node.committer.clone(),
            conflicts: node.conflicts.clone(),
            replication: node.replication.clone(),
            interval: None,
            state: RepairState::default(),
        };
        Some(Self { process: process.clone(), node, service })
    }
}

/// Has each node take what it lacks of the others.
pub fn compare_all(nodes: &[Comparing]) -> Result<(), String> {
    for node in nodes {
        node.process.host.enter();
        let others = Others { nodes, own: node };
        node.service
            .run_now(&others, &Stop::default())
            .map_err(|error| format!("node {}: {error}", node.node.id))?;
    }
    Ok(())
}

/// The nodes, for one that compares itself with them. They are asked on its thread.
struct Others<'a> {
    nodes: &'a [Comparing],
    own: &'a Comparing,
}

impl Others<'_> {
    fn ask<T>(
        &self,
        of: &NodeAddress,
        question: impl FnOnce(&RepairService) -> Result<T, ReceiveError>,
    ) -> Result<T, PeerError> {
        let is_asked = |node: &&Comparing| address(node.node.id).address == of.address;
        let node = self.nodes.iter().find(is_asked);
        let node = node.ok_or_else(|| PeerError::Unreachable("no such node".to_owned()))?;
        node.process.host.enter();
        let answer = question(&node.service);
        self.own.process.host.enter();
        answer.map_err(|error| PeerError::Refused(error.to_string()))
    }
}

impl RepairPeersPort for Others<'_> {
    fn peers(&self) -> Vec<(NodeAddress, NodeStatus)> {
        let own: NodeId = self.own.node.id;
        let others = self.nodes.iter().filter(|node| node.node.id != own);
        let status = |node: &Comparing| NodeStatus {
            id: node.node.id,
            is_ready: true,
            lags: node.node.lags(),
            needs_repair: node.node.needs_repair(),
            is_proven: node.node.is_proven(),
            ..NodeStatus::default()
        };
        others.map(|node| (address(node.node.id), status(node))).collect()
    }

    fn digests(&self, of: &NodeAddress, query: &DigestQuery) -> Result<Vec<Digest>, PeerError> {
        self.ask(of, |service| service.digests(query))
    }

    fn rows(&self, of: &NodeAddress, query: &RowsQuery) -> Result<RowsPage, PeerError> {
        self.ask(of, |service| service.rows(query))
    }

    fn tell_repaired(&self, to: &NodeAddress, position: Sequence) -> Result<(), PeerError> {
        self.ask(to, |service| {
            service.repaired(self.own.node.id, position);
            Ok(())
        })
    }
}
