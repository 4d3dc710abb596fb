//! The queries that run now or wait for their turn: for SHOW QUERIES, KILL QUERY and the bound on their number.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyperbytedb_domain::CancelToken;
use hyperbytedb_domain::ports::Caller;
use hyperbytedb_metrics as metrics;
use hyperbytedb_metrics::stats::QUERY_EXECUTOR;
use parking_lot::Mutex;

use crate::api::QueryRequest;

/// A query.
#[derive(Debug, Clone)]
pub struct RunningQuery {
    pub id: u64,
    pub text: String,
    pub database: String,
    pub caller: Caller,
    pub announced: Instant,
    /// It waits for its turn.
    pub is_waiting: bool,
    pub cancel: CancelToken,
    /// The request's, for what is logged of the query.
    span: tracing::Span,
    is_logged: bool,
}

impl RunningQuery {
    fn log_slow(&self, threshold: Duration, message: &str) {
        let (qid, query, database) = (self.id, &self.text, &self.database);
        let (duration, user) = (self.announced.elapsed(), self.caller.user());
        tracing::warn!(parent: &self.span, qid, query, database, user, ?duration, ?threshold, "{message}");
    }
}

/// All queries.
#[derive(Debug, Default)]
pub struct RunningQueries {
    state: Mutex<State>,
    max: usize,
    /// `None`: no query is logged as slow.
    slow_threshold: Option<Duration>,
}

#[derive(Debug, Default)]
struct State {
    last_id: u64,
    queries: BTreeMap<u64, RunningQuery>,
}

/// A query's place among the running ones; dropping it gives the place up.
pub struct Ticket {
    queries: Arc<RunningQueries>,
    pub id: u64,
}

impl RunningQueries {
    /// `max` queries may run at the same time; 0 = no limit.
    pub fn new(max: usize) -> Self {
        Self { state: Mutex::default(), max, slow_threshold: None }
    }

    pub fn with_slow_threshold(self, slow_threshold: Option<Duration>) -> Self {
        Self { slow_threshold, ..self }
    }

    pub fn slow_threshold(&self) -> Option<Duration> {
        self.slow_threshold
    }

    /// Logs the queries that have become slow since the last call.
    pub fn log_slow(&self) {
        let Some(threshold) = self.slow_threshold else { return };
        let is_new = |query: &&mut RunningQuery| !query.is_logged && query.announced.elapsed() >= threshold;
        let note = |query: &mut RunningQuery| {
            query.is_logged = true;
            query.clone()
        };
        // Nobody waits for the log.
        let slow: Vec<_> = self.state.lock().queries.values_mut().filter(is_new).map(note).collect();
        slow.iter().for_each(|query| query.log_slow(threshold, "slow query, which goes on"));
    }

    /// Enters the query of a request, as it is printed, and starts it; `None` when too many run.
    pub fn enter(self: &Arc<Self>, text: String, request: &QueryRequest) -> Option<Ticket> {
        let ticket = self.announce(text, request);
        ticket.start().then_some(ticket)
    }

    /// Enters a query that waits for its turn.
    pub fn announce(self: &Arc<Self>, text: String, request: &QueryRequest) -> Ticket {
        let mut state = self.state.lock();
        state.last_id += 1;
        let id = state.last_id;
        let query = RunningQuery {
            id,
            text,
            database: request.database.clone(),
            caller: request.caller.clone(),
            announced: Instant::now(),
            is_waiting: true,
            cancel: request.cancel.clone(),
            span: tracing::Span::current(),
            is_logged: false,
        };
        state.queries.insert(id, query);
        metrics::QUERIES_ACTIVE.set(state.queries.len() as f64);
        QUERY_EXECUTOR.queries_executed.increment();
        Ticket { queries: self.clone(), id }
    }

    /// In order of their ids.
    pub fn list(&self) -> Vec<RunningQuery> {
        self.state.lock().queries.values().cloned().collect()
    }

    /// Cancels a query; false when there is none of this id.
    pub fn kill(&self, id: u64) -> bool {
        let state = self.state.lock();
        let Some(query) = state.queries.get(&id) else { return false };
        query.cancel.cancel();
        true
    }
}

impl Ticket {
    /// The query begins; false when too many run.
    pub fn start(&self) -> bool {
        let max = self.queries.max;
        let mut state = self.queries.state.lock();
        let running = state.queries.values().filter(|query| !query.is_waiting).count();
        let has_room = max == 0 || running < max;
        if has_room {
            state.set_running(self.id);
        }
        has_room
    }

    /// The query begins however many run.
    pub fn start_at_once(&self) {
        self.queries.state.lock().set_running(self.id);
    }
}

impl State {
    fn set_running(&mut self, id: u64) {
        if let Some(query) = self.queries.get_mut(&id) {
            query.is_waiting = false;
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut state = self.queries.state.lock();
        let ended = state.queries.remove(&self.id);
        metrics::QUERIES_ACTIVE.set(state.queries.len() as f64);
        drop(state);
        QUERY_EXECUTOR.queries_finished.increment();
        if let Some(query) = &ended {
            QUERY_EXECUTOR.query_duration_ns.add_duration(query.announced.elapsed());
        }
        if let (Some(query), Some(threshold)) = (ended, self.queries.slow_threshold)
            && query.announced.elapsed() >= threshold
        {
            metrics::SLOW_QUERIES.increment(1);
            query.log_slow(threshold, "slow query, which has ended");
        }
    }
}
