//! Waiting for other threads.
//!
//! All of it goes through here, so that a simulation, which runs one thread at a time, can pass the turn on instead.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvError, SendTimeoutError, Sender, TryRecvError, TrySendError};
use parking_lot::{Condvar, MutexGuard};

thread_local!(static INSTEAD: RefCell<Option<Rc<dyn Fn()>>> = const { RefCell::new(None) });

/// From now on this thread, where it would wait, calls `instead` and looks again.
pub fn replace_on_this_thread(instead: impl Fn() + 'static) {
    INSTEAD.set(Some(Rc::new(instead)));
}

/// Calls what takes the place of waiting; false when nothing does.
pub(crate) fn pass() -> bool {
    let instead = INSTEAD.with_borrow(Clone::clone);
    instead.map(|instead| instead()).is_some()
}

/// Waits until `changed` is notified or the time has come.
pub(crate) fn wait_until<T>(changed: &Condvar, guard: &mut MutexGuard<'_, T>, until: Instant) {
    if !MutexGuard::unlocked(guard, pass) {
        changed.wait_until(guard, until);
    }
}

pub(crate) fn sleep(time: Duration) {
    if !pass() {
        std::thread::sleep(time);
    }
}

pub(crate) fn receive<T>(receiver: &Receiver<T>) -> Result<T, RecvError> {
    loop {
        match receiver.try_recv() {
            Ok(value) => return Ok(value),
            Err(TryRecvError::Disconnected) => return Err(RecvError),
            Err(TryRecvError::Empty) if pass() => {}
            Err(TryRecvError::Empty) => return receiver.recv(),
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
        if !pass() {
            return sender.send_timeout(value, timeout);
        }
    }
}
