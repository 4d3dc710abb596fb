//! Points that are durable in the log but not yet in the engine, by table.
//!
//! A [`Memtable`] keeps the batches of one table in the order of their log records; [`columns`] turns them into one
//! sorted, folded record batch for the engine. A [`queue`] holds what waits for a table's engine table, in log order:
//! sealed memtables and removals.

pub mod columns;
pub mod queue;
pub mod set;

use std::sync::Arc;
use std::time::Instant;

use hyperbytedb_domain::catalog::{ShardGroup, Table};
use hyperbytedb_domain::points::{FieldColumn, FieldValues, PointsBatch};
use hyperbytedb_domain::scan::FieldId;
use hyperbytedb_domain::wal::Sequence;
use hyperbytedb_domain::{SeriesId, Tags};
use hyperbytedb_head::NewRows;

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
    /// The shard groups that hold the rows, by start time.
    pub shards: Vec<ShardGroup>,
}

impl ResolvedBatch {
    pub fn rows(&self) -> usize {
        self.times.len()
    }

    /// As the printer of line protocol takes them.
    pub fn into_points(self) -> PointsBatch {
        PointsBatch {
            measurement: self.table.measurement.clone(),
            times: self.times,
            tag_keys: None,
            series_of_row: self.series_of_row,
            line_of_row: Vec::new(),
            series: self.series.into_iter().map(|(_, tags)| tags).collect(),
            fields: self.fields.into_iter().map(|(_, column)| column).collect(),
        }
    }

    /// As the head takes them.
    pub fn new_rows(&self) -> NewRows<'_> {
        NewRows {
            table: &self.table,
            times: &self.times,
            series_of_row: &self.series_of_row,
            series: &self.series,
            fields: &self.fields,
        }
    }

    /// Memory held, in bytes, about.
    pub fn bytes(&self) -> usize {
        let series: usize = self.series.iter().map(|(id, tags)| size_of_val(id) + tags.bytes()).sum();
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
    /// The earliest and the latest time.
    pub min_time: i64,
    pub max_time: i64,
    /// Log records of the first and the last batch.
    pub first_sequence: Sequence,
    pub last_sequence: Sequence,
    pub created: Instant,
}

impl Memtable {
    pub fn new(first_sequence: Sequence) -> Self {
        let (batches, last_sequence) = (Vec::new(), first_sequence);
        let (min_time, max_time) = (i64::MAX, i64::MIN);
        Self {
            batches,
            rows: 0,
            bytes: 0,
            min_time,
            max_time,
            first_sequence,
            last_sequence,
            created: Instant::now(),
        }
    }

    /// Appends a batch; returns the bytes it holds.
    pub fn push(&mut self, sequence: Sequence, batch: ResolvedBatch) -> usize {
        self.last_sequence = sequence;
        let bytes = batch.bytes();
        self.rows += batch.rows();
        self.bytes += bytes;
        for &time in &batch.times {
            self.min_time = self.min_time.min(time);
            self.max_time = self.max_time.max(time);
        }
        self.batches.push(batch);
        bytes
    }

    /// The newest schema among the batches.
    pub fn table(&self) -> Option<&Arc<Table>> {
        self.batches.iter().map(|b| &b.table).max_by_key(|t| t.version)
    }

    /// The shard groups that hold the rows, by start time.
    pub fn shards(&self) -> Vec<ShardGroup> {
        let mut shards: Vec<ShardGroup> = self.batches.iter().flat_map(|b| &b.shards).copied().collect();
        shards.sort_unstable_by_key(|shard| shard.start);
        shards.dedup();
        shards
    }
}
