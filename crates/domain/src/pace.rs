//! Room for short queries beside long ones: a query that has worked for some time goes on only as one of few at a time.
//!
//! Nobody has to know beforehand what a query will cost. Each begins at once; past a time of work it takes one of the slots of
//! heavy queries, or waits for one. It gives its slot back while it waits for its client.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::cancel::QueryContext;
use crate::error::EngineError;
use crate::{limits, settings};

/// How often a query that waits for a slot looks whether it must end.
const WATCH_INTERVAL: Duration = Duration::from_millis(20);

/// The slots of heavy queries, for all of a server.
#[derive(Debug)]
pub struct HeavySlots {
    free: Mutex<usize>,
    freed: Condvar,
    /// Work after which a query is heavy.
    after: Duration,
}

impl HeavySlots {
    pub fn new(slots: usize, after: Duration) -> Arc<Self> {
        Arc::new(Self { free: Mutex::new(slots.max(1)), freed: Condvar::new(), after })
    }

    /// Of a query that begins to work now.
    pub fn pace(self: &Arc<Self>) -> Pace {
        let since = Some(Instant::now());
        let work = Work { slots: self.clone(), done: Duration::ZERO, since, has_slot: false };
        Pace { work: Arc::new(Mutex::new(work)) }
    }

    fn take(&self, context: &QueryContext) -> Result<(), EngineError> {
        let mut free = lock(&self.free);
        if *free == 0 {
            limits::exceeded(settings::QUERY_MAX_HEAVY);
        }
        while *free == 0 {
            context.check()?;
            let waited = self.freed.wait_timeout(free, WATCH_INTERVAL);
            free = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        *free -= 1;
        Ok(())
    }

    fn give_back(&self) {
        *lock(&self.free) += 1;
        self.freed.notify_one();
    }
}

/// How long one query has worked, and whether it has a slot.
#[derive(Debug, Clone)]
pub struct Pace {
    work: Arc<Mutex<Work>>,
}

#[derive(Debug)]
struct Work {
    slots: Arc<HeavySlots>,
    done: Duration,
    /// `None`: it waits for its client.
    since: Option<Instant>,
    has_slot: bool,
}

impl Pace {
    /// Waits for a slot, if the query has become heavy and has none.
    pub(crate) fn keep(&self, context: &QueryContext) -> Result<(), EngineError> {
        let mut work = lock(&self.work);
        let Some(since) = work.since.filter(|_| !work.has_slot) else { return Ok(()) };
        if work.done + since.elapsed() < work.slots.after {
            return Ok(());
        }
        work.done += since.elapsed();
        work.slots.take(context)?;
        (work.since, work.has_slot) = (Some(Instant::now()), true);
        Ok(())
    }

    /// The query waits for its client.
    pub fn pause(&self) {
        let mut work = lock(&self.work);
        if let Some(since) = work.since.take() {
            work.done += since.elapsed();
        }
        work.give_back();
    }

    /// It works again.
    pub fn resume(&self) {
        lock(&self.work).since = Some(Instant::now());
    }
}

impl Work {
    fn give_back(&mut self) {
        if std::mem::take(&mut self.has_slot) {
            self.slots.give_back();
        }
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        self.give_back();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_millis(5);

    fn paced(pace: &Pace) -> QueryContext {
        QueryContext { pace: Some(pace.clone()), ..QueryContext::unbounded() }
    }

    #[test]
    fn heavy_queries_take_turns_and_short_ones_do_not_wait() {
        let slots = HeavySlots::new(1, SOON);
        let (first, second) = (slots.pace(), slots.pace());
        std::thread::sleep(2 * SOON);
        paced(&first).keep_pace().unwrap();
        let short = HeavySlots::pace(&slots);
        paced(&short).keep_pace().unwrap();

        let waiting = std::thread::spawn(move || {
            let began = Instant::now();
            paced(&second).keep_pace().unwrap();
            second.pause();
            began.elapsed()
        });
        std::thread::sleep(20 * SOON);
        first.pause();
        assert!(waiting.join().unwrap() >= 10 * SOON);
        first.resume();
        paced(&first).keep_pace().unwrap();
        first.pause();
        short.pause();
    }

    #[test]
    fn who_waits_for_a_slot_can_be_killed() {
        let slots = HeavySlots::new(1, Duration::ZERO);
        let (first, second) = (slots.pace(), slots.pace());
        paced(&first).keep_pace().unwrap();
        let context = paced(&second);
        let cancel = context.cancel.clone();
        let waiting = std::thread::spawn(move || context.keep_pace());
        std::thread::sleep(SOON);
        cancel.cancel();
        assert!(matches!(waiting.join().unwrap(), Err(EngineError::Cancelled)));
        first.pause();
    }
}
