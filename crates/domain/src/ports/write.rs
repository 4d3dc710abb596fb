//! A write request and why it may be refused.

use bytes::Bytes;

use super::Caller;
use crate::cluster::Consistency;
use crate::settings;
use crate::text::go_quoted;
use crate::time::Precision;

/// A write request as the HTTP interface hands it over.
#[derive(Debug, Clone)]
pub struct WriteRequest {
    pub caller: Caller,
    pub database: String,
    /// Empty: the database's default.
    pub retention_policy: String,
    pub precision: Precision,
    pub format: BodyFormat,
    /// Of columns that do not name one.
    pub measurement: String,
    pub body: Bytes,
    pub from: WriteSource,
    /// How many nodes of a cluster must have the points; `None`: as many as the configuration says.
    pub consistency: Option<Consistency>,
    /// Time of points that have none, in nanoseconds; `None`: now. A proxy says it, so that a write it repeats is the same points.
    pub default_time: Option<i64>,
}

impl WriteRequest {
    /// Lines with times in nanoseconds, of a caller whose rights are not asked for.
    pub fn lines(
        from: WriteSource,
        database: impl Into<String>,
        retention_policy: impl Into<String>,
        lines: impl Into<Bytes>,
    ) -> Self {
        Self {
            caller: Caller::Trusted,
            database: database.into(),
            retention_policy: retention_policy.into(),
            precision: Precision::Nanosecond,
            format: BodyFormat::Lines,
            measurement: String::new(),
            body: lines.into(),
            from,
            consistency: None,
            default_time: None,
        }
    }
}

/// What a body is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum BodyFormat {
    /// Line protocol.
    #[default]
    Lines,
    /// Arrow's IPC stream.
    ArrowStream,
    /// Columns as MessagePack.
    MessagePack,
}

/// Where points come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteSource {
    Http,
    /// UDP, Graphite or OpenTSDB.
    Listener,
    /// This server itself (INTO): unsigned integers are taken whatever `write.uint_support` says.
    Server,
}

/// Why a write, or a part of it, was not accepted. Texts are InfluxDB's.
#[derive(Debug, Clone, thiserror::Error)]
pub enum WriteError {
    #[error("database is required")]
    DatabaseRequired,
    #[error("database not found: {}", go_quoted(.0))]
    DatabaseNotFound(String),
    #[error("user is required to write to database {}", go_quoted(.0))]
    UserRequired(String),
    #[error("{} user is not authorized to write to database {}", go_quoted(.user), go_quoted(.database))]
    Forbidden { user: String, database: String },
    #[error("retention policy not found: {0}")]
    RetentionPolicyNotFound(String),
    /// Some or all points were not accepted; the text says which and why. What could be kept is kept.
    #[error("{0}")]
    Rejected(String),
    /// Nothing was kept.
    #[error("more than {max} points in one request ({})", settings::WRITE_MAX_POINTS)]
    TooManyPoints { max: usize },
    /// A bound is reached: nothing was kept, the client should come again after the given seconds.
    #[error("{reason}")]
    Overloaded { reason: String, retry_after_secs: u64 },
    /// This node has the points and sends them to the others, of which too few have them yet.
    #[error("{0}")]
    Unconfirmed(String),
    #[error(transparent)]
    Storage(#[from] crate::StorageError),
    #[error("the server is stopping")]
    Stopping,
}
