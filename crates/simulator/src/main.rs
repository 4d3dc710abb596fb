//! Runs seeds.

use clap::Parser;
use hyperbytedb_simulator::history::generate;
use hyperbytedb_simulator::run::run;

#[derive(Parser)]
struct Options {
    /// The first seed.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Number of seeds.
    #[arg(long, default_value_t = 1)]
    seeds: u64,
}

fn main() {
    let options = Options::parse();
    for seed in options.seed..options.seed + options.seeds {
        let history = generate(seed);
        match run(&history) {
            Ok(summary) => println!("{seed}: {summary:?}"),
            Err(finding) => {
                println!("{history}seed {seed}, round {}: {}", finding.round, finding.text);
                std::process::exit(1);
            }
        }
    }
}
