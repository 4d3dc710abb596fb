//! Noticing that a disk has lost what it once held: an old one was put back, or a power failure took what was not synced.
//!
//! What was sent to a node does not come again by itself, so a node with an old disk would keep old values, and in a vote they would
//! count as any. But each node knows of each other one which of its records that one has confirmed, and each receiver how far it
//! has come. With every batch both are compared. A receiver that has less than it confirmed has lost it: the sender goes
//! back in its log, and the receiver takes by comparing what is not there any more. A sender of whose records a receiver has one
//! that the sender never had has lost it: all nodes that lack that record are no witnesses any more of what is right. What was
//! noticed is kept on disk until they have compared themselves. After a start a node has no say before it has
//! heard from all others.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hyperbytedb_domain::StorageError;
use hyperbytedb_domain::cluster::NodeId;
use hyperbytedb_domain::wal::Sequence;
use parking_lot::{Mutex, MutexGuard};

use super::peers;
use crate::flush::FlushService;

/// This node has lost something.
const OWN: &str = "note/lost";
/// The greatest clock of a record of this node that another one has and this one has lost.
const GREATEST: &str = "note/lost-clock";

/// What this node has may be wrong where others have something else: it is compared when all nodes are there.
const DOUBT: &str = "note/compare";
/// The clock up to which a start does not remember what records wrote.
const FORGOTTEN: &str = "note/forgotten";

#[derive(Default)]
struct State {
    /// What others had last of this node's records when they first answered since its start.
    heard: BTreeMap<NodeId, u64>,
    /// Those who have sent something since the start.
    told: BTreeSet<NodeId>,
    /// How often something was noticed since the start.
    signs: u64,
    /// How often there was reason to doubt.
    doubts: u64,
}

/// What is known to be lost, by this node and of its records by others.
pub struct Losses {
    flush: Arc<FlushService>,
    state: Mutex<State>,
}

impl Losses {
    pub fn new(flush: Arc<FlushService>) -> Self {
        Self { flush, state: Mutex::default() }
    }

    fn noted(&self, name: &str) -> Option<u64> {
        self.flush.cursors().position(name)
    }

    /// Notes something that a power failure must not take back.
    fn note(
        &self,
        state: MutexGuard<'_, State>,
        changes: &[(String, Option<u64>)],
    ) -> Result<(), StorageError> {
        self.flush.cursors().set(changes)?;
        drop(state);
        self.flush.cursors().sync()
    }

    /// Notes what a node that answers for the first time had of this one's records.
    pub fn hear(&self, node: NodeId, clock: u64) {
        self.state.lock().heard.entry(node).or_insert(clock);
    }

    /// Notes that a node has sent something.
    pub fn tell(&self, node: NodeId) {
        self.state.lock().told.insert(node);
    }

    /// Whether a node has said what it has of this one's records.
    pub fn has_heard(&self, node: NodeId) -> bool {
        self.state.lock().heard.contains_key(&node)
    }

    /// Whether all these have said what they have, so that this node knows what it has lost.
    pub fn is_proven(&self, others: impl IntoIterator<Item = NodeId>) -> bool {
        let state = self.state.lock();
        others.into_iter().all(|node| state.heard.contains_key(&node) && state.told.contains(&node))
    }

    /// Whether this node has lost something.
    pub fn has_lost(&self) -> bool {
        self.noted(OWN).is_some()
    }

    /// Whether this node has to be compared with all others.
    pub fn is_in_doubt(&self) -> bool {
        self.noted(DOUBT).is_some()
    }

    /// What this node has may be wrong.
    pub fn doubt(&self) -> Result<(), StorageError> {
        let mut state = self.state.lock();
        state.doubts += 1;
        if self.is_in_doubt() {
            return Ok(());
        }
        self.note(state, &[(DOUBT.to_owned(), Some(1))])
    }

    /// How often there was reason to doubt: those who compare ask before they begin.
    pub fn doubts(&self) -> u64 {
        self.state.lock().doubts
    }

    /// After a start what was written up to this clock is not remembered.
    pub fn forget(&self, clock: u64) -> Result<(), StorageError> {
        self.note(self.state.lock(), &[(FORGOTTEN.to_owned(), Some(clock))])
    }

    pub fn forgotten(&self) -> u64 {
        self.noted(FORGOTTEN).unwrap_or(0)
    }

    /// This node takes something that may lose against what it has forgotten: others know better.
    pub fn take_late(&self, node: NodeId, clock: u64) -> Result<(), StorageError> {
        let mut state = self.state.lock();
        state.signs += 1;
        if self.has_lost() {
            return Ok(());
        }
        tracing::warn!(
            node,
            clock,
            "records come that are older than what this node remembers: it compares itself with the others"
        );
        self.note(state, &[(OWN.to_owned(), Some(1))])
    }

    /// How often something was noticed: those who compare ask before they begin.
    pub fn signs(&self) -> u64 {
        self.state.lock().signs
    }

    /// This node has back what it had lost when so much was noticed.
    pub fn recovered(&self, signs: u64) -> Result<(), StorageError> {
        let state = self.state.lock();
        if state.signs != signs || !self.has_lost() {
            return Ok(());
        }
        tracing::info!("this node has back what it had lost");
        self.flush.cursors().set(&[(OWN.to_owned(), None)])
    }

    /// This node has been compared with all others since there was so much reason to doubt.
    pub fn settled(&self, doubts: u64) -> Result<(), StorageError> {
        let state = self.state.lock();
        if state.doubts != doubts || !self.is_in_doubt() {
            return Ok(());
        }
        self.flush.cursors().set(&[(DOUBT.to_owned(), None)])
    }

    /// This node has less of another one's records than it has confirmed.
    pub fn lost_of(&self, node: NodeId, had: u64, confirmed: u64) -> Result<(), StorageError> {
        tracing::error!(
            node,
            had,
            confirmed,
            "this node's disk is older than what it has confirmed: it takes what it has lost from the others"
        );
        let mut state = self.state.lock();
        state.signs += 1;
        self.note(state, &[(OWN.to_owned(), Some(1))])
    }

    /// A node has a record of this one that this one does not have. The others lack it, except those that have said that they
    /// have that much as well.
    pub fn lost_own(
        &self,
        node: NodeId,
        clock: u64,
        others: impl IntoIterator<Item = (NodeId, Sequence)>,
    ) -> Result<(), StorageError> {
        let mut state = self.state.lock();
        let greatest = self.noted(GREATEST).unwrap_or(0);
        if clock == greatest {
            return Ok(());
        }
        state.signs += 1;
        let mut others = others.into_iter();
        if clock < greatest {
            let missed: Vec<_> = others.find(|(other, _)| *other == node).map(missed).into_iter().collect();
            return self.note(state, &missed);
        }
        tracing::error!(
            node,
            clock,
            "this node's disk is older than what it has sent: it takes what it has lost from the others"
        );
        let has_it = |other| other == node || state.heard.get(&other) == Some(&clock);
        let lacking = others.filter(|(other, _)| !has_it(*other)).map(missed);
        let mut changes: Vec<(String, Option<u64>)> = lacking.collect();
        changes.push((OWN.to_owned(), Some(1)));
        changes.push((GREATEST.to_owned(), Some(clock)));
        if greatest > 0 {
            // It lacked what others have; now it has all of that.
            changes.push((peers::missed(node), None));
        }
        self.note(state, &changes)
    }

    /// Whether a node that has so much of this one's records lacks some that this one has lost.
    pub fn is_short(&self, clock: u64) -> bool {
        self.noted(GREATEST).is_some_and(|greatest| clock < greatest)
    }

    /// Notes nodes that have missed records, and how much of this node's log they have.
    pub fn miss(&self, nodes: impl IntoIterator<Item = (NodeId, Sequence)>) -> Result<(), StorageError> {
        let changes: Vec<(String, Option<u64>)> = nodes.into_iter().map(missed).collect();
        self.note(self.state.lock(), &changes)
    }

    pub fn has_missed(&self, node: NodeId) -> bool {
        self.noted(&peers::missed(node)).is_some()
    }

    /// A node that has so much of this one's log has taken what it had missed.
    pub fn repaired(&self, node: NodeId, position: Sequence) -> Result<(), StorageError> {
        let name = peers::missed(node);
        if self.noted(&name).is_none_or(|missed| missed > position) {
            return Ok(());
        }
        tracing::info!(node, "a node has what it missed");
        self.flush.cursors().set(&[(name, None)])
    }

    /// Of what was another node's disk: what that one knew of its own records. What it has lost the copy lacks as well.
    pub fn become_another(&self) -> Result<(), StorageError> {
        let cursors = self.flush.cursors();
        cursors.retain(peers::CONFIRMED, Sequence::MAX, |_| false)?;
        cursors.retain(peers::MISSED, Sequence::MAX, |_| false)?;
        cursors.set(&[(GREATEST.to_owned(), None)])
    }
}

fn missed((node, position): (NodeId, Sequence)) -> (String, Option<u64>) {
    (peers::missed(node), Some(position))
}
