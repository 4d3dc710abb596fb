//! Who may work, wait and hold memory: the bounds that keep a flood of requests from exhausting the server.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hyperbytedb_application::{Phase, Readiness};
use hyperbytedb_domain::settings;
use hyperbytedb_metrics as metrics;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep, timeout};

use crate::error::ApiError;

/// Seconds after which a refused client should come again.
pub const RETRY_AFTER_SECS: u64 = 1;
/// How often the end of the replay is looked for.
const READY_POLL: Duration = Duration::from_millis(20);

/// What a gate bounds, and the settings of how many work and wait.
#[derive(Debug, Clone, Copy)]
pub struct Bounded {
    pub what: &'static str,
    pub working: &'static str,
    pub waiting: &'static str,
}

/// Lets a number of requests work at one time and a number of others wait for their turn.
pub struct Gate {
    permits: Arc<Semaphore>,
    waiting: AtomicUsize,
    max_waiting: usize,
    timeout: Duration,
    bounded: Bounded,
}

impl Gate {
    pub fn new(max_working: usize, max_waiting: usize, timeout: Duration, bounded: Bounded) -> Self {
        let permits = Arc::new(Semaphore::new(max_working.clamp(1, Semaphore::MAX_PERMITS)));
        Self { permits, waiting: AtomicUsize::new(0), max_waiting, timeout, bounded }
    }

    /// A turn that need not be waited for.
    pub fn try_enter(&self) -> Option<OwnedSemaphorePermit> {
        self.permits.clone().try_acquire_owned().ok()
    }

    /// Waits for a turn, which lasts as long as the permit.
    pub async fn enter(&self) -> Result<OwnedSemaphorePermit, ApiError> {
        if let Some(permit) = self.try_enter() {
            return Ok(permit);
        }
        let _place = Place::take(&self.waiting, self.max_waiting)
            .ok_or_else(|| self.refusal("too many", self.bounded.waiting))?;
        let asked = Instant::now();
        let turn = timeout(self.timeout, self.permits.clone().acquire_owned()).await;
        metrics::HTTP_QUEUE_WAIT.with([self.bounded.what]).record(asked.elapsed());
        match turn {
            Ok(Ok(permit)) => Ok(permit),
            _ => Err(self.refusal("timed out waiting for other", settings::HTTP_QUEUE_TIMEOUT_SECS)),
        }
    }

    fn refusal(&self, why: &str, limit: &'static str) -> ApiError {
        let Bounded { what, working, waiting } = self.bounded;
        ApiError::limit_reached(limit, format!("{why} {what} ({working}, {waiting})"))
    }
}

/// A place in the queue, left when dropped.
struct Place<'a>(&'a AtomicUsize);

impl<'a> Place<'a> {
    fn take(waiting: &'a AtomicUsize, max: usize) -> Option<Self> {
        let place = Self(waiting);
        let before = waiting.fetch_add(1, Ordering::AcqRel);
        (before < max).then_some(place)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// The memory of all request bodies together.
#[derive(Clone)]
pub struct BodyBudget {
    used: Arc<AtomicUsize>,
    max_bytes: usize,
}

impl BodyBudget {
    pub fn new(max_bytes: usize) -> Self {
        Self { used: Arc::default(), max_bytes }
    }

    /// A share of nothing yet.
    pub fn share(&self) -> BodyShare {
        BodyShare { budget: self.clone(), bytes: 0 }
    }
}

/// The bytes that one request holds, given back when dropped.
pub struct BodyShare {
    budget: BodyBudget,
    bytes: usize,
}

impl BodyShare {
    /// Makes sure that `bytes` in all may be held.
    pub fn grow_to(&mut self, bytes: usize) -> Result<(), ApiError> {
        let more = bytes.saturating_sub(self.bytes);
        let before = self.budget.used.fetch_add(more, Ordering::AcqRel);
        if before.saturating_add(more) > self.budget.max_bytes {
            self.budget.used.fetch_sub(more, Ordering::AcqRel);
            let text = format!(
                "request bodies already take the {} bytes they may ({})",
                self.budget.max_bytes,
                settings::HTTP_MAX_INFLIGHT_BODY_BYTES
            );
            return Err(ApiError::limit_reached(settings::HTTP_MAX_INFLIGHT_BODY_BYTES, text));
        }
        self.bytes += more;
        Ok(())
    }
}

impl Drop for BodyShare {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}

/// Waits until the server has replayed its log, for a bounded time.
pub async fn ready(readiness: &Readiness, patience: Duration) -> Result<(), ApiError> {
    let deadline = Instant::now() + patience;
    loop {
        match readiness.phase() {
            Phase::Ready => return Ok(()),
            Phase::Stopping => return Err(ApiError::overloaded("the server is stopping", RETRY_AFTER_SECS)),
            Phase::Replaying if Instant::now() >= deadline => {
                let text = "the server is starting: it replays its write-ahead log";
                return Err(ApiError::overloaded(text, RETRY_AFTER_SECS));
            }
            Phase::Replaying => sleep(READY_POLL).await,
        }
    }
}
