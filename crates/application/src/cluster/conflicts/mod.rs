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
mod tombstones;

use std::collections::{BTreeMap, VecDeque};

use hashbrown::HashMap;
use hyperbytedb_domain::catalog::{DeleteScope, Table, TableId};
use hyperbytedb_domain::cluster::{Membership, NodeId};
use hyperbytedb_domain::points::PointsBatch;
use hyperbytedb_domain::scan::FieldId;
use hyperbytedb_domain::wal::Sequence;
use hyperbytedb_domain::{SeriesId, Tags};
use hyperbytedb_metrics as metrics;
use parking_lot::Mutex;

use self::hold::Held;
pub use self::hold::Watched;
pub use self::losers::without_losers;
use self::tombstones::{Tombstone, Tombstones};
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

/// A series at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct RowKey {
    table: TableId,
    series: SeriesId,
    time: i64,
}

/// A record that wrote fields of a row.
#[derive(Debug, Clone, Copy)]
struct Writer {
    stamp: Stamp,
    /// Of its record among those that were noted.
    number: u64,
    /// By position of the field.
    fields: u128,
}

/// Nearly always one.
#[derive(Debug)]
struct Writers {
    first: Writer,
    others: Vec<Writer>,
}

impl Writers {
    fn iter(&self) -> impl Iterator<Item = &Writer> {
        std::iter::once(&self.first).chain(&self.others)
    }
}

/// How far another node is, as it has said.
#[derive(Debug, Clone, Copy, Default)]
struct Peer {
    /// What comes from it has a greater clock.
    clock: u64,
    /// What comes from it has seen this agreed entry.
    agreed_index: u64,
}

/// A record with rows that are remembered.
struct Noted {
    stamp: Stamp,
    /// It is in the log behind it.
    behind: Sequence,
    /// With the fields it wrote, by position.
    rows: Vec<(RowKey, u128)>,
}

#[derive(Default)]
struct State {
    peers: HashMap<NodeId, Peer>,
    /// The rows of each record, in the order of this node's log.
    records: VecDeque<Noted>,
    /// Rows of all records.
    remembered: usize,
    /// How many records were noted, those that are forgotten counted.
    noted: u64,
    /// The greatest that was ever noted: what is greater loses against nothing.
    greatest: Option<Stamp>,
    /// The rows of the first so many of those noted. The others follow when something comes that they may win against.
    rows: HashMap<RowKey, Writers>,
    indexed: u64,
    tombstones: Tombstones,
    is_overflowing: bool,
    /// The greatest clock of a record that there was no room for.
    unguarded_clock: u64,
    holds: BTreeMap<HoldId, Held>,
    next_hold: HoldId,
}

pub type HoldId = u64;

/// What a record may lose against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rivals {
    /// Records with a greater one win.
    pub stamp: Stamp,
    /// Deletes behind this agreed entry win.
    pub agreed_index: u64,
    /// All that was written and deleted since it began wins.
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
        let mut state = self.state.lock();
        state.holds.values_mut().for_each(|held| held.note(batches));
        if state.peers.values().all(|peer| peer.clock >= stamp.clock) {
            return;
        }
        let count: usize = batches.iter().map(ResolvedBatch::rows).sum();
        if !state.has_room(count, self.rows_max) {
            state.unguarded_clock = state.unguarded_clock.max(stamp.clock);
            return;
        }
        let rows: Vec<(RowKey, u128)> = batches.iter().flat_map(rows_of).collect();
        state.remembered += rows.len();
        state.greatest = state.greatest.max(Some(stamp));
        state.records.push_back(Noted { stamp, behind, rows });
        state.noted += 1;
    }

    /// Whether all is remembered that may still meet something from another node.
    pub fn is_whole(&self) -> bool {
        let state = self.state.lock();
        state.peers.values().all(|peer| peer.clock >= state.unguarded_clock)
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
        while state.noted > noted {
            let Some(Noted { rows, .. }) = state.records.pop_back() else { return };
            state.noted -= 1;
            let number = state.noted;
            state.remembered -= rows.len();
            if number < state.indexed {
                state.indexed = number;
                rows.iter().for_each(|(key, _)| state.remove_writers(key, |writer| writer.number == number));
            }
        }
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

/// Where a field is in a set of fields; none for one that is not looked at.
pub fn bit(field: FieldId) -> u128 {
    if field.0 < FIELDS_MAX { 1 << field.0 } else { 0 }
}

/// What a record may lose against of one table.
struct Met<'a> {
    state: &'a State,
    table: &'a Table,
    stamp: Stamp,
    /// Some remembered record is greater.
    meets_greater: bool,
    /// Those that the record has not seen.
    deletes: Vec<&'a Tombstone>,
    held: Option<&'a Held>,
}

impl Met<'_> {
    fn losing(&self, series: SeriesId, tags: &Tags, time: i64) -> u128 {
        let held = self.held.map_or(0, |held| held.losing(self.table, series, tags, time));
        held | self.losing_to_greater(series, tags, time)
    }

    fn losing_to_greater(&self, series: SeriesId, tags: &Tags, time: i64) -> u128 {
        if self.deletes.iter().any(|tombstone| tombstone.covers(self.table, tags, time)) {
            return WHOLE_ROW;
        }
        if !self.meets_greater {
            return 0;
        }
        let table = self.table;
        let writers = self.state.rows.get(&RowKey { table: table.id, series, time });
        let is_there = |writer: &&Writer| {
            let is_gone = |tombstone: &Tombstone| {
                tombstone.next_number > writer.number && tombstone.covers(table, tags, time)
            };
            !self.state.tombstones.of(table.id).iter().any(is_gone)
        };
        let writers = writers.iter().flat_map(|writers| writers.iter());
        let greater = writers.filter(|writer| writer.stamp > self.stamp);
        greater.filter(is_there).fold(0, |fields, writer| fields | writer.fields)
    }

    fn has_losers(&self, batch: &ResolvedBatch) -> bool {
        let loses = |row: usize| {
            let (series, tags) = batch.series.get(batch.series_of_row[row] as usize)?;
            let losing = self.losing(*series, tags, batch.times[row]);
            let mut fields = batch.fields.iter().filter(|(_, column)| column.is_present(row));
            Some(losing == WHOLE_ROW || fields.any(|(field, _)| losing & bit(*field) != 0))
        };
        let may_lose = self.meets_greater || !self.deletes.is_empty() || self.held.is_some();
        may_lose && (0..batch.rows()).any(|row| loses(row) == Some(true))
    }
}

impl State {
    /// Whether so much more can be remembered; else it is counted as unguarded.
    fn has_room(&mut self, count: usize, limit: usize) -> bool {
        let has_room = self.remembered + self.tombstones.len() + count <= limit;
        if !has_room {
            metrics::CLUSTER_ROWS_UNGUARDED.increment(count as u64);
            if !self.is_overflowing {
                tracing::warn!(
                    limit,
                    "too many points wait for another node: of conflicting values the last to come stays (cluster.conflict_rows)"
                );
            }
        }
        self.is_overflowing = !has_room;
        has_room
    }

    fn meets_greater(&self, stamp: Stamp) -> bool {
        !self.records.is_empty() && self.greatest > Some(stamp)
    }

    /// Has all that a record can meet in `rows`.
    fn prepare(&mut self, stamp: Stamp) {
        if self.meets_greater(stamp) {
            self.index();
        }
    }

    fn meets<'a>(&'a self, table: &'a Table, rivals: Rivals) -> Met<'a> {
        let Rivals { stamp, agreed_index, hold } = rivals;
        let deletes = self.tombstones.of(table.id).iter();
        let deletes = deletes.filter(|tombstone| tombstone.agreed_index > agreed_index).collect();
        let held = hold.and_then(|hold| self.holds.get(&hold));
        Met { state: self, table, stamp, meets_greater: self.meets_greater(stamp), deletes, held }
    }

    fn index(&mut self) {
        let Self { records, rows, indexed, noted, .. } = self;
        let first = *noted - records.len() as u64;
        let begin = (*indexed).max(first);
        for (record, number) in records.range((begin - first) as usize..).zip(begin..) {
            for &(key, fields) in &record.rows {
                let writer = Writer { stamp: record.stamp, number, fields };
                match rows.entry(key) {
                    hashbrown::hash_map::Entry::Vacant(entry) => {
                        entry.insert(Writers { first: writer, others: Vec::new() });
                    }
                    hashbrown::hash_map::Entry::Occupied(mut entry) => entry.get_mut().others.push(writer),
                }
            }
        }
        *indexed = *noted;
    }

    /// Forgets what every other node is past.
    fn forget(&mut self) {
        let clock = self.peers.values().map(|peer| peer.clock).min().unwrap_or(u64::MAX);
        while self.records.front().is_some_and(|record| record.stamp.clock <= clock) {
            let is_indexed = self.indexed > self.noted - self.records.len() as u64;
            let Some(Noted { rows, .. }) = self.records.pop_front() else { return };
            self.remembered -= rows.len();
            if is_indexed {
                rows.iter()
                    .for_each(|(key, _)| self.remove_writers(key, |writer| writer.stamp.clock <= clock));
            }
        }
        if self.rows.is_empty() && self.rows.capacity() > 1 << 16 {
            self.rows = HashMap::new();
        }
        let agreed_index = self.peers.values().map(|peer| peer.agreed_index).min().unwrap_or(u64::MAX);
        let oldest = self.noted - self.records.len() as u64;
        if !self.tombstones.is_empty() {
            self.tombstones
                .retain(|tombstone| tombstone.agreed_index > agreed_index || tombstone.next_number > oldest);
        }
    }

    fn remove_writers(&mut self, key: &RowKey, is_removed: impl Fn(&Writer) -> bool) {
        let hashbrown::hash_map::Entry::Occupied(mut entry) = self.rows.entry(*key) else { return };
        let mut left: Vec<Writer> =
            entry.get().iter().filter(|writer| !is_removed(writer)).copied().collect();
        match left.pop() {
            None => drop(entry.remove()),
            Some(first) => *entry.get_mut() = Writers { first, others: left },
        }
    }
}
