//! The queries that run now or wait for their turn: for SHOW QUERIES, KILL QUERY and the bound on their number.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use hyperbytedb_domain::CancelToken;
use hyperbytedb_domain::ports::Caller;
use hyperbytedb_metrics as metrics;
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
}

/// All queries.
#[derive(Debug, Default)]
pub struct RunningQueries {
    state: Mutex<State>,
    max: usize,
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
        Self { state: Mutex::default(), max }
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
        };
        state.queries.insert(id, query);
        metrics::QUERIES_ACTIVE.set(state.queries.len() as f64);
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
        state.queries.remove(&self.id);
        metrics::QUERIES_ACTIVE.set(state.queries.len() as f64);
    }
}
