//! What each node must answer.
//!
//! Each disk's log has a witness: what it has taken, and before which agreed entry each record began. From that follows what a
//! node answers: of a field's values that with the greatest (clock, origin), without what was deleted by an entry that the
//! node has carried out and that is later than the last one before the record in the log of its origin.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use hyperbytedb_application::cluster::conflicts::Stamp;
use hyperbytedb_domain::catalog::{Catalog, Command, TableId};
use hyperbytedb_domain::cluster::{AgreedChange, NodeId};
use hyperbytedb_domain::wal::{WalEntry, WalRecord, WriteEntry};
use hyperbytedb_memory_ports::{WalDisk, Witness};
use parking_lot::Mutex;

use super::agreement::Agreed;
use crate::history::{Condition, Point};
use crate::model::{Place, Points};
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

    fn covers(&self, table: TableId, point: &Point) -> bool {
        self.tables.contains(&table)
            && self.condition.is_none_or(|condition| condition.holds(&point.tags))
            && self.time.is_none_or(|(from, to)| (from..=to).contains(&point.time))
    }
}

/// A write, as the node that took it has it in its log.
struct Written {
    /// The last agreed entry before it.
    agreed_index: u64,
    tables: HashMap<String, TableId>,
    shards: Vec<u64>,
    points: Vec<Point>,
}

/// All writes that were ever logged.
#[derive(Default)]
pub struct Writes {
    logged: BTreeMap<Stamp, Written>,
    /// What clients have sent, by body.
    sent: HashMap<String, (Vec<Point>, Option<Stamp>)>,
}

impl Writes {
    pub fn send(&mut self, body: String, points: Vec<Point>) {
        self.sent.insert(body, (points, None));
    }

    /// The record that a body became.
    pub fn stamp(&self, body: &str) -> Option<Stamp> {
        self.sent.get(body).and_then(|(_, stamp)| *stamp)
    }

    pub fn stamps(&self) -> impl Iterator<Item = &Stamp> {
        self.logged.keys()
    }

    pub fn describe(&self, stamp: &Stamp) -> String {
        let points = self.logged.get(stamp).map(|written| &written.points);
        let lines: Vec<String> = points.into_iter().flatten().map(Point::line).collect();
        format!("{} (of node {}, clock {})", lines.join("; "), stamp.origin, stamp.clock)
    }

    /// Notes a record in the log of its origin.
    fn log(&mut self, stamp: Stamp, agreed_index: u64, write: &WriteEntry) -> Result<(), String> {
        let body = String::from_utf8_lossy(&write.body);
        let (points, known) =
            self.sent.get_mut(&*body).ok_or_else(|| format!("nobody has sent what is logged: {body}"))?;
        if let Some(known) = known.replace(stamp) {
            return Err(format!("logged twice, {known:?} and {stamp:?}: {body}"));
        }
        let tables = write.tables.iter().map(|table| (table.measurement.to_string(), table.table)).collect();
        let (points, shards) = (points.clone(), write.shards.clone());
        self.logged.insert(stamp, Written { agreed_index, tables, shards, points });
        Ok(())
    }
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
                return Ok(());
            }
            WalEntry::Command(command) => return Err(format!("logged without an agreement: {command:?}")),
        };
        let stamp = Stamp { clock: record.clock, origin: record.origin };
        if stamp.origin == self.node {
            writes.lock().log(stamp, self.agreed_index, write)?;
        }
        // Taken by comparing: of no time.
        if stamp.clock == 0 {
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

/// The points of a node that has taken this, and has this catalogue.
pub fn expected(
    writes: &Writes,
    taken: &Taken,
    agreed: &[Agreed],
    catalog: &Catalog,
) -> BTreeMap<Place, Points> {
    let mut places: BTreeMap<Place, Points> = BTreeMap::new();
    // In the order of their stamps: the greatest comes last.
    for stamp in taken.records.union(&taken.compared) {
        let Some(written) = writes.logged.get(stamp) else { continue };
        for point in &written.points {
            let Some(table) = written.tables.get(point.measurement).and_then(|id| catalog.table_by_id(*id))
            else {
                continue;
            };
            let groups = catalog.policy_of(table).map(|policy| policy.shard_groups.values());
            let mut groups = groups.into_iter().flatten();
            if !groups.any(|group| group.contains(point.time) && written.shards.contains(&group.id)) {
                continue;
            }
            let later = &agreed[(written.agreed_index as usize).min(agreed.len())..];
            if later
                .iter()
                .filter_map(|agreed| agreed.deletes.as_ref())
                .any(|scope| scope.covers(table.id, point))
            {
                continue;
            }
            let place = (
                table.database.to_string(),
                table.retention_policy.to_string(),
                table.measurement.to_string(),
            );
            let fields =
                places.entry(place).or_default().entry((point.tags.clone(), point.time)).or_default();
            for (name, value) in &point.fields {
                fields.insert((*name).to_owned(), value.clone());
            }
        }
    }
    places
}
