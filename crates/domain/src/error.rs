//! Errors of the ports.

use thiserror::Error;

/// What an engine reports. The first four are InfluxDB's own conditions and carry its texts.
#[derive(Debug, Clone, Error)]
pub enum EngineError {
    #[error("query interrupted")]
    Cancelled,
    #[error("query-timeout limit exceeded")]
    Timeout,
    #[error("query memory limit exceeded: {0} (query.max_memory_bytes)")]
    MemoryLimit(String),
    #[error("query row limit exceeded: {0} (query.max_rows_read)")]
    RowLimit(String),
    /// Part of how long scans are read; nobody but the one who asked for the bound sees it.
    #[error("more rows to sort than one scan may hold (query.max_sort_rows, query.max_sort_bytes)")]
    SortLimit,
    #[error("engine: {context}: {message}")]
    Failed { context: String, message: String },
}

impl EngineError {
    pub fn failed(context: impl Into<String>, message: impl std::fmt::Display) -> Self {
        Self::Failed { context: context.into(), message: message.to_string() }
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
