//! The ports: what the application needs from the outside, and what it offers. Calls block; callers own the threads.

use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::array::RecordBatch;
use bytes::Bytes;

use crate::cancel::QueryContext;
use crate::catalog::{Catalog, CatalogError, Command, Effects, Table, TableId};
use crate::error::{EngineError, StorageError};
use crate::scan::{Predicate, Scan};
use crate::series::{SeriesId, Tags};
use crate::time::{Precision, TimeRange};
use crate::wal::{Sequence, WalRecord};

/// The write-ahead log.
pub trait WalPort: Send + Sync {
    /// Appends the records with consecutive sequence numbers, durable according to the sync mode when it returns.
    /// Returns the sequence of the first. An error means that none of them counts.
    fn append(&self, records: &[WalRecord]) -> Result<Sequence, StorageError>;

    /// Records from `from` on, in order, until about `max_bytes` are read; empty at the end.
    fn read_from(&self, from: Sequence, max_bytes: usize)
    -> Result<Vec<(Sequence, WalRecord)>, StorageError>;

    /// Records of `from..=to`, in order.
    fn read_range(&self, from: Sequence, to: Sequence) -> Result<Vec<(Sequence, WalRecord)>, StorageError>;

    /// Forgets the records before `sequence`.
    fn truncate_before(&self, sequence: Sequence) -> Result<(), StorageError>;

    /// The greatest sequence ever given out; 0 on a new log. Survives truncation.
    fn last_sequence(&self) -> Sequence;

    /// Bytes of the records kept.
    fn size_bytes(&self) -> u64;
}

/// A refused or failed command.
#[derive(Debug, Clone, thiserror::Error)]
pub enum MetadataError {
    #[error(transparent)]
    Refused(#[from] CatalogError),
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// The catalogue's store.
pub trait MetadataPort: Send + Sync {
    /// The catalogue as of now. Cheap.
    fn catalog(&self) -> Arc<Catalog>;

    /// Applies a command, stores the change and publishes the new catalogue, or changes nothing.
    fn apply(&self, command: &Command) -> Result<Effects, MetadataError>;

    /// Partitions that may hold several rows of one series and time, of one table.
    fn dirty_partitions(&self, table: TableId) -> Result<Vec<i64>, StorageError>;

    /// Must be stored before the insert that makes the partition so.
    fn mark_dirty(&self, table: TableId, partitions: &[i64]) -> Result<(), StorageError>;

    fn clear_dirty(&self, table: TableId, partitions: &[i64]) -> Result<(), StorageError>;

    /// Makes everything stored so far survive a power failure.
    fn sync(&self) -> Result<(), StorageError>;
}

/// Why the series index refused a series.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SeriesRefusal {
    #[error("max-series-per-database limit exceeded: ({limit})")]
    MaxSeriesPerDatabase { limit: u64 },
    #[error(
        "max-values-per-tag limit exceeded ({count}/{limit}): measurement={measurement:?} tag={tag:?} value={value:?}"
    )]
    MaxValuesPerTag { count: u64, limit: u64, measurement: String, tag: String, value: String },
    #[error("series id collision: {0}")]
    Collision(String),
}

/// The index of series, by table.
pub trait SeriesIndexPort: Send + Sync {
    /// Makes the series known; one answer per input, in order. Known ones cost a cache look-up.
    /// `true`: the series was not known before.
    fn register(
        &self,
        table: &Table,
        series: &[(SeriesId, &Tags)],
    ) -> Result<Vec<Result<bool, SeriesRefusal>>, StorageError>;

    /// Series of a table, exact.
    fn series_count(&self, table: TableId) -> Result<u64, StorageError>;

    /// Calls `visit` for each series, in order of the tag sets (keys and values bytewise), until it breaks.
    fn for_each_series(
        &self,
        table: TableId,
        visit: &mut dyn FnMut(SeriesId, &Tags) -> ControlFlow<()>,
    ) -> Result<(), StorageError>;

    /// Calls `visit` for each distinct value of a tag in bytewise order, until it breaks.
    fn for_each_tag_value(
        &self,
        table: TableId,
        key: &str,
        visit: &mut dyn FnMut(&str) -> ControlFlow<()>,
    ) -> Result<(), StorageError>;

    /// Calls `visit` for the series that have this tag value, until it breaks.
    fn for_each_series_with_tag(
        &self,
        table: TableId,
        key: &str,
        value: &str,
        visit: &mut dyn FnMut(SeriesId, &Tags) -> ControlFlow<()>,
    ) -> Result<(), StorageError>;

    /// Tag keys that at least one series of the table has, sorted.
    fn tag_keys(&self, table: TableId) -> Result<Vec<String>, StorageError>;

    fn remove_series(&self, table: &Table, series: &[SeriesId]) -> Result<(), StorageError>;

    fn drop_table(&self, table: &Table) -> Result<(), StorageError>;
}

/// Record batches of a running scan, in order. Dropping it stops the work.
pub trait BatchStream: Send {
    fn next_batch(&mut self) -> Result<Option<RecordBatch>, EngineError>;
}

/// Reading from the engine.
pub trait QueryPort: Send + Sync {
    fn scan(&self, scan: &Scan, context: &QueryContext) -> Result<Box<dyn BatchStream>, EngineError>;

    /// The statement the engine would run, for EXPLAIN.
    fn explain(&self, scan: &Scan) -> String;

    /// Series with at least one row of the time range that matches.
    fn distinct_series(
        &self,
        table: &Table,
        time: TimeRange,
        filter: Option<&Predicate>,
        context: &QueryContext,
    ) -> Result<Vec<SeriesId>, EngineError>;
}

/// A partition of an engine table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionInfo {
    /// `time.div_euclid(partition_duration)`.
    pub partition: i64,
    pub rows: u64,
    pub bytes: u64,
}

/// Writing to the engine. Tables are made of the columns [`TIME_COLUMN`], [`SERIES_COLUMN`],
/// [`tag_column`] and [`field_column`].
pub trait PointsSinkPort: Send + Sync {
    /// Makes the table, or adds the columns it lacks. Cheap when nothing is to do.
    fn ensure_table(&self, table: &Table) -> Result<(), EngineError>;

    /// Inserts rows sorted by (series, time), each such pair at most once in the batch. Columns by name; absent tag
    /// columns are empty, absent field columns NULL. Times Int64, series UInt64, tags Dictionary of Utf8.
    fn insert(&self, table: &Table, batch: RecordBatch) -> Result<(), EngineError>;

    /// Deletes the rows of a time range that match; all of the range when `filter` is `None`. Returns when no later
    /// scan can see them.
    fn delete_rows(
        &self,
        table: &Table,
        time: TimeRange,
        filter: Option<&Predicate>,
    ) -> Result<(), EngineError>;

    fn drop_table(&self, table: TableId) -> Result<(), EngineError>;

    fn drop_partitions(&self, table: TableId, partitions: &[i64]) -> Result<(), EngineError>;

    fn partitions(&self, table: TableId) -> Result<Vec<PartitionInfo>, EngineError>;

    /// The greatest stored time, if the table has rows.
    fn max_time(&self, table: TableId) -> Result<Option<i64>, EngineError>;

    /// Merges a partition until each (series, time) is one row.
    fn merge_partition(&self, table: TableId, partition: i64) -> Result<(), EngineError>;

    /// Tables that exist in the engine.
    fn existing_tables(&self) -> Result<Vec<TableId>, EngineError>;

    /// Returns when everything inserted and deleted so far survives a power failure.
    fn sync(&self) -> Result<(), EngineError>;
}

pub const TIME_COLUMN: &str = "time";
pub const SERIES_COLUMN: &str = "sid";

/// Engine column of a tag.
pub fn tag_column(tag: crate::scan::TagId) -> String {
    format!("t{}", tag.0)
}

/// Engine column of a field.
pub fn field_column(field: crate::scan::FieldId) -> String {
    format!("f{}", field.0)
}

/// A write request as the HTTP interface hands it over.
#[derive(Debug, Clone)]
pub struct WriteRequest {
    pub database: String,
    /// Empty: the database's default.
    pub retention_policy: String,
    pub precision: Precision,
    pub body: Bytes,
}

/// A text as Go's `%q` writes it, as far as names need it.
fn go_quoted(text: &str) -> String {
    let mut out = String::from('"');
    for c in text.chars() {
        match c {
            '\n' | '\r' | '\t' | '"' | '\\' => out.extend(c.escape_default()),
            c if c.is_ascii_control() => out.push_str(&format!("\\x{:02x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out + "\""
}

/// Why a write, or a part of it, was not accepted. Texts are InfluxDB's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    #[error("database is required")]
    DatabaseRequired,
    #[error("database not found: {}", go_quoted(.0))]
    DatabaseNotFound(String),
    #[error("retention policy not found: {0}")]
    RetentionPolicyNotFound(String),
    /// Some or all points were not accepted; the text says which and why. What could be kept is kept.
    #[error("{0}")]
    Rejected(String),
    /// A bound is reached: nothing was kept, the client should come again after the given seconds.
    #[error("{reason}")]
    Overloaded { reason: String, retry_after_secs: u64 },
    #[error("{0}")]
    Internal(String),
}

/// Accepting points.
pub trait IngestionPort: Send + Sync {
    /// Returns when the accepted points are durable and visible. Blocks.
    fn write(&self, request: WriteRequest) -> Result<(), WriteError>;
}

/// Moving points from memory to the engine.
pub trait FlushPort: Send + Sync {
    /// Returns when everything accepted before the call is visible to scans of these tables.
    fn flush_tables(&self, tables: &[TableId]) -> Result<(), EngineError>;

    /// Returns when everything accepted before the call is in the engine and durable there.
    fn flush_all(&self) -> Result<(), EngineError>;
}

/// Credentials of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credentials {
    None,
    Password { user: String, password: String },
    Token(String),
}

/// Who may do what.
pub trait AuthPort: Send + Sync {
    /// The user's name, or `None` when authentication is off. An error is InfluxDB's text for HTTP 401.
    fn authenticate(&self, credentials: &Credentials) -> Result<Option<String>, String>;
}

/// The seam of the cluster: records this node accepted, on their way to its peers.
pub trait ReplicationPort: Send + Sync {
    /// Called after the records are durable here, in sequence order.
    fn publish(&self, first: Sequence, records: &[WalRecord]) -> Result<(), StorageError>;
}
