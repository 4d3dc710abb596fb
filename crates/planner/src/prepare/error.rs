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
    #[error("max-select-buckets limit exceeded: ({buckets}/{limit})")]
    TooManyBuckets { buckets: i128, limit: usize },
    /// The query must end; the context says why.
    #[error("query interrupted")]
    Stopped,
    /// A rule of the language.
    #[error("{0}")]
    Invalid(String),
}

impl PrepareError {
    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self::Invalid(message.into())
    }
}

/// Refuses the statement with a formatted message.
macro_rules! refuse {
    ($($message:tt)*) => {
        return Err($crate::prepare::PrepareError::Invalid(format!($($message)*)))
    };
}
pub(super) use refuse;
