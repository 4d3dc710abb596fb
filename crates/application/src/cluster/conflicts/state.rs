//! The rows that are remembered, and what loses against them.

use std::collections::{BTreeMap, VecDeque};

use hashbrown::HashMap;
use hashbrown::hash_map::Entry;
use hyperbytedb_domain::catalog::{Table, TableId};
use hyperbytedb_domain::cluster::NodeId;
use hyperbytedb_domain::wal::Sequence;
use hyperbytedb_domain::{SeriesId, Tags};
use hyperbytedb_metrics as metrics;

use super::hold::Held;
use super::tombstones::{Tombstone, Tombstones};
use super::{HoldId, Reach, Rivals, Stamp, WHOLE_ROW, bit};
use crate::memtable::ResolvedBatch;

/// A series at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RowKey {
    pub table: TableId,
    pub series: SeriesId,
    pub time: i64,
}

/// A record that wrote fields of a row.
#[derive(Debug, Clone, Copy)]
struct Writer {
    wins: Wins,
    /// Of its record among those that were noted.
    number: u64,
    /// By position of the field.
    fields: u128,
}

/// What a record wins against.
#[derive(Debug, Clone, Copy)]
enum Wins {
    /// Records with a smaller stamp.
    Earlier(Stamp),
    /// Records of one node up to a clock.
    UpTo(NodeId, u64),
}

impl Wins {
    fn against(self, stamp: Stamp) -> bool {
        match self {
            Self::Earlier(own) => own > stamp,
            Self::UpTo(origin, clock) => stamp.origin == origin && stamp.clock <= clock,
        }
    }
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
pub struct Peer {
    /// What comes from it has a greater clock.
    pub clock: u64,
    /// What comes from it has seen this agreed entry.
    pub agreed_index: u64,
}

/// When a record was made, as far as that is known.
pub enum Made {
    At(Stamp),
    /// It was fetched from nodes that were so far.
    Before(Reach),
}

impl Made {
    fn wins(&self) -> impl Iterator<Item = Wins> {
        let (stamp, reach) = match self {
            Self::At(stamp) => (Some(Wins::Earlier(*stamp)), [].as_slice()),
            Self::Before(reach) => (None, reach.as_slice()),
        };
        let up_to = reach.iter().map(|&(node, clock)| Wins::UpTo(node, clock));
        stamp.into_iter().chain(up_to)
    }

    /// Whatever is greater wins against it.
    pub fn greatest(&self) -> Option<Stamp> {
        match self {
            Self::At(stamp) => Some(*stamp),
            Self::Before(reach) => reach.iter().map(|&(origin, clock)| Stamp { clock, origin }).max(),
        }
    }

    /// Whether nothing that still comes from these nodes can lose against it.
    pub fn is_settled(&self, peers: &HashMap<NodeId, Peer>) -> bool {
        match self {
            Self::At(stamp) => peers.values().all(|peer| peer.clock >= stamp.clock),
            Self::Before(reach) => {
                reach.iter().all(|(node, clock)| peers.get(node).is_none_or(|peer| peer.clock >= *clock))
            }
        }
    }
}

/// A record with rows that are remembered.
pub struct Noted {
    pub made: Made,
    /// It is in the log behind it.
    pub behind: Sequence,
    /// With the fields it wrote, by position.
    pub rows: Vec<(RowKey, u128)>,
}

#[derive(Default)]
pub struct State {
    pub peers: HashMap<NodeId, Peer>,
    /// The rows of each record, in the order of this node's log.
    pub records: VecDeque<Noted>,
    /// Rows of all records.
    pub remembered: usize,
    /// How many records were noted, those that are forgotten counted.
    pub noted: u64,
    /// The greatest that was ever noted: what is greater loses against nothing.
    pub greatest: Option<Stamp>,
    /// The rows of the first so many of those noted. The others follow when something comes that they may win against.
    rows: HashMap<RowKey, Writers>,
    indexed: u64,
    pub tombstones: Tombstones,
    pub is_overflowing: bool,
    /// The greatest clock of a record that there was no room for.
    pub unguarded_clock: u64,
    pub holds: BTreeMap<HoldId, Held>,
    pub next_hold: HoldId,
}

/// What a record may lose against of one table.
pub struct Met<'a> {
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
    pub fn losing(&self, series: SeriesId, tags: &Tags, time: i64) -> u128 {
        match self.held {
            Some(held) => held.losing(self.table, series, tags, time),
            None => self.losing_to_greater(series, tags, time),
        }
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
        let greater = writers.filter(|writer| writer.wins.against(self.stamp));
        greater.filter(is_there).fold(0, |fields, writer| fields | writer.fields)
    }

    pub fn has_losers(&self, batch: &ResolvedBatch) -> bool {
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
    pub fn has_room(&mut self, count: usize, limit: usize) -> bool {
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
        !self.records.is_empty() && self.greatest >= Some(stamp)
    }

    /// Has all that a record can meet in `rows`.
    pub fn prepare(&mut self, stamp: Stamp) {
        if self.meets_greater(stamp) {
            self.index();
        }
    }

    pub fn meets<'a>(&'a self, table: &'a Table, rivals: Rivals) -> Met<'a> {
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
                for wins in record.made.wins() {
                    let writer = Writer { wins, number, fields };
                    match rows.entry(key) {
                        Entry::Vacant(entry) => {
                            entry.insert(Writers { first: writer, others: Vec::new() });
                        }
                        Entry::Occupied(mut entry) => entry.get_mut().others.push(writer),
                    }
                }
            }
        }
        *indexed = *noted;
    }

    /// Forgets those that were noted behind so many.
    pub fn retract(&mut self, noted: u64) {
        while self.noted > noted {
            let Some(Noted { rows, .. }) = self.records.pop_back() else { return };
            self.noted -= 1;
            let number = self.noted;
            self.remembered -= rows.len();
            if number < self.indexed {
                self.indexed = number;
                rows.iter().for_each(|(key, _)| self.remove_writers(key, number));
            }
        }
    }

    /// Forgets what every other node is past.
    pub fn forget(&mut self) {
        while self.records.front().is_some_and(|record| record.made.is_settled(&self.peers)) {
            let number = self.noted - self.records.len() as u64;
            let Some(Noted { rows, .. }) = self.records.pop_front() else { return };
            self.remembered -= rows.len();
            if self.indexed > number {
                rows.iter().for_each(|(key, _)| self.remove_writers(key, number));
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

    /// Takes a record from those that wrote a row.
    fn remove_writers(&mut self, key: &RowKey, number: u64) {
        let Entry::Occupied(mut entry) = self.rows.entry(*key) else { return };
        let mut left: Vec<Writer> =
            entry.get().iter().filter(|writer| writer.number != number).copied().collect();
        match left.pop() {
            None => drop(entry.remove()),
            Some(first) => *entry.get_mut() = Writers { first, others: left },
        }
    }
}
