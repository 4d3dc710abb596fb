//! The simulator on seeds that are always the same.

mod common;

use common::for_each_seed;
use hyperbytedb_simulator::history::generate;
use hyperbytedb_simulator::run::run;

const SEEDS: u64 = 1000;

#[test]
fn no_seed_has_a_finding() {
    for_each_seed(SEEDS, |seed| {
        if let Err(finding) = run(&generate(seed)) {
            panic!("make simulate SEED={seed}: {}", finding.text);
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
