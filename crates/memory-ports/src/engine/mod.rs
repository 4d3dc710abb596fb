//! The engine: tables of partitions of parts. An insert adds a part to each partition it touches; merges and deletes put
//! a new part in the place of old ones.

mod query;
mod sink;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hyperbytedb_domain::catalog::TableId;
use hyperbytedb_domain::{FieldValue, SeriesId};
use parking_lot::Mutex;

use crate::control::Controller;
use crate::evaluate::StoredRow;
use crate::random::Random;

/// Tables that outlive the process.
#[derive(Debug, Default)]
pub struct EngineDisk(Mutex<Store>);

#[derive(Debug, Default)]
struct Store {
    tables: Tables,
    /// What was there at the last sync, and what was done since.
    synced: Tables,
    unsynced: Vec<Change>,
    next_part: u64,
}

type Tables = BTreeMap<TableId, StoredTable>;

#[derive(Debug, Clone, Default)]
struct StoredTable {
    /// Columns, so far.
    tags: usize,
    fields: usize,
    /// In the order of the inserts.
    parts: Vec<Arc<Part>>,
}

/// Rows of one partition that became visible together.
#[derive(Debug)]
struct Part {
    number: u64,
    shard: u64,
    rows: Vec<StoredRow>,
    /// Numbers of the parts in whose place it is, also of those in whose place they were.
    covers: BTreeSet<u64>,
}

/// A change of the files, which a power failure keeps or loses on its own.
#[derive(Debug, Clone)]
enum Change {
    EnsureTable {
        table: TableId,
        tags: usize,
        fields: usize,
    },
    DropTable(TableId),
    /// Parts go, and another one may come in their place.
    Replace {
        table: TableId,
        gone: BTreeSet<u64>,
        part: Option<Arc<Part>>,
    },
}

impl Store {
    fn change(&mut self, change: Change) {
        apply(&mut self.tables, &change);
        self.unsynced.push(change);
    }

    fn sync(&mut self) {
        self.synced = self.tables.clone();
        self.unsynced.clear();
    }

    /// Puts a part with these rows in the place of others; none when there are no rows.
    fn replace(&mut self, table: TableId, shard: u64, old: &[Arc<Part>], rows: Vec<StoredRow>) {
        let gone: BTreeSet<u64> =
            old.iter().flat_map(|part| part.covers.iter().copied().chain([part.number])).collect();
        let part = (!rows.is_empty()).then(|| {
            self.next_part += 1;
            Arc::new(Part { number: self.next_part, shard, rows, covers: gone.clone() })
        });
        self.change(Change::Replace { table, gone, part });
    }

    fn parts(&self, table: TableId) -> &[Arc<Part>] {
        self.tables.get(&table).map_or(&[], |table| &table.parts)
    }

    /// The parts of each partition.
    fn partitions(&self, table: TableId) -> BTreeMap<u64, Vec<Arc<Part>>> {
        let mut partitions: BTreeMap<u64, Vec<Arc<Part>>> = BTreeMap::new();
        for part in self.parts(table) {
            partitions.entry(part.shard).or_default().push(part.clone());
        }
        partitions
    }
}

fn apply(tables: &mut Tables, change: &Change) {
    match change {
        Change::EnsureTable { table, tags, fields } => {
            let table = tables.entry(*table).or_default();
            table.tags = table.tags.max(*tags);
            table.fields = table.fields.max(*fields);
        }
        Change::DropTable(table) => drop(tables.remove(table)),
        Change::Replace { table, gone, part } => {
            let Some(table) = tables.get_mut(table) else { return };
            // The new part takes the place of the first old one: order decides which value is the last.
            let at = table.parts.iter().position(|part| gone.contains(&part.number));
            table.parts.retain(|part| !gone.contains(&part.number));
            if let Some(part) = part {
                table.parts.insert(at.unwrap_or(table.parts.len()), part.clone());
            }
        }
    }
}

impl EngineDisk {
    /// Another disk with what this one has, synced.
    pub fn copy(&self) -> Self {
        let store = self.0.lock();
        let (tables, next_part) = (store.tables.clone(), store.next_part);
        Self(Mutex::new(Store { synced: tables.clone(), tables, unsynced: Vec::new(), next_part }))
    }

    /// Loses a part, as a damaged disk does; false when there is none.
    pub fn lose_part(&self, random: &mut Random) -> bool {
        let store = &mut *self.0.lock();
        let tables = store.tables.iter();
        let parts: Vec<(TableId, u64)> = tables
            .flat_map(|(table, stored)| stored.parts.iter().map(|part| (*table, part.number)))
            .collect();
        if parts.is_empty() {
            return false;
        }
        let (table, number) = *random.pick(&parts);
        if let Some(stored) = store.tables.get_mut(&table) {
            stored.parts.retain(|part| part.number != number);
        }
        store.sync();
        true
    }

    pub(crate) fn fail_power(&self, random: &mut Random) {
        let store = &mut *self.0.lock();
        let mut tables = store.synced.clone();
        // A half of what was not synced survives on average; sometimes all of it, or nothing.
        let kept = *random.pick(&[0, 1, 2, 2, 3, 4]);
        for change in store.unsynced.drain(..).filter(|_| random.chance(kept, 4)) {
            apply(&mut tables, &change);
        }
        // Parts come in the order of their inserts.
        for table in tables.values_mut() {
            table.parts.sort_by_key(|part| part.covers.first().copied().unwrap_or(part.number));
        }
        store.tables = tables;
        store.sync();
    }
}

/// Rows of one series and time become one, the later value of a field winning; in (series, time) order.
fn merge<'a>(rows: impl Iterator<Item = &'a StoredRow>) -> Vec<StoredRow> {
    let mut merged: BTreeMap<(SeriesId, i64), StoredRow> = BTreeMap::new();
    for row in rows {
        let into = merged.entry((row.series, row.time)).or_insert_with(|| row.clone());
        into.fields.resize(into.fields.len().max(row.fields.len()), FieldValue::Null);
        for (value, new) in into.fields.iter_mut().zip(&row.fields) {
            if *new != FieldValue::Null {
                value.clone_from(new);
            }
        }
    }
    merged.into_values().collect()
}

/// The engine as a process has it.
pub struct MemoryEngine {
    disk: Arc<EngineDisk>,
    controller: Arc<dyn Controller>,
}

impl MemoryEngine {
    pub(crate) fn open(disk: Arc<EngineDisk>, controller: Arc<dyn Controller>) -> Self {
        Self { disk, controller }
    }
}
