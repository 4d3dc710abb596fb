//! Tag sets and series ids.

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

/// Hash of a canonical tag set. Equal on every node, so series need no coordination; collisions are
/// detected by the series index, which refuses the later series.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SeriesId(pub u64);

/// A tag set: pairs sorted by key, keys unique, no empty value (an empty value means "not tagged").
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Tags(Vec<(String, String)>);

impl Tags {
    /// Sorts the pairs and drops empty values. Keys must be unique.
    pub fn new(mut pairs: Vec<(String, String)>) -> Self {
        pairs.retain(|(_, value)| !value.is_empty());
        pairs.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        Self(pairs)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(k, v)| (k.as_str(), v.as_str()))
    }

    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.binary_search_by(|(k, _)| k.as_str().cmp(key)).ok().map(|i| self.0[i].1.as_str())
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The id: a hash over length-prefixed keys and values, so that no two tag sets encode alike.
    pub fn series_id(&self) -> SeriesId {
        let size = self.0.iter().map(|(k, v)| k.len() + v.len() + 8).sum();
        let mut buf = Vec::with_capacity(size);
        for (k, v) in &self.0 {
            for part in [k, v] {
                buf.extend_from_slice(&(part.len() as u32).to_le_bytes());
                buf.extend_from_slice(part.as_bytes());
            }
        }
        SeriesId(xxh3_64(&buf))
    }

    /// The series key as InfluxDB prints it: `measurement,k=v,…` with commas, spaces and equal signs
    /// escaped by a backslash.
    pub fn series_key(&self, measurement: &str) -> String {
        let mut key = String::with_capacity(measurement.len() + 16 * self.0.len());
        push_escaped(&mut key, measurement, &[',', ' ']);
        for (k, v) in &self.0 {
            key.push(',');
            push_escaped(&mut key, k, &[',', ' ', '=']);
            key.push('=');
            push_escaped(&mut key, v, &[',', ' ', '=']);
        }
        key
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
    fn lengths_keep_neighbours_apart() {
        assert_ne!(tags(&[("a", "bc")]).series_id(), tags(&[("ab", "c")]).series_id());
    }

    #[test]
    fn series_keys_are_escaped() {
        assert_eq!(tags(&[("a b", "c=d,e")]).series_key("m, x"), "m\\,\\ x,a\\ b=c\\=d\\,e");
    }
}
