//! Ends the program when a task waits for what the scheduler does not see: a lock that another task holds while it makes a call.
//! All tasks are of one thread, so that nobody could go on.

use std::sync::{Arc, Once, Weak};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::{DRIVER, Scheduler};

/// A task that has the turn so long, and makes no call, waits for such a lock.
const STUCK: Duration = Duration::from_secs(60);
const LOOK_INTERVAL: Duration = Duration::from_secs(5);

struct Watched {
    scheduler: Weak<Scheduler>,
    /// How far it was when this was last seen to change.
    progress: (u64, u64),
    since: Instant,
}

static WATCHED: Mutex<Vec<Watched>> = Mutex::new(Vec::new());
static WATCHER: Once = Once::new();

pub(super) fn watch(scheduler: &Arc<Scheduler>) {
    let scheduler = Arc::downgrade(scheduler);
    WATCHED.lock().push(Watched { scheduler, progress: (0, 0), since: Instant::now() });
    WATCHER.call_once(|| {
        thread::spawn(|| {
            loop {
                thread::sleep(LOOK_INTERVAL);
                WATCHED.lock().retain_mut(Watched::look);
            }
        });
    });
}

impl Watched {
    /// Whether it is still to be watched.
    fn look(&mut self) -> bool {
        let Some(scheduler) = self.scheduler.upgrade() else { return false };
        let state = scheduler.state.lock();
        let progress = (state.calls, state.trace);
        if progress != self.progress || state.current == DRIVER {
            (self.progress, self.since) = (progress, Instant::now());
        } else if self.since.elapsed() > STUCK {
            let name = state.tasks[state.current].name;
            eprintln!("{name} waits for a lock that is held while a call is made");
            std::process::abort();
        }
        true
    }
}
