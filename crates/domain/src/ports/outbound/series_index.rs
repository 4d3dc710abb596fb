//! The index of series, by table.

use std::ops::ControlFlow;

use crate::catalog::{Catalog, Table, TableId};
use crate::error::StorageError;
use crate::series::{SeriesId, Tags};
use crate::settings;

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

impl SeriesRefusal {
    /// The setting of the limit that is reached.
    pub fn limit(&self) -> Option<&'static str> {
        match self {
            Self::MaxSeriesPerDatabase { .. } => Some(settings::LIMITS_MAX_SERIES_PER_DATABASE),
            Self::MaxValuesPerTag { .. } => Some(settings::LIMITS_MAX_VALUES_PER_TAG),
            Self::Collision(_) => None,
        }
    }
}

/// The index. What it holds survives a power failure only after [`LocalStatePort::sync`](super::LocalStatePort::sync).
pub trait SeriesIndexPort: Send + Sync {
    /// Makes the series known; one answer per input, in order. Known ones cost a cache look-up.
    /// `true`: the series was not known before. Those are noted, in the same write, as not logged yet: until
    /// [`settle`](Self::settle).
    fn register(
        &self,
        table: &Table,
        series: &[(SeriesId, &Tags)],
    ) -> Result<Vec<Result<bool, SeriesRefusal>>, StorageError>;

    /// As [`register`](Self::register) for series that the log holds: limits do not count, for they were accepted
    /// under the limits of their time. A collision is left out.
    fn restore(&self, table: &Table, series: &[(SeriesId, &Tags)]) -> Result<(), StorageError>;

    /// The new series of one [`register`](Self::register) are in the log, or have been looked at.
    fn settle(&self, table: TableId, series: &[SeriesId]) -> Result<(), StorageError>;

    /// What was registered and not settled.
    fn unsettled(&self) -> Result<Vec<(TableId, Vec<SeriesId>)>, StorageError>;

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

    /// The series that have this tag value, at most `max`; `None` when there are more. Some may be gone.
    fn series_with_tag(
        &self,
        table: TableId,
        key: &str,
        value: &str,
        max: usize,
    ) -> Result<Option<Vec<SeriesId>>, StorageError>;

    /// Tag keys that at least one series of the table has, sorted.
    fn tag_keys(&self, table: TableId) -> Result<Vec<String>, StorageError>;

    fn remove_series(&self, table: &Table, series: &[SeriesId]) -> Result<(), StorageError>;

    fn drop_table(&self, table: TableId) -> Result<(), StorageError>;

    /// Drops the tables that are not in the catalogue: a crash can come between the two.
    fn retain_tables(&self, catalog: &Catalog) -> Result<(), StorageError>;
}
