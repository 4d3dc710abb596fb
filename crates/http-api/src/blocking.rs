//! Work that blocks, and must not hold up what else the thread would do.

use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::task::JoinHandle;
use tracing::Span;

/// Runs it; what it logs belongs to the request that it is for.
pub fn spawn<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    let span = Span::current();
    let work = move || span.in_scope(work);
    match Handle::current().runtime_flavor() {
        // On this thread, whose other tasks move to another one meanwhile: short work has not to wait until a thread wakes.
        RuntimeFlavor::MultiThread => tokio::spawn(async move { tokio::task::block_in_place(work) }),
        _ => tokio::task::spawn_blocking(work),
    }
}
