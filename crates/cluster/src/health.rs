//! How the nodes are: what this one has heard of the others, and why it should not be asked.

use std::time::{Duration, Instant};

use hyperbytedb_domain::cluster::NodeId;
use hyperbytedb_domain::ports::{NodeInfo, NodeStatus, PeerLag, Unready};
use hyperbytedb_metrics as metrics;

use crate::member::Inner;
use crate::membership::{answering, is_majority};

/// Between two times that a node asks the others how they are.
const WATCH_INTERVAL: Duration = Duration::from_secs(1);
/// What was heard no longer ago is so.
const RECENT: Duration = Duration::from_secs(3);
pub const REMOVED: &str = "removed: this node was taken out of the cluster, its writes would get to nobody: stop it; for its machine to be a node again, empty its data folder and let it join with a new number (cluster.node_id)";

/// What this node has heard.
#[derive(Default)]
pub struct Heard {
    /// What the nodes said when they were asked last.
    pub statuses: Vec<NodeStatus>,
    /// When a majority answered last, and when the node that leads did; `None`: not since the start.
    majority: Option<Instant>,
    leader: Option<Instant>,
}

impl Inner {
    /// Keeps what the nodes say of each other. Never ends.
    pub async fn watch(&self) {
        let mut unfit_since = None;
        loop {
            tokio::time::sleep(WATCH_INTERVAL).await;
            self.look().await;
            self.hand_over_if_unfit(&mut unfit_since).await;
        }
    }

    /// Asks all nodes, and keeps what they say.
    pub async fn look(&self) -> Vec<NodeStatus> {
        let statuses = self.statuses().await;
        let (answering, membership, leader) = (answering(&statuses), self.membership(), self.leader());
        let heard: Vec<NodeStatus> = statuses.into_iter().filter_map(|(_, status)| status).collect();
        metrics::CLUSTER_LEADER.set(leader.unwrap_or(0) as f64);
        metrics::CLUSTER_NODES.set(membership.nodes.len() as f64);
        metrics::CLUSTER_NODES_UP.set(heard.len() as f64);
        self.look_for_removal(&heard);
        let has_majority = membership.voters.iter().all(|voters| is_majority(voters, &answering));
        // Behind a start Raft names the one that led before.
        let is_there = |leader| answering.contains(&leader) && (leader != self.options.node || has_majority);
        let mut known = self.heard.lock();
        if has_majority {
            known.majority = Some(Instant::now());
        }
        if leader.is_some_and(is_there) {
            known.leader = Some(Instant::now());
        }
        known.statuses.clone_from(&heard);
        heard
    }

    /// Some node leads, and has answered a moment ago.
    pub fn hears_leader(&self) -> bool {
        self.heard.lock().leader.is_some_and(|heard| heard.elapsed() < RECENT)
    }

    /// A node that is away while it is taken out is told by nobody: who knows more of the schema and does not list it shows it.
    fn look_for_removal(&self, heard: &[NodeStatus]) {
        let (own, catalog) = (self.options.node, self.node.catalog());
        let cluster = &catalog.cluster;
        let is_listed = cluster.membership.nodes.is_empty() || cluster.membership.nodes.contains_key(&own);
        let is_unknown_to = |status: &NodeStatus| {
            status.applied_index > cluster.applied_index()
                && !status.members.is_empty()
                && !status.members.contains(&own)
        };
        if (is_listed && !heard.iter().any(is_unknown_to)) || self.node.is_removed() {
            return;
        }
        self.node.removed();
        tracing::error!(node = own, "{REMOVED}");
    }

    pub fn unready(&self) -> Option<Unready> {
        let leaving = |reason: &str| Some(Unready { is_leaving: true, reason: reason.to_owned() });
        if self.node.is_removed() {
            return leaving(REMOVED);
        }
        if self.node.is_draining() {
            return leaving("draining: this node is being taken out of the cluster");
        }
        self.weakness().map(|reason| Unready { is_leaving: false, reason })
    }

    /// Why another node knows better.
    fn weakness(&self) -> Option<String> {
        let (heard, own) = (self.heard.lock(), self.options.node);
        let lags = || heard.statuses.iter().flat_map(|status| &status.lags).filter(|lag| lag.node == own);
        if self.node.needs_repair() || lags().any(|lag| lag.needs_repair) {
            let text = "repair: this node has missed or lost points, and takes them from the others by comparing (`cluster nodes`, `GET /cluster/repair`)";
            return Some(text.to_owned());
        }
        let limit = self.options.max_staleness;
        if limit.is_zero() {
            return None;
        }
        let lag_secs = lags().map(|lag: &PeerLag| lag.lag_secs).max().unwrap_or(0);
        if lag_secs > limit.as_secs() {
            return Some(format!(
                "behind: this node lacks what others took {lag_secs} s ago (cluster.max_staleness_secs)"
            ));
        }
        let is_too_long_ago = |last: Option<Instant>| last.is_none_or(|last| last.elapsed() > limit);
        let lacks = if is_too_long_ago(heard.majority) {
            "alone: this node hears from too few others for a majority (cluster.max_staleness_secs)"
        } else if is_too_long_ago(heard.leader) {
            "no node leads (cluster.max_staleness_secs)"
        } else {
            return None;
        };
        Some(format!(
            "{lacks}: it answers from what it has, and takes writes to known series at `one`; start the other nodes, or look at the network between them"
        ))
    }

    pub async fn infos(&self) -> Vec<NodeInfo> {
        let statuses = self.statuses().await;
        let (leader, membership) = (self.leader(), self.membership());
        let info = |(id, status): &(NodeId, Option<NodeStatus>)| {
            let address = membership.nodes.get(id).cloned().unwrap_or_default();
            let lags = || {
                let others = statuses.iter().filter_map(|(_, status)| status.as_ref());
                others.flat_map(|other| other.lags.iter().filter(|lag| lag.node == *id))
            };
            let role = match leader {
                Some(leader) if leader == *id => "leader",
                _ if membership.is_voter(*id) => "follower",
                _ => "learner",
            };
            let state = match status {
                None => "down",
                Some(status) if status.needs_repair || lags().any(|lag| lag.needs_repair) => "repair",
                Some(status) if status.is_draining => "draining",
                Some(status) if !status.is_ready => "catching_up",
                Some(_) => "ready",
            };
            NodeInfo {
                id: *id,
                address: address.address,
                http_address: address.http_address,
                role: role.to_owned(),
                state: state.to_owned(),
                lag_records: lags().map(|lag| lag.lag_records).max().unwrap_or(0),
                lag_bytes: lags().map(|lag| lag.lag_bytes).max().unwrap_or(0),
                lag_secs: lags().map(|lag| lag.lag_secs).max().unwrap_or(0),
            }
        };
        statuses.iter().map(info).collect()
    }
}
