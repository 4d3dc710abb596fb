//! What is written and deleted of some series while they are compared with other nodes.
//!
//! What a comparison brings is older than all of it, whoever wrote or deleted it.

use hashbrown::{HashMap, HashSet};
use hyperbytedb_domain::catalog::{DeleteScope, Table, TableId};
use hyperbytedb_domain::{SeriesId, Tags, TimeRange};

use super::tombstones::Tombstone;
use super::{WHOLE_ROW, rows_of};
use crate::memtable::ResolvedBatch;

/// Rows that are remembered of one comparison.
const ROWS_MAX: usize = 100_000;
const DELETES_MAX: usize = 1_000;

/// The series that are compared.
#[derive(Debug, Clone)]
pub struct Watched {
    pub table: TableId,
    pub series: HashSet<SeriesId>,
    pub time: TimeRange,
}

pub(super) struct Held {
    watched: Watched,
    /// The fields that were written, by position.
    rows: HashMap<(SeriesId, i64), u128>,
    deletes: Vec<Tombstone>,
    /// There was room for everything.
    pub is_whole: bool,
}

impl Held {
    pub fn new(watched: Watched) -> Self {
        Self { watched, rows: HashMap::new(), deletes: Vec::new(), is_whole: true }
    }

    pub fn note(&mut self, batches: &[ResolvedBatch]) {
        let Watched { table, series, time } = &self.watched;
        for batch in batches.iter().filter(|batch| batch.table.id == *table) {
            for (key, fields) in rows_of(batch) {
                let is_watched = time.min <= key.time && key.time <= time.max;
                if !is_watched || !series.contains(&key.series) {
                    continue;
                }
                if self.rows.len() >= ROWS_MAX {
                    self.is_whole = false;
                    return;
                }
                *self.rows.entry((key.series, key.time)).or_default() |= fields;
            }
        }
    }

    pub fn note_delete(&mut self, scope: &DeleteScope) {
        if scope.table != self.watched.table {
            return;
        }
        if self.deletes.len() >= DELETES_MAX {
            self.is_whole = false;
            return;
        }
        self.deletes.push(Tombstone::new(scope, 0, 0, 0));
    }

    /// The fields of a row that lose, by position.
    pub fn losing(&self, table: &Table, series: SeriesId, tags: &Tags, time: i64) -> u128 {
        if self.deletes.iter().any(|delete| delete.covers(table, tags, time)) {
            return WHOLE_ROW;
        }
        let fields = self.rows.get(&(series, time)).copied().unwrap_or(0);
        // Of fields that have no position it is not known which were written.
        if table.fields.len() > u128::BITS as usize && fields != 0 { WHOLE_ROW } else { fields }
    }
}
