//! The hybrid logical clock of a node.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// Bits of the counter below the milliseconds.
const COUNTER_BITS: u32 = 16;

/// The milliseconds since 1970 in a clock's value.
pub const fn millis_of(clock: u64) -> u64 {
    clock >> COUNTER_BITS
}

/// A time in milliseconds as what a clock's value is moved by.
pub const fn of_millis(millis: u64) -> u64 {
    millis << COUNTER_BITS
}

/// Tells the milliseconds since 1970.
pub type WallClock = Arc<dyn Fn() -> u64 + Send + Sync>;

fn system_time() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_millis() as u64)
}

/// Milliseconds since 1970 and a counter. Never goes back and never gives a value twice, also over restarts when it
/// is seeded from the log: (origin, clock) names a record for ever.
pub struct HybridClock {
    last: AtomicU64,
    wall: WallClock,
}

impl Default for HybridClock {
    fn default() -> Self {
        Self::seeded(0)
    }
}

impl HybridClock {
    /// A clock that is ahead of `seen`, the greatest value that this node has given or received.
    pub fn seeded(seen: u64) -> Self {
        Self::with_wall(seen, Arc::new(system_time))
    }

    /// As [`seeded`](Self::seeded), with the time from elsewhere.
    pub fn with_wall(seen: u64, wall: WallClock) -> Self {
        Self { last: AtomicU64::new(seen), wall }
    }

    /// The next value, greater than all before it.
    pub fn next(&self) -> u64 {
        self.last.fetch_max(of_millis((self.wall)()), Ordering::AcqRel);
        self.last.fetch_add(1, Ordering::AcqRel) + 1
    }

    /// Moves the clock past a value that came from another node.
    pub fn observe(&self, clock: u64) {
        self.last.fetch_max(clock, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_only_rises() {
        let clock = HybridClock::default();
        let times: Vec<u64> = (0..1000).map(|_| clock.next()).collect();
        assert!(times.windows(2).all(|w| w[0] < w[1]));
    }

    #[test]
    fn it_continues_where_the_log_ended() {
        let ahead = HybridClock::default().next() + (1 << 40);
        assert!(HybridClock::seeded(ahead).next() > ahead);
    }

    #[test]
    fn it_follows_what_it_receives() {
        let clock = HybridClock::default();
        let other = clock.next() + (1 << 40);
        clock.observe(other);
        assert!(clock.next() > other);
    }

    #[test]
    fn no_value_comes_twice() {
        let clock = HybridClock::default();
        let mut all: Vec<u64> = std::thread::scope(|s| {
            let threads: Vec<_> =
                (0..4).map(|_| s.spawn(|| (0..1000).map(|_| clock.next()).collect::<Vec<_>>())).collect();
            threads.into_iter().flat_map(|t| t.join().unwrap_or_default()).collect()
        });
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 4000);
    }
}
