//! Statements that an endpoint runs to make an answer of its own from their results.

use hyperbytedb_application::{QueryError, QueryRequest, ResultEvent, ResultSink, SinkClosed};
use hyperbytedb_domain::result::SeriesBlock;
use hyperbytedb_domain::{CancelToken, QueryContext};

use crate::AppState;
use crate::error::{ApiError, statement_error, task_failed};
use crate::turn::Turn;

/// Runs the statements of a request; `take` adds each block of their results to what began as `start`, and bounds it.
pub async fn run<T, F>(state: &AppState, request: QueryRequest, start: T, take: F) -> Result<T, ApiError>
where
    T: Send + 'static,
    F: FnMut(&mut T, SeriesBlock) -> Result<(), ApiError> + Send + 'static,
{
    let _stop = StopWhenDropped(request.cancel.clone());
    let turn = Turn::wait(state, request).await?;
    let queries = state.http.queries.clone();
    let work = move || {
        let mut collector = Collector { collected: start, take, error: None };
        let ended = turn.run(&*queries, &mut collector);
        match collector.error {
            Some(error) => Err(error),
            None => ended.map(|()| collector.collected).map_err(|error: QueryError| error.into()),
        }
    };
    crate::blocking::spawn(work).await.map_err(task_failed)?
}

/// Runs a statement whose results nobody needs.
pub async fn execute(state: &AppState, request: QueryRequest) -> Result<(), ApiError> {
    run(state, request, (), |(), _| Ok(())).await
}

/// A client that goes away stops its statements.
pub struct StopWhenDropped(pub CancelToken);

impl Drop for StopWhenDropped {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

struct Collector<T, F> {
    collected: T,
    take: F,
    /// The first one.
    error: Option<ApiError>,
}

impl<T, F: FnMut(&mut T, SeriesBlock) -> Result<(), ApiError>> Collector<T, F> {
    fn add(&mut self, block: SeriesBlock) -> Result<(), SinkClosed> {
        (self.take)(&mut self.collected, block).map_err(|error| {
            self.error.get_or_insert(error);
            SinkClosed
        })
    }
}

impl<T, F: FnMut(&mut T, SeriesBlock) -> Result<(), ApiError>> ResultSink for Collector<T, F> {
    fn emit(&mut self, event: ResultEvent, _: &QueryContext) -> Result<(), SinkClosed> {
        match event {
            ResultEvent::Series { block, .. } => self.add(block),
            ResultEvent::Documents { documents, .. } => {
                documents.into_iter().flatten().try_for_each(|block| self.add(block))
            }
            ResultEvent::End { error: Some(error), .. } => {
                self.error.get_or_insert(statement_error(&error));
                Ok(())
            }
            ResultEvent::End { .. } => Ok(()),
        }
    }
}
