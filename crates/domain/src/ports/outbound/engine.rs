//! The engine: columnar storage and queries.

use std::ops::RangeInclusive;

use arrow::array::RecordBatch;

use crate::cancel::QueryContext;
use crate::catalog::{Table, TableId};
use crate::error::EngineError;
use crate::scan::{Digest, DigestBy, RowSelection, Scan};
use crate::series::SeriesId;
use crate::wal::Sequence;

/// Record batches of a running scan, in order. Dropping it stops the work.
pub trait BatchStream: Send {
    fn next_batch(&mut self) -> Result<Option<RecordBatch>, EngineError>;
}

/// Reading.
pub trait QueryPort: Send + Sync {
    fn scan(&self, scan: &Scan, context: &QueryContext) -> Result<Box<dyn BatchStream>, EngineError>;

    /// The statement the engine would run, for EXPLAIN.
    fn explain(&self, scan: &Scan) -> String;

    /// Series with at least one row of the selection.
    fn distinct_series(
        &self,
        table: &Table,
        rows: &RowSelection,
        context: &QueryContext,
    ) -> Result<Vec<SeriesId>, EngineError>;

    /// What the rows of a selection come to, in any order; parts without rows are left out. An engine that cannot tell says
    /// so. `merge_duplicates`: as in [`Scan`].
    fn digests(
        &self,
        table: &Table,
        _rows: &RowSelection,
        _merge_duplicates: bool,
        _by: &DigestBy,
        _context: &QueryContext,
    ) -> Result<Vec<Digest>, EngineError> {
        let place = format!("compare table {}", table.id.0);
        Err(EngineError::failed(place, "this engine cannot compare its rows with those of another node"))
    }

    /// The rows of a selection as [`PointsSinkPort::insert`] takes them, by series and time, with all columns that the table
    /// has. `merge_duplicates`: as in [`Scan`].
    fn stored_rows(
        &self,
        table: &Table,
        _rows: &RowSelection,
        _merge_duplicates: bool,
        _context: &QueryContext,
    ) -> Result<Box<dyn BatchStream>, EngineError> {
        let place = format!("copy table {}", table.id.0);
        Err(EngineError::failed(place, "this engine cannot hand over its rows"))
    }
}

/// A partition of an engine table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionInfo {
    pub table: TableId,
    /// Number of the shard group.
    pub shard: u64,
    pub rows: u64,
    pub bytes: u64,
}

/// Deletes of one table whose rows no scan sees any more, but which the engine is still taking out of its files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnfinishedDeletes {
    pub table: TableId,
    pub deletes: u64,
    /// Parts that are still to be rewritten.
    pub parts: u64,
}

/// Writing to the engine.
pub trait PointsSinkPort: Send + Sync {
    /// Makes the table, or adds the columns it lacks. Cheap when nothing is to do.
    fn ensure_table(&self, table: &Table) -> Result<(), EngineError>;

    /// Inserts rows sorted by (series, time), each such pair at most once in the batch. Columns by name, see
    /// [`columns`](crate::columns); absent tag columns are empty, absent field columns NULL. Times Int64, series and
    /// shards UInt64, tags Dictionary of Utf8. `records`: the first and the last log record that they come from; rows of the
    /// same records are the same rows. An error means that any of them may be stored.
    fn insert(
        &self,
        table: &Table,
        batch: RecordBatch,
        records: RangeInclusive<Sequence>,
    ) -> Result<(), EngineError>;

    /// Deletes the selected rows. Returns when no later scan can see them; once more does no harm. The rows may be taken
    /// out of the files later, also after a restart. Work that must wait ends with an error when the context is cancelled
    /// or past its deadline.
    fn delete_rows(
        &self,
        table: &Table,
        rows: &RowSelection,
        context: &QueryContext,
    ) -> Result<(), EngineError>;

    /// Deletes of one table, or of all that have been asked for since the start, that are not carried out in all files yet.
    fn unfinished_deletes(&self, table: Option<TableId>) -> Result<Vec<UnfinishedDeletes>, EngineError>;

    fn drop_table(&self, table: TableId) -> Result<(), EngineError>;

    /// Drops whole partitions, by number of their shard group. Those that do not exist are passed over.
    fn drop_partitions(&self, table: TableId, shards: &[u64]) -> Result<(), EngineError>;

    /// The partitions of one table, or of all. Soon after the start it takes milliseconds a table.
    fn partitions(&self, table: Option<TableId>) -> Result<Vec<PartitionInfo>, EngineError>;

    /// The greatest stored time of each partition of a table, by number of its shard group.
    fn max_times(&self, table: TableId) -> Result<Vec<(u64, i64)>, EngineError>;

    /// Merges a partition until each (series, time) is one row.
    fn merge_partition(&self, table: TableId, shard: u64) -> Result<(), EngineError>;

    /// Tables that exist in the engine.
    fn existing_tables(&self) -> Result<Vec<TableId>, EngineError>;

    /// Returns when everything inserted and deleted so far survives a power failure.
    fn sync(&self) -> Result<(), EngineError>;
}
