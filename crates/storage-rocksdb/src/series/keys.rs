//! Keys of the series index. All start with the table's id, big-endian.
//!
//! Texts are written so that keys order bytewise as the texts do and no text is a prefix of another: NUL becomes
//! `00 FF`, and `00 01` ends the text. A tag set is its keys and values one after the other, which orders
//! tag sets as InfluxDB orders series: pair by pair, a set before its extensions.

use hyperbytedb_domain::catalog::TableId;
use hyperbytedb_domain::{SeriesId, Tags};

pub(super) const TABLE_BYTES: usize = 8;
const SERIES_ID_BYTES: usize = 8;
const CHUNK_BYTES: usize = 8;

const ESCAPE: u8 = 0;
const ESCAPED_NUL: u8 = u8::MAX;
const END_OF_TEXT: u8 = 1;

/// Behind all keys.
pub(super) const END: [u8; TABLE_BYTES + 1] = [u8::MAX; TABLE_BYTES + 1];

/// All keys of a table, end excluded.
pub(super) fn table_range(table: TableId) -> ([u8; TABLE_BYTES], [u8; TABLE_BYTES]) {
    (table.0.to_be_bytes(), table.0.saturating_add(1).to_be_bytes())
}

pub(super) fn push_text(out: &mut Vec<u8>, text: &str) {
    if text.as_bytes().contains(&ESCAPE) {
        for &byte in text.as_bytes() {
            out.push(byte);
            if byte == ESCAPE {
                out.push(ESCAPED_NUL);
            }
        }
    } else {
        out.extend_from_slice(text.as_bytes());
    }
    out.extend_from_slice(&[ESCAPE, END_OF_TEXT]);
}

pub(super) fn push_tags(out: &mut Vec<u8>, tags: &Tags) {
    for (key, value) in tags.iter() {
        push_text(out, key);
        push_text(out, value);
    }
}

/// Takes a text off the front; `None` when there is none.
pub(super) fn take_text(bytes: &mut &[u8]) -> Option<String> {
    let mut text = Vec::new();
    loop {
        let at = bytes.iter().position(|&byte| byte == ESCAPE)?;
        text.extend_from_slice(&bytes[..at]);
        let after = *bytes.get(at + 1)?;
        *bytes = &bytes[at + 2..];
        match after {
            END_OF_TEXT => return String::from_utf8(text).ok(),
            ESCAPED_NUL => text.push(ESCAPE),
            _ => return None,
        }
    }
}

pub(super) fn read_tags(mut bytes: &[u8]) -> Option<Tags> {
    let mut pairs = Vec::new();
    while !bytes.is_empty() {
        pairs.push((take_text(&mut bytes)?, take_text(&mut bytes)?));
    }
    Some(Tags::new(pairs))
}

/// Key of a series in the order of ids.
pub(super) fn id_key(table: TableId, series: SeriesId) -> [u8; TABLE_BYTES + SERIES_ID_BYTES] {
    let mut key = [0; TABLE_BYTES + SERIES_ID_BYTES];
    key[..TABLE_BYTES].copy_from_slice(&table.0.to_be_bytes());
    key[TABLE_BYTES..].copy_from_slice(&series.0.to_be_bytes());
    key
}

/// Key of a series in the order of tag sets.
pub(super) fn ordered_key(table: TableId, encoded_tags: &[u8]) -> Vec<u8> {
    [&table.0.to_be_bytes()[..], encoded_tags].concat()
}

/// What the posting keys of a tag share.
pub(super) fn tag_prefix(table: TableId, key: &str) -> Vec<u8> {
    let mut prefix = table.0.to_be_bytes().to_vec();
    push_text(&mut prefix, key);
    prefix
}

/// What the posting keys of a tag value share.
pub(super) fn value_prefix(table: TableId, key: &str, value: &str) -> Vec<u8> {
    let mut prefix = tag_prefix(table, key);
    push_text(&mut prefix, value);
    prefix
}

pub(super) fn chunk_key(value_prefix: &[u8], chunk: u64) -> Vec<u8> {
    [value_prefix, &chunk.to_be_bytes()].concat()
}

/// The prefix of the value that a posting key belongs to.
pub(super) fn prefix_of_chunk_key(key: &[u8]) -> Option<&[u8]> {
    Some(key.split_at_checked(key.len().checked_sub(CHUNK_BYTES)?)?.0)
}

/// The first key after all that start with `prefix`, a prefix that ends with a text.
pub(super) fn end_of_text_prefix(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    if let Some(last) = end.last_mut() {
        *last = END_OF_TEXT + 1;
    }
    end
}

pub(super) fn push_ids(out: &mut Vec<u8>, ids: &[SeriesId]) {
    for id in ids {
        out.extend_from_slice(&id.0.to_be_bytes());
    }
}

pub(super) fn read_id(bytes: &[u8]) -> Option<SeriesId> {
    bytes.try_into().ok().map(|id| SeriesId(u64::from_be_bytes(id)))
}

pub(super) fn read_ids(bytes: &[u8]) -> Option<Vec<SeriesId>> {
    let (ids, rest) = bytes.as_chunks::<SERIES_ID_BYTES>();
    rest.is_empty().then(|| ids.iter().map(|id| SeriesId(u64::from_be_bytes(*id))).collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn arbitrary_tags() -> impl Strategy<Value = Tags> {
        let text = prop_oneof!["[a\0\u{1}\u{ff}é,= -]{0,4}", ".{0,8}"];
        prop::collection::btree_map(text.clone(), text, 0..5)
            .prop_map(|pairs| Tags::new(pairs.into_iter().collect()))
    }

    fn encoded(tags: &Tags) -> Vec<u8> {
        let mut out = Vec::new();
        push_tags(&mut out, tags);
        out
    }

    proptest! {
        #[test]
        fn tag_sets_come_back(tags in arbitrary_tags()) {
            prop_assert_eq!(read_tags(&encoded(&tags)), Some(tags));
        }

        #[test]
        fn keys_order_as_tag_sets(a in arbitrary_tags(), b in arbitrary_tags()) {
            prop_assert_eq!(encoded(&a).cmp(&encoded(&b)), a.cmp(&b));
        }

        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(prop_oneof![Just(0u8), Just(1), any::<u8>()], 0..64)) {
            let _ = read_tags(&bytes);
            let _ = read_ids(&bytes);
        }
    }
}
