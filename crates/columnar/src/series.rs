//! Which series the rows of tag columns are.
//!
//! Each value of a dictionary is hashed once a body; the tag set of a row is the sum of the hashes of its values, which takes two
//! additions a tag. Only a sum that nobody has seen has its tag set put together. Sums have 128 bits, made with a seed of this
//! process: as many as tell tag sets apart in the series index.

use std::hash::{BuildHasher, RandomState};

use hashbrown::HashTable;
use hyperbytedb_domain::series::Tags;
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use xxhash_rust::xxh3::{xxh3_64_with_seed, xxh3_128_with_seed};

use crate::table::{Keys, TagColumn};

/// Bytes of tag sets that are kept for later bodies.
const KNOWN_BYTES: u64 = 32 << 20;
/// Bytes of an entry beside its tag set, about.
const ENTRY_BYTES: usize = 64;
const KNOWN_SERIES: usize = 100_000;
/// Series that a body has room for from the start.
const BODY_SERIES: usize = 4096;

/// The tag sets of columns that came lately.
pub struct KnownSeries {
    seed: u64,
    sets: Option<Cache<u128, Tags, TagBytes>>,
}

#[derive(Clone)]
struct TagBytes;

impl Weighter<u128, Tags> for TagBytes {
    fn weight(&self, _: &u128, tags: &Tags) -> u64 {
        (tags.bytes() + ENTRY_BYTES) as u64
    }
}

impl Default for KnownSeries {
    fn default() -> Self {
        Self { sets: Some(Cache::with_weighter(KNOWN_SERIES, KNOWN_BYTES, TagBytes)), ..Self::none() }
    }
}

impl KnownSeries {
    /// Keeps nothing.
    pub fn none() -> Self {
        Self { seed: RandomState::new().hash_one(0), sets: None }
    }

    /// The tag sets, and which of them each row has.
    pub(crate) fn of_rows(&self, tags: &[TagColumn], rows: usize) -> (Vec<Tags>, Vec<u32>) {
        let mut series: Vec<Tags> = Vec::new();
        let mut series_of_row: Vec<u32> = Vec::with_capacity(rows);
        let mut number_of: HashTable<(u128, u32)> = HashTable::with_capacity(rows.min(BODY_SERIES));
        let mut order: Vec<&TagColumn> = tags.iter().collect();
        order.sort_by(|a, b| a.name.cmp(&b.name));
        let mut last: Option<(u128, u32)> = None;
        for (row, sum) in self.sums(tags, rows).into_iter().enumerate() {
            let known = last.filter(|(other, _)| *other == sum);
            let known = known.or_else(|| number_of.find(sum as u64, |(other, _)| *other == sum).copied());
            let (_, number) = *last.insert(known.unwrap_or_else(|| {
                series.push(self.tags(sum, &order, row));
                let new = (sum, series.len() as u32 - 1);
                number_of.insert_unique(sum as u64, new, |(sum, _)| *sum as u64);
                new
            }));
            series_of_row.push(number);
        }
        (series, series_of_row)
    }

    fn tags(&self, sum: u128, order: &[&TagColumn], row: usize) -> Tags {
        if let Some(known) = self.sets.as_ref().and_then(|sets| sets.get(&sum)) {
            return known;
        }
        let pairs: Vec<(&str, &str)> = order
            .iter()
            .map(|tag| (tag.name.as_str(), tag.value(row)))
            .filter(|(_, value)| !value.is_empty())
            .collect();
        let tags = Tags::from_sorted(pairs.into_iter());
        if let Some(sets) = &self.sets {
            sets.insert(sum, tags.clone());
        }
        tags
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
                Keys::Each => {
                    sums.iter_mut().enumerate().for_each(|(row, sum)| *sum = sum.wrapping_add(hash(row)));
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
