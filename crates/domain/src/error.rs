//! Errors of the ports.

use thiserror::Error;

use crate::settings;

/// The exit status of a server that ends because it cannot go on: `EX_SOFTWARE` of sysexits.h.
pub const EXIT_FAILED: i32 = 70;

/// What an engine reports. Clients may read all but [`EngineError::Failed`], which is about the engine's inside.
#[derive(Debug, Clone, Error)]
pub enum EngineError {
    #[error("query interrupted")]
    Cancelled,
    #[error("query-timeout limit exceeded")]
    Timeout,
    #[error("query memory limit exceeded ({setting})")]
    MemoryLimit { setting: &'static str },
    #[error("query row limit exceeded ({})", settings::QUERY_MAX_ROWS_READ)]
    RowLimit,
    /// InfluxDB's text.
    #[error("max-select-series limit exceeded: ({count}/{limit})")]
    SeriesLimit { count: u64, limit: u64 },
    #[error("all {connections} connections of the engine are in use ({setting})")]
    Busy { connections: usize, setting: &'static str },
    /// Part of how long scans are read; nobody but the one who asked for the bound sees it.
    #[error(
        "more rows to sort than one scan may hold ({}, {})",
        settings::QUERY_MAX_SORT_ROWS,
        settings::QUERY_MAX_SORT_BYTES
    )]
    SortLimit,
    /// Something outside this process is in the way. The text says what it is and what can be done, and may be shown.
    #[error("the engine is unavailable: {0}")]
    Unavailable(String),
    #[error("engine: {context}: {message}")]
    Failed { context: String, message: String },
}

impl EngineError {
    pub fn failed(context: impl Into<String>, message: impl std::fmt::Display) -> Self {
        Self::Failed { context: context.into(), message: message.to_string() }
    }

    /// Whether the text is for the log only.
    pub fn is_internal(&self) -> bool {
        matches!(self, Self::Failed { .. })
    }

    /// The setting of the limit that is reached.
    pub fn limit(&self) -> Option<&'static str> {
        match self {
            Self::Timeout => Some(settings::QUERY_TIMEOUT_SECS),
            Self::SeriesLimit { .. } => Some(settings::QUERY_MAX_SELECT_SERIES),
            Self::RowLimit => Some(settings::QUERY_MAX_ROWS_READ),
            Self::MemoryLimit { setting } | Self::Busy { setting, .. } => Some(setting),
            Self::Cancelled | Self::SortLimit | Self::Unavailable(_) | Self::Failed { .. } => None,
        }
    }
}

/// What the write-ahead log, the catalogue or the series index reports.
#[derive(Debug, Clone, Error)]
pub enum StorageError {
    #[error("storage: {context}: {message}")]
    Failed { context: String, message: String },
    #[error("storage: corrupt record in {place}: {message}")]
    Corrupt { place: String, message: String },
}

impl StorageError {
    pub fn failed(context: impl Into<String>, message: impl std::fmt::Display) -> Self {
        Self::Failed { context: context.into(), message: message.to_string() }
    }

    pub fn corrupt(place: impl Into<String>, message: impl std::fmt::Display) -> Self {
        Self::Corrupt { place: place.into(), message: message.to_string() }
    }
}
