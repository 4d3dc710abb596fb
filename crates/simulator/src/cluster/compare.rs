//! Nodes that compare themselves with each other, and take what they lack.

use std::sync::Arc;
use std::time::Duration;

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
use parking_lot::Mutex;

use super::agreement::address;
use super::network::{ANSWER_TIME, Attached, Network, Way};
use crate::process::Process;
use crate::scheduler::Host;

/// A node's service, as the server puts it together.
pub fn service(process: &Process, node: &ClusterNode, interval: Option<Duration>) -> Arc<RepairService> {
    Arc::new(RepairService {
        node: node.id,
        reader: process.reader(),
        catalog: node.catalog.clone(),
        wal: node.wal.clone(),
        flush: node.flush.clone(),
        committer: node.committer.clone(),
        conflicts: node.conflicts.clone(),
        replication: node.replication.clone(),
        interval,
        state: RepairState::default(),
    })
}

/// What a node says of itself.
fn status(node: &ClusterNode) -> NodeStatus {
    NodeStatus {
        id: node.id,
        is_ready: true,
        applied_index: node.catalog().cluster.applied_index(),
        lags: node.lags(),
        needs_repair: node.needs_repair(),
        is_proven: node.is_proven(),
        ..NodeStatus::default()
    }
}

fn refused(error: ReceiveError) -> PeerError {
    PeerError::Refused(error.to_string())
}

/// One node's way over the network to those it compares itself with.
pub struct Asking {
    pub network: Arc<Network>,
    pub host: Host,
    pub node: Arc<ClusterNode>,
}

impl Asking {
    /// The question is answered by a thread of the other node.
    fn ask<T: Send + 'static>(
        &self,
        to: &NodeAddress,
        question: impl FnOnce(&Attached) -> T + Send + 'static,
    ) -> Result<T, PeerError> {
        let unreachable = |why: &str| PeerError::Unreachable(why.to_owned());
        let to = to.address.parse::<NodeId>().map_err(|_| unreachable("no such address"))?;
        let (network, own) = (self.network.clone(), self.node.id);
        let asked = network.attached(to).ok_or_else(|| unreachable("it does not run"))?;
        let answer: Arc<Mutex<Option<T>>> = Arc::default();
        if let Way::Open(time) = network.way(own, to) {
            let (network, host) = (network.clone(), asked.host.clone());
            let (asking, answered) = (self.host.clone(), answer.clone());
            host.spawn("asked", None, move || {
                network.scheduler.sleep(time);
                if !network.is_open(own, to) {
                    return;
                }
                let answer = network.hand_over(|| question(&asked));
                if let Way::Open(time) = network.way(to, own) {
                    network.scheduler.sleep(time);
                    *answered.lock() = Some(answer);
                    asking.progress();
                }
            });
        }
        network.scheduler.wait_for(ANSWER_TIME, || answer.lock().is_some());
        let answer = answer.lock().take();
        answer.ok_or_else(|| unreachable("no answer"))
    }
}

impl RepairPeersPort for Asking {
    fn peers(&self) -> Vec<(NodeAddress, NodeStatus)> {
        let nodes = self.node.catalog().cluster.membership.nodes.clone();
        let others = nodes.into_iter().filter(|(id, _)| *id != self.node.id);
        let answers = |(_, address): (NodeId, NodeAddress)| {
            let status = self.ask(&address, |asked| status(&asked.node)).ok()?;
            Some((address, status))
        };
        others.filter_map(answers).collect()
    }

    fn digests(&self, of: &NodeAddress, query: &DigestQuery) -> Result<Vec<Digest>, PeerError> {
        let query = query.clone();
        self.ask(of, move |asked| asked.repair.digests(&query))?.map_err(refused)
    }

    fn rows(&self, of: &NodeAddress, query: &RowsQuery) -> Result<RowsPage, PeerError> {
        let query = query.clone();
        self.ask(of, move |asked| asked.repair.rows(&query))?.map_err(refused)
    }

    fn tell_repaired(&self, to: &NodeAddress, position: Sequence) -> Result<(), PeerError> {
        let own = self.node.id;
        self.ask(to, move |asked| asked.repair.repaired(own, position))
    }
}

/// Has each node take what it lacks of the others, while nothing else happens.
pub fn compare_all(nodes: &[Attached]) -> Result<(), String> {
    for node in nodes {
        node.host.enter();
        let others = Others { nodes, own: node };
        node.repair
            .run_now(&others, &Stop::default())
            .map_err(|error| format!("node {}: {error}", node.node.id))?;
    }
    Ok(())
}

/// The nodes, for one that compares itself with them. They are asked on its thread.
struct Others<'a> {
    nodes: &'a [Attached],
    own: &'a Attached,
}

impl Others<'_> {
    fn ask<T>(
        &self,
        of: &NodeAddress,
        question: impl FnOnce(&RepairService) -> Result<T, ReceiveError>,
    ) -> Result<T, PeerError> {
        let is_asked = |node: &&Attached| address(node.node.id).address == of.address;
        let node = self.nodes.iter().find(is_asked);
        let node = node.ok_or_else(|| PeerError::Unreachable("no such node".to_owned()))?;
        node.host.enter();
        let answer = question(&node.repair);
        self.own.host.enter();
        answer.map_err(refused)
    }
}

impl RepairPeersPort for Others<'_> {
    fn peers(&self) -> Vec<(NodeAddress, NodeStatus)> {
        let own: NodeId = self.own.node.id;
        let others = self.nodes.iter().filter(|node| node.node.id != own);
        others.map(|node| (address(node.node.id), status(&node.node))).collect()
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
