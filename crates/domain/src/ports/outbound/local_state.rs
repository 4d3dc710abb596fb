//! What is this node's alone: how far the consumers of its log are, and what its engine may hold twice.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::catalog::{ShardGroup, TableId};
use crate::error::StorageError;
use crate::wal::Sequence;

/// A partition that may hold several rows of one series and time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirtyPartition {
    pub table: TableId,
    pub shard: ShardGroup,
}

/// Times that a stored query (a view, a continuous query) has to compute, or to compute again.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DirtyWindows {
    /// Starts included, ends excluded; apart from each other, in rising order.
    pub ranges: Vec<(i64, i64)>,
    /// Nanoseconds that were dirty when the backfill at work began; 0: there is none.
    pub backfill_ns: u64,
}

/// The node's own state.
pub trait LocalStatePort: Send + Sync {
    fn dirty_partitions(&self) -> Result<Vec<DirtyPartition>, StorageError>;

    /// Must be stored before the insert that makes the partitions so.
    fn mark_dirty(&self, partitions: &[DirtyPartition]) -> Result<(), StorageError>;

    /// Forgets marks, by table and number of the shard group.
    fn clear_dirty(&self, partitions: &[(TableId, u64)]) -> Result<(), StorageError>;

    /// The named cursors on the log: the last record that each consumer is done with.
    fn cursors(&self) -> Result<BTreeMap<String, Sequence>, StorageError>;

    /// Sets cursors (`Some`) and removes them (`None`), all or none.
    fn store_cursors(&self, changes: &[(String, Option<Sequence>)]) -> Result<(), StorageError>;

    /// The dirty windows of stored queries, by name.
    fn dirty_windows(&self) -> Result<BTreeMap<String, DirtyWindows>, StorageError>;

    /// Sets the dirty windows of stored queries (`Some`) and forgets them (`None`), all or none.
    fn store_dirty_windows(&self, changes: &[(String, Option<DirtyWindows>)]) -> Result<(), StorageError>;

    /// Makes everything stored so far, also the catalogue and the series index, survive a power failure.
    fn sync(&self) -> Result<(), StorageError>;
}
