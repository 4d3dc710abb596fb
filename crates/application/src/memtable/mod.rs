//! Points that are durable in the log but not yet in the engine, by table.
//!
//! A [`Memtable`] keeps the batches of one table in the order of their log records; [`columns`] turns them into one
//! sorted, folded record batch for the engine.

pub mod columns;
pub mod set;

use std::sync::Arc;
use std::time::Instant;

use hyperbytedb_domain::catalog::Table;
use hyperbytedb_domain::points::{FieldColumn, FieldValues};
use hyperbytedb_domain::scan::FieldId;
use hyperbytedb_domain::wal::Sequence;
use hyperbytedb_domain::{SeriesId, Tags};

/// A batch whose names have been resolved against the table's schema.
#[derive(Debug, Clone)]
pub struct ResolvedBatch {
    /// The schema it was resolved against; later schemas only add columns.
    pub table: Arc<Table>,
    pub times: Vec<i64>,
    /// Index into `series`, one a row.
    pub series_of_row: Vec<u32>,
    pub series: Vec<(SeriesId, Tags)>,
    pub fields: Vec<(FieldId, FieldColumn)>,
}

impl ResolvedBatch {
    pub fn rows(&self) -> usize {
        self.times.len()
    }

    /// Memory held, in bytes, about.
    pub fn bytes(&self) -> usize {
        let series: usize = self
            .series
            .iter()
            .map(|(_, tags)| 48 + tags.iter().map(|(k, v)| 48 + k.len() + v.len()).sum::<usize>())
            .sum();
        let fields: usize = self.fields.iter().map(|(_, column)| column_bytes(column)).sum();
        12 * self.rows() + series + fields
    }
}

fn column_bytes(column: &FieldColumn) -> usize {
    let values = match &column.values {
        FieldValues::Float(v) => 8 * v.len(),
        FieldValues::Integer(v) => 8 * v.len(),
        FieldValues::Unsigned(v) => 8 * v.len(),
        FieldValues::Boolean(v) => v.len(),
        FieldValues::String(v) => v.bytes.len() + 8 * v.len(),
    };
    values + column.present.as_ref().map_or(0, Vec::len)
}

/// The unflushed points of one table.
#[derive(Debug)]
pub struct Memtable {
    pub batches: Vec<ResolvedBatch>,
    pub rows: usize,
    pub bytes: usize,
    /// Log record of the first batch.
    pub first_sequence: Sequence,
    pub created: Instant,
}

impl Memtable {
    pub fn new(first_sequence: Sequence) -> Self {
        Self { batches: Vec::new(), rows: 0, bytes: 0, first_sequence, created: Instant::now() }
    }

    /// Appends a batch; returns the bytes it holds.
    pub fn push(&mut self, batch: ResolvedBatch) -> usize {
        let bytes = batch.bytes();
        self.rows += batch.rows();
        self.bytes += bytes;
        self.batches.push(batch);
        bytes
    }

    /// The newest schema among the batches.
    pub fn table(&self) -> Option<&Arc<Table>> {
        self.batches.iter().map(|b| &b.table).max_by_key(|t| t.tags.len() + t.fields.len())
    }
}
