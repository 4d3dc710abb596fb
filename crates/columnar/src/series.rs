//! Which series the rows of tag columns are.
//!
//! Each value of a dictionary is hashed once a body; the tag set of a row is the sum of the hashes of its values, which takes two
//! additions a tag. Only a sum that nobody has seen lately has its tag set put together. Sums have 128 bits, made with a seed of this
//! process: as many as tell tag sets apart in the series index.

use std::hash::{BuildHasher, RandomState};

use hashbrown::HashTable;
use hyperbytedb_domain::series::Tags;
use parking_lot::RwLock;
use xxhash_rust::xxh3::{xxh3_64_with_seed, xxh3_128_with_seed};

use crate::table::{Keys, TagColumn};

/// Bytes of tag sets that are kept for later bodies, in all.
const KNOWN_BYTES: usize = 32 << 20;
/// Bytes of an entry beside its tag set, about.
const ENTRY_BYTES: usize = 64;
/// Series that a body has room for from the start.
const BODY_SERIES: usize = 4096;

/// The tag sets of columns that came lately.
pub struct KnownSeries {
    seed: u64,
    /// Of one generation; as many may be there of the one before.
    max_bytes: usize,
    sets: RwLock<Generations>,
}

/// Who is not asked for while a generation fills up is forgotten.
#[derive(Default)]
struct Generations {
    young: HashTable<(u128, Tags)>,
    old: HashTable<(u128, Tags)>,
    /// Of the young.
    bytes: usize,
}

impl Default for KnownSeries {
    fn default() -> Self {
        Self::of(KNOWN_BYTES)
    }
}

impl KnownSeries {
    /// Keeps nothing.
    pub fn none() -> Self {
        Self::of(0)
    }

    fn of(bytes: usize) -> Self {
        Self { seed: RandomState::new().hash_one(0), max_bytes: bytes / 2, sets: RwLock::default() }
    }

    /// The tag sets, and which of them each row has.
    pub(crate) fn of_rows(&self, tags: &[TagColumn], rows: usize) -> (Vec<Tags>, Vec<u32>) {
        // Each sum, and the first row that has it.
        let mut distinct: Vec<(u128, usize)> = Vec::new();
        let mut series_of_row: Vec<u32> = Vec::with_capacity(rows);
        let mut number_of: HashTable<u32> = HashTable::with_capacity(rows.min(BODY_SERIES));
        let mut last: Option<(u128, u32)> = None;
        for (row, sum) in self.sums(tags, rows).into_iter().enumerate() {
            let number = match last {
                Some((other, number)) if other == sum => number,
                _ => *number_of
                    .entry(sum as u64, |&n| distinct[n as usize].0 == sum, |&n| distinct[n as usize].0 as u64)
                    .or_insert(distinct.len() as u32)
                    .get(),
            };
            if number as usize == distinct.len() {
                distinct.push((sum, row));
            }
            last = Some((sum, number));
            series_of_row.push(number);
        }
        (self.tag_sets(tags, &distinct), series_of_row)
    }

    fn tag_sets(&self, tags: &[TagColumn], distinct: &[(u128, usize)]) -> Vec<Tags> {
        let known: Vec<Option<(Tags, bool)>> = {
            let sets = self.sets.read();
            distinct.iter().map(|(sum, _)| sets.find(*sum)).collect()
        };
        let mut order: Vec<&TagColumn> = tags.iter().collect();
        order.sort_by(|a, b| a.name.cmp(&b.name));
        // What is new, or has grown old.
        let mut kept: Vec<(u128, Tags)> = Vec::new();
        let series = distinct.iter().zip(known).map(|(&(sum, row), known)| match known {
            Some((tags, true)) => tags,
            known => {
                let tags = known.map_or_else(|| tag_set(&order, row), |(tags, _)| tags);
                kept.push((sum, tags.clone()));
                tags
            }
        });
        let series = series.collect();
        if !kept.is_empty() && self.max_bytes > 0 {
            self.sets.write().keep(kept, self.max_bytes);
        }
        series
    }

    /// A tag that a row has not adds nothing.
    fn sums(&self, tags: &[TagColumn], rows: usize) -> Vec<u128> {
        let mut sums = vec![0u128; rows];
        for tag in tags {
            let seed = xxh3_64_with_seed(tag.name.as_bytes(), self.seed);
            let hash = |at: usize| match tag.values.get(at) {
                "" => 0,
                value => xxh3_128_with_seed(value.as_bytes(), seed),
            };
            match &tag.keys {
                Keys::One => {
                    let hash = hash(0);
                    sums.iter_mut().for_each(|sum| *sum = sum.wrapping_add(hash));
                }
                Keys::Codes(codes) => {
                    let hashes: Vec<u128> = (0..tag.values.len()).map(hash).collect();
                    for (sum, &code) in sums.iter_mut().zip(codes) {
                        *sum = sum.wrapping_add(hashes.get(code as usize).copied().unwrap_or(0));
                    }
                }
            }
        }
        sums
    }
}

impl Generations {
    /// The tag set of a sum, and whether it is of the young.
    fn find(&self, sum: u128) -> Option<(Tags, bool)> {
        let find = |sets: &HashTable<(u128, Tags)>| {
            sets.find(sum as u64, |(other, _)| *other == sum).map(|(_, tags)| tags.clone())
        };
        find(&self.young).map(|tags| (tags, true)).or_else(|| find(&self.old).map(|tags| (tags, false)))
    }

    fn keep(&mut self, sets: Vec<(u128, Tags)>, max_bytes: usize) {
        for (sum, tags) in sets {
            if self.young.find(sum as u64, |(other, _)| *other == sum).is_some() {
                continue;
            }
            let bytes = tags.bytes() + ENTRY_BYTES;
            if self.bytes + bytes > max_bytes {
                self.old = std::mem::take(&mut self.young);
                self.bytes = 0;
            }
            self.bytes += bytes;
            self.young.insert_unique(sum as u64, (sum, tags), |(sum, _)| *sum as u64);
        }
    }
}

fn tag_set(order: &[&TagColumn], row: usize) -> Tags {
    let pairs: Vec<(&str, &str)> = order
        .iter()
        .map(|tag| (tag.name.as_str(), tag.value(row)))
        .filter(|(_, value)| !value.is_empty())
        .collect();
    Tags::from_sorted(pairs.into_iter())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_bounded_and_what_is_asked_for_stays() {
        let set = |n: u128| (n, Tags::new(vec![("host".to_owned(), format!("{n:04}"))]));
        let bytes = set(0).1.bytes() + ENTRY_BYTES;
        let mut sets = Generations::default();
        for n in 0..100 {
            sets.keep(vec![set(n)], 10 * bytes);
            // As a body does that has the first one, too.
            if let Some((tags, false)) = sets.find(0) {
                sets.keep(vec![(0, tags)], 10 * bytes);
            }
        }
        assert!(sets.young.len() + sets.old.len() <= 20);
        assert_eq!(sets.find(0).map(|(tags, _)| tags), Some(set(0).1));
        assert_eq!(sets.find(50), None);
        assert_eq!(sets.find(99), Some((set(99).1, true)));
    }
}
