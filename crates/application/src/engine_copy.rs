//! All stored points from one engine to another.
//!
//! Partitions are compared by what their rows come to ([`Digest`]), and what differs is copied: series that the other engine
//! has as they are stay, others go there and come anew. So there is no list of what is done: a copy that was interrupted goes
//! on where it was, and one that is made again copies what has changed since, deletes and overwritten values included.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use arrow::array::{Array, ArrayRef, AsArray, DictionaryArray, RecordBatch, UInt32Array};
use arrow::compute::{concat_batches, take};
use arrow::datatypes::Int32Type;
use arrow::error::ArrowError;
use hyperbytedb_domain::catalog::{Catalog, Table, TableId};
use hyperbytedb_domain::ports::{PartitionInfo, PointsSinkPort, QueryPort};
use hyperbytedb_domain::scan::{Digest, DigestBy, RowSelection};
use hyperbytedb_domain::wal::Sequence;
use hyperbytedb_domain::{EngineError, QueryContext, SeriesId, TimeRange};

/// How often a partition is copied whose rows then differ, where nobody changes them meanwhile.
const ATTEMPTS_MAX: usize = 2;
/// Of more series that differ, the whole partition is copied anew.
const REPLACED_SERIES_MAX: usize = 2_000;
/// Series that are asked for together.
const SERIES_AT_ONCE: usize = 20_000;
/// Values and rows of one insert.
const VALUES_MAX: usize = 8_000_000;
const ROWS_MAX: usize = 500_000;
const ROWS_MIN: usize = 1_000;

/// An engine by its ports.
pub struct EngineSide {
    pub rows: Arc<dyn QueryPort>,
    pub store: Arc<dyn PointsSinkPort>,
}

/// What has just been done.
pub enum Step<'a> {
    /// These rows of a partition are there.
    Copied { table: &'a Table, partition: &'a PartitionInfo, rows: u64 },
    /// A partition has been seen to.
    Seen { table: &'a Table, partition: &'a PartitionInfo, outcome: Outcome, seen: usize, of: usize },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It was there already.
    Same,
    /// It is there now.
    Copied,
    /// It changed while it was copied.
    Changed,
}

/// What a copy came to, in partitions and rows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    pub same: usize,
    pub copied: usize,
    pub changed: usize,
    /// There and not here: removed.
    pub removed: usize,
    pub rows: u64,
}

pub struct EngineCopy<'a> {
    pub from: EngineSide,
    pub to: EngineSide,
    pub catalog: Arc<Catalog>,
    /// Nobody writes where it comes from: what differs in the end is an error.
    pub is_still: bool,
    /// Told of each step.
    pub report: &'a dyn Fn(&Step<'_>),
}

/// By their keys.
type Digests = BTreeMap<u64, Digest>;

fn context() -> QueryContext {
    QueryContext::unbounded()
}

impl EngineCopy<'_> {
    pub fn run(&self) -> Result<Tally, EngineError> {
        let mut tally = Tally::default();
        let partitions = self.partitions()?;
        self.remove_others(&partitions, &mut tally)?;
        for (seen, (table, partition)) in (1..).zip(&partitions) {
            let outcome = self.copy_partition(table, partition, &mut tally)?;
            *match outcome {
                Outcome::Same => &mut tally.same,
                Outcome::Copied => &mut tally.copied,
                Outcome::Changed => &mut tally.changed,
            } += 1;
            (self.report)(&Step::Seen { table, partition, outcome, seen, of: partitions.len() });
        }
        self.to.store.sync()?;
        Ok(tally)
    }

    /// Of tables that the catalogue knows: what a start would remove stays behind.
    fn partitions(&self) -> Result<Vec<(Arc<Table>, PartitionInfo)>, EngineError> {
        let tables: BTreeMap<TableId, &Arc<Table>> =
            self.catalog.tables().map(|table| (table.id, table)).collect();
        let stored: BTreeSet<TableId> = self.from.store.existing_tables()?.into_iter().collect();
        let partitions = self.from.store.partitions(None)?.into_iter();
        let known = partitions.filter(|partition| stored.contains(&partition.table));
        Ok(known.filter_map(|one| Some((Arc::clone(tables.get(&one.table)?), one))).collect())
    }

    fn remove_others(
        &self,
        partitions: &[(Arc<Table>, PartitionInfo)],
        tally: &mut Tally,
    ) -> Result<(), EngineError> {
        let wanted: BTreeSet<(TableId, u64)> =
            partitions.iter().map(|(_, one)| (one.table, one.shard)).collect();
        let tables: BTreeSet<TableId> = wanted.iter().map(|(table, _)| *table).collect();
        let mut others: BTreeMap<TableId, Vec<u64>> = BTreeMap::new();
        for partition in self.to.store.partitions(None)? {
            if !wanted.contains(&(partition.table, partition.shard)) {
                others.entry(partition.table).or_default().push(partition.shard);
                tally.removed += 1;
            }
        }
        for table in self.to.store.existing_tables()?.into_iter().filter(|table| !tables.contains(table)) {
            self.to.store.drop_table(table)?;
            others.remove(&table);
        }
        others.iter().try_for_each(|(table, shards)| self.to.store.drop_partitions(*table, shards))
    }

    fn copy_partition(
        &self,
        table: &Table,
        partition: &PartitionInfo,
        tally: &mut Tally,
    ) -> Result<Outcome, EngineError> {
        self.to.store.ensure_table(table)?;
        let rows =
            RowSelection { shards: Some([partition.shard].into()), ..RowSelection::of_time(TimeRange::ALL) };
        let attempts = if self.is_still { ATTEMPTS_MAX } else { 1 };
        for attempt in 0..=attempts {
            let here = digests(&self.from, table, &rows, true, &DigestBy::Bucket)?;
            let there = digests(&self.to, table, &rows, false, &DigestBy::Bucket)?;
            if here == there {
                return Ok(if attempt == 0 { Outcome::Same } else { Outcome::Copied });
            }
            if attempt < attempts {
                let series = self.make_room(table, &rows, &here, &there)?;
                self.copy_rows(table, partition, &rows, series.as_deref(), tally)?;
            }
        }
        if self.is_still {
            let place = format!("copying shard {} of table {}", partition.shard, table.id.0);
            return Err(EngineError::failed(place, "its rows differ after they were copied"));
        }
        Ok(Outcome::Changed)
    }

    /// Removes what is there and not as it is here. Returns the series that are to be copied; `None`: all. Asks for the
    /// series of those buckets alone that differ.
    fn make_room(
        &self,
        table: &Table,
        rows: &RowSelection,
        buckets_here: &Digests,
        buckets_there: &Digests,
    ) -> Result<Option<Vec<SeriesId>>, EngineError> {
        if buckets_there.is_empty() {
            return Ok(None);
        }
        let buckets = unlike(buckets_here, buckets_there);
        let others_stay = buckets_there.keys().any(|bucket| !buckets.contains(bucket));
        let by = DigestBy::Series(buckets);
        let here = digests(&self.from, table, rows, true, &by)?;
        let there = digests(&self.to, table, rows, false, &by)?;
        let differing: Vec<SeriesId> = there
            .iter()
            .filter(|(key, one)| here.get(*key) != Some(one))
            .map(|(key, _)| SeriesId(*key))
            .collect();
        let some_stay = others_stay || differing.len() < there.len();
        if differing.len() > REPLACED_SERIES_MAX || !some_stay {
            self.to.store.drop_partitions(table.id, rows.shards.as_deref().unwrap_or_default())?;
            return Ok(None);
        }
        if !differing.is_empty() {
            let gone = RowSelection { series: Some(differing.into()), ..rows.clone() };
            self.to.store.delete_rows(table, &gone, &context())?;
        }
        let is_missing = |(key, one): &(&u64, &Digest)| there.get(*key) != Some(*one);
        Ok(Some(here.iter().filter(is_missing).map(|(key, _)| SeriesId(*key)).collect()))
    }

    fn copy_rows(
        &self,
        table: &Table,
        partition: &PartitionInfo,
        rows: &RowSelection,
        series: Option<&[SeriesId]>,
        tally: &mut Tally,
    ) -> Result<(), EngineError> {
        let mut copied = |batches: &mut Vec<RecordBatch>| {
            let rows = self.insert(table, batches)?;
            tally.rows += rows;
            (self.report)(&Step::Copied { table, partition, rows });
            Ok(())
        };
        let Some(series) = series else { return self.copy_selected(table, rows, &mut copied) };
        for some in series.chunks(SERIES_AT_ONCE) {
            let rows = RowSelection { series: Some(some.into()), ..rows.clone() };
            self.copy_selected(table, &rows, &mut copied)?;
        }
        Ok(())
    }

    /// Hands over batches for one insert each.
    fn copy_selected(
        &self,
        table: &Table,
        rows: &RowSelection,
        insert: &mut dyn FnMut(&mut Vec<RecordBatch>) -> Result<(), EngineError>,
    ) -> Result<(), EngineError> {
        let columns = 3 + table.tags.len() + table.fields.len();
        let rows_max = (VALUES_MAX / columns).clamp(ROWS_MIN, ROWS_MAX);
        let mut stream = self.from.rows.stored_rows(table, rows, true, &context())?;
        let (mut waiting, mut count) = (Vec::new(), 0);
        while let Some(batch) = stream.next_batch()? {
            if count + batch.num_rows() > rows_max {
                insert(&mut waiting)?;
                count = 0;
            }
            count += batch.num_rows();
            waiting.push(batch);
        }
        insert(&mut waiting)
    }

    fn insert(&self, table: &Table, batches: &mut Vec<RecordBatch>) -> Result<u64, EngineError> {
        let Some(first) = batches.first() else { return Ok(0) };
        let batch = concat_batches(&first.schema(), batches.iter())
            .and_then(one_dictionary_a_column)
            .map_err(|error| EngineError::failed("copying rows", error))?;
        batches.clear();
        let rows = batch.num_rows() as u64;
        let record = unlike_any_record();
        self.to.store.insert(table, batch, record..=record)?;
        Ok(rows)
    }
}

/// An engine passes over rows of records that it has seen. These are of no record, and never come again.
fn unlike_any_record() -> Sequence {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos() as Sequence
}

/// Rows put together have the dictionaries of all of them, with the same texts more than once, which engines refuse.
fn one_dictionary_a_column(batch: RecordBatch) -> Result<RecordBatch, ArrowError> {
    let schema = batch.schema();
    let columns = batch.columns().iter().map(|column| match column.as_dictionary_opt::<Int32Type>() {
        Some(texts) => without_duplicates(texts),
        None => Ok(column.clone()),
    });
    RecordBatch::try_new(schema, columns.collect::<Result<_, _>>()?)
}

fn without_duplicates(texts: &DictionaryArray<Int32Type>) -> Result<ArrayRef, ArrowError> {
    let Some(values) = texts.values().as_string_opt::<i32>() else { return Ok(Arc::new(texts.clone())) };
    let mut numbers: HashMap<&str, i32> = HashMap::new();
    let mut first_places: Vec<u32> = Vec::new();
    let mut places = Vec::with_capacity(values.len());
    for (place, text) in (0u32..).zip(values) {
        places.push(*numbers.entry(text.unwrap_or_default()).or_insert_with(|| {
            first_places.push(place);
            first_places.len() as i32 - 1
        }));
    }
    let keys = texts.keys().unary(|key| places.get(key as usize).copied().unwrap_or_default());
    let values = take(values, &UInt32Array::from(first_places), None)?;
    Ok(Arc::new(DictionaryArray::<Int32Type>::try_new(keys, values)?))
}

fn digests(
    side: &EngineSide,
    table: &Table,
    rows: &RowSelection,
    merge_duplicates: bool,
    by: &DigestBy,
) -> Result<Digests, EngineError> {
    let digests = side.rows.digests(table, rows, merge_duplicates, by, &context())?;
    Ok(digests.into_iter().map(|digest| (digest.key, digest)).collect())
}

/// The keys of what only one has, or both and not the same.
fn unlike(here: &Digests, there: &Digests) -> Vec<u64> {
    let keys: BTreeSet<u64> = here.keys().chain(there.keys()).copied().collect();
    keys.into_iter().filter(|key| here.get(key) != there.get(key)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_in_a_dictionary_once() {
        let texts = |some: &[&str]| -> RecordBatch {
            let column: DictionaryArray<Int32Type> = some.iter().copied().collect();
            RecordBatch::try_from_iter([("t0", Arc::new(column) as ArrayRef)]).unwrap()
        };
        let batches = [texts(&["a", "b", "a"]), texts(&["b", "c"])];
        let batch = concat_batches(&batches[0].schema(), &batches).and_then(one_dictionary_a_column).unwrap();
        let column = batch.column(0).as_dictionary::<Int32Type>();
        assert_eq!(column.values().as_string::<i32>().iter().flatten().collect::<Vec<_>>(), ["a", "b", "c"]);
        assert_eq!(column.keys().values(), &[0, 1, 0, 1, 2]);
    }

    #[test]
    fn what_one_lacks_or_has_otherwise_is_unlike() {
        let digests = |some: &[(u64, u64)]| -> Digests {
            some.iter().map(|(key, hash)| (*key, Digest { key: *key, rows: 1, hash: *hash })).collect()
        };
        let (here, there) = (digests(&[(1, 1), (2, 2), (3, 3)]), digests(&[(2, 2), (3, 4), (5, 5)]));
        assert_eq!(unlike(&here, &there), [1, 3, 5]);
        assert!(unlike(&here, &here).is_empty());
    }
}
