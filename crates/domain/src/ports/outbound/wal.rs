//! The write-ahead log.

use std::collections::BTreeMap;

use crate::cluster::NodeId;
use crate::error::StorageError;
use crate::wal::{Sequence, WalEntry, WalRecord};

/// An entry in the log's stored form. Made by writers, so that the thread that appends does not encode or compress.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodedEntry(pub Vec<u8>);

/// A record about to be appended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRecord {
    pub origin: u64,
    pub clock: u64,
    pub entry: EncodedEntry,
    /// It came from another node, with a clock of that node.
    pub is_foreign: bool,
}

/// A record in its stored form, as nodes send it to each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredRecord {
    pub sequence: Sequence,
    pub origin: NodeId,
    pub clock: u64,
    /// A write; else a change of the catalogue.
    pub is_write: bool,
    pub bytes: Vec<u8>,
}

/// The write-ahead log: one order of everything that changes points or the catalogue.
pub trait WalPort: Send + Sync {
    /// The stored form of an entry. Fails when it cannot be stored (a condition nested too deeply).
    fn encode(&self, entry: &WalEntry) -> Result<EncodedEntry, StorageError>;

    /// Fails while nothing can be appended.
    fn check_writable(&self) -> Result<(), StorageError> {
        self.sync()
    }

    /// Appends the records with consecutive sequence numbers; durable when it returns, according to the sync mode, in any
    /// case when `durable` is set. Returns the sequence of the first. An error means that none of them counts, now or
    /// after a restart.
    fn append(&self, records: Vec<NewRecord>, durable: bool) -> Result<Sequence, StorageError>;

    /// Records from `from` on, in order, until about `max_bytes` are read; empty at the end.
    fn read_from(&self, from: Sequence, max_bytes: usize)
    -> Result<Vec<(Sequence, WalRecord)>, StorageError>;

    /// As [`read_from`](Self::read_from), undecoded.
    fn read_stored(&self, from: Sequence, max_bytes: usize) -> Result<Vec<StoredRecord>, StorageError>;

    /// Reads a record in the stored form of another node, and what to append of it.
    fn decode(&self, bytes: &[u8]) -> Result<(WalRecord, EncodedEntry), StorageError>;

    /// The greatest clock of the records of each node, this one counted. Survives truncation.
    fn received(&self) -> BTreeMap<NodeId, u64>;

    /// Notes that everything of a node up to this clock is here.
    fn note_received(&self, origin: NodeId, clock: u64) -> Result<(), StorageError>;

    /// Forgets the records before `sequence`.
    fn truncate_before(&self, sequence: Sequence) -> Result<(), StorageError>;

    /// The first record kept; one past the last when there is none.
    fn first_sequence(&self) -> Sequence;

    /// The greatest sequence ever given out; 0 on a new log. Survives truncation.
    fn last_sequence(&self) -> Sequence;

    /// A clock that no record of this log exceeds; 0 on a new log. Survives truncation.
    fn last_clock(&self) -> u64;

    /// Bytes of the records kept.
    fn size_bytes(&self) -> u64;

    /// Bytes of the records from `sequence` on.
    fn bytes_from(&self, sequence: Sequence) -> Result<u64, StorageError>;

    /// Makes everything appended so far survive a power failure, whatever the sync mode.
    fn sync(&self) -> Result<(), StorageError>;
}
