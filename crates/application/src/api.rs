//! What the application offers to its drivers (the HTTP interface, later the scheduler and the CLI).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, Ordering};

use hyperbytedb_domain::ports::Caller;
use hyperbytedb_domain::result::{Message, SeriesBlock};
use hyperbytedb_domain::settings;
use hyperbytedb_domain::{CancelToken, QueryContext};
use hyperbytedb_timeseriesql::ast::Statement;
use hyperbytedb_timeseriesql::{PARSE_ERROR_PREFIX, ParseError};
use parking_lot::Mutex;
use thiserror::Error;

use crate::auth::Refusal;
use crate::statements::StatementError;
use crate::statements::running::Ticket;

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

/// InfluxDB's own block of a series. Clients see it although their answers are not chunked: a longer series is marked
/// as partial.
pub const DEFAULT_CHUNK_ROWS: usize = 10_000;

/// A query request: one or more statements.
#[derive(Debug, Clone, Default)]
pub struct QueryRequest {
    pub text: String,
    pub database: String,
    /// Empty: the database's default.
    pub retention_policy: String,
    pub parameters: BTreeMap<String, Parameter>,
    /// Rows of one block of a series; `None`: the answer is not chunked, and blocks have [`DEFAULT_CHUNK_ROWS`].
    pub chunk_rows: Option<usize>,
    /// A GET request: statements that modify still run, with a warning, as in InfluxDB.
    pub read_only: bool,
    pub caller: Caller,
    pub cancel: CancelToken,
}

/// Why no statement of a request ran.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum QueryError {
    #[error("{PARSE_ERROR_PREFIX}{0}")]
    Parse(#[from] ParseError),
    #[error("error authorizing query: {0}")]
    Refused(#[from] Refusal),
    #[error("max-concurrent-queries limit exceeded ({limit}, {limit}) ({})", settings::QUERY_MAX_CONCURRENT)]
    TooManyQueries { limit: usize },
}

/// A statement's answer as it is produced: any number of `Series` or `Documents`, then one `End`.
#[derive(Debug)]
pub enum ResultEvent {
    Series {
        statement_id: usize,
        block: SeriesBlock,
    },
    /// Series that are all there at once. In a chunked answer each inner list is one document.
    Documents {
        statement_id: usize,
        documents: Vec<Vec<SeriesBlock>>,
    },
    End {
        statement_id: usize,
        messages: Vec<Message>,
        error: Option<StatementError>,
    },
}

/// Receives results. An error means that nobody reads them any more: the query stops.
pub trait ResultSink {
    /// Waits while the reader is behind, until the query must end: then the event is kept, and the caller has to find
    /// out with [`QueryContext::check`].
    fn emit(&mut self, event: ResultEvent, context: &QueryContext) -> Result<(), SinkClosed>;
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the client went away")]
pub struct SinkClosed;

/// Running statements.
pub trait QueryApi: Send + Sync {
    /// Parses a request, which SHOW QUERIES and KILL QUERY find from then on, though it may have to wait.
    fn announce(&self, request: QueryRequest) -> Result<AnnouncedQuery, QueryError>;

    /// Runs the statements in order, emitting their results. Errors of a statement are part of its results. Blocks.
    /// Returns early when the sink is closed or the request's `cancel` is set.
    fn run(&self, query: AnnouncedQuery, sink: &mut dyn ResultSink) -> Result<(), QueryError>;

    /// Both at once.
    fn query(&self, request: &QueryRequest, sink: &mut dyn ResultSink) -> Result<(), QueryError> {
        self.run(self.announce(request.clone())?, sink)
    }
}

/// A query that has not begun.
pub struct AnnouncedQuery {
    pub request: QueryRequest,
    pub(crate) statements: Vec<Statement>,
    /// Its place among the queries; `None` where nobody lists them.
    pub(crate) ticket: Option<Ticket>,
}

impl AnnouncedQuery {
    /// One that only its text says anything about.
    pub fn unparsed(request: QueryRequest) -> Self {
        Self { request, statements: Vec::new(), ticket: None }
    }

    /// Whether it is what helps a server that has too much to do: it looks at the running queries or ends one.
    pub fn is_urgent(&self) -> bool {
        let is_urgent = |s: &Statement| matches!(s, Statement::ShowQueries | Statement::KillQuery(_));
        !self.statements.is_empty() && self.statements.iter().all(is_urgent)
    }
}

/// Where the server stands between start and stop, and whether something has failed that it cannot do without.
#[derive(Debug, Default)]
pub struct Readiness {
    phase: AtomicU8,
    failure: OnceLock<String>,
    failed: OnceLock<FailureHook>,
    /// Background threads that have panicked and do not run again yet.
    dead_threads: Mutex<BTreeSet<String>>,
    /// Parts that fail at present, and why.
    failing: Mutex<BTreeMap<&'static str, String>>,
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

    /// Notes that a part fails at present, and why, or that it works.
    pub fn note(&self, part: &'static str, failure: Option<String>) {
        let mut failing = self.failing.lock();
        match failure {
            Some(reason) => {
                if failing.insert(part, reason.clone()).is_none() {
                    tracing::error!(part, reason, "the server is not healthy");
                }
            }
            None => {
                if failing.remove(part).is_some() {
                    tracing::info!(part, "works again");
                }
            }
        }
    }

    pub fn is_failing(&self, part: &str) -> bool {
        self.failing.lock().contains_key(part)
    }

    /// What does not work at present: the name of a part or thread, and why.
    pub fn failing(&self) -> Vec<(String, String)> {
        let threads = self.dead_threads().into_iter();
        let why = "the thread panicked and is started again";
        let mut failing: Vec<_> = threads.map(|thread| (thread, why.to_owned())).collect();
        let parts = self.failing.lock();
        failing.extend(parts.iter().map(|(part, reason)| ((*part).to_owned(), reason.clone())));
        failing
    }

    pub(crate) fn thread_died(&self, thread: &str) {
        self.dead_threads.lock().insert(thread.to_owned());
    }

    pub(crate) fn thread_runs(&self, thread: &str) {
        self.dead_threads.lock().remove(thread);
    }

    /// Names of the background threads that have panicked and do not run again yet.
    pub fn dead_threads(&self) -> Vec<String> {
        self.dead_threads.lock().iter().cloned().collect()
    }
}
