//! The background threads: named, stopped together, and never silently dead.
//!
//! A thread that panics is started again after a pause; one that must not be is started as [`Threads::spawn_vital`] and
//! its end is reported as a failure of the server.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use hyperbytedb_metrics as metrics;
use parking_lot::{Condvar, Mutex};

use crate::api::Readiness;
use crate::waiting::{self, Wait};

/// The pause before a thread that panicked is started again.
const RESTART_PAUSE: Duration = Duration::from_secs(1);

/// Tells threads to end.
#[derive(Debug, Clone, Default)]
pub struct Stop(Arc<StopState>);

#[derive(Debug, Default)]
struct StopState {
    set: AtomicBool,
    lock: Mutex<()>,
    changed: Condvar,
}

impl Stop {
    pub fn set(&self) {
        let _lock = self.0.lock.lock();
        self.0.set.store(true, Ordering::Release);
        self.0.changed.notify_all();
    }

    pub fn is_set(&self) -> bool {
        self.0.set.load(Ordering::Acquire)
    }

    /// Waits; false as soon as it is set.
    pub fn wait(&self, time: Duration) -> bool {
        if waiting::pass(Wait::Until(waiting::now() + time)) {
            return !self.is_set();
        }
        let until = Instant::now() + time;
        let mut lock = self.0.lock.lock();
        while !self.is_set() {
            if self.0.changed.wait_until(&mut lock, until).timed_out() {
                return !self.is_set();
            }
        }
        false
    }
}

/// Threads that are stopped together.
pub struct Threads {
    stop: Stop,
    readiness: Arc<Readiness>,
    handles: Mutex<Vec<JoinHandle<()>>>,
}

impl Threads {
    pub fn new(readiness: Arc<Readiness>) -> Self {
        Self { stop: Stop::default(), readiness, handles: Mutex::default() }
    }

    /// Starts a thread that runs until it is told to stop, and once more whenever it panics.
    pub fn spawn(&self, name: &str, run: impl Fn(&Stop) + Send + 'static) -> std::io::Result<()> {
        let (stop, readiness) = (self.stop.clone(), self.readiness.clone());
        let thread_name = name.to_owned();
        let handle = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            while catch_unwind(AssertUnwindSafe(|| run(&stop))).is_err() {
                tracing::error!(thread = thread_name, "a background thread panicked; it is started again");
                readiness.thread_died(&thread_name);
                metrics::THREAD_PANICS.with([&thread_name]).increment(1);
                if !stop.wait(RESTART_PAUSE) {
                    return;
                }
                readiness.thread_runs(&thread_name);
            }
        })?;
        self.handles.lock().push(handle);
        Ok(())
    }

    /// Starts a thread whose panic leaves the server unable to go on: it is reported as a failure.
    pub fn spawn_vital(&self, name: &str, run: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
        let readiness = self.readiness.clone();
        let thread_name = name.to_owned();
        let handle = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            if catch_unwind(AssertUnwindSafe(run)).is_err() {
                readiness.fail(format!("the {thread_name} thread panicked"));
            }
        })?;
        self.handles.lock().push(handle);
        Ok(())
    }

    /// Tells all to stop and waits until they have.
    pub fn stop(&self) {
        self.stop.set();
        for handle in self.handles.lock().drain(..) {
            // A panic has been reported.
            let _ = handle.join();
        }
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.stop();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[test]
    fn a_thread_that_panics_is_reported_until_it_runs_again() {
        let readiness = Arc::new(Readiness::default());
        let threads = Threads::new(readiness.clone());
        let (runs, seen) = (Arc::new(AtomicUsize::new(0)), crossbeam_channel::bounded(2));
        let (sender, reported) = (seen.0, readiness.clone());
        threads
            .spawn("test", move |stop| {
                let run = runs.fetch_add(1, Ordering::SeqCst);
                sender.send((run, reported.dead_threads())).expect("the test listens");
                assert!(run > 0, "the first run fails");
                while stop.wait(Duration::from_secs(1)) {}
            })
            .expect("a thread");
        assert_eq!(seen.1.recv(), Ok((0, Vec::new())));
        let patience = Instant::now() + Duration::from_secs(20);
        while readiness.dead_threads() != ["test"] && Instant::now() < patience {
            std::thread::yield_now();
        }
        assert_eq!(readiness.dead_threads(), ["test"]);
        assert_eq!(seen.1.recv(), Ok((1, Vec::new())));
        threads.stop();
    }

    #[test]
    fn the_end_of_a_vital_thread_is_a_failure() {
        let readiness = Arc::new(Readiness::default());
        let threads = Threads::new(readiness.clone());
        threads.spawn_vital("committer", || panic!("for the test")).expect("a thread");
        threads.stop();
        assert_eq!(readiness.failure().as_deref(), Some("the committer thread panicked"));
    }
}
