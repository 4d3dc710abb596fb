//! What the write-ahead log keeps.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::catalog::{Command, TableId};
use crate::cluster::{AgreedChange, AgreedEntry};
use crate::time::Precision;

/// Position of a record in the log; the first is 1.
pub type Sequence = u64;

/// One record. `origin` and `clock` let a cluster ship records, recognise those that come twice, and settle
/// conflicts.
#[derive(Debug, Clone, PartialEq)]
pub struct WalRecord {
    /// The node that accepted it.
    pub origin: u64,
    /// Hybrid logical clock of that node: milliseconds since 1970 << 16 | counter.
    pub clock: u64,
    pub entry: WalEntry,
}

#[derive(Debug, Clone, PartialEq)]
pub enum WalEntry {
    Write(WriteEntry),
    /// A change of the catalogue, or a delete.
    Command(Command),
    /// In a cluster, what its nodes have agreed on.
    Agreed(AgreedEntry),
}

impl WalEntry {
    /// The command that it carries, whoever decided on it.
    pub const fn command(&self) -> Option<&Command> {
        match self {
            Self::Command(command)
            | Self::Agreed(AgreedEntry { change: AgreedChange::Command(command), .. }) => Some(command),
            Self::Write(_) | Self::Agreed(_) => None,
        }
    }
}

/// A measurement of a write: the table and the version of its schema that the points were resolved against. A
/// measurement that is dropped and made again is another table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableVersion {
    pub measurement: String,
    pub table: TableId,
    pub version: u32,
}

/// What the body of an accepted write is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum BodyForm {
    /// Line protocol.
    #[default]
    Lines,
    /// Batches, as `crates/columnar` stores them.
    Columns,
    /// Arrow's IPC stream, as it came.
    ArrowStream,
    /// Columns as MessagePack, as they came.
    MessagePack,
}

/// An accepted write without what was refused, and what it was resolved against.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WriteEntry {
    pub database: String,
    pub retention_policy: String,
    pub precision: Precision,
    /// Time of the points that have none, in nanoseconds.
    pub default_time: i64,
    /// One for each measurement of the body.
    pub tables: Vec<TableVersion>,
    /// Numbers of the shard groups that hold the points.
    pub shards: Vec<u64>,
    pub form: BodyForm,
    #[serde(with = "body_bytes")]
    pub body: Bytes,
}

mod body_bytes {
    use bytes::Bytes;
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(body: &Bytes, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_bytes(body)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Bytes, D::Error> {
        Vec::<u8>::deserialize(d).map(Bytes::from)
    }
}
