//! The simulator on seeds that are always the same.

use std::sync::atomic::{AtomicU64, Ordering};

use hyperbytedb_simulator::history::generate;
use hyperbytedb_simulator::run::run;

const SEEDS: u64 = 1000;

#[test]
fn no_seed_has_a_finding() {
    let next = AtomicU64::new(1);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed > SEEDS {
                        return;
                    }
                    if let Err(finding) = run(&generate(seed)) {
                        panic!("make simulate SEED={seed}: {}", finding.text);
                    }
                }
            });
        }
    });
}

#[test]
fn a_seed_is_a_run() {
    for seed in 1..40 {
        let history = generate(seed);
        assert_eq!(run(&history), run(&history), "seed {seed}");
    }
}
