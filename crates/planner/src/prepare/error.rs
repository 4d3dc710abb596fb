//! Why a SELECT cannot be run.

/// A refused statement; reads as InfluxDB's error does.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PrepareError {
    #[error("database name required")]
    DatabaseRequired,
    #[error("database not found: {0}")]
    DatabaseNotFound(String),
    #[error("retention policy not found: {0}")]
    RetentionPolicyNotFound(String),
    /// A bound of the server.
    #[error("{name} limit exceeded: ({value}/{limit})")]
    LimitExceeded { name: &'static str, value: u64, limit: u64 },
    /// A rule of the language.
    #[error("{0}")]
    Invalid(String),
}
