//! What each node must answer.
//!
//! Each disk's log has a witness: what it has taken, and before which agreed entry each record began. From that follows what a
//! node answers: of a field's values that with the greatest (clock, origin), without what was deleted by an entry that the
//! node has carried out and that is later than the last one before the record in the log of its origin.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use hyperbytedb_application::cluster::conflicts::Stamp;
use hyperbytedb_domain::Tags;
use hyperbytedb_domain::catalog::{Command, TableId};
use hyperbytedb_domain::cluster::{AgreedChange, NodeId};
use hyperbytedb_domain::wal::{WalEntry, WalRecord, WriteEntry};
use hyperbytedb_memory_ports::{WalDisk, Witness};
use parking_lot::Mutex;

use super::content::{Content, Logged, Row, Seen};
use crate::history::Condition;
use crate::model::{Place, Points};
use crate::observe::is_aside;
use crate::scheduler::Scheduler;

/// What a statement deletes.
#[derive(Debug, Clone, Default)]
pub struct Scope {
    pub condition: Option<Condition>,
    pub time: Option<(i64, i64)>,
    tables: BTreeSet<TableId>,
}

impl Scope {
    pub fn new(condition: Option<Condition>, time: Option<(i64, i64)>) -> Self {
        Self { condition, time, tables: BTreeSet::new() }
    }

    /// With the tables that its command names; `None` when it is no delete.
    pub fn of(self, change: &AgreedChange) -> Option<Self> {
        let AgreedChange::Command(Command::DeletePoints { scopes }) = change else { return None };
        Some(Self { tables: scopes.iter().map(|scope| scope.table).collect(), ..self })
    }

    pub fn covers(&self, table: TableId, tags: &Tags, time: i64) -> bool {
        self.tables.contains(&table)
            && self.condition.is_none_or(|condition| condition.holds(tags))
            && self.time.is_none_or(|(from, to)| (from..=to).contains(&time))
    }
}

/// A write, as the node that took it has it in its log.
struct Written {
    /// The last agreed entry before it.
    agreed_index: u64,
    content: Arc<Content>,
}

impl Written {
    /// Each row that is not deleted, with its place.
    fn rows<'a>(&'a self, seen: &'a Seen<'a>) -> impl Iterator<Item = (Place, &'a Row)> {
        let later = &seen.agreed[(self.agreed_index as usize).min(seen.agreed.len())..];
        self.content.rows.iter().filter_map(move |row| {
            let (table, place) = self.content.place_of(row, seen)?;
            let mut scopes = later.iter().filter_map(|agreed| agreed.deletes.as_ref());
            (!scopes.any(|scope| scope.covers(table, &row.tags, row.time))).then_some((place, row))
        })
    }
}

/// All writes that were ever logged.
#[derive(Default)]
pub struct Writes {
    logged: BTreeMap<Stamp, Written>,
    /// What clients have sent, by its first line, and the records it became.
    sent: HashMap<String, Option<Stamp>>,
}

impl Writes {
    pub fn send(&mut self, body: &str) {
        self.sent.insert(first_line(body), None);
    }

    /// The record that a body became.
    pub fn stamp(&self, body: &str) -> Option<Stamp> {
        self.sent.get(&first_line(body)).copied().flatten()
    }

    pub fn stamps(&self) -> impl Iterator<Item = &Stamp> {
        self.logged.keys()
    }

    pub fn describe(&self, stamp: &Stamp) -> String {
        let rows = self.logged.get(stamp).map(|written| &written.content.rows);
        let lines: Vec<String> = rows.into_iter().flatten().map(Row::to_string).collect();
        format!("{} (of node {}, clock {})", lines.join("; "), stamp.origin, stamp.clock)
    }

    /// The rows that are not deleted, the latest last.
    pub fn rows<'a>(&'a self, seen: &'a Seen<'a>) -> impl Iterator<Item = (&'a Stamp, Place, &'a Row)> {
        let written = self.logged.iter();
        written
            .flat_map(move |(stamp, written)| written.rows(seen).map(move |(place, row)| (stamp, place, row)))
    }

    /// Notes a record in the log of its origin.
    fn log(
        &mut self,
        stamp: Stamp,
        agreed_index: u64,
        write: &WriteEntry,
        content: &Arc<Content>,
    ) -> Result<(), String> {
        let body = String::from_utf8_lossy(&write.body);
        // What is left of a body of which some lines were refused has no such line, and nobody waits for it.
        if body.starts_with('#') {
            let known = self.sent.get_mut(&first_line(&body));
            let known = known.ok_or_else(|| format!("nobody has sent what is logged: {body}"))?;
            if let Some(known) = known.replace(stamp) {
                return Err(format!("logged twice, {known:?} and {stamp:?}: {body}"));
            }
        }
        self.logged.insert(stamp, Written { agreed_index, content: content.clone() });
        Ok(())
    }
}

/// A comment, which tells bodies apart.
fn first_line(body: &str) -> String {
    body.lines().next().unwrap_or_default().to_owned()
}

/// What a node's log has taken.
#[derive(Debug, Clone, Default)]
pub struct Taken {
    pub node: NodeId,
    /// The last agreed entry.
    pub agreed_index: u64,
    pub records: BTreeSet<Stamp>,
    /// What it has the points of by comparing; their records may still come.
    pub compared: BTreeSet<Stamp>,
    /// Everything, in its order.
    pub log: Vec<Logged>,
    /// Whether it has taken rows by comparing.
    pub has_compared: bool,
}

impl Taken {
    pub fn has(&self, stamp: &Stamp) -> bool {
        self.records.contains(stamp) || self.compared.contains(stamp)
    }

    fn take(&mut self, record: &WalRecord, writes: &Mutex<Writes>) -> Result<(), String> {
        let write = match &record.entry {
            WalEntry::Write(write) => write,
            WalEntry::Agreed(entry) => {
                let index = entry.position.index;
                if index != self.agreed_index + 1 {
                    return Err(format!("agreed entry {index} comes behind {}", self.agreed_index));
                }
                self.agreed_index = index;
                self.log.push(Logged::Agreed(index));
                return Ok(());
            }
            WalEntry::Command(command) => return Err(format!("logged without an agreement: {command:?}")),
        };
        let stamp = Stamp { clock: record.clock, origin: record.origin };
        // What is computed is compared with what it is computed from.
        if !is_aside(&write.database) {
            let content = Arc::new(Content::of(write)?);
            self.log.push(Logged::Write(content.clone()));
            if stamp.origin == self.node {
                writes.lock().log(stamp, self.agreed_index, write, &content)?;
            }
        }
        // Taken by comparing: of no time.
        if stamp.clock == 0 {
            self.has_compared = true;
            return Ok(());
        }
        if !self.records.insert(stamp) {
            return Err(format!("{stamp:?} is logged twice"));
        }
        Ok(())
    }
}

/// Has a disk's log noted. Whatever must not be there is reported.
pub fn watch(
    disk: &WalDisk,
    taken: &Arc<Mutex<Taken>>,
    writes: &Arc<Mutex<Writes>>,
    scheduler: &Arc<Scheduler>,
) {
    let (taken, writes, scheduler) = (taken.clone(), writes.clone(), Arc::downgrade(scheduler));
    let witness: Witness = Box::new(move |record| {
        let mut taken = taken.lock();
        if let Err(error) = taken.take(record, &writes)
            && let Some(scheduler) = scheduler.upgrade()
        {
            scheduler.report(format!("node {}: {error}", taken.node));
        }
    });
    disk.set_witness(witness);
}

/// The points of a node that has taken this.
pub fn expected(writes: &Writes, taken: &Taken, seen: &Seen<'_>) -> BTreeMap<Place, Points> {
    let mut places: BTreeMap<Place, Points> = BTreeMap::new();
    // In the order of their stamps: the greatest comes last.
    for (_, place, row) in writes.rows(seen).filter(|(stamp, ..)| taken.has(stamp)) {
        let points = places.entry(place).or_default();
        let fields = points.entry((row.tags.clone(), row.time)).or_default();
        fields.extend(row.fields.iter().map(|(name, value)| (name.clone(), value.clone())));
    }
    places
}
