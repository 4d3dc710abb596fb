//! What the nodes agree on: a list that stands for Raft's log, as a majority has it.
//!
//! It keeps what Raft promises: one order, the same for all; an entry is there for ever, and only while a majority of the voters can
//! talk to a leader. And it fails as Raft does: nobody leads for a while, a proposal is lost, or its answer, or it is decided
//! only by the next leader.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use hyperbytedb_domain::catalog::{Catalog, Command};
use hyperbytedb_domain::cluster::{
    AgreedChange, AgreedEntry, LogPosition, Membership, NodeAddress, NodeId, Proposal,
};
use hyperbytedb_domain::ports::{ClusterNodePort, ConsensusPort, ProposalError, Proposer};
use parking_lot::Mutex;

use super::model::Scope;
use super::network::{Network, Way};
use crate::scheduler::Host;

const PROPOSE_TIME: Duration = Duration::from_secs(4);
const ELECTION_TIME: Duration = Duration::from_millis(1500);
const LOOK_TIME: Duration = Duration::from_millis(50);
/// How long a leader may lack something.
const UNFIT_TIME: Duration = Duration::from_secs(10);
/// How often a node is told what there is, without news.
const TELL_TIME: Duration = Duration::from_millis(200);

/// An entry of the list.
#[derive(Debug, Clone)]
pub struct Agreed {
    pub entry: AgreedEntry,
    pub clock: u64,
    pub proposer: Option<Proposer>,
    /// What it deletes, if it does, in the words of the statement.
    pub deletes: Option<Scope>,
}

struct State {
    log: Vec<Agreed>,
    /// The catalogue behind all of it.
    catalog: Catalog,
    term: u64,
    leader: Option<NodeId>,
    /// Since when nobody leads.
    leaderless: Duration,
    /// Since when the leader lacks something.
    unfit_since: Option<Duration>,
    /// What a leader had taken when it was lost: the next one may have it.
    undecided: Vec<(Proposal, Option<Scope>)>,
}

pub struct Agreement {
    pub network: Arc<Network>,
    state: Mutex<State>,
    /// What the proposals of a task delete.
    scopes: Mutex<HashMap<usize, Scope>>,
}

/// While it lives, proposals of a task delete something.
pub struct Scoped {
    agreement: Arc<Agreement>,
    task: usize,
}

impl Drop for Scoped {
    fn drop(&mut self) {
        self.agreement.scopes.lock().remove(&self.task);
    }
}

impl Agreement {
    /// Of these nodes, all of which vote.
    pub fn new(network: Arc<Network>, nodes: &[NodeId]) -> Self {
        let state = State {
            log: Vec::new(),
            catalog: Catalog::default(),
            term: 1,
            leader: nodes.first().copied(),
            leaderless: Duration::ZERO,
            unfit_since: None,
            undecided: Vec::new(),
        };
        let agreement = Self { network, state: Mutex::new(state), scopes: Mutex::default() };
        agreement.state.lock().change_membership(|membership| {
            for &node in nodes {
                membership.nodes.insert(node, address(node));
            }
            membership.voters = vec![nodes.iter().copied().collect()];
        });
        agreement
    }

    /// Has the calling task's proposals delete this.
    pub fn delete_in(self: &Arc<Self>, scope: Option<Scope>) -> Option<Scoped> {
        let task = self.network.scheduler.current();
        self.scopes.lock().insert(task, scope?);
        Some(Scoped { agreement: self.clone(), task })
    }

    pub fn length(&self) -> u64 {
        self.state.lock().log.len() as u64
    }

    pub fn membership(&self) -> Membership {
        self.state.lock().catalog.cluster.membership.clone()
    }

    /// The entries up to an index.
    pub fn up_to(&self, index: u64) -> Vec<Agreed> {
        self.state.lock().log.iter().take(index as usize).cloned().collect()
    }

    /// Changes who is in the cluster, as the leader does; false when there is none.
    pub fn change_membership(&self, change: impl FnOnce(&mut Membership)) -> bool {
        if self.leader().is_none() {
            return false;
        }
        self.state.lock().change_membership(change);
        self.network.scheduler.progress();
        true
    }

    /// The leader has failed, or hears nothing any more.
    pub fn depose(&self) {
        let mut state = self.state.lock();
        (state.leader, state.leaderless) = (None, self.network.scheduler.elapsed());
        state.unfit_since = None;
    }

    /// Who leads, with a majority that it can talk to. Elects somebody, some time after the last one was lost.
    pub fn leader(&self) -> Option<NodeId> {
        let membership = self.membership();
        let has_majority = |node: NodeId| {
            let of = |voters: &std::collections::BTreeSet<NodeId>| {
                let reached = voters.iter().filter(|&&other| self.network.can_talk(node, other)).count();
                voters.contains(&node) && reached > voters.len() / 2
            };
            self.network.node(node).is_some() && membership.voters.iter().all(of)
        };
        let (leader, leaderless) = {
            let state = self.state.lock();
            (state.leader, state.leaderless)
        };
        if let Some(leader) = leader {
            if has_majority(leader) {
                return Some(leader);
            }
            self.depose();
            return None;
        }
        if self.network.scheduler.elapsed() < leaderless + ELECTION_TIME {
            return None;
        }
        let able: Vec<NodeId> = membership.nodes.keys().copied().filter(|&node| has_majority(node)).collect();
        let leader = *able.get(self.network.below(able.len()))?;
        let mut state = self.state.lock();
        state.term += 1;
        state.leader = Some(leader);
        for (proposal, deletes) in std::mem::take(&mut state.undecided) {
            if self.network.chance(1, 2) {
                state.append(proposal, deletes);
            }
        }
        state.push(AgreedChange::Nothing, 0, None, None);
        drop(state);
        self.network.scheduler.progress();
        Some(leader)
    }

    /// Whether nobody says that a node lacks something. A leader that has lacked something for long makes room for another one.
    fn is_fit(&self, node: NodeId) -> bool {
        let is_repaired = self.network.node(node).is_some_and(|node| !node.needs_repair());
        let others = self.membership().nodes.into_keys().filter(|other| *other != node);
        let mut others = others.filter_map(|other| self.network.node(other));
        let is_fit = is_repaired && others.all(|other| !other.replication.losses.has_missed(node));
        let now = self.network.scheduler.elapsed();
        let since = {
            let unfit_since = &mut self.state.lock().unfit_since;
            if is_fit {
                *unfit_since = None;
            }
            *unfit_since.get_or_insert(now)
        };
        if !is_fit && now > since + UNFIT_TIME {
            self.depose();
        }
        is_fit
    }

    /// Tells a node what it has not carried out yet, for as long as its process runs.
    pub fn tell(&self, node: &Arc<dyn ClusterNodePort>, host: &Host) {
        let (network, id) = (&self.network, node.id());
        loop {
            let applied = || node.catalog().cluster.applied_index();
            network.scheduler.wait_for(TELL_TIME, || self.length() > applied());
            let next = self.state.lock().log.get(applied() as usize).cloned();
            let (Some(next), Some(leader)) = (next, self.leader()) else {
                network.scheduler.sleep(TELL_TIME);
                continue;
            };
            match network.way(leader, id) {
                Way::Open(time) => network.scheduler.sleep(time),
                Way::Lost => {
                    network.scheduler.sleep(TELL_TIME);
                    continue;
                }
            }
            let Agreed { entry, clock, proposer, .. } = next;
            if network.hand_over(|| node.agreed(entry, clock, proposer)).is_err() {
                // A node that cannot store what was agreed on cannot go on.
                host.fail();
            }
        }
    }
}

impl State {
    fn change_membership(&mut self, change: impl FnOnce(&mut Membership)) {
        let mut membership = self.catalog.cluster.membership.clone();
        change(&mut membership);
        self.push(AgreedChange::Membership(membership), 0, None, None);
    }

    fn append(&mut self, proposal: Proposal, deletes: Option<Scope>) {
        let Proposal { node, number, clock, command } = proposal;
        self.push(AgreedChange::Command(command), clock, Some((node, number)), deletes);
    }

    fn push(
        &mut self,
        mut change: AgreedChange,
        clock: u64,
        proposer: Option<Proposer>,
        deletes: Option<Scope>,
    ) {
        let index = self.log.len() as u64 + 1;
        let position = LogPosition { term: self.term, leader: self.leader.unwrap_or(0), index };
        if let AgreedChange::Membership(membership) = &mut change {
            membership.position = Some(position);
        }
        let entry = AgreedEntry { position, change };
        let is_stale = is_stale(&entry.change, &self.catalog);
        // What is refused changes nothing.
        let carried_out = AgreedEntry {
            change: if is_stale { AgreedChange::Nothing } else { entry.change.clone() },
            ..entry.clone()
        };
        let is_refused = self.catalog.agree(&carried_out).is_err() || is_stale;
        let deletes = deletes.filter(|_| !is_refused).and_then(|scope| scope.of(&entry.change));
        self.log.push(Agreed { entry, clock, proposer, deletes });
    }
}

/// Whether it was made for another schema.
fn is_stale(change: &AgreedChange, catalog: &Catalog) -> bool {
    let AgreedChange::Command(Command::DeletePoints { scopes }) = change else { return false };
    scopes
        .iter()
        .any(|scope| catalog.table_by_id(scope.table).is_some_and(|table| table.version != scope.version))
}

pub fn address(node: NodeId) -> NodeAddress {
    NodeAddress { address: node.to_string(), http_address: String::new() }
}

/// One node's way to the others.
pub struct Proposing {
    pub agreement: Arc<Agreement>,
    pub node: NodeId,
}

impl ConsensusPort for Proposing {
    fn propose(&self, mut proposal: Proposal) -> Result<(), ProposalError> {
        let Self { agreement, node } = self;
        let network = &agreement.network;
        let scope = agreement.scopes.lock().get(&network.scheduler.current()).cloned();
        let until = network.scheduler.elapsed() + PROPOSE_TIME;
        let unknown = |why: &str| Err(ProposalError::Unknown(why.to_owned()));
        loop {
            if network.scheduler.elapsed() >= until {
                return Err(ProposalError::NotAgreed("timeout: no node leads".to_owned()));
            }
            let leader = agreement.leader().filter(|&leader| network.is_open(*node, leader));
            let Some((leader, Way::Open(time))) = leader.map(|leader| (leader, network.way(*node, leader)))
            else {
                network.scheduler.sleep(LOOK_TIME);
                continue;
            };
            network.scheduler.sleep(time);
            let Some(leading) = network.node(leader).filter(|_| agreement.leader() == Some(leader)) else {
                continue;
            };
            proposal.clock = leading.stamp(proposal.clock);
            let is_bad = network.chance(network.lost(), 3000);
            if is_bad {
                agreement.state.lock().undecided.push((proposal, scope));
                agreement.depose();
                return unknown("the leader was lost");
            }
            agreement.state.lock().append(proposal, scope);
            network.scheduler.progress();
            return match network.way(leader, *node) {
                Way::Open(time) => {
                    network.scheduler.sleep(time);
                    Ok(())
                }
                Way::Lost => {
                    network.scheduler.sleep(until.saturating_sub(network.scheduler.elapsed()));
                    unknown("no answer")
                }
            };
        }
    }

    /// As a server does, except that what others have not sent yet is no reason.
    fn holds_lease(&self) -> bool {
        let Self { agreement, node } = self;
        agreement.leader() == Some(*node) && agreement.is_fit(*node)
    }
}
