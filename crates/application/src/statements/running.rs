//! The queries that run now: for SHOW QUERIES, KILL QUERY and the bound on their number.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use hyperbytedb_domain::CancelToken;
use hyperbytedb_domain::ports::Caller;
use hyperbytedb_metrics as metrics;
use parking_lot::Mutex;

use crate::api::QueryRequest;

/// A running query.
#[derive(Debug, Clone)]
pub struct RunningQuery {
    pub id: u64,
    pub text: String,
    pub database: String,
    pub caller: Caller,
    pub started: Instant,
    pub cancel: CancelToken,
}

/// All running queries.
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

    /// Enters the query of a request, as it is printed; `None` when too many run.
    pub fn enter(self: &Arc<Self>, text: String, request: &QueryRequest) -> Option<Ticket> {
        let mut state = self.state.lock();
        if self.max > 0 && state.queries.len() >= self.max {
            return None;
        }
        state.last_id += 1;
        let id = state.last_id;
        let query = RunningQuery {
            id,
            text,
            database: request.database.clone(),
            caller: request.caller.clone(),
            started: Instant::now(),
            cancel: request.cancel.clone(),
        };
        state.queries.insert(id, query);
        metrics::QUERIES_ACTIVE.set(state.queries.len() as f64);
        Some(Ticket { queries: self.clone(), id })
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

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut state = self.queries.state.lock();
        state.queries.remove(&self.id);
        metrics::QUERIES_ACTIVE.set(state.queries.len() as f64);
    }
}
