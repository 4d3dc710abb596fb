//! What the application offers to its drivers (the HTTP interface, later the scheduler and the CLI).

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, Ordering};

use hyperbytedb_domain::CancelToken;
use hyperbytedb_domain::result::ResultSink;
use thiserror::Error;

/// A bind parameter, typed: it never becomes part of the statement's text.
#[derive(Debug, Clone, PartialEq)]
pub enum Parameter {
    String(String),
    Float(f64),
    Integer(i64),
    Unsigned(u64),
    Boolean(bool),
    Identifier(String),
    Regex(String),
    /// Duration text such as `10m`.
    Duration(String),
    /// A duration in nanoseconds.
    Nanoseconds(i64),
    /// A value that cannot be bound, and why: an error where the parameter is used.
    Error(String),
}

/// A query request: one or more statements.
#[derive(Debug, Clone, Default)]
pub struct QueryRequest {
    pub text: String,
    pub database: String,
    /// Empty: the database's default.
    pub retention_policy: String,
    pub parameters: BTreeMap<String, Parameter>,
    /// Rows of one block of a series; `None`: the server's own block size (the answer is not chunked).
    pub chunk_rows: Option<usize>,
    /// A GET request: statements that modify still run, with a warning, as in InfluxDB.
    pub read_only: bool,
    /// Shown by SHOW QUERIES.
    pub user: Option<String>,
    pub cancel: CancelToken,
}

/// Why no statement of a request ran.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum QueryError {
    /// InfluxDB answers HTTP 400.
    #[error("error parsing query: {0}")]
    Parse(String),
    /// Past a bound: HTTP 503 with Retry-After.
    #[error("{reason}")]
    Overloaded { reason: String, retry_after_secs: u64 },
}

/// Running statements.
pub trait QueryApi: Send + Sync {
    /// Parses, then runs the statements in order, emitting their results. Errors of a statement are part of its
    /// results. Blocks. Returns early when the sink is closed or `request.cancel` is set.
    fn query(&self, request: &QueryRequest, sink: &mut dyn ResultSink) -> Result<(), QueryError>;
}

/// Where the server stands between start and stop, and whether something has failed that it cannot do without.
#[derive(Debug, Default)]
pub struct Readiness {
    phase: AtomicU8,
    failure: OnceLock<String>,
    failed: OnceLock<FailureHook>,
}

/// What is to be done about a failure.
struct FailureHook(Box<dyn Fn(&str) + Send + Sync>);

impl std::fmt::Debug for FailureHook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FailureHook")
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// The log is being replayed; requests wait or get 503.
    Replaying,
    Ready,
    Stopping,
}

impl Readiness {
    pub fn set(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::Release);
    }

    pub fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Acquire) {
            0 => Phase::Replaying,
            1 => Phase::Ready,
            _ => Phase::Stopping,
        }
    }

    /// What is to be done when the server cannot go on. Set once.
    pub fn on_failure(&self, hook: impl Fn(&str) + Send + Sync + 'static) {
        // Only the first one counts.
        let _ = self.failed.set(FailureHook(Box::new(hook)));
    }

    /// Notes that the server cannot go on. The first reason counts.
    pub fn fail(&self, reason: String) {
        tracing::error!(reason, "the server cannot go on");
        if self.failure.set(reason).is_ok()
            && let (Some(hook), Some(reason)) = (self.failed.get(), self.failure.get())
        {
            (hook.0)(reason);
        }
    }

    /// Why the server cannot go on, if so.
    pub fn failure(&self) -> Option<String> {
        self.failure.get().cloned()
    }
}
