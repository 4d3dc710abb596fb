//! Reading the index.

use std::ops::ControlFlow;

use hyperbytedb_domain::catalog::TableId;
use hyperbytedb_domain::{SeriesId, StorageError, Tags};

use super::keys::{
    TABLE_BYTES, end_of_text_prefix, id_key, prefix_of_chunk_key, read_id, read_ids, read_tags, table_range,
    tag_prefix, take_text, value_prefix,
};
use super::{BY_ID, BY_TAGS, POSTINGS, RocksSeriesIndex};

/// Series looked up together.
const LOOK_UP_SERIES: usize = 1024;

pub(super) fn for_each_series(
    index: &RocksSeriesIndex,
    table: TableId,
    visit: &mut dyn FnMut(SeriesId, &Tags) -> ControlFlow<()>,
) -> Result<(), StorageError> {
    let (from, to) = table_range(table);
    index.db.walk(index.db.family(BY_TAGS)?, &from, &to, |key, value| {
        let tags = key.get(TABLE_BYTES..).and_then(read_tags);
        let (Some(tags), Some(series)) = (tags, read_id(value)) else {
            return Err(index.corrupt(table, "misshaped entry in the order of tags"));
        };
        Ok(visit(series, &tags).is_continue())
    })
}

pub(super) fn for_each_tag_value(
    index: &RocksSeriesIndex,
    table: TableId,
    key: &str,
    visit: &mut dyn FnMut(&str) -> ControlFlow<()>,
) -> Result<(), StorageError> {
    let from = tag_prefix(table, key);
    let family = index.db.family(POSTINGS)?;
    let mut entries = index.db.entries(family, &from, &end_of_text_prefix(&from));
    let mut previous: Vec<u8> = Vec::new();
    entries.seek_to_first();
    while let Some(entry) = entries.key() {
        let misshaped = || index.corrupt(table, "misshaped posting");
        let prefix = prefix_of_chunk_key(entry).ok_or_else(misshaped)?;
        if prefix == previous {
            // A value of many chunks: leap over them.
            entries.seek(end_of_text_prefix(&previous));
            continue;
        }
        let value =
            prefix.get(from.len()..).and_then(|mut rest| take_text(&mut rest)).ok_or_else(misshaped)?;
        if visit(&value).is_break() {
            return Ok(());
        }
        previous.clear();
        previous.extend_from_slice(prefix);
        entries.next();
    }
    entries.status().map_err(|error| index.db.failure("read tag values", error))
}

pub(super) fn for_each_series_with_tag(
    index: &RocksSeriesIndex,
    table: TableId,
    key: &str,
    value: &str,
    visit: &mut dyn FnMut(SeriesId, &Tags) -> ControlFlow<()>,
) -> Result<(), StorageError> {
    let from = value_prefix(table, key, value);
    let mut waiting: Vec<SeriesId> = Vec::new();
    let mut going = true;
    index.db.walk(index.db.family(POSTINGS)?, &from, &end_of_text_prefix(&from), |_, ids| {
        waiting.extend(read_ids(ids).ok_or_else(|| index.corrupt(table, "misshaped posting"))?);
        if waiting.len() >= LOOK_UP_SERIES {
            going = visit_by_id(index, table, &mut waiting, visit)?.is_continue();
        }
        Ok(going)
    })?;
    if going {
        let _ = visit_by_id(index, table, &mut waiting, visit)?;
    }
    Ok(())
}

pub(super) fn series_with_tag(
    index: &RocksSeriesIndex,
    table: TableId,
    key: &str,
    value: &str,
    max: usize,
) -> Result<Option<Vec<SeriesId>>, StorageError> {
    let from = value_prefix(table, key, value);
    let mut series: Vec<SeriesId> = Vec::new();
    index.db.walk(index.db.family(POSTINGS)?, &from, &end_of_text_prefix(&from), |_, ids| {
        series.extend(read_ids(ids).ok_or_else(|| index.corrupt(table, "misshaped posting"))?);
        Ok(series.len() <= max)
    })?;
    Ok((series.len() <= max).then_some(series))
}

/// Empties `series`, visiting each. One that has gone meanwhile is left out.
fn visit_by_id(
    index: &RocksSeriesIndex,
    table: TableId,
    series: &mut Vec<SeriesId>,
    visit: &mut dyn FnMut(SeriesId, &Tags) -> ControlFlow<()>,
) -> Result<ControlFlow<()>, StorageError> {
    series.sort_unstable();
    for part in series.chunks(LOOK_UP_SERIES) {
        for (&id, tags) in part.iter().zip(look_up(index, table, part)?) {
            let Some(tags) = tags else { continue };
            if visit(id, &tags).is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
    }
    series.clear();
    Ok(ControlFlow::Continue(()))
}

/// The tags of the series, which are sorted; `None` for those that are not known.
pub(super) fn look_up(
    index: &RocksSeriesIndex,
    table: TableId,
    series: &[SeriesId],
) -> Result<Vec<Option<Tags>>, StorageError> {
    let keys = series.iter().map(|&id| id_key(table, id)).collect::<Vec<_>>();
    let found = index.db.raw().batched_multi_get_cf(index.db.family(BY_ID)?, &keys, true);
    found
        .into_iter()
        .map(|found| match found.map_err(|error| index.db.failure("look up series", error))? {
            Some(tags) => read_tags(&tags).map(Some).ok_or_else(|| index.corrupt(table, "misshaped tag set")),
            None => Ok(None),
        })
        .collect()
}
