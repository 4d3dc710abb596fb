//! Tag sets and series ids.

use std::cmp::Ordering;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use serde::ser::SerializeSeq;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use smallvec::SmallVec;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// Odd, with bits all over.
const HASH_FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
/// Tag sets up to this many bytes are hashed without an allocation.
const INLINE_BYTES: usize = 256;

/// Hash of a canonical tag set. Equal on every node, so series need no coordination; collisions are
/// detected by the series index, which refuses the later series.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SeriesId(pub u64);

/// A tag set: pairs sorted by key, keys unique, no empty value (an empty value means "not tagged").
///
/// A copy is the same one: a series that many writes name has its text once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tags(Arc<TagSet>);

#[derive(Debug, PartialEq, Eq)]
struct TagSet {
    id: SeriesId,
    second_hash: u64,
    /// Key, value, key, value …
    text: Box<str>,
    /// Where each key and value ends.
    ends: SmallVec<[u32; 8]>,
}

impl Tags {
    /// Sorts the pairs and drops empty values. Keys must be unique.
    pub fn new(mut pairs: Vec<(String, String)>) -> Self {
        pairs.retain(|(_, value)| !value.is_empty());
        pairs.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        Self::from_sorted(pairs.iter().map(|(key, value)| (key.as_str(), value.as_str())))
    }

    /// Takes pairs in rising order of their keys, without empty values.
    pub fn from_sorted<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)> + Clone) -> Self {
        let (mut size, mut count) = (0, 0);
        for (key, value) in pairs.clone() {
            size += key.len() + value.len();
            count += 2;
        }
        let mut text = String::with_capacity(size);
        let mut ends = SmallVec::with_capacity(count);
        for (key, value) in pairs {
            for part in [key, value] {
                text.push_str(part);
                ends.push(text.len() as u32);
            }
        }
        let (id, second_hash) = (series_id(&text, &ends), second_hash(&text, &ends));
        Self(Arc::new(TagSet { id, second_hash, text: text.into_boxed_str(), ends }))
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        (0..self.len()).map(|tag| self.pair(tag))
    }

    fn pair(&self, tag: usize) -> (&str, &str) {
        let TagSet { text, ends, .. } = &*self.0;
        let start = if tag == 0 { 0 } else { ends[2 * tag - 1] as usize };
        let (middle, end) = (ends[2 * tag] as usize, ends[2 * tag + 1] as usize);
        (&text[start..middle], &text[middle..end])
    }

    /// Whether both have values of the same keys.
    pub fn has_keys_of(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().zip(other.iter()).all(|((a, _), (b, _))| a == b)
    }

    pub fn get(&self, key: &str) -> Option<&str> {
        self.iter().find(|(k, _)| *k == key).map(|(_, value)| value)
    }

    pub fn len(&self) -> usize {
        self.0.ends.len() / 2
    }

    pub fn is_empty(&self) -> bool {
        self.0.ends.is_empty()
    }

    pub fn series_id(&self) -> SeriesId {
        self.0.id
    }

    /// A hash that tells apart tag sets of one id, made in another way.
    pub fn second_hash(&self) -> u64 {
        self.0.second_hash
    }

    /// Memory held, in bytes, about, as if nobody shared it.
    pub fn bytes(&self) -> usize {
        size_of::<Self>() + size_of::<TagSet>() + self.0.text.len()
    }

    /// The series key as InfluxDB prints it: `measurement,k=v,…` with commas, spaces and equal signs
    /// escaped by a backslash.
    pub fn series_key(&self, measurement: &str) -> String {
        let mut key = String::with_capacity(measurement.len() + self.0.text.len() + self.0.ends.len());
        push_escaped(&mut key, measurement, &[',', ' ']);
        for (k, v) in self.iter() {
            key.push(',');
            push_escaped(&mut key, k, &[',', ' ', '=']);
            key.push('=');
            push_escaped(&mut key, v, &[',', ' ', '=']);
        }
        key
    }
}

fn second_hash(text: &str, ends: &[u32]) -> u64 {
    let seed = ends.iter().fold(0u64, |seed, &end| (seed ^ u64::from(end)).wrapping_mul(HASH_FACTOR));
    xxh3_64_with_seed(text.as_bytes(), seed)
}

/// A hash over length-prefixed keys and values, so that no two tag sets encode alike.
fn series_id(text: &str, ends: &[u32]) -> SeriesId {
    let size = text.len() + size_of_val(ends);
    let (mut inline, mut allocated) = ([0; INLINE_BYTES], Vec::new());
    let encoded = match inline.get_mut(..size) {
        Some(inline) => inline,
        None => {
            allocated.resize(size, 0);
            allocated.as_mut_slice()
        }
    };
    let (mut start, mut rest) = (0, &mut *encoded);
    for &end in ends {
        let part = &text.as_bytes()[start as usize..end as usize];
        let (length, behind) = rest.split_at_mut(size_of::<u32>());
        length.copy_from_slice(&(end - start).to_le_bytes());
        let (bytes, behind) = behind.split_at_mut(part.len());
        bytes.copy_from_slice(part);
        (start, rest) = (end, behind);
    }
    SeriesId(xxh3_64(encoded))
}

impl Default for Tags {
    fn default() -> Self {
        Self::from_sorted(std::iter::empty())
    }
}

impl Hash for Tags {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.id.hash(state);
    }
}

impl Ord for Tags {
    fn cmp(&self, other: &Self) -> Ordering {
        self.iter().cmp(other.iter())
    }
}

impl PartialOrd for Tags {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Stored and sent as a list of pairs.
impl Serialize for Tags {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut pairs = serializer.serialize_seq(Some(self.len()))?;
        for pair in self.iter() {
            pairs.serialize_element(&pair)?;
        }
        pairs.end()
    }
}

impl<'de> Deserialize<'de> for Tags {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Vec::deserialize(deserializer).map(Self::new)
    }
}

fn push_escaped(out: &mut String, text: &str, special: &[char]) {
    for c in text.chars() {
        if special.contains(&c) {
            out.push('\\');
        }
        out.push(c);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags(pairs: &[(&str, &str)]) -> Tags {
        Tags::new(pairs.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect())
    }

    #[test]
    fn order_and_empty_values_do_not_matter() {
        let a = tags(&[("host", "a"), ("region", ""), ("dc", "x")]);
        let b = tags(&[("dc", "x"), ("host", "a")]);
        assert_eq!(a, b);
        assert_eq!(a.series_id(), b.series_id());
        assert_eq!(a.get("host"), Some("a"));
        assert_eq!(a.get("region"), None);
    }

    #[test]
    fn order_is_that_of_the_pairs() {
        let sorted = [
            tags(&[]),
            tags(&[("a", "b")]),
            tags(&[("a", "b"), ("c", "d")]),
            tags(&[("a", "bb")]),
            tags(&[("ab", "a")]),
        ];
        assert!(sorted.is_sorted());
    }

    #[test]
    fn lengths_keep_neighbours_apart() {
        assert_ne!(tags(&[("a", "bc")]).series_id(), tags(&[("ab", "c")]).series_id());
    }

    #[test]
    fn series_keys_are_escaped() {
        assert_eq!(tags(&[("a b", "c=d,e")]).series_key("m, x"), "m\\,\\ x,a\\ b=c\\=d\\,e");
    }
}
