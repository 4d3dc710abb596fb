//! From batches in log order to one record batch in (series, time) order, each such pair once.
//!
//! Rows are bucketed by series, which usually leaves every series already in time order; only the others are sorted.
//! Rows of one series and time are folded field by field, the latest value winning.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, DictionaryArray, Float64Array, Int32Array, Int64Array, RecordBatch,
    RecordBatchOptions, StringArray, StringBuilder, UInt64Array,
};
use arrow::buffer::{BooleanBuffer, NullBuffer, ScalarBuffer};
use arrow::datatypes::{Field, Int32Type, Schema};
use arrow::error::ArrowError;
use hashbrown::HashMap;
use hyperbytedb_domain::catalog::ShardGroup;
use hyperbytedb_domain::columns::{SERIES_COLUMN, SHARD_COLUMN, TIME_COLUMN, field_column, tag_column};
use hyperbytedb_domain::points::{FieldColumn, FieldValues};
use hyperbytedb_domain::scan::{FieldId, TagId};
use hyperbytedb_domain::{FieldType, SeriesId, Tags};

use super::{Memtable, ResolvedBatch};

/// A memtable in the shape the engine takes, with what the overlap check needs to know.
#[derive(Debug)]
pub struct SortedRows {
    pub batch: RecordBatch,
    /// One a row.
    pub times: Vec<i64>,
    /// The shard groups of the rows, by start time.
    pub shards: Vec<ShardGroup>,
    /// Per series, in the order of the rows: its first and last time.
    pub runs: Vec<SeriesRun>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SeriesRun {
    pub series: SeriesId,
    /// Rows `from..to` of the batch.
    pub from: usize,
    pub to: usize,
    pub min_time: i64,
    pub max_time: i64,
}

/// Where a row of the result comes from: batch and row, and whether it is one of several to fold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Source {
    batch: u32,
    row: u32,
}

/// The rows of the result: row `i` folds `sources[starts[i]..starts[i + 1]]`, oldest first.
struct Layout {
    sources: Vec<Source>,
    starts: Vec<u32>,
    times: Vec<i64>,
    /// Ordinal of each row's series.
    series: Vec<u32>,
}

/// Sorts and folds a memtable.
pub fn sorted_rows(memtable: &Memtable) -> Result<SortedRows, ArrowError> {
    let (ordinals, series) = distinct_series(&memtable.batches);
    let order = series_order(&series);
    let (layout, runs) = layout(&memtable.batches, &ordinals, &series, &order);
    let shards = memtable.shards();
    let mut columns: Vec<(String, ArrayRef)> = Vec::new();
    let sids: Vec<u64> = layout.series.iter().map(|&s| series[s as usize].0.0).collect();
    columns.push((TIME_COLUMN.to_owned(), Arc::new(Int64Array::from(layout.times.clone()))));
    columns.push((SERIES_COLUMN.to_owned(), Arc::new(UInt64Array::from(sids))));
    columns
        .push((SHARD_COLUMN.to_owned(), Arc::new(UInt64Array::from(shard_numbers(&layout.times, &shards)))));
    if let Some(table) = memtable.table() {
        for (i, key) in table.tags.iter().enumerate() {
            if let Some(array) = tag_array(key, &series, &layout)? {
                columns.push((tag_column(TagId(i as u32)), array));
            }
        }
        for (i, field) in table.fields.iter().enumerate() {
            let id = FieldId(i as u32);
            if let Some(array) = field_array(id, field.field_type, &memtable.batches, &layout) {
                columns.push((field_column(id), array));
            }
        }
    }
    let fields: Vec<Field> =
        columns.iter().map(|(n, a)| Field::new(n, a.data_type().clone(), true)).collect();
    let options = RecordBatchOptions::new().with_row_count(Some(layout.times.len()));
    let arrays = columns.into_iter().map(|(_, array)| array).collect();
    let batch = RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), arrays, &options)?;
    Ok(SortedRows { batch, times: layout.times, shards, runs })
}

impl SortedRows {
    /// What each shard group has of the rows. Neighbouring rows mostly share one.
    pub fn by_shard(&self) -> Vec<ShardRows> {
        let mut found: Vec<ShardRows> =
            self.shards.iter().map(|&shard| ShardRows { shard, rows: 0, max_time: i64::MIN }).collect();
        let mut current = 0;
        for &time in &self.times {
            if !found.get(current).is_some_and(|rows| rows.shard.contains(time)) {
                let after = self.shards.partition_point(|shard| shard.start <= time);
                current = after.saturating_sub(1);
            }
            if let Some(rows) = found.get_mut(current).filter(|rows| rows.shard.contains(time)) {
                rows.rows += 1;
                rows.max_time = rows.max_time.max(time);
            }
        }
        found.retain(|rows| rows.rows > 0);
        found
    }
}

/// Rows of one shard group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShardRows {
    pub shard: ShardGroup,
    pub rows: u64,
    pub max_time: i64,
}

/// The number of each row's shard group. Neighbouring rows mostly share one.
fn shard_numbers(times: &[i64], shards: &[ShardGroup]) -> Vec<u64> {
    let mut current = ShardGroup { id: 0, start: i64::MAX, end: i64::MIN };
    let number = |&time: &i64| {
        if !current.contains(time) {
            current = shard_of(shards, time).unwrap_or(current);
        }
        current.id
    };
    times.iter().map(number).collect()
}

/// The group that holds a time; the groups are ordered by start time.
pub fn shard_of(shards: &[ShardGroup], time: i64) -> Option<ShardGroup> {
    let after = shards.partition_point(|shard| shard.start <= time);
    shards.get(after.checked_sub(1)?).copied().filter(|shard| shard.contains(time))
}

/// Per batch, the ordinal of each of its series; and the distinct series.
fn distinct_series(batches: &[ResolvedBatch]) -> (Vec<Vec<u32>>, Vec<(SeriesId, &Tags)>) {
    let mut known: HashMap<SeriesId, u32> = HashMap::new();
    let mut series = Vec::new();
    let ordinals = batches
        .iter()
        .map(|batch| {
            batch
                .series
                .iter()
                .map(|(id, tags)| {
                    *known.entry(*id).or_insert_with(|| {
                        series.push((*id, tags));
                        (series.len() - 1) as u32
                    })
                })
                .collect()
        })
        .collect();
    (ordinals, series)
}

/// Series ordinals in the order of their ids.
fn series_order(series: &[(SeriesId, &Tags)]) -> Vec<u32> {
    let mut order: Vec<u32> = (0..series.len() as u32).collect();
    order.sort_unstable_by_key(|&i| series[i as usize].0);
    order
}

fn layout(
    batches: &[ResolvedBatch],
    ordinals: &[Vec<u32>],
    series: &[(SeriesId, &Tags)],
    order: &[u32],
) -> (Layout, Vec<SeriesRun>) {
    let mut counts = vec![0u32; series.len()];
    for (batch, ordinals) in batches.iter().zip(ordinals) {
        for &s in &batch.series_of_row {
            counts[ordinals[s as usize] as usize] += 1;
        }
    }
    let mut next = vec![0u32; series.len()];
    let mut total = 0;
    for &ordinal in order {
        next[ordinal as usize] = total;
        total += counts[ordinal as usize];
    }
    let bucket_starts = next.clone();
    let mut bucketed = vec![(0i64, Source { batch: 0, row: 0 }); total as usize];
    for (b, (batch, ordinals)) in batches.iter().zip(ordinals).enumerate() {
        for (row, (&s, &time)) in batch.series_of_row.iter().zip(&batch.times).enumerate() {
            let slot = &mut next[ordinals[s as usize] as usize];
            bucketed[*slot as usize] = (time, Source { batch: b as u32, row: row as u32 });
            *slot += 1;
        }
    }
    let mut layout = Layout {
        sources: Vec::with_capacity(bucketed.len()),
        starts: Vec::with_capacity(bucketed.len() + 1),
        times: Vec::with_capacity(bucketed.len()),
        series: Vec::with_capacity(bucketed.len()),
    };
    let mut runs = Vec::with_capacity(order.len());
    for &ordinal in order {
        let from = bucket_starts[ordinal as usize] as usize;
        let bucket = &mut bucketed[from..from + counts[ordinal as usize] as usize];
        if !bucket.is_sorted_by_key(|(time, _)| *time) {
            bucket.sort_by_key(|(time, _)| *time);
        }
        let first_row = layout.times.len();
        layout.append_series(ordinal, bucket);
        if let (Some(&min_time), Some(&max_time)) = (layout.times.get(first_row), layout.times.last()) {
            let (from, to) = (first_row, layout.times.len());
            runs.push(SeriesRun { series: series[ordinal as usize].0, from, to, min_time, max_time });
        }
    }
    layout.starts.push(layout.sources.len() as u32);
    (layout, runs)
}

impl Layout {
    fn append_series(&mut self, ordinal: u32, rows: &[(i64, Source)]) {
        let mut previous = None;
        for &(time, source) in rows {
            if previous != Some(time) {
                self.starts.push(self.sources.len() as u32);
                self.times.push(time);
                self.series.push(ordinal);
                previous = Some(time);
            }
            self.sources.push(source);
        }
    }

    fn has_folds(&self) -> bool {
        self.sources.len() != self.times.len()
    }

    fn rows(&self) -> usize {
        self.times.len()
    }

    /// The sources of a row, newest first.
    fn newest_first(&self, row: usize) -> impl Iterator<Item = Source> {
        self.sources[self.starts[row] as usize..self.starts[row + 1] as usize].iter().rev().copied()
    }
}

/// A dictionary-encoded tag column; `None` when no row has the tag.
fn tag_array(
    key: &str,
    series: &[(SeriesId, &Tags)],
    layout: &Layout,
) -> Result<Option<ArrayRef>, ArrowError> {
    let mut codes: HashMap<&str, i32> = HashMap::from([("", 0)]);
    let mut values = vec![""];
    let code_of_series: Vec<i32> = series
        .iter()
        .map(|(_, tags)| {
            let value = tags.get(key).unwrap_or_default();
            *codes.entry(value).or_insert_with(|| {
                values.push(value);
                (values.len() - 1) as i32
            })
        })
        .collect();
    if values.len() == 1 {
        return Ok(None);
    }
    let keys: Int32Array = layout.series.iter().map(|&s| Some(code_of_series[s as usize])).collect();
    let array = DictionaryArray::<Int32Type>::try_new(keys, Arc::new(StringArray::from(values)))?;
    Ok(Some(Arc::new(array)))
}

/// A field column; `None` when no row has the field.
fn field_array(
    id: FieldId,
    field_type: FieldType,
    batches: &[ResolvedBatch],
    layout: &Layout,
) -> Option<ArrayRef> {
    let columns: Vec<Option<&FieldColumn>> =
        batches.iter().map(|b| b.fields.iter().find(|(f, _)| *f == id).map(|(_, column)| column)).collect();
    if columns.iter().all(Option::is_none) {
        return None;
    }
    let picks = picks(&columns, layout);
    Some(match field_type {
        FieldType::Float => gather_primitive(&columns, &picks, layout, as_floats, |v, n| {
            Arc::new(Float64Array::new(ScalarBuffer::from(v), n))
        }),
        FieldType::Integer => gather_primitive(&columns, &picks, layout, as_integers, |v, n| {
            Arc::new(Int64Array::new(ScalarBuffer::from(v), n))
        }),
        FieldType::Unsigned => gather_primitive(&columns, &picks, layout, as_unsigned, |v, n| {
            Arc::new(UInt64Array::new(ScalarBuffer::from(v), n))
        }),
        FieldType::Boolean => gather_primitive(&columns, &picks, layout, as_booleans, |v, n| {
            Arc::new(BooleanArray::new(BooleanBuffer::from(v), n))
        }),
        FieldType::String => gather_strings(&columns, &picks, layout),
    })
}

/// Which source gives each row its value; `None` = the row's only source, always present.
type Picks = Option<Vec<Option<Source>>>;

fn picks(columns: &[Option<&FieldColumn>], layout: &Layout) -> Picks {
    let dense = columns.iter().all(|c| c.is_some_and(|c| c.present.is_none()));
    if dense && !layout.has_folds() {
        return None;
    }
    let present = |s: &Source| columns[s.batch as usize].is_some_and(|c| c.is_present(s.row as usize));
    Some((0..layout.rows()).map(|row| layout.newest_first(row).find(present)).collect())
}

fn as_floats(values: &FieldValues) -> &[f64] {
    if let FieldValues::Float(v) = values { v } else { &[] }
}

fn as_integers(values: &FieldValues) -> &[i64] {
    if let FieldValues::Integer(v) = values { v } else { &[] }
}

fn as_unsigned(values: &FieldValues) -> &[u64] {
    if let FieldValues::Unsigned(v) = values { v } else { &[] }
}

fn as_booleans(values: &FieldValues) -> &[bool] {
    if let FieldValues::Boolean(v) = values { v } else { &[] }
}

fn gather_primitive<T: Copy + Default>(
    columns: &[Option<&FieldColumn>],
    picks: &Picks,
    layout: &Layout,
    slice: impl for<'a> Fn(&'a FieldValues) -> &'a [T],
    build: impl FnOnce(Vec<T>, Option<NullBuffer>) -> ArrayRef,
) -> ArrayRef {
    let slices: Vec<&[T]> = columns.iter().map(|c| c.map_or(&[] as &[T], |c| slice(&c.values))).collect();
    let at = |s: Source| slices[s.batch as usize].get(s.row as usize).copied().unwrap_or_default();
    match picks {
        None => build(layout.sources.iter().map(|&s| at(s)).collect(), None),
        Some(picks) => {
            let values = picks.iter().map(|p| p.map(at).unwrap_or_default()).collect();
            build(values, Some(NullBuffer::from_iter(picks.iter().map(Option::is_some))))
        }
    }
}

fn gather_strings(columns: &[Option<&FieldColumn>], picks: &Picks, layout: &Layout) -> ArrayRef {
    let at = |s: Source| match columns[s.batch as usize].map(|c| &c.values) {
        Some(FieldValues::String(v)) => v.get(s.row as usize),
        _ => "",
    };
    let mut builder = StringBuilder::new();
    match picks {
        None => layout.sources.iter().for_each(|&s| builder.append_value(at(s))),
        Some(picks) => picks.iter().for_each(|p| builder.append_option(p.map(at))),
    }
    Arc::new(builder.finish())
}

#[cfg(test)]
mod tests {
    use arrow::array::{Array, AsArray};
    use arrow::datatypes::{Float64Type, Int64Type, UInt64Type};
    use hyperbytedb_domain::catalog::{FieldDef, Table, TableId};

    use super::*;

    fn table() -> Arc<Table> {
        Arc::new(Table {
            id: TableId(1),
            database: "db".into(),
            retention_policy: "rp".into(),
            measurement: "m".into(),
            version: 0,
            shard_duration: 1,
            tags: vec!["host".into(), "dc".into()],
            fields: vec![
                FieldDef { name: "a".into(), field_type: FieldType::Float },
                FieldDef { name: "b".into(), field_type: FieldType::Integer },
            ],
        })
    }

    fn tags(host: &str) -> (SeriesId, Tags) {
        let tags = Tags::new(vec![("host".into(), host.into())]);
        (tags.series_id(), tags)
    }

    fn shard(id: u64, start: i64, end: i64) -> ShardGroup {
        ShardGroup { id, start, end }
    }

    fn memtable(batches: Vec<ResolvedBatch>) -> Memtable {
        let mut memtable = Memtable::new(1);
        for batch in batches {
            memtable.push(1, batch);
        }
        memtable
    }

    fn floats(values: &[f64], present: Option<Vec<bool>>) -> (FieldId, FieldColumn) {
        (FieldId(0), FieldColumn { name: "a".into(), values: FieldValues::Float(values.to_vec()), present })
    }

    fn integers(values: &[i64]) -> (FieldId, FieldColumn) {
        (
            FieldId(1),
            FieldColumn { name: "b".into(), values: FieldValues::Integer(values.to_vec()), present: None },
        )
    }

    #[test]
    fn rows_are_sorted_and_folded_field_by_field() {
        let first = ResolvedBatch {
            table: table(),
            times: vec![20, 10, 10],
            series_of_row: vec![0, 0, 1],
            series: vec![tags("x"), tags("y")],
            fields: vec![floats(&[2.0, 1.0, 5.0], None)],
            shards: vec![shard(8, 0, 15), shard(9, 15, 30)],
        };
        let second = ResolvedBatch {
            table: table(),
            times: vec![10, 20],
            series_of_row: vec![0, 0],
            series: vec![tags("x")],
            fields: vec![floats(&[0.0, 3.0], Some(vec![false, true])), integers(&[7, 8])],
            shards: vec![shard(9, 15, 30), shard(8, 0, 15)],
        };
        let rows = sorted_rows(&memtable(vec![first, second])).unwrap();
        assert_eq!(rows.batch.num_rows(), 3);
        let x = tags("x").0;
        let run = rows.runs.iter().find(|e| e.series == x).unwrap();
        assert_eq!((run.min_time, run.max_time, run.to - run.from), (10, 20, 2));
        let a = rows.batch.column_by_name("f0").unwrap().as_primitive::<Float64Type>();
        let b = rows.batch.column_by_name("f1").unwrap().as_primitive::<Int64Type>();
        assert_eq!((a.value(run.from), a.value(run.from + 1)), (1.0, 3.0));
        let shards = rows.batch.column_by_name("shard").unwrap().as_primitive::<UInt64Type>();
        assert_eq!((shards.value(run.from), shards.value(run.from + 1)), (8, 9));
        assert_eq!((b.value(run.from), b.value(run.from + 1)), (7, 8));
        let y = rows.runs.iter().find(|e| e.series != x).unwrap();
        assert_eq!(a.value(y.from), 5.0);
        assert!(b.is_null(y.from));
        let host = rows.batch.column_by_name("t0").unwrap().as_dictionary::<Int32Type>();
        let names = host.values().as_string::<i32>();
        assert_eq!(names.value(host.keys().value(y.from) as usize), "y");
        assert!(rows.batch.column_by_name("t1").is_none(), "a tag no row has is left out");
    }

    #[test]
    fn dense_batches_have_no_null_buffer() {
        let batch = ResolvedBatch {
            table: table(),
            times: vec![1, 2],
            series_of_row: vec![0, 0],
            series: vec![tags("x")],
            fields: vec![floats(&[1.0, 2.0], None)],
            shards: vec![shard(8, 0, 15)],
        };
        let rows = sorted_rows(&memtable(vec![batch])).unwrap();
        assert_eq!(rows.batch.column_by_name("f0").unwrap().null_count(), 0);
    }
}
