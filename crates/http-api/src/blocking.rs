//! Work that blocks, on a thread of its own.

use tokio::task::JoinHandle;
use tracing::Span;

/// Runs it; what it logs belongs to the request that it is for.
pub fn spawn<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    let span = Span::current();
    tokio::task::spawn_blocking(move || span.in_scope(work))
}
