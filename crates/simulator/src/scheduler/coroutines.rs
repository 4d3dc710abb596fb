//! Tasks as coroutines of the driver's thread. To go from one to another takes nanoseconds; with threads it took most of a run.

use std::collections::HashMap;

use generator::{Generator, Gn};
use parking_lot::Mutex;

/// In words. Only what is touched takes memory.
const STACK_SIZE: usize = (2 << 20) / size_of::<usize>();

/// Those that have not ended and are not running, by task.
#[derive(Default)]
pub(super) struct Coroutines(Mutex<HashMap<usize, Generator<'static, (), ()>>>);

impl Coroutines {
    /// It begins when it is resumed.
    pub(super) fn add(&self, task: usize, run: impl FnOnce() + Send + 'static) {
        self.0.lock().insert(task, Gn::new_opt(STACK_SIZE, run));
    }

    /// Returns when the task ends or suspends itself.
    pub(super) fn resume(&self, task: usize) {
        let coroutine = self.0.lock().remove(&task);
        if let Some(mut coroutine) = coroutine {
            coroutine.resume();
            if !coroutine.is_done() {
                self.0.lock().insert(task, coroutine);
            }
        }
    }
}

/// Suspends the calling task until it is resumed.
#[expect(deprecated, reason = "what takes its place would have to be passed through all services")]
pub(super) fn suspend() {
    generator::yield_with(());
}
