//! The log of the nodes' agreement (Raft's), and what is kept beside it.

use crate::error::StorageError;

/// An entry with its index.
pub type IndexedEntry = (u64, Vec<u8>);

/// Entries by index, without gaps, and a few named values. All that is stored survives a power failure when a call returns.
pub trait ConsensusLogPort: Send + Sync {
    fn value(&self, name: &str) -> Result<Option<Vec<u8>>, StorageError>;

    fn set_value(&self, name: &str, value: &[u8]) -> Result<(), StorageError>;

    fn append(&self, entries: Vec<IndexedEntry>) -> Result<(), StorageError>;

    /// Entries from `from` on, before `to`, in order.
    fn entries(&self, from: u64, to: u64) -> Result<Vec<IndexedEntry>, StorageError>;

    fn last(&self) -> Result<Option<IndexedEntry>, StorageError>;

    /// Removes the entries from `from` on.
    fn truncate(&self, from: u64) -> Result<(), StorageError>;

    /// Removes the entries up to `to`, included, and sets a value in the same batch.
    fn purge(&self, to: u64, name: &str, value: &[u8]) -> Result<(), StorageError>;
}
