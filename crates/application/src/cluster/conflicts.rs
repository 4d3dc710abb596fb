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

use std::collections::{BTreeMap, VecDeque};

use hashbrown::HashMap;
use hyperbytedb_domain::catalog::{DeleteScope, Table, TableId};
use hyperbytedb_domain::cluster::{Membership, NodeId};
use hyperbytedb_domain::points::FieldColumn;
use hyperbytedb_domain::scan::{CompareOp, FieldId, Operand, Predicate};
use hyperbytedb_domain::wal::Sequence;
use hyperbytedb_domain::{FieldValue, SeriesId, Tags};
use hyperbytedb_metrics as metrics;
use parking_lot::Mutex;
use regex::Regex;

use crate::memtable::ResolvedBatch;

/// Fields beyond it are not looked at: the last to come stays.
const FIELDS_MAX: u32 = u128::BITS;

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

/// A delete that records may still be on their way from before it, or that took rows that are remembered.
struct Tombstone {
    agreed_index: u64,
    /// It is in the log behind it.
    behind: Sequence,
    /// The record that was noted next.
    next_number: u64,
    table: TableId,
    scope: DeleteScope,
    regexes: HashMap<String, Regex>,
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
    tombstones: Vec<Tombstone>,
    is_overflowing: bool,
    /// Those who want nothing forgotten.
    holds: usize,
    /// Rows that were not remembered for lack of room.
    unguarded: u64,
}

/// While it lives, all that is written and deleted is remembered.
pub struct Hold<'a> {
    conflicts: &'a Conflicts,
    unguarded: u64,
}

impl Hold<'_> {
    /// Whether there was room for everything.
    pub fn is_whole(&self) -> bool {
        self.conflicts.state.lock().unguarded == self.unguarded
    }
}

impl Drop for Hold<'_> {
    fn drop(&mut self) {
        let mut state = self.conflicts.state.lock();
        state.holds -= 1;
        state.forget();
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

    /// Remembers everything from here on, until the hold is dropped.
    pub fn hold(&self) -> Hold<'_> {
        let mut state = self.state.lock();
        state.holds += 1;
        Hold { conflicts: self, unguarded: state.unguarded }
    }

    /// What is remembered is in the log behind it, and has to stay there: a start reads it again.
    pub fn behind(&self) -> Option<Sequence> {
        let state = self.state.lock();
        let record = state.records.front().map(|record| record.behind);
        state.tombstones.iter().map(|tombstone| tombstone.behind).chain(record).min()
    }

    /// Notes what a record wrote that is in the log, or will be, somewhere behind a place.
    pub fn note(&self, stamp: Stamp, batches: &[ResolvedBatch], behind: Sequence) {
        let mut state = self.state.lock();
        if state.holds == 0 && state.peers.values().all(|peer| peer.clock >= stamp.clock) {
            return;
        }
        let count: usize = batches.iter().map(ResolvedBatch::rows).sum();
        if state.remembered + count > self.rows_max {
            state.unguarded += count as u64;
            metrics::CLUSTER_ROWS_UNGUARDED.increment(count as u64);
            if !std::mem::replace(&mut state.is_overflowing, true) {
                tracing::warn!(
                    limit = self.rows_max,
                    "too many points wait for another node: of conflicting values the last to come stays (cluster.conflict_rows)"
                );
            }
            return;
        }
        state.is_overflowing = false;
        let mut rows = Vec::with_capacity(count);
        for batch in batches {
            for (row, (&time, &series)) in batch.times.iter().zip(&batch.series_of_row).enumerate() {
                let Some((series, _)) = batch.series.get(series as usize) else { continue };
                let columns = batch.fields.iter().filter(|(_, column)| column.is_present(row));
                let fields = columns.fold(0, |fields, (field, _)| fields | bit(*field));
                rows.push((RowKey { table: batch.table.id, series: *series, time }, fields));
            }
        }
        state.remembered += rows.len();
        state.greatest = state.greatest.max(Some(stamp));
        state.records.push_back(Noted { stamp, behind, rows });
        state.noted += 1;
    }

    /// How many records were noted.
    pub fn noted(&self) -> u64 {
        self.state.lock().noted
    }

    /// Forgets those that were noted behind so many: they are not in the log.
    pub fn retract(&self, noted: u64) {
        let mut state = self.state.lock();
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
        let is_known_to_all = state.peers.values().all(|peer| peer.agreed_index >= agreed_index);
        if state.holds == 0 && state.records.is_empty() && is_known_to_all {
            return;
        }
        let next_number = state.noted;
        for scope in scopes {
            let mut regexes = HashMap::new();
            if let Some(filter) = &scope.filter {
                compile(filter, &mut regexes);
            }
            state.tombstones.push(Tombstone {
                agreed_index,
                behind,
                next_number,
                table: scope.table,
                scope: scope.clone(),
                regexes,
            });
        }
    }

    /// Whether a record has something that must be left out.
    pub fn has_losers(&self, stamp: Stamp, agreed_index: u64, batches: &[ResolvedBatch]) -> bool {
        let mut state = self.state.lock();
        if !state.may_lose(stamp) {
            return false;
        }
        batches.iter().any(|batch| {
            (0..batch.rows()).any(|row| {
                let Some((series, tags)) = batch.series.get(batch.series_of_row[row] as usize) else {
                    return false;
                };
                let losing = state.losing(&batch.table, *series, tags, batch.times[row], stamp, agreed_index);
                let present = |(field, column): &(FieldId, FieldColumn)| {
                    losing & bit(*field) != 0 && column.is_present(row)
                };
                losing == u128::MAX || batch.fields.iter().any(present)
            })
        })
    }

    /// The fields of a row that lose, by position; all bits: the whole row.
    pub fn losing(&self, table: &Table, tags: &Tags, time: i64, stamp: Stamp, agreed_index: u64) -> u128 {
        let mut state = self.state.lock();
        state.may_lose(stamp);
        state.losing(table, tags.series_id(), tags, time, stamp, agreed_index)
    }
}

/// Where a field is in a set of fields; none for one that is not looked at.
pub fn bit(field: FieldId) -> u128 {
    if field.0 < FIELDS_MAX { 1 << field.0 } else { 0 }
}

impl State {
    /// Whether a record can have something that loses. If so, all that it can meet is in `rows`.
    fn may_lose(&mut self, stamp: Stamp) -> bool {
        let meets_greater = !self.records.is_empty() && self.greatest > Some(stamp);
        if meets_greater {
            self.index();
        }
        meets_greater || !self.tombstones.is_empty()
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

    fn losing(
        &self,
        table: &Table,
        series: SeriesId,
        tags: &Tags,
        time: i64,
        stamp: Stamp,
        agreed_index: u64,
    ) -> u128 {
        let is_deleted = |tombstone: &Tombstone| {
            tombstone.agreed_index > agreed_index && tombstone.covers(table, tags, time)
        };
        if self.tombstones.iter().any(is_deleted) {
            return u128::MAX;
        }
        let writers = self.rows.get(&RowKey { table: table.id, series, time });
        let is_there = |writer: &&Writer| {
            let is_gone = |tombstone: &Tombstone| {
                tombstone.next_number > writer.number && tombstone.covers(table, tags, time)
            };
            !self.tombstones.iter().any(is_gone)
        };
        let greater = writers.iter().flat_map(|writers| writers.iter()).filter(|writer| writer.stamp > stamp);
        greater.filter(is_there).fold(0, |fields, writer| fields | writer.fields)
    }

    /// Forgets what every other node is past.
    fn forget(&mut self) {
        if self.holds > 0 {
            return;
        }
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
        self.tombstones
            .retain(|tombstone| tombstone.agreed_index > agreed_index || tombstone.next_number > oldest);
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

impl Tombstone {
    fn covers(&self, table: &Table, tags: &Tags, time: i64) -> bool {
        self.table == table.id
            && self.scope.time.min <= time
            && time <= self.scope.time.max
            && self.scope.filter.as_ref().is_none_or(|filter| self.matches(filter, table, tags))
    }

    fn matches(&self, filter: &Predicate, table: &Table, tags: &Tags) -> bool {
        let text = |operand: &Operand| match operand {
            Operand::Tag(tag) => {
                let key = table.tags.get(tag.0 as usize);
                let value = key.and_then(|key| tags.iter().find(|(name, _)| name == key));
                Some(value.map_or_else(String::new, |(_, value)| value.to_owned()))
            }
            Operand::Literal(FieldValue::String(text)) => Some(text.to_string()),
            Operand::Literal(_) | Operand::Field(_) => None,
        };
        match filter {
            Predicate::Constant(value) => *value,
            Predicate::And(terms) => terms.iter().all(|term| self.matches(term, table, tags)),
            Predicate::Or(terms) => terms.iter().any(|term| self.matches(term, table, tags)),
            Predicate::Compare { left, op, right } => {
                let (Some(left), Some(right)) = (text(left), text(right)) else { return false };
                match op {
                    CompareOp::Eq => left == right,
                    CompareOp::Ne => left != right,
                    CompareOp::Lt => left < right,
                    CompareOp::Le => left <= right,
                    CompareOp::Gt => left > right,
                    CompareOp::Ge => left >= right,
                }
            }
            Predicate::Regex { operand, pattern, negated } => {
                let regex = self.regexes.get(pattern);
                let found = text(operand).zip(regex).map(|(text, regex)| regex.is_match(&text));
                found.is_some_and(|found| found != *negated)
            }
        }
    }
}

fn compile(filter: &Predicate, regexes: &mut HashMap<String, Regex>) {
    match filter {
        Predicate::And(terms) | Predicate::Or(terms) => terms.iter().for_each(|term| compile(term, regexes)),
        Predicate::Regex { pattern, .. } => {
            // It was checked when the statement was.
            if let Ok(regex) = Regex::new(pattern) {
                regexes.insert(pattern.clone(), regex);
            }
        }
        Predicate::Constant(_) | Predicate::Compare { .. } => {}
    }
}
