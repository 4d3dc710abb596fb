//! Why a statement failed: the errors of all it uses, as they are. What a client reads of one is decided where answers
//! are made.

use hyperbytedb_domain::catalog::CatalogError;
use hyperbytedb_domain::ports::WriteError;
use hyperbytedb_domain::scan::PREDICATE_DEPTH_MAX;
use hyperbytedb_domain::{EngineError, StorageError, settings};
use hyperbytedb_executor::ExecError;
use hyperbytedb_planner::prepare::PrepareError;
use hyperbytedb_timeseriesql::ast::BinaryOp;
use hyperbytedb_timeseriesql::reduce::ConditionError;
use thiserror::Error;

use crate::api::SinkClosed;
use crate::auth::{PasswordError, passwords};
use crate::log::LogError;
use crate::views::DefinitionError;

/// Texts are InfluxDB's, where it has the error.
#[derive(Debug, Error)]
pub enum StatementError {
    #[error("database name required")]
    DatabaseRequired,
    #[error("unknown database {0}")]
    UnknownDatabase(String),
    #[error("retention policy not found: {database}.{policy}")]
    PolicyNotFound { database: String, policy: String },
    #[error("unable to use system source '{name}': use {instead} instead")]
    SystemSource { name: String, instead: &'static str },
    #[error("query 'SHOW MEASUREMENTS ON {place}' not supported. use 'ON *.*' or specify a database")]
    AnyDatabase { place: &'static str },
    #[error("{statement} doesn't support time in WHERE clause")]
    TimeInCondition { statement: &'static str },
    #[error("invalid tag comparison operator")]
    TagOperator,
    #[error("left side of '{0}' must be a tag key")]
    NoTagKey(BinaryOp),
    #[error("right side of '{0}' must be a regular expression")]
    NoRegex(BinaryOp),
    #[error("right side of '{0}' must be a tag value string")]
    NoTagValue(BinaryOp),
    /// A condition that is no comparison.
    #[error("{0}")]
    NoComparison(String),
    #[error("only one retention policy allowed in SHOW TAG VALUES query: {second:?}, {first:?}")]
    SeveralPolicies { first: String, second: String },
    #[error("shard {shard}: fields not supported in WHERE clause during deletion")]
    FieldsInDeletion { shard: u64 },
    #[error("AND and OR nest deeper than {PREDICATE_DEPTH_MAX} levels: use fewer parentheses")]
    ConditionTooDeep,
    #[error(
        "invalid password hash: it must be Argon2id's, as $argon2id$…, or bcrypt's of a cost up to {}, as $2a$10$…",
        passwords::BCRYPT_COST_MAX
    )]
    NoPasswordHash,
    #[error("invalid subscription URL: {0}")]
    SubscriptionUrl(String),
    /// INTO that failed half-way. What it has written stays.
    #[error("{error} ({written} points were written before)")]
    Into { error: Box<StatementError>, written: u64 },
    #[error("no such query id: {0}")]
    NoSuchQuery(u64),
    #[error("max-concurrent-queries limit exceeded ({limit}, {limit}) ({})", settings::QUERY_MAX_CONCURRENT)]
    TooManyQueries { limit: usize },
    #[error("continuous query not found: {0}")]
    ContinuousQueryNotFound(String),
    #[error("{0} {1} has no windows to compute: it cannot be backfilled")]
    NoWindows(&'static str, String),
    #[error("the end of a backfill must be behind its start")]
    EmptyBackfill,
    #[error("materialized views are switched off (views.enabled)")]
    ViewsDisabled,
    /// A view that cannot be kept.
    #[error(transparent)]
    Definition(#[from] DefinitionError),
    /// Its second report, when others follow.
    #[error("not executed")]
    NotExecuted,
    /// A statement that nothing here knows how to run.
    #[error("unexpected statement: {0}")]
    Unexpected(String),
    #[error(transparent)]
    Condition(#[from] ConditionError),
    #[error(transparent)]
    Prepare(#[from] PrepareError),
    #[error(transparent)]
    Exec(#[from] ExecError),
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    #[error(transparent)]
    Command(#[from] LogError),
    #[error(transparent)]
    Write(#[from] WriteError),
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error(transparent)]
    Password(#[from] PasswordError),
    #[error(transparent)]
    Closed(#[from] SinkClosed),
}

impl StatementError {
    pub(super) fn database_not_found(name: &str) -> Self {
        Self::Catalog(CatalogError::DatabaseNotFound(name.to_owned()))
    }

    /// Whether something outside the server is in the way.
    pub fn is_unavailable(&self) -> bool {
        matches!(
            self,
            Self::Engine(EngineError::Unavailable(_))
                | Self::Exec(ExecError::Engine(EngineError::Unavailable(_)))
                | Self::Command(LogError::Engine(EngineError::Unavailable(_)))
        )
    }

    /// The setting of the limit that is reached.
    pub fn limit(&self) -> Option<&'static str> {
        match self {
            Self::TooManyQueries { .. } => Some(settings::QUERY_MAX_CONCURRENT),
            Self::Prepare(PrepareError::TooManyBuckets { .. }) => Some(settings::QUERY_MAX_SELECT_BUCKETS),
            Self::Exec(error) => error.limit(),
            Self::Engine(error) | Self::Command(LogError::Engine(error)) => error.limit(),
            Self::Into { error, .. } => error.limit(),
            _ => None,
        }
    }

    /// Whether the text is about the server's inside: for the log, not for clients.
    pub fn is_internal(&self) -> bool {
        match self {
            Self::Engine(error)
            | Self::Exec(ExecError::Engine(error))
            | Self::Command(LogError::Engine(error)) => error.is_internal(),
            Self::Storage(_) | Self::Command(LogError::Storage(_)) => true,
            Self::Write(WriteError::Storage(_)) => true,
            Self::Into { error, .. } => error.is_internal(),
            _ => false,
        }
    }
}
