//! What the tests of seeds share.

use std::sync::atomic::{AtomicU64, Ordering};

/// Calls `play` with the seeds from 1 to `last`, on all cores. It panics where a seed has a finding.
pub fn for_each_seed(last: u64, play: impl Fn(u64) + Sync) {
    let next = AtomicU64::new(1);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed > last {
                        return;
                    }
                    play(seed);
                }
            });
        }
    });
}
