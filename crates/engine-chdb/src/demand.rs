//! Who needs a connection, told to those who could free one.

use std::sync::atomic::{AtomicUsize, Ordering};

/// How many wait for a connection, and how many connections are on their way to them.
#[derive(Default)]
pub(crate) struct Demand {
    waiting: AtomicUsize,
    yielding: AtomicUsize,
}

/// Counted while it lives.
pub(crate) struct Counted<'d>(&'d AtomicUsize);

impl<'d> Counted<'d> {
    fn new(count: &'d AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::AcqRel);
        Self(count)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Demand {
    /// Counts one who waits.
    pub(crate) fn wait(&self) -> Counted<'_> {
        Counted::new(&self.waiting)
    }

    /// Whether a connection that could be freed is needed; one for each who waits.
    pub(crate) fn yield_connection(&self) -> Option<Counted<'_>> {
        let yielding = Counted::new(&self.yielding);
        let wanted = self.waiting.load(Ordering::Acquire) >= self.yielding.load(Ordering::Acquire);
        wanted.then_some(yielding)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_connections_are_yielded_as_are_waited_for() {
        let demand = Demand::default();
        assert!(demand.yield_connection().is_none());
        let waiting = demand.wait();
        let first = demand.yield_connection();
        assert!(first.is_some() && demand.yield_connection().is_none());
        drop(first);
        assert!(demand.yield_connection().is_some());
        drop(waiting);
        assert!(demand.yield_connection().is_none());
    }
}
