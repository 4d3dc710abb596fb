//! Waiting for other threads.
//!
//! All of it goes through here, so that a simulation, which runs one thread at a time, can pass the turn on instead.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crossbeam_channel::{
    Receiver, RecvError, RecvTimeoutError, SendTimeoutError, Sender, TryRecvError, TrySendError,
};
use parking_lot::{Condvar, Mutex, MutexGuard};

/// How a thread would wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// For another thread, at the latest until the time, if there is one.
    ForOthers(Option<Instant>),
    Until(Instant),
}

/// What takes the place of waiting.
pub trait Instead {
    fn wait(&self, wait: Wait);

    fn now(&self) -> Instant {
        Instant::now()
    }

    /// The time of day in nanoseconds since 1970; `None`: the machine's.
    fn now_ns(&self) -> Option<i64> {
        None
    }
}

impl<F: Fn()> Instead for F {
    fn wait(&self, _: Wait) {
        self();
    }
}

thread_local!(static INSTEAD: RefCell<Option<Rc<dyn Instead>>> = const { RefCell::new(None) });

/// From now on this thread, where it would wait, does that instead and looks again.
pub fn replace_on_this_thread(instead: impl Instead + 'static) {
    INSTEAD.set(Some(Rc::new(instead)));
}

/// The time that waits are measured with.
pub fn now() -> Instant {
    INSTEAD.with_borrow(Clone::clone).map_or_else(Instant::now, |instead| instead.now())
}

/// Now, in nanoseconds since 1970.
pub fn now_ns() -> i64 {
    if let Some(now) = INSTEAD.with_borrow(Clone::clone).and_then(|instead| instead.now_ns()) {
        return now;
    }
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

/// Does what takes the place of waiting; false when nothing does.
pub(crate) fn pass(wait: Wait) -> bool {
    let instead = INSTEAD.with_borrow(Clone::clone);
    instead.map(|instead| instead.wait(wait)).is_some()
}

/// Waits until `changed` is notified or the time has come.
pub(crate) fn wait_until<T>(changed: &Condvar, guard: &mut MutexGuard<'_, T>, until: Instant) {
    if !MutexGuard::unlocked(guard, || pass(Wait::ForOthers(Some(until)))) {
        changed.wait_until(guard, until);
    }
}

pub(crate) fn sleep(time: Duration) {
    if !pass(Wait::Until(now() + time)) {
        std::thread::sleep(time);
    }
}

/// Locks what is held while others are waited for.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    loop {
        match mutex.try_lock() {
            Some(guard) => return guard,
            None if pass(Wait::ForOthers(None)) => {}
            None => return mutex.lock(),
        }
    }
}

pub(crate) fn receive<T>(receiver: &Receiver<T>) -> Result<T, RecvError> {
    loop {
        match receiver.try_recv() {
            Ok(value) => return Ok(value),
            Err(TryRecvError::Disconnected) => return Err(RecvError),
            Err(TryRecvError::Empty) if pass(Wait::ForOthers(None)) => {}
            Err(TryRecvError::Empty) => return receiver.recv(),
        }
    }
}

pub(crate) fn receive_until<T>(receiver: &Receiver<T>, until: Instant) -> Result<T, RecvTimeoutError> {
    loop {
        match receiver.try_recv() {
            Ok(value) => return Ok(value),
            Err(TryRecvError::Disconnected) => return Err(RecvTimeoutError::Disconnected),
            Err(TryRecvError::Empty) if now() >= until => return Err(RecvTimeoutError::Timeout),
            Err(TryRecvError::Empty) if pass(Wait::ForOthers(Some(until))) => {}
            Err(TryRecvError::Empty) => return receiver.recv_deadline(until),
        }
    }
}

pub(crate) fn send<T>(
    sender: &Sender<T>,
    mut value: T,
    timeout: Duration,
) -> Result<(), SendTimeoutError<T>> {
    loop {
        match sender.try_send(value) {
            Ok(()) => return Ok(()),
            Err(TrySendError::Disconnected(value)) => return Err(SendTimeoutError::Disconnected(value)),
            Err(TrySendError::Full(unsent)) => value = unsent,
        }
        if !pass(Wait::ForOthers(None)) {
            return sender.send_timeout(value, timeout);
        }
    }
}
