//! Making series known.

use hashbrown::HashMap;
use hyperbytedb_domain::catalog::Table;
use hyperbytedb_domain::ports::SeriesRefusal;
use hyperbytedb_domain::{SeriesId, StorageError, Tags};
use hyperbytedb_metrics as metrics;
use rocksdb::WriteBatch;

use super::counts::{self, Counts, TableCounts};
use super::keys::{chunk_key, id_key, ordered_key, push_ids, push_tags, value_prefix};
use super::{BY_ID, BY_TAGS, Limits, POSTINGS, RocksSeriesIndex, UNLOGGED};
use crate::database::Durability;

/// Series in a value's chunk 0, which is read to see whether the value exists.
const FIRST_CHUNK_SERIES: usize = 8;
/// Series in a further chunk, which is rewritten when one of them goes.
const CHUNK_SERIES_MAX: usize = 8192;

/// Whether each series is new.
type Answers = Vec<Result<bool, SeriesRefusal>>;

/// A series that the cache does not know.
struct Candidate<'a> {
    /// Where its answer goes.
    position: usize,
    id: SeriesId,
    tags: &'a Tags,
    second_hash: u64,
    encoded: Vec<u8>,
    /// Positions of its pairs in [`Pairs::list`].
    pairs: Vec<usize>,
}

/// A tag and its value, with the new series that have them.
struct Pair<'a> {
    key: &'a str,
    value: &'a str,
    prefix: Vec<u8>,
    exists: bool,
    series: Vec<SeriesId>,
}

/// `limits`: none for series that are in the log.
pub(super) fn register(
    index: &RocksSeriesIndex,
    table: &Table,
    series: &[(SeriesId, &Tags)],
    limits: Option<Limits>,
) -> Result<Answers, StorageError> {
    let mut answers: Answers = vec![Ok(false); series.len()];
    let mut unknown = Vec::new();
    for (position, &(id, tags)) in series.iter().enumerate() {
        let second_hash = tags.second_hash();
        if index.known.get(&(table.id, id)) != Some(second_hash) {
            let mut encoded = Vec::new();
            push_tags(&mut encoded, tags);
            unknown.push(Candidate { position, id, tags, second_hash, encoded, pairs: Vec::new() });
        }
    }
    metrics::SERIES_CACHE_HITS.increment((series.len() - unknown.len()) as u64);
    metrics::SERIES_CACHE_MISSES.increment(unknown.len() as u64);
    if !unknown.is_empty() {
        let mut counts = index.counts.lock();
        register_unknown(index, table, unknown, limits, &mut counts, &mut answers)?;
    }
    Ok(answers)
}

fn register_unknown(
    index: &RocksSeriesIndex,
    table: &Table,
    candidates: Vec<Candidate>,
    limits: Option<Limits>,
    counts: &mut Counts,
    answers: &mut Answers,
) -> Result<(), StorageError> {
    let (mut new, duplicates) = without_duplicates(candidates);
    new = without_stored(index, table, new, answers)?;
    let mut pairs = pairs_of(index, table, &mut new)?;
    if let Some(limits) = limits {
        new = within_value_limit(limits.values_per_tag, table, new, &pairs, counts, answers);
        new = within_series_limit(limits.series_per_database, table, new, counts, answers);
    }
    if !new.is_empty() {
        for series in &new {
            series.pairs.iter().for_each(|&pair| pairs[pair].series.push(series.id));
        }
        let mut changed = counts.copy(table);
        store(index, table, &new, limits.is_none(), &mut pairs, &mut changed)?;
        counts.set(table.id, Some(changed));
        for series in &new {
            index.known.insert((table.id, series.id), series.second_hash);
            answers[series.position] = Ok(true);
        }
    }
    for duplicate in duplicates {
        answers[duplicate.candidate.position] = if duplicate.same_tags {
            answers[duplicate.first].clone().map(|_| false)
        } else {
            Err(collision(table, &duplicate.candidate))
        };
    }
    Ok(())
}

/// A candidate whose id came before in the same call.
struct Duplicate<'a> {
    candidate: Candidate<'a>,
    first: usize,
    same_tags: bool,
}

/// Sorts the candidates by id, in the order of the call where ids are equal, and takes out all but the first of each.
fn without_duplicates(mut candidates: Vec<Candidate>) -> (Vec<Candidate>, Vec<Duplicate>) {
    candidates.sort_by_key(|candidate| (candidate.id, candidate.position));
    let mut firsts: Vec<Candidate> = Vec::with_capacity(candidates.len());
    let mut duplicates = Vec::new();
    for candidate in candidates {
        match firsts.last() {
            Some(first) if first.id == candidate.id => {
                let same_tags = first.encoded == candidate.encoded;
                duplicates.push(Duplicate { first: first.position, same_tags, candidate });
            }
            _ => firsts.push(candidate),
        }
    }
    (firsts, duplicates)
}

/// Takes out the series that are stored already, be it under other tags.
fn without_stored<'a>(
    index: &RocksSeriesIndex,
    table: &Table,
    candidates: Vec<Candidate<'a>>,
    answers: &mut Answers,
) -> Result<Vec<Candidate<'a>>, StorageError> {
    let keys: Vec<_> = candidates.iter().map(|candidate| id_key(table.id, candidate.id)).collect();
    let stored = index.db.raw().batched_multi_get_cf(index.db.family(BY_ID)?, &keys, true);
    let mut new = Vec::with_capacity(candidates.len());
    for (candidate, stored) in candidates.into_iter().zip(stored) {
        match stored.map_err(|error| index.db.failure("look up series", error))? {
            None => new.push(candidate),
            Some(tags) if *tags == *candidate.encoded => {
                index.known.insert((table.id, candidate.id), candidate.second_hash);
            }
            Some(_) => answers[candidate.position] = Err(collision(table, &candidate)),
        }
    }
    Ok(new)
}

fn collision(table: &Table, candidate: &Candidate) -> SeriesRefusal {
    SeriesRefusal::Collision(candidate.tags.series_key(&table.measurement))
}

/// The distinct pairs of the series, in the order of their keys, and whether each exists.
fn pairs_of<'a>(
    index: &RocksSeriesIndex,
    table: &Table,
    series: &mut [Candidate<'a>],
) -> Result<Vec<Pair<'a>>, StorageError> {
    let mut number_of: HashMap<(&str, &str), usize> = HashMap::new();
    let mut pairs = Vec::new();
    for candidate in series {
        for (key, value) in candidate.tags.iter() {
            let number = *number_of.entry((key, value)).or_insert_with(|| {
                let prefix = value_prefix(table.id, key, value);
                pairs.push(Pair { key, value, prefix, exists: false, series: Vec::new() });
                pairs.len() - 1
            });
            candidate.pairs.push(number);
        }
    }
    let mut order: Vec<usize> = (0..pairs.len()).collect();
    order.sort_unstable_by(|&a, &b| pairs[a].prefix.cmp(&pairs[b].prefix));
    let keys: Vec<_> = order.iter().map(|&number| chunk_key(&pairs[number].prefix, 0)).collect();
    let found = index.db.raw().batched_multi_get_cf(index.db.family(POSTINGS)?, &keys, true);
    for (number, found) in order.into_iter().zip(found) {
        pairs[number].exists =
            found.map_err(|error| index.db.failure("look up tag values", error))?.is_some();
    }
    Ok(pairs)
}

/// Refuses series with a new value of a tag that had reached its limit before the call.
fn within_value_limit<'a>(
    limit: u64,
    table: &Table,
    series: Vec<Candidate<'a>>,
    pairs: &[Pair],
    counts: &Counts,
    answers: &mut Answers,
) -> Vec<Candidate<'a>> {
    let Some(counts) = counts.table(table.id).filter(|_| limit > 0) else { return series };
    let keep = |candidate: &Candidate| {
        let full =
            candidate.pairs.iter().map(|&pair| &pairs[pair]).filter(|pair| !pair.exists).find_map(|pair| {
                let count = counts.values.get(pair.key).copied().unwrap_or(0);
                (count >= limit).then_some((count, pair))
            });
        let Some((count, pair)) = full else { return true };
        answers[candidate.position] = Err(SeriesRefusal::MaxValuesPerTag {
            count,
            limit,
            measurement: table.measurement.clone(),
            tag: pair.key.to_owned(),
            value: pair.value.to_owned(),
        });
        false
    };
    series.into_iter().filter(keep).collect()
}

/// Refuses all series when they do not all fit the database.
fn within_series_limit<'a>(
    limit: u64,
    table: &Table,
    series: Vec<Candidate<'a>>,
    counts: &Counts,
    answers: &mut Answers,
) -> Vec<Candidate<'a>> {
    if limit == 0 || counts.database_series(&table.database) + series.len() as u64 <= limit {
        return series;
    }
    for candidate in &series {
        answers[candidate.position] = Err(SeriesRefusal::MaxSeriesPerDatabase { limit });
    }
    Vec::new()
}

/// Writes the new series in one batch.
fn store(
    index: &RocksSeriesIndex,
    table: &Table,
    series: &[Candidate],
    is_logged: bool,
    pairs: &mut [Pair],
    changed: &mut TableCounts,
) -> Result<(), StorageError> {
    let mut batch = WriteBatch::default();
    let by_id = index.db.family(BY_ID)?;
    for candidate in series {
        batch.put_cf(by_id, id_key(table.id, candidate.id), &candidate.encoded);
    }
    let by_tags = index.db.family(BY_TAGS)?;
    let mut ordered: Vec<&Candidate> = series.iter().collect();
    ordered.sort_unstable_by(|a, b| a.encoded.cmp(&b.encoded));
    for candidate in ordered {
        batch.put_cf(by_tags, ordered_key(table.id, &candidate.encoded), candidate.id.0.to_be_bytes());
    }
    let postings = index.db.family(POSTINGS)?;
    pairs.sort_unstable_by(|a, b| a.prefix.cmp(&b.prefix));
    let mut ids = Vec::new();
    let mut put_chunk = |prefix: &[u8], number: u64, series: &[SeriesId]| {
        ids.clear();
        push_ids(&mut ids, series);
        batch.put_cf(postings, chunk_key(prefix, number), &ids);
    };
    for pair in pairs.iter().filter(|pair| !pair.series.is_empty()) {
        let mut later = pair.series.as_slice();
        if !pair.exists {
            let first;
            (first, later) = later.split_at(later.len().min(FIRST_CHUNK_SERIES));
            put_chunk(&pair.prefix, 0, first);
            changed.add_values(pair.key, 1);
        }
        for chunk in later.chunks(CHUNK_SERIES_MAX) {
            put_chunk(&pair.prefix, changed.next_chunk, chunk);
            changed.next_chunk += 1;
        }
    }
    if let (false, Some(least)) = (is_logged, series.first()) {
        let mut ids = Vec::new();
        push_ids(&mut ids, &series.iter().map(|series| series.id).collect::<Vec<_>>());
        batch.put_cf(index.db.family(UNLOGGED)?, id_key(table.id, least.id), ids);
    }
    changed.series += series.len() as u64;
    counts::store(&index.db, &mut batch, table.id, changed)?;
    index.db.write(batch, Durability::Process, "register series")
}
