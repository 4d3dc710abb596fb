//! Reads the files of InfluxDB 1.x, and nothing else: TSM files with their tombstones, WAL segments, `meta.db`, portable
//! backups. It writes no file and opens none for writing, but for the shards that it unpacks from a backup.
//!
//! * [`block`]: the encodings of times and values.
//! * [`tsm`], [`tombstones`], [`wal`]: one file each.
//! * [`shard`]: all files of a shard as what InfluxDB answers from them: series by series, later files over earlier
//!   ones, the WAL over all, without what was deleted.
//! * [`meta`], [`backup`]: databases, policies, shard groups, users, continuous queries; where the shards are.
//!
//! Memory does not depend on the size of files: indexes are read as streams, blocks one by one. Only tombstones and
//! the WAL of one shard are held, which InfluxDB itself keeps in memory. What is corrupt or truncated is an
//! [`Error`] that names file and offset; no length that a file states is believed before it is compared with what is there.

pub mod backup;
pub mod block;
mod cursor;
mod error;
#[cfg(test)]
mod fixtures;
pub mod meta;
pub mod shard;
pub mod tombstones;
pub mod tsm;
pub mod wal;

pub use block::{Points, Strings, ValueType, Values};
pub use error::{Error, Malformed};

/// Stands between the key of a series and the name of a field in the keys of TSM files and the WAL.
pub const FIELD_SEPARATOR: &[u8] = b"#!~#";

/// The series and the field of a key; none when it names no field.
pub fn split_key(key: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = key.windows(FIELD_SEPARATOR.len()).position(|part| part == FIELD_SEPARATOR)?;
    Some((&key[..at], &key[at + FIELD_SEPARATOR.len()..]))
}
