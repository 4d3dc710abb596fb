//! The simulator on seeds that are always the same.

mod common;

use common::for_each_seed;
use hyperbytedb_simulator::history::generate;
use hyperbytedb_simulator::life;
use hyperbytedb_simulator::run::run;

const SEEDS: u64 = 1000;
const LIVES: u64 = 300;
/// Every fourth seed past the others has views.
const VIEWS: u64 = 150;

#[test]
fn no_seed_has_a_finding() {
    for_each_seed(SEEDS, |seed| {
        if let Err(finding) = run(&generate(seed)) {
            panic!("make simulate SEED={seed}: {}", finding.text);
        }
    });
}

#[test]
fn no_seed_with_views_has_a_finding() {
    for_each_seed(VIEWS, |number| {
        let seed = SEEDS + 4 * number;
        if let Err(finding) = run(&generate(seed)) {
            panic!("make simulate SEED={seed}: {}", finding.text);
        }
    });
}

#[test]
fn no_life_has_a_finding() {
    for_each_seed(LIVES, |seed| {
        if let Err(finding) = run(&life::generate(seed)) {
            panic!("hyperbytedb-simulator --kind life --seed {seed}: {}", finding.text);
        }
    });
}

#[test]
fn a_seed_is_a_run() {
    for seed in 1..40 {
        for history in [generate(seed), life::generate(seed)] {
            assert_eq!(run(&history), run(&history), "seed {seed}");
        }
    }
}
