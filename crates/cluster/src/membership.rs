//! Who is in the cluster: joining, leaving, and being drained before.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use hyperbytedb_domain::cluster::{Membership, NodeAddress, NodeId};
use hyperbytedb_domain::ports::NodeStatus;
use openraft::ChangeMembers;
use serde::{Deserialize, Serialize};

use crate::client::To;
use crate::member::{CALL_TIMEOUT, Inner, LEADER_POLL, STATUS_TIMEOUT};
use crate::server::{DRAIN, JOIN, PROMOTE, REMOVE};

/// How long all nodes may take to hear of a new one.
const JOIN_PATIENCE: Duration = Duration::from_secs(10);
/// How long a majority may take to agree on a change.
const CHANGE_PATIENCE: Duration = Duration::from_secs(10);
const DRAIN_PATIENCE: Duration = Duration::from_secs(60);
/// How long another node may take to lead behind one that leads no more.
const ELECTION_PATIENCE: Duration = Duration::from_secs(5);

/// What a node that wants to join says.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct JoinRequest {
    pub node: NodeId,
    pub address: NodeAddress,
}

/// Where it gets everything from.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct JoinAnswer {
    pub source: NodeId,
    pub address: String,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct NodeRequest {
    pub node: NodeId,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct DrainRequest {
    pub node: NodeId,
    /// It is to leave, so that all others must have everything; `None`: whoever asks is of protocol 1, and reads no answer.
    #[serde(default)]
    pub is_leaving: Option<bool>,
}

impl Inner {
    async fn change(&self, change: ChangeMembers<NodeId, NodeAddress>, retain: bool) -> Result<u64, String> {
        let raft = self.raft().map_err(|(_, text)| text)?.clone();
        // On its own: a change has two steps, and must not end between them because nobody waits for it any more.
        let changing = tokio::spawn(async move { raft.change_membership(change, retain).await });
        let changed = tokio::time::timeout(CHANGE_PATIENCE, changing).await.map_err(|_| {
            format!(
                "timeout: a majority has not agreed to the change within {} s; it may still take effect: look at `cluster nodes` when enough nodes answer",
                CHANGE_PATIENCE.as_secs()
            )
        })?;
        let changed = changed.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
        Ok(changed.log_id.index)
    }

    /// Lets a node in that will copy everything from this one. All others must know of it first: they keep what it will
    /// lack from here on.
    pub async fn join(&self, request: JoinRequest) -> Result<JoinAnswer, String> {
        if let Some(answer) =
            self.forward(JOIN, &request, CHANGE_PATIENCE + JOIN_PATIENCE + STATUS_TIMEOUT).await
        {
            return answer;
        }
        let JoinRequest { node, address } = request;
        let membership = self.membership();
        if membership.is_voter(node) {
            return Err(format!(
                "node {node} is a member already: a node that lost its disk joins with a new number (cluster.node_id), and the old one is removed"
            ));
        }
        if membership.nodes.iter().any(|(id, other)| *id != node && other.address == address.address) {
            return Err(format!("{} is the address of another node", address.address));
        }
        let index = self.change(ChangeMembers::SetNodes(BTreeMap::from([(node, address)])), true).await?;
        let until = Instant::now() + JOIN_PATIENCE;
        loop {
            let statuses = self.statuses().await;
            let is_behind = |status: &Option<NodeStatus>| {
                status.as_ref().is_none_or(|status| status.applied_index < index)
            };
            let behind: Vec<String> = statuses
                .iter()
                .filter(|(id, status)| *id != node && is_behind(status))
                .map(|(id, _)| id.to_string())
                .collect();
            if behind.is_empty() {
                let address = self.options.advertised.address.clone();
                tracing::info!(node, "a node joins");
                return Ok(JoinAnswer { source: self.options.node, address });
            }
            if Instant::now() >= until {
                let text = "must be there when another one joins: start it, or remove it from the cluster";
                return Err(format!("node {} {text}", behind.join(", ")));
            }
            tokio::time::sleep(LEADER_POLL).await;
        }
    }

    /// Lets a node vote.
    pub async fn promote(&self, node: NodeId) -> Result<(), String> {
        if let Some(answer) = self.forward(PROMOTE, &NodeRequest { node }, CALL_TIMEOUT).await {
            return answer;
        }
        if self.membership().is_voter(node) {
            return Ok(());
        }
        self.change(ChangeMembers::AddVoterIds(BTreeSet::from([node])), true).await?;
        tracing::info!(node, "a node has joined");
        Ok(())
    }

    pub async fn remove(&self, node: NodeId) -> Result<(), String> {
        let patience = DRAIN_PATIENCE + ELECTION_PATIENCE + 2 * CALL_TIMEOUT;
        if let Some(answer) = self.forward(REMOVE, &NodeRequest { node }, patience).await {
            return answer;
        }
        let membership = self.membership();
        if !membership.nodes.contains_key(&node) {
            return Err(format!("node {node} is not of this cluster"));
        }
        if membership.nodes.len() == 1 {
            return Err("the last node cannot be removed".to_owned());
        }
        let answering = answering(&self.statuses().await);
        check_removal(&membership, node, &answering)?;
        if answering.contains(&node) {
            self.drain(node, true).await.map_err(|error| {
                format!(
                    "node {node} answers, and has not handed over what it has: {error}. Start the nodes that are away first, or stop node {node} to remove it without that"
                )
            })?;
            if node == self.options.node
                && let Some(answer) = self.remove_by_next_leader().await
            {
                return answer;
            }
        }
        let change = if membership.is_voter(node) {
            ChangeMembers::RemoveVoters(BTreeSet::from([node]))
        } else {
            ChangeMembers::RemoveNodes(BTreeSet::from([node]))
        };
        self.change(change, false)
            .await
            .map_err(|error| format!("{error}. Node {node} takes no writes until it is started again"))?;
        tracing::info!(node, "a node is removed");
        Ok(())
    }

    /// Has this node, which has led, removed by the one that leads now. `None`: it leads itself still.
    async fn remove_by_next_leader(&self) -> Option<Result<(), String>> {
        let until = Instant::now() + ELECTION_PATIENCE;
        while self.leader().is_none() && Instant::now() < until {
            tokio::time::sleep(LEADER_POLL).await;
        }
        let request = NodeRequest { node: self.options.node };
        self.forward(REMOVE, &request, DRAIN_PATIENCE + CALL_TIMEOUT).await
    }

    /// Has a node take no more writes and hand over what it has. Says what members that are away still lack.
    pub async fn drain(&self, node: NodeId, is_leaving: bool) -> Result<Option<String>, String> {
        if node != self.options.node {
            let address = self.nodes().get(&node).map(|address| address.address.clone());
            let address = address.ok_or_else(|| format!("node {node} is not of this cluster"))?;
            let request = DrainRequest { node, is_leaving: Some(is_leaving) };
            let asked = self.client.ask(
                To { node, address: &address },
                DRAIN,
                &request,
                DRAIN_PATIENCE + CALL_TIMEOUT,
            );
            return asked.await.map_err(|error| error.to_string());
        }
        let draining = self.node.clone();
        let drained = tokio::task::spawn_blocking(move || {
            if is_leaving {
                draining.drain(DRAIN_PATIENCE).map(|()| None)
            } else {
                draining.drain_for_stop(DRAIN_PATIENCE)
            }
        });
        let drained = drained.await.map_err(|error| error.to_string())?;
        let note = drained.map_err(|error| error.to_string())?;
        if self.is_leader() {
            self.hand_over(|_| true).await;
        }
        tracing::info!(node, note, "this node is drained and can be stopped");
        Ok(note)
    }
}

/// Those who have answered.
pub fn answering(statuses: &[(NodeId, Option<NodeStatus>)]) -> BTreeSet<NodeId> {
    statuses.iter().filter(|(_, status)| status.is_some()).map(|(node, _)| *node).collect()
}

/// Whether these are a majority of those.
pub fn is_majority(of: &BTreeSet<NodeId>, answering: &BTreeSet<NodeId>) -> bool {
    of.intersection(answering).count() > of.len() / 2
}

/// A change is agreed on by a majority of those who vote now and one of those who will.
fn check_removal(membership: &Membership, node: NodeId, answering: &BTreeSet<NodeId>) -> Result<(), String> {
    let Some(last) = membership.voters.last() else { return Ok(()) };
    let left: BTreeSet<NodeId> = last.iter().copied().filter(|voter| *voter != node).collect();
    if left.is_empty() {
        return Err(format!("node {node} is the last one that votes: it cannot be removed"));
    }
    let now = membership.voters.iter().map(|voters| (voters, "vote now"));
    for (voters, when) in now.chain([(&left, "would vote then")]) {
        if is_majority(voters, answering) {
            continue;
        }
        let silent: Vec<String> = voters.difference(answering).map(ToString::to_string).collect();
        return Err(format!(
            "node {node} cannot be removed now: of the {} nodes that {when} only {} answer, and a majority must agree. Start those that do not: {}",
            voters.len(),
            voters.intersection(answering).count(),
            silent.join(", ")
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_removal_needs_majorities_of_before_and_after() {
        let check = |voters: &[NodeId], node, answering: &[NodeId]| {
            let set = |nodes: &[NodeId]| nodes.iter().copied().collect::<BTreeSet<NodeId>>();
            let membership = Membership { voters: vec![set(voters)], ..Membership::default() };
            check_removal(&membership, node, &set(answering))
        };
        assert_eq!(check(&[1, 2, 3], 3, &[1, 2]), Ok(()));
        assert_eq!(check(&[1, 2, 3], 3, &[1, 2, 3]), Ok(()));
        let error = check(&[1, 2, 3], 3, &[1, 3]).expect_err("node 1 alone is no majority of two");
        assert!(error.contains("of the 2 nodes that would vote then only 1 answer"), "{error}");
        assert!(error.ends_with("Start those that do not: 2"), "{error}");
        let error = check(&[1, 2, 3, 4], 4, &[1, 2]).expect_err("two are no majority of four");
        assert!(error.contains("of the 4 nodes that vote now only 2 answer"), "{error}");
        assert_eq!(check(&[1, 2, 3], 9, &[1, 2]), Ok(()), "one that does not vote");
        assert!(check(&[1], 1, &[1]).is_err());
    }
}
