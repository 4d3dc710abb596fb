//! `meta.db`: databases, retention policies with their shard groups, users, continuous queries, subscriptions.

use std::fs;
use std::path::Path;

use prost::Message;

use crate::error::Error;

/// Larger than any real one; it is read as a whole.
pub(crate) const MAX_BYTES: u64 = 1 << 28;

// Numbers and types of the fields are those of InfluxDB's meta.proto; what we do not use is left out.

#[derive(Clone, PartialEq, Message)]
pub struct Meta {
    #[prost(message, repeated, tag = "5")]
    pub databases: Vec<Database>,
    #[prost(message, repeated, tag = "6")]
    pub users: Vec<User>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Database {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(string, tag = "2")]
    pub default_policy: String,
    #[prost(message, repeated, tag = "3")]
    pub policies: Vec<Policy>,
    #[prost(message, repeated, tag = "4")]
    pub continuous_queries: Vec<ContinuousQuery>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Policy {
    #[prost(string, tag = "1")]
    pub name: String,
    /// Nanoseconds; 0 keeps points for ever.
    #[prost(int64, tag = "2")]
    pub duration: i64,
    #[prost(int64, tag = "3")]
    pub shard_group_duration: i64,
    #[prost(uint32, tag = "4")]
    pub replication: u32,
    #[prost(message, repeated, tag = "5")]
    pub shard_groups: Vec<ShardGroup>,
    #[prost(message, repeated, tag = "6")]
    pub subscriptions: Vec<Subscription>,
}

#[derive(Clone, PartialEq, Message)]
pub struct ShardGroup {
    #[prost(uint64, tag = "1")]
    pub id: u64,
    /// Nanoseconds since 1970; points from here on, before `end`.
    #[prost(int64, tag = "2")]
    pub start: i64,
    #[prost(int64, tag = "3")]
    pub end: i64,
    /// 0 while the group lives.
    #[prost(int64, tag = "4")]
    pub deleted_at: i64,
    #[prost(message, repeated, tag = "5")]
    pub shards: Vec<ShardId>,
}

#[derive(Clone, PartialEq, Message)]
pub struct ShardId {
    #[prost(uint64, tag = "1")]
    pub id: u64,
}

#[derive(Clone, PartialEq, Message)]
pub struct Subscription {
    #[prost(string, tag = "1")]
    pub name: String,
}

#[derive(Clone, PartialEq, Message)]
pub struct ContinuousQuery {
    #[prost(string, tag = "1")]
    pub name: String,
    /// The whole statement.
    #[prost(string, tag = "2")]
    pub query: String,
}

#[derive(Clone, PartialEq, Message)]
pub struct User {
    #[prost(string, tag = "1")]
    pub name: String,
    /// Of bcrypt.
    #[prost(string, tag = "2")]
    pub hash: String,
    #[prost(bool, tag = "3")]
    pub admin: bool,
    #[prost(message, repeated, tag = "4")]
    pub privileges: Vec<Privilege>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Privilege {
    #[prost(string, tag = "1")]
    pub database: String,
    /// 1 reads, 2 writes, 3 both.
    #[prost(int32, tag = "2")]
    pub privilege: i32,
}

impl ShardGroup {
    pub fn is_deleted(&self) -> bool {
        self.deleted_at != 0
    }
}

impl Meta {
    /// Reads `meta.db`.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let bytes = read_whole(path)?;
        Self::from_bytes(&bytes, path)
    }

    /// Decodes what `meta.db` holds; `path` is for errors.
    pub fn from_bytes(bytes: &[u8], path: &Path) -> Result<Self, Error> {
        Self::decode(bytes).map_err(|error| Error::unexpected(path, format!("no InfluxDB metadata: {error}")))
    }
}

pub(crate) fn read_whole(path: &Path) -> Result<Vec<u8>, Error> {
    let bytes = fs::metadata(path).map_err(Error::io(path))?.len();
    if bytes > MAX_BYTES {
        return Err(Error::unexpected(path, format!("{bytes} bytes are more than metadata can have")));
    }
    fs::read(path).map_err(Error::io(path))
}
