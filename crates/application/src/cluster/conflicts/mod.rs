//! Settling what two nodes did to the same points without knowing of each other.
//!
//! Of two values of one field of one series and time the one with the greater (clock, origin) stays. The engine keeps the value
//! that came last; so a value that comes late is left out when a greater one is here. A record of a node can only lose against
//! records whose clock that node has not passed yet, for its own clock passes all that it has seen: these few are remembered here, and
//! forgotten when every other node is past them. Each node says how far its clock is with what it sends, also when it has nothing to send.
//!
//! A write is older than a delete when it comes before it in the log of the node that took it. That log says the same to all:
//! each record is sent with the last agreed entry before it. What a delete, or the end of a shard group, has taken away wins
//! against nothing any more, whatever its clock.

mod hold;
mod losers;
mod state;
mod tombstones;

use std::collections::BTreeMap;

use hyperbytedb_domain::catalog::{DeleteScope, Table};
use hyperbytedb_domain::cluster::{Membership, NodeId};
use hyperbytedb_domain::points::PointsBatch;
use hyperbytedb_domain::scan::FieldId;
use hyperbytedb_domain::wal::Sequence;
use parking_lot::Mutex;

use self::hold::Held;
pub use self::hold::Watched;
pub use self::losers::without_losers;
use self::state::{Made, Noted, Peer, RowKey, State};
use self::tombstones::Tombstone;
use crate::memtable::ResolvedBatch;

/// Fields beyond it are not looked at: the last to come stays.
const FIELDS_MAX: u32 = u128::BITS;
/// As fields of a row: not one of them stays.
pub const WHOLE_ROW: u128 = u128::MAX;

/// When a record was made: the greater of two wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stamp {
    pub clock: u64,
    pub origin: NodeId,
}

/// How far other nodes were when rows were fetched from them: what they had made up to these clocks is part of it.
pub type Reach = Vec<(NodeId, u64)>;

pub type HoldId = u64;

/// What a record may lose against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rivals {
    /// Records with a greater one win.
    pub stamp: Stamp,
    /// Deletes behind this agreed entry win.
    pub agreed_index: u64,
    /// Of rows of a comparison: all that was written and deleted since it began wins, and nothing else. What was there before is
    /// part of the comparison.
    pub hold: Option<HoldId>,
}

/// While it lives, all that is written and deleted of some series is remembered.
pub struct Hold<'a> {
    conflicts: &'a Conflicts,
    pub id: HoldId,
    /// How many series.
    pub series: usize,
}

impl Hold<'_> {
    /// Whether there was room for everything.
    pub fn is_whole(&self) -> bool {
        self.conflicts.state.lock().holds.get(&self.id).is_some_and(|held| held.is_whole)
    }
}

impl Drop for Hold<'_> {
    fn drop(&mut self) {
        self.conflicts.state.lock().holds.remove(&self.id);
    }
}

/// What may still meet something from another node. Empty on a node of its own.
pub struct Conflicts {
    state: Mutex<State>,
    rows_max: usize,
}

impl Conflicts {
    pub fn new(rows_max: usize) -> Self {
        Self { state: Mutex::default(), rows_max }
    }

    /// The other nodes, with the clocks that are known of them.
    pub fn set_peers(&self, peers: impl Iterator<Item = (NodeId, u64)>) {
        let mut state = self.state.lock();
        let known = std::mem::take(&mut state.peers);
        let peer = |(node, clock): (NodeId, u64)| {
            let peer = known.get(&node).copied().unwrap_or_default();
            (node, Peer { clock: clock.max(peer.clock), ..peer })
        };
        state.peers = peers.map(peer).collect();
        state.forget();
    }

    /// The others of a membership. `received`: the clocks that are known of them.
    pub fn follow(&self, membership: &Membership, own: NodeId, received: &BTreeMap<NodeId, u64>) {
        let others = membership.nodes.keys().filter(|&&node| node != own);
        self.set_peers(others.map(|&node| (node, received.get(&node).copied().unwrap_or(0))));
    }

    /// Notes how far another node is.
    pub fn advance(&self, node: NodeId, clock: u64, agreed_index: u64) {
        let mut state = self.state.lock();
        let Some(peer) = state.peers.get_mut(&node) else { return };
        peer.clock = peer.clock.max(clock);
        peer.agreed_index = peer.agreed_index.max(agreed_index);
        state.forget();
    }

    /// The clock that a node has said it is past.
    pub fn clock_of(&self, node: NodeId) -> u64 {
        self.state.lock().peers.get(&node).map_or(0, |peer| peer.clock)
    }

    /// The clock that all other nodes are past; `None` when there are none.
    pub fn settled_clock(&self) -> Option<u64> {
        self.state.lock().peers.values().map(|peer| peer.clock).min()
    }

    /// Remembers what is written and deleted of some series from here on, until the hold is dropped. While it begins, nothing
    /// may be on its way from the log to the tables: it would not be in either.
    pub fn hold(&self, watched: Watched) -> Hold<'_> {
        let mut state = self.state.lock();
        state.next_hold += 1;
        let (id, series) = (state.next_hold, watched.series.len());
        state.holds.insert(id, Held::new(watched));
        Hold { conflicts: self, id, series }
    }

    /// What is remembered is in the log behind it, and has to stay there: a start reads it again.
    pub fn behind(&self) -> Option<Sequence> {
        let state = self.state.lock();
        let record = state.records.front().map(|record| record.behind);
        state.tombstones.behind().into_iter().chain(record).min()
    }

    /// Notes what a record wrote that is in the log, or will be, somewhere behind a place.
    pub fn note(&self, stamp: Stamp, batches: &[ResolvedBatch], behind: Sequence) {
        self.note_made(Made::At(stamp), batches, behind);
    }

    /// Notes what a comparison has brought: what was part of it when it was fetched, and comes only now, loses.
    pub fn note_compared(&self, reach: Reach, batches: &[ResolvedBatch], behind: Sequence) {
        self.note_made(Made::Before(reach), batches, behind);
    }

    fn note_made(&self, made: Made, batches: &[ResolvedBatch], behind: Sequence) {
        let mut state = self.state.lock();
        state.holds.values_mut().for_each(|held| held.note(batches));
        if made.is_settled(&state.peers) {
            return;
        }
        let count: usize = batches.iter().map(ResolvedBatch::rows).sum();
        if !state.has_room(count, self.rows_max) {
            let clock = made.greatest().map_or(0, |greatest| greatest.clock);
            state.unguarded_clock = state.unguarded_clock.max(clock);
            return;
        }
        let rows: Vec<(RowKey, u128)> = batches.iter().flat_map(rows_of).collect();
        state.remembered += rows.len();
        state.greatest = state.greatest.max(made.greatest());
        state.records.push_back(Noted { made, behind, rows });
        state.noted += 1;
    }

    /// Whether all is remembered that may still meet something from another node.
    pub fn is_whole(&self) -> bool {
        let state = self.state.lock();
        state.peers.values().all(|peer| peer.clock >= state.unguarded_clock)
    }

    /// What was written up to this clock is not remembered.
    pub fn forget_until(&self, clock: u64) {
        let mut state = self.state.lock();
        state.unguarded_clock = state.unguarded_clock.max(clock);
    }

    /// How many records were noted.
    pub fn noted(&self) -> u64 {
        self.state.lock().noted
    }

    /// Forgets those that were noted behind so many: they are not in the log.
    pub fn retract(&self, noted: u64) {
        let mut state = self.state.lock();
        // What they have of it may be more than there is.
        state.holds.values_mut().for_each(|held| held.is_whole = false);
        state.retract(noted);
    }

    /// Notes a delete that is in the log, or will be, somewhere behind a place.
    pub fn note_delete(&self, agreed_index: u64, scopes: &[DeleteScope], behind: Sequence) {
        let mut state = self.state.lock();
        for held in state.holds.values_mut() {
            scopes.iter().for_each(|scope| held.note_delete(scope));
        }
        let is_known_to_all = state.peers.values().all(|peer| peer.agreed_index >= agreed_index);
        if state.records.is_empty() && is_known_to_all || !state.has_room(scopes.len(), self.rows_max) {
            return;
        }
        let next_number = state.noted;
        for scope in scopes {
            state.tombstones.push(Tombstone::new(scope, agreed_index, behind, next_number));
        }
    }

    /// Whether a record has something that must be left out.
    pub fn has_losers(&self, rivals: Rivals, batches: &[ResolvedBatch]) -> bool {
        let mut state = self.state.lock();
        let is_whole = |hold: HoldId| state.holds.get(&hold).is_some_and(|held| held.is_whole);
        if rivals.hold.is_some_and(|hold| !is_whole(hold)) {
            return true;
        }
        state.prepare(rivals.stamp);
        batches.iter().any(|batch| state.meets(&batch.table, rivals).has_losers(batch))
    }

    /// The fields of each row that lose, by position.
    pub fn losing(&self, rivals: Rivals, table: &Table, batch: &PointsBatch) -> Vec<u128> {
        let mut state = self.state.lock();
        state.prepare(rivals.stamp);
        let met = state.meets(table, rivals);
        let rows = batch.series_of_row.iter().map(|series| &batch.series[*series as usize]).zip(&batch.times);
        rows.map(|(tags, time)| met.losing(tags.series_id(), tags, *time)).collect()
    }
}

/// Where a field is in a set of fields; none for one that is not looked at.
pub fn bit(field: FieldId) -> u128 {
    if field.0 < FIELDS_MAX { 1 << field.0 } else { 0 }
}

/// The rows of a batch, with the fields that it writes, by position.
fn rows_of(batch: &ResolvedBatch) -> impl Iterator<Item = (RowKey, u128)> {
    let rows = batch.times.iter().zip(&batch.series_of_row).enumerate();
    rows.filter_map(|(row, (&time, &series))| {
        let (series, _) = batch.series.get(series as usize)?;
        let columns = batch.fields.iter().filter(|(_, column)| column.is_present(row));
        let fields = columns.fold(0, |fields, (field, _)| fields | bit(*field));
        Some((RowKey { table: batch.table.id, series: *series, time }, fields))
    })
}
