//! When a query may run. One that has to wait is parsed before, so that SHOW QUERIES shows it and KILL QUERY ends it; those two
//! never wait themselves.

use std::time::Duration;

use hyperbytedb_application::{AnnouncedQuery, QueryApi, QueryError, QueryRequest, ResultSink};
use hyperbytedb_domain::CancelToken;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::sleep;

use crate::error::{ApiError, task_failed};
use crate::{AppState, admission};

/// How often a query that waits looks whether it is to end.
const WATCH_INTERVAL: Duration = Duration::from_millis(20);

/// A query whose turn it is.
pub struct Turn {
    query: Query,
    _permit: Option<OwnedSemaphorePermit>,
}

enum Query {
    Unparsed(QueryRequest),
    Announced(AnnouncedQuery),
}

impl Turn {
    /// Waits until the server is ready, and then for a turn.
    pub async fn wait(state: &AppState, request: QueryRequest) -> Result<Self, ApiError> {
        admission::ready(&state.http.readiness, state.http.options.replay_timeout).await?;
        if let Some(permit) = state.query_gate.try_enter() {
            return Ok(Self { query: Query::Unparsed(request), _permit: Some(permit) });
        }
        let queries = state.http.queries.clone();
        let announce = move || queries.announce(request);
        let query = crate::blocking::spawn(announce).await.map_err(task_failed)??;
        let permit = if query.is_urgent() {
            None
        } else {
            tokio::select! {
                permit = state.query_gate.enter() => Some(permit?),
                // It runs, which says that it was interrupted.
                () = cancelled(&query.request.cancel) => None,
            }
        };
        Ok(Self { query: Query::Announced(query), _permit: permit })
    }

    /// Runs it on this thread, which may block.
    pub fn run(self, queries: &dyn QueryApi, sink: &mut dyn ResultSink) -> Result<(), QueryError> {
        match self.query {
            Query::Unparsed(request) => queries.query(&request, sink),
            Query::Announced(query) => queries.run(query, sink),
        }
    }
}

async fn cancelled(token: &CancelToken) {
    while !token.is_cancelled() {
        sleep(WATCH_INTERVAL).await;
    }
}
