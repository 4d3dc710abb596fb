//! Who carries out what only one node may: continuous queries, views, retention.
//!
//! The leader does, where it has what the others have: one that lacks points would write results that lack them too, and
//! delete those of a view that it does not know the sources of. Where it lacks them for long, another one is to lead.

use std::time::{Duration, Instant};

use hyperbytedb_domain::cluster::NodeId;
use hyperbytedb_domain::ports::NodeStatus;

use crate::client::To;
use crate::member::{Inner, LEADER_POLL, STATUS_TIMEOUT};
use crate::server::ELECT;

/// A leader that has not heard from a majority for as long may be none any more.
const LEASE: Duration = Duration::from_millis(800);
/// What another node took longer ago should be here.
const STALENESS_MAX: Duration = Duration::from_secs(5);
/// How long a leader may lack something before another node is asked to lead.
const PATIENCE: Duration = Duration::from_secs(10);

impl Inner {
    /// Leads, a majority has said so a moment ago, and nothing is known to be missing here.
    pub fn holds_lease(&self) -> bool {
        // By the time that has passed: a process that was frozen does not know yet that it leads no more.
        let leads = self.majority_heard.lock().is_some_and(|heard| heard.elapsed() < LEASE);
        leads
            && self.node.is_ready()
            && !self.node.needs_repair()
            && is_whole(self.options.node, &self.heard.lock().statuses)
    }

    /// Has another node lead when this one has lacked something for long. `since`: when that was seen first.
    pub async fn hand_over_if_unfit(&self, since: &mut Option<Instant>) {
        let own = self.options.node;
        let heard = self.heard.lock().statuses.clone();
        let is_fit = !self.node.needs_repair() && is_whole(own, &heard);
        if is_fit || !self.is_leader() {
            *since = None;
            return;
        }
        if since.get_or_insert_with(Instant::now).elapsed() < PATIENCE {
            return;
        }
        *since = None;
        let may_lead = |status: &&NodeStatus| {
            status.id != own
                && status.is_ready
                && !status.is_draining
                && !status.needs_repair
                && is_whole(status.id, &heard)
        };
        let others: Vec<NodeId> = heard.iter().filter(may_lead).map(|status| status.id).collect();
        if !others.is_empty() {
            tracing::warn!(?others, "this node leads and lacks points: one of these is to lead");
            self.hand_over(|node| others.contains(&node)).await;
        }
    }

    /// Has some other voter lead.
    pub async fn hand_over(&self, may_lead: impl Fn(NodeId) -> bool) {
        let membership = self.membership();
        let is_wanted = |id: NodeId| id != self.options.node && membership.is_voter(id) && may_lead(id);
        for (id, node) in membership.nodes.iter().filter(|(id, _)| is_wanted(**id)) {
            let to = To { node: *id, address: &node.address };
            if self.client.ask::<_, ()>(to, ELECT, &(), STATUS_TIMEOUT).await.is_err() {
                continue;
            }
            let until = Instant::now() + STATUS_TIMEOUT;
            while Instant::now() < until {
                if !self.is_leader() {
                    return;
                }
                tokio::time::sleep(LEADER_POLL).await;
            }
        }
    }
}

/// Whether no node says that this one lacks something, apart from what is on its way.
fn is_whole(node: NodeId, heard: &[NodeStatus]) -> bool {
    let mut lags = heard.iter().flat_map(|status| &status.lags).filter(|lag| lag.node == node);
    lags.all(|lag| !lag.needs_repair && lag.lag_secs <= STALENESS_MAX.as_secs())
}

#[cfg(test)]
mod tests {
    use hyperbytedb_domain::ports::PeerLag;

    use super::*;

    #[test]
    fn what_others_say_tells_who_is_whole() {
        let lag = |node, lag_secs, needs_repair| {
            let (position, lag_records, lag_bytes, error) = Default::default();
            PeerLag { node, position, lag_records, lag_bytes, lag_secs, error, needs_repair }
        };
        let heard = |lags: Vec<PeerLag>| vec![NodeStatus { id: 2, lags, ..NodeStatus::default() }];
        assert!(is_whole(1, &[]) && is_whole(1, &heard(vec![lag(1, 1, false), lag(3, 0, true)])));
        assert!(!is_whole(1, &heard(vec![lag(1, 0, true)])), "it has missed records");
        assert!(!is_whole(1, &heard(vec![lag(3, 0, false), lag(1, 60, false)])), "it is far behind");
    }
}
