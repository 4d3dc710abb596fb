//! Opening the engine's tables after a start, and filling the heads: what the engine holds is read back, the newest times
//! first, until the budget is nearly used up.
//!
//! In the background, a slice of time of one table at a time, a small table at once. What came in meanwhile is newer and stays. A slice during
//! which points are removed, or the schema changes, is read again.

use hyperbytedb_metrics as metrics;
use std::cmp::Reverse;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Float64Type, Int64Type, UInt64Type};
use arrow::error::ArrowError;
use hashbrown::HashMap;
use hyperbytedb_domain::catalog::{Table, TableId};
use hyperbytedb_domain::points::{FieldColumn, FieldValues, StringValues};
use hyperbytedb_domain::ports::{CatalogPort, PartitionInfo};
use hyperbytedb_domain::scan::{FieldId, RowScan, Scan, ScanOutput, TagId};
use hyperbytedb_domain::time::MIN_TIME;
use hyperbytedb_domain::{EngineError, FieldType, QueryContext, Tags, TimeRange};
use hyperbytedb_head::TableHead;

use crate::flush::FlushService;
use crate::log::replay::remove_orphans;
use crate::memtable::ResolvedBatch;
use crate::reader::TableReader;
use crate::reader::tag_texts::TagTexts;
use crate::threads::Stop;

/// The first slice of a table, in nanoseconds.
const FIRST_SLICE: i64 = 60 * 1_000_000_000;
/// Rows of a slice: with fewer the next one is twice as long, with more half as long.
const SLICE_ROWS: std::ops::Range<usize> = 50_000..200_000;
/// Part of the budget that is filled: the rest is for what comes in.
const FILLED_PART: f64 = 0.7;
/// How long a table is left alone that has removals at work, or an engine that failed.
const PAUSE: Duration = Duration::from_millis(200);
/// Attempts to learn what the engine holds.
const ATTEMPTS_MAX: usize = 20;

/// Fills the heads of the tables that the engine held at the start.
pub struct Warmer {
    pub catalog: Arc<dyn CatalogPort>,
    pub reader: TableReader,
    pub flush: Arc<FlushService>,
}

/// A table on its way.
struct Filling {
    table: Arc<Table>,
    head: Arc<TableHead>,
    slice: i64,
}

/// What a step has brought.
enum Filled {
    /// There are more to come.
    Slice,
    /// Everything, or as much as there is room for.
    Table,
    /// Points are being removed, or the schema has changed: the slice must be read again.
    Nothing,
}

impl Warmer {
    /// Returns when the budget is nearly used up, when everything is in memory, or at a stop.
    pub fn run(&self, stop: &Stop) {
        let mut fillings = self.open_tables(stop);
        let partitions = self.partitions(stop);
        remove_orphans(&self.flush, &self.catalog.catalog(), &partitions);
        let mut rows: HashMap<TableId, u64> = HashMap::new();
        partitions.iter().for_each(|partition| *rows.entry(partition.table).or_default() += partition.rows);
        for filling in &mut fillings {
            if rows.get(&filling.table.id).is_some_and(|&rows| rows <= SLICE_ROWS.end as u64) {
                filling.slice = i64::MAX;
            }
        }
        while !stop.is_set() && self.has_room() && !fillings.is_empty() {
            fillings.sort_by_key(|filling| Reverse(filling.head.complete_from()));
            let filling = &mut fillings[0];
            match self.fill_slice(filling) {
                Ok(Filled::Slice) => {}
                Ok(Filled::Table) => drop(fillings.remove(0)),
                Ok(Filled::Nothing) => drop(stop.wait(PAUSE)),
                Err(error) => {
                    tracing::warn!(%error, table = filling.table.id.0, "the head of a table is not filled");
                    fillings.remove(0);
                }
            }
        }
        tracing::debug!(bytes = self.flush.head().bytes(), "the heads are filled");
    }

    /// What the engine holds. Empty at a stop, or after too many failures.
    fn partitions(&self, stop: &Stop) -> Vec<PartitionInfo> {
        for _ in 0..ATTEMPTS_MAX {
            if stop.is_set() {
                break;
            }
            match self.flush.partitions() {
                Ok(partitions) => return partitions,
                Err(error) => tracing::warn!(%error, "the partitions of the engine are not known yet"),
            }
            stop.wait(PAUSE);
        }
        Vec::new()
    }

    fn has_room(&self) -> bool {
        let head = self.flush.head();
        (head.bytes() as f64) < head.budget_bytes() as f64 * FILLED_PART
    }

    /// Opens the tables, and finds out how far the head of each has to be filled.
    fn open_tables(&self, stop: &Stop) -> Vec<Filling> {
        let head = self.flush.head();
        let catalog = self.catalog.catalog();
        let stored = catalog.tables().filter(|table| head.was_stored(table.id));
        let fillings = stored.take_while(|_| !stop.is_set()).filter_map(|table| {
            let head = head.open(table);
            match self.flush.know_stored(table.id) {
                Ok(()) => Some(Filling { table: table.clone(), head: head?, slice: FIRST_SLICE }),
                Err(error) => {
                    tracing::warn!(%error, table = table.id.0, "the head of a table is not filled");
                    None
                }
            }
        });
        fillings.collect()
    }

    /// Reads the slice before what the head has.
    fn fill_slice(&self, filling: &mut Filling) -> Result<Filled, EngineError> {
        let head = &filling.head;
        let catalog = self.catalog.catalog();
        let (Some(table), Some(policy)) =
            (catalog.table_by_id(filling.table.id), catalog.policy_of(&filling.table))
        else {
            return Ok(Filled::Table);
        };
        let earliest = policy.shard_groups.keys().next().copied().unwrap_or(i64::MAX);
        let before = head.complete_from();
        if before <= earliest {
            head.extend_to(MIN_TIME);
            return Ok(Filled::Table);
        }
        let Some(removals) = self.flush.removals_done(head) else { return Ok(Filled::Nothing) };
        let range = TimeRange { min: before.saturating_sub(filling.slice).max(earliest), max: before - 1 };
        let mut rows = 0;
        let mut stream = self.reader.scan_engine(&all_rows(table, range), &background())?;
        while let Some(batch) = stream.next_batch()? {
            rows += batch.num_rows();
            // Points of a later schema are not read as a whole.
            if self.catalog.catalog().table_by_id(table.id).is_none_or(|now| now.version != table.version) {
                return Ok(Filled::Nothing);
            }
            let batch = as_written(table, &batch).map_err(|e| EngineError::failed("fill the head", e))?;
            if !head.fill(batch.new_rows(), removals) {
                return Ok(Filled::Nothing);
            }
        }
        head.extend_to(range.min);
        metrics::HEAD_FILLED_ROWS.increment(rows as u64);
        // Evicted meanwhile: the budget has other uses.
        if head.complete_from() > range.min {
            return Ok(Filled::Table);
        }
        if rows < SLICE_ROWS.start {
            filling.slice = filling.slice.saturating_mul(2);
        } else if rows > SLICE_ROWS.end {
            filling.slice = (filling.slice / 2).max(1);
        }
        Ok(Filled::Slice)
    }
}

fn background() -> QueryContext {
    QueryContext { max_threads: 1, ..QueryContext::unbounded() }
}

/// Every row of a range, series by series.
pub(crate) fn all_rows(table: &Arc<Table>, time: TimeRange) -> Scan {
    let tags: Vec<TagId> = (0..table.tags.len() as u32).map(TagId).collect();
    let fields = (0..table.fields.len() as u32).map(FieldId).collect();
    let rows = RowScan { group_by: tags.clone(), tags, fields, ..RowScan::default() };
    let output = ScanOutput::Rows(rows);
    Scan { table: table.clone(), time, filter: None, shards: None, merge_duplicates: false, output }
}

/// Rows that were read, as a write would bring them. `batch` has the columns of [`all_rows`].
pub(crate) fn as_written(table: &Arc<Table>, batch: &RecordBatch) -> Result<ResolvedBatch, ArrowError> {
    let tags = table.tags.len();
    let texts = TagTexts::new(batch, 0..tags)?;
    let (mut series, mut series_of_row) = (Vec::new(), Vec::with_capacity(batch.num_rows()));
    for row in 0..batch.num_rows() {
        if row == 0 || texts.of_row(row).ne(texts.of_row(row - 1)) {
            let pairs = table.tags.iter().cloned().zip(texts.of_row(row).map(str::to_owned));
            let tags = Tags::new(pairs.collect());
            series.push((tags.series_id(), tags));
        }
        series_of_row.push(series.len() as u32 - 1);
    }
    let times = batch.column(tags).as_primitive::<Int64Type>().values().to_vec();
    let columns = batch.columns()[tags + 1..].iter().zip(&table.fields);
    let fields = (0u32..)
        .map(FieldId)
        .zip(columns)
        .map(|(id, (column, field))| (id, field_column(&field.name, field.field_type, column)))
        .filter(|(_, column)| column.present.as_ref().is_none_or(|present| present.contains(&true)))
        .collect();
    // Nothing is flushed of them, so nobody asks for their shard groups.
    Ok(ResolvedBatch { table: table.clone(), times, series_of_row, series, fields, shards: Vec::new() })
}

fn field_column(name: &str, field_type: FieldType, column: &dyn Array) -> FieldColumn {
    let values = match field_type {
        FieldType::Float => FieldValues::Float(column.as_primitive::<Float64Type>().values().to_vec()),
        FieldType::Integer => FieldValues::Integer(column.as_primitive::<Int64Type>().values().to_vec()),
        FieldType::Unsigned => FieldValues::Unsigned(column.as_primitive::<UInt64Type>().values().to_vec()),
        FieldType::Boolean => FieldValues::Boolean(column.as_boolean().values().iter().collect()),
        FieldType::String => {
            let mut values = StringValues::default();
            column.as_string::<i32>().iter().for_each(|value| values.push(value.unwrap_or_default()));
            FieldValues::String(values)
        }
    };
    let present =
        (column.null_count() > 0).then(|| (0..column.len()).map(|row| column.is_valid(row)).collect());
    FieldColumn { name: name.to_owned(), values, present }
}

#[cfg(test)]
mod tests;
