//! A process among those of a scheduler, and what its threads do where they would wait.

use std::panic::resume_unwind;
use std::sync::{Arc, Weak};
use std::time::Instant;

use hyperbytedb_application::waiting::{Instead, Wait};
use hyperbytedb_domain::CancelToken;

use super::calls::Crash;
use super::{DRIVER, Ended, Scheduler};

/// A process among those of a scheduler.
#[derive(Clone)]
pub struct Host {
    pub scheduler: Arc<Scheduler>,
    pub(super) number: usize,
}

impl Host {
    /// Starts a thread of the process; a client's with what cancels its statement.
    pub fn spawn(
        &self,
        name: &'static str,
        client: Option<CancelToken>,
        run: impl FnOnce() + Send + 'static,
    ) {
        self.scheduler.spawn(self.number, name, client, run);
    }

    /// How to see whether the services hold the lock under which records take effect.
    pub fn set_applying(&self, is_applying: impl Fn() -> bool + Send + Sync + 'static) {
        self.scheduler.state.lock().hosts[self.number].is_applying = Some(Arc::new(is_applying));
    }

    /// The end of the process from within: the calling thread ends too.
    pub fn on_failure(&self) -> impl Fn() + Send + Sync + 'static {
        let (scheduler, number) = (Arc::downgrade(&self.scheduler), self.number);
        move || {
            if let Some(scheduler) = scheduler.upgrade() {
                scheduler.state.lock().hosts[number].ended = true;
                resume_unwind(Box::new(Ended));
            }
        }
    }

    /// Ends the process from within: the calling thread ends too.
    pub fn fail(&self) {
        self.on_failure()();
    }

    /// Something has happened that its tasks may wait for.
    pub fn progress(&self) {
        self.scheduler.state.lock().progress(self.number);
    }

    pub fn has_ended(&self) -> bool {
        self.scheduler.state.lock().hosts[self.number].ended
    }

    /// Ends the process now, with its threads.
    pub fn end(&self) {
        self.scheduler.state.lock().hosts[self.number].ended = true;
        self.scheduler.end_tasks();
    }

    /// Has the process end in the round that begins.
    pub fn crash(&self, crash: Crash) {
        let host = &mut self.scheduler.state.lock().hosts[self.number];
        (host.calls, host.crash) = (0, Some(crash));
    }

    /// Has its time of day be off, by milliseconds.
    pub fn skew(&self, milliseconds: i64) {
        self.scheduler.state.lock().hosts[self.number].skew = milliseconds * 1_000_000;
    }

    /// The driver makes its calls in this process from now on.
    pub fn enter(&self) {
        self.scheduler.state.lock().tasks[DRIVER].host = self.number;
    }
}

/// What a task does where it would wait.
pub(super) struct Turn {
    pub(super) scheduler: Weak<Scheduler>,
    pub(super) began: Instant,
}

impl Instead for Turn {
    fn wait(&self, wait: Wait) {
        if let Some(scheduler) = self.scheduler.upgrade() {
            let offset = |until: Instant| until.saturating_duration_since(self.began);
            match wait {
                Wait::ForOthers(until) => scheduler.wait(scheduler.current(), until.map(offset), false),
                Wait::Until(until) => scheduler.wait(scheduler.current(), Some(offset(until)), true),
            }
        }
    }

    fn now_ns(&self) -> Option<i64> {
        let scheduler = self.scheduler.upgrade()?;
        let state = scheduler.state.lock();
        let skew = state.hosts.get(state.tasks[state.current].host).map_or(0, |host| host.skew);
        Some(state.time_of_day()? + skew)
    }

    fn now(&self) -> Instant {
        let now = self.scheduler.upgrade().and_then(|scheduler| scheduler.state.lock().now);
        now.map_or_else(Instant::now, |now| self.began + now)
    }
}
