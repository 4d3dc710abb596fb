//! Who is in the cluster: disks that are lost for ever, nodes that join, and nodes that leave.

use std::sync::Arc;
use std::time::Duration;

use hyperbytedb_domain::CancelToken;
use hyperbytedb_domain::cluster::NodeId;
use hyperbytedb_domain::ports::ClusterNodePort;
use parking_lot::Mutex;

use super::Cluster;
use crate::cluster::agreement::address;
use crate::cluster::history::Hints;

const DRAIN_TIME: Duration = Duration::from_secs(10);
/// How long all nodes may take to hear of a new one.
const JOIN_TIME: Duration = Duration::from_secs(10);
const MEMBERS_MAX: usize = 6;

impl Cluster {
    pub(super) fn lose_disk(&mut self, node: usize) -> Result<(), String> {
        let may_go =
            self.lost.len() < self.may_lose && self.damaged.is_none() && self.is_majority_without_one();
        let Some(id) = self.nth(node).filter(|_| may_go) else { return Ok(()) };
        self.end(id, false)?;
        self.members.remove(&id);
        self.lost.insert(id);
        // It alone may have known who lacks what.
        self.may_be_outvoted |= self.hints != Hints::default();
        Ok(())
    }

    /// Whether those that are left can still agree when one more goes: of the others some may be lost, and not removed.
    fn is_majority_without_one(&self) -> bool {
        2 * (self.members.len() - 1) > self.agreement.membership().nodes.len()
    }

    /// Whether all members run and hear each other; only then somebody can join or leave.
    fn is_whole(&mut self) -> Result<bool, String> {
        self.network.heal();
        self.start_all()?;
        let agreement = self.agreement.clone();
        self.scheduler.wait_for(JOIN_TIME, || agreement.leader().is_some());
        self.bury(false)?;
        Ok(agreement.leader().is_some() && self.members.values().all(|member| member.process.is_some()))
    }

    /// Waits until all nodes have carried out what is agreed on.
    fn wait_for_agreement(&self) -> bool {
        let length = self.agreement.length();
        let have_all = || self.members.values().all(|member| member.taken.lock().agreed_index >= length);
        self.scheduler.wait_for(JOIN_TIME, have_all)
    }

    /// As an operator does with nodes that do not come back.
    pub(super) fn remove_lost(&self) {
        self.scheduler.wait_for(JOIN_TIME, || self.agreement.leader().is_some());
        let nodes = self.agreement.membership().nodes;
        nodes.into_keys().filter(|id| self.lost.contains(id)).for_each(|id| self.remove(id));
    }

    fn remove(&self, id: NodeId) {
        self.agreement.change_membership(|membership| {
            membership.nodes.remove(&id);
            for voters in &mut membership.voters {
                voters.remove(&id);
            }
        });
    }

    /// Where nodes do not compare themselves, a copy of a damaged disk would be another one, and what a node has alone would
    /// leave with it.
    fn must_stay(&self) -> bool {
        self.damaged.is_some() && self.comparing.is_none()
    }

    pub(super) fn join(&mut self) -> Result<(), String> {
        if self.must_stay() || !self.is_whole()? {
            return Ok(());
        }
        self.remove_lost();
        if self.members.len() >= MEMBERS_MAX {
            return Ok(());
        }
        let id = self.next_id;
        let is_known =
            self.agreement.change_membership(|membership| drop(membership.nodes.insert(id, address(id))));
        if !is_known || !self.wait_for_agreement() {
            return self.look_for_finding();
        }
        let Some(source) = self.agreement.leader() else { return Ok(()) };
        let Some((disk, taken)) = self.copy_of(source)? else { return Ok(()) };
        let is_torn = self.members.get(&source).is_some_and(|member| member.is_torn);
        self.next_id += 1;
        self.add(id, disk, taken, Some(source));
        if let Some(member) = self.members.get_mut(&id).filter(|_| is_torn) {
            // Two are of the same wrong opinion.
            (member.is_torn, self.may_be_outvoted) = (true, true);
        }
        self.start(id)?;
        self.agreement.change_membership(|membership| {
            for voters in &mut membership.voters {
                voters.insert(id);
            }
        });
        self.look_for_finding()
    }

    pub(super) fn leave(&mut self, node: usize) -> Result<(), String> {
        if self.members.len() <= 3 || self.must_stay() || !self.is_whole()? {
            return Ok(());
        }
        let Some((id, process)) = self.nth(node).and_then(|id| Some((id, self.process(id)?))) else {
            return Ok(());
        };
        let Some(leaving) = process.node.clone() else { return Ok(()) };
        let is_drained = Arc::new(Mutex::new(false));
        let drained = is_drained.clone();
        process.host.spawn("drain", Some(CancelToken::default()), move || {
            *drained.lock() = leaving.drain(DRAIN_TIME).is_ok();
        });
        self.scheduler.run_clients();
        self.look_for_finding()?;
        let is_drained = *is_drained.lock();
        if is_drained {
            self.remove(id);
        }
        // One that could not be drained starts again.
        self.end(id, false)?;
        if is_drained {
            self.members.remove(&id);
        }
        Ok(())
    }
}
