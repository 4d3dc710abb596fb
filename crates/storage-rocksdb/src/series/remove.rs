//! Forgetting series.

use std::collections::{BTreeMap, HashSet};

use hyperbytedb_domain::catalog::Table;
use hyperbytedb_domain::{SeriesId, StorageError};
use rocksdb::{DBRawIterator, WriteBatch};

use super::counts::{self, TableCounts};
use super::keys::{chunk_key, id_key, ordered_key, push_ids, push_tags, read_ids, table_range, value_prefix};
use super::read::look_up;
use super::{BY_ID, BY_TAGS, POSTINGS, RocksSeriesIndex};
use crate::database::Durability;

/// Series removed in one write batch.
const BATCH_SERIES: usize = 16_384;

pub(super) fn remove_series(
    index: &RocksSeriesIndex,
    table: &Table,
    series: &[SeriesId],
) -> Result<(), StorageError> {
    let mut sorted = series.to_vec();
    sorted.sort_unstable();
    sorted.dedup();
    sorted.chunks(BATCH_SERIES).try_for_each(|part| remove_batch(index, table, part))
}

fn remove_batch(index: &RocksSeriesIndex, table: &Table, series: &[SeriesId]) -> Result<(), StorageError> {
    let mut counts = index.counts.lock();
    let mut changed = counts.copy(table);
    let mut batch = WriteBatch::default();
    let (by_id, by_tags) = (index.db.family(BY_ID)?, index.db.family(BY_TAGS)?);
    let mut pairs: BTreeMap<(String, String), HashSet<SeriesId>> = BTreeMap::new();
    for (&id, tags) in series.iter().zip(look_up(index, table.id, series)?) {
        let Some(tags) = tags else { continue };
        let mut encoded = Vec::new();
        push_tags(&mut encoded, &tags);
        batch.delete_cf(by_id, id_key(table.id, id));
        batch.delete_cf(by_tags, ordered_key(table.id, &encoded));
        changed.series = changed.series.saturating_sub(1);
        for (key, value) in tags.iter() {
            pairs.entry((key.to_owned(), value.to_owned())).or_default().insert(id);
        }
    }
    let (from, to) = table_range(table.id);
    let mut entries = index.db.entries(index.db.family(POSTINGS)?, &from, &to);
    for ((key, value), gone) in pairs {
        remove_postings(index, table, &mut entries, (&key, &value), &gone, &mut batch, &mut changed)?;
    }
    if !batch.is_empty() {
        counts::store(&index.db, &mut batch, table.id, &changed)?;
        index.db.write(batch, Durability::Process, "remove series")?;
        counts.set(table.id, Some(changed));
    }
    for &id in series {
        index.known.remove(&(table.id, id));
    }
    Ok(())
}

/// Rewrites the chunks of a pair that hold `gone`; without any series left, the value goes too.
fn remove_postings(
    index: &RocksSeriesIndex,
    table: &Table,
    entries: &mut DBRawIterator,
    (key, value): (&str, &str),
    gone: &HashSet<SeriesId>,
    batch: &mut WriteBatch,
    changed: &mut TableCounts,
) -> Result<(), StorageError> {
    let prefix = value_prefix(table.id, key, value);
    let first_chunk = chunk_key(&prefix, 0);
    let postings = index.db.family(POSTINGS)?;
    let mut series_left = false;
    entries.seek(&prefix);
    while let Some((chunk, ids)) = entries.item().filter(|(chunk, _)| chunk.starts_with(&prefix)) {
        let before = read_ids(ids).ok_or_else(|| index.corrupt(table.id, "misshaped posting"))?;
        let after: Vec<SeriesId> = before.iter().copied().filter(|id| !gone.contains(id)).collect();
        series_left |= !after.is_empty();
        if after.is_empty() && chunk != first_chunk {
            batch.delete_cf(postings, chunk);
        } else if after.len() < before.len() {
            let mut ids = Vec::with_capacity(ids.len());
            push_ids(&mut ids, &after);
            batch.put_cf(postings, chunk, ids);
        }
        entries.next();
    }
    entries.status().map_err(|error| index.db.failure("read postings", error))?;
    if !series_left {
        batch.delete_cf(postings, first_chunk);
        changed.remove_value(key);
    }
    Ok(())
}
