//! Connections that are closed when nobody waits for their answer any more: so a server stops working on it, too.

use std::cell::RefCell;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ureq::Error;
use ureq::unversioned::transport::{Buffers, ConnectionDetails, Connector, NextTimeout, Transport, time};

/// How soon a wait sees that it is in vain.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

thread_local! {
    /// Of the request that this thread waits for.
    static ABANDONED: RefCell<Arc<AtomicBool>> = RefCell::default();
}

/// Requests of this thread end when the flag is set.
pub fn until_abandoned(flag: Arc<AtomicBool>) {
    ABANDONED.set(flag);
}

fn is_abandoned() -> bool {
    ABANDONED.with_borrow(|flag| flag.load(Ordering::Relaxed))
}

/// Sets a flag when it is dropped.
pub struct AbandonOnDrop(pub Arc<AtomicBool>);

impl Drop for AbandonOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[derive(Debug)]
pub struct Interruptible;

impl<In: Transport> Connector<In> for Interruptible {
    type Out = InterruptibleTransport<In>;

    fn connect(&self, _: &ConnectionDetails, chained: Option<In>) -> Result<Option<Self::Out>, Error> {
        Ok(chained.map(InterruptibleTransport))
    }
}

#[derive(Debug)]
pub struct InterruptibleTransport<T>(T);

impl<T: Transport> Transport for InterruptibleTransport<T> {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.0.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        self.0.transmit_output(amount, timeout)
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        let mut left = match timeout.after {
            time::Duration::Exact(left) => Some(left),
            time::Duration::NotHappening => None,
        };
        loop {
            let wait = left.map_or(LOOK_INTERVAL, |left| left.min(LOOK_INTERVAL));
            let look = NextTimeout { after: time::Duration::Exact(wait), ..timeout };
            match self.0.await_input(look) {
                Err(Error::Timeout(_)) if is_abandoned() => {
                    return Err(io::Error::from(io::ErrorKind::ConnectionAborted).into());
                }
                Err(Error::Timeout(reason)) => {
                    left = left.map(|left| left.saturating_sub(wait));
                    if left.is_some_and(|left| left.is_zero()) {
                        return Err(Error::Timeout(reason));
                    }
                }
                answered => return answered,
            }
        }
    }

    fn is_open(&mut self) -> bool {
        self.0.is_open()
    }
}
