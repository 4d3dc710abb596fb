//! Stops statements from outside.
//!
//! Dropping a stream ends a statement only between two batches. A statement that is busy inside one (a sort, a large
//! aggregation) is killed from a connection that nothing else uses.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use chdb_rust::connection::Connection;
use chdb_rust::format::OutputFormat;
use crossbeam_channel::{Receiver, Sender, unbounded};
use hyperbytedb_clickhouse_sql::statement::Statement;
use hyperbytedb_domain::EngineError;

/// Time for a statement to end by itself after its consumer went away, and between attempts to end it: one that
/// has not begun yet cannot be killed.
const PATIENCE: Duration = Duration::from_millis(20);

const STACK_BYTES: usize = 16 << 20;

/// Names a running statement, in its `log_comment` setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StatementTag(pub(crate) String);

impl StatementTag {
    pub(crate) fn next() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(format!("hyperbytedb-{}", NEXT.fetch_add(1, Ordering::Relaxed)))
    }
}

struct Request {
    tag: StatementTag,
    finished: Arc<AtomicBool>,
}

/// Owns the thread. Requests are at most one for each pooled connection.
pub(crate) struct Killer {
    requests: Option<Sender<Request>>,
    thread: Option<JoinHandle<()>>,
}

impl Killer {
    /// `open` makes the connection, on the killer's thread.
    pub(crate) fn spawn(
        open: impl FnOnce() -> Option<Connection> + Send + 'static,
    ) -> Result<Self, EngineError> {
        let (requests, inbox) = unbounded::<Request>();
        let thread = thread::Builder::new()
            .name("chdb-killer".into())
            .stack_size(STACK_BYTES)
            .spawn(move || {
                if let Some(connection) = open() {
                    serve(&connection, &inbox);
                }
            })
            .map_err(|e| EngineError::failed("starting a thread", e))?;
        Ok(Self { requests: Some(requests), thread: Some(thread) })
    }

    /// Ends the statement soon, unless it is `finished` by then.
    pub(crate) fn kill(&self, tag: StatementTag, finished: Arc<AtomicBool>) {
        if let Some(requests) = &self.requests {
            let _ = requests.send(Request { tag, finished });
        }
    }
}

fn serve(connection: &Connection, inbox: &Receiver<Request>) {
    while let Ok(request) = inbox.recv() {
        let mut pending = vec![request];
        while !pending.is_empty() {
            thread::sleep(PATIENCE);
            pending.extend(inbox.try_iter());
            pending.retain(|r| !r.finished.load(Ordering::Acquire));
            for request in &pending {
                kill(connection, &request.tag);
            }
        }
    }
}

fn kill(connection: &Connection, tag: &StatementTag) {
    let statement = Statement::Kill { log_comment: tag.0.clone() };
    if let Err(error) = connection.query(&statement.to_string(), OutputFormat::Null) {
        tracing::warn!(%error, "could not stop a statement");
    }
}

impl Drop for Killer {
    fn drop(&mut self) {
        self.requests = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
