//! Runs seeds, and prints the shortest history that fails. Each is the history of a node; every second one of data that ages,
//! every third one of a cluster, too.

use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::{Parser, ValueEnum};
use hyperbytedb_simulator::run::{Finding, Summary};
use hyperbytedb_simulator::scheduler::PRINT_CALLS;
use hyperbytedb_simulator::{cluster, history, life, run, shrink};
use parking_lot::Mutex;

/// How often progress is told.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(60);

/// Of so many seeds one has a history of data that ages.
const LIFE_SHARE: u64 = 2;
/// Of so many seeds one has a history of a cluster.
const CLUSTER_SHARE: u64 = 3;

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    Node,
    /// Of a node whose data ages.
    Life,
    Cluster,
}

impl Kind {
    /// The history of a seed on one node.
    fn generate(self, seed: u64) -> history::History {
        if self == Self::Life { life::generate(seed) } else { history::generate(seed) }
    }

    fn run(self, seed: u64, verbose: bool) -> Result<Summary, Finding> {
        match self {
            Self::Node | Self::Life => {
                let history = self.generate(seed);
                if verbose {
                    println!("seed {seed}\n{history}");
                }
                run::run(&history)
            }
            Self::Cluster => {
                let history = cluster::history::generate(seed);
                if verbose {
                    println!("seed {seed}\n{history}");
                }
                cluster::run::run(&history)
            }
        }
    }

    /// Prints the shortest history that fails; `calls`: also its calls.
    fn shrink(self, seed: u64, finding: Finding, calls: bool) {
        println!("shrinking …");
        let rerun: Box<dyn Fn()> = match self {
            Self::Node | Self::Life => {
                let (shortest, finding) = shrink::shrink(&self.generate(seed), finding);
                println!("{shortest}round {}: {}", finding.round, finding.text);
                Box::new(move || drop(run::run(&shortest)))
            }
            Self::Cluster => {
                let (shortest, finding) = shrink::shrink(&cluster::history::generate(seed), finding);
                println!("{shortest}round {}: {}", finding.round, finding.text);
                Box::new(move || drop(cluster::run::run(&shortest)))
            }
        };
        if calls {
            PRINT_CALLS.store(true, Ordering::Relaxed);
            rerun();
        }
    }
}

#[derive(Parser)]
struct Options {
    /// The first seed.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Number of seeds.
    #[arg(long, default_value_t = 1)]
    seeds: u64,
    /// Seconds after which no further seed is begun; 0 = no end.
    #[arg(long, default_value_t = 0)]
    seconds: u64,
    /// Runs at the same time.
    #[arg(long, default_value_t = 1)]
    jobs: usize,
    /// Histories of one kind only, of each seed.
    #[arg(long)]
    kind: Option<Kind>,
    /// Do not look for a shorter history that fails.
    #[arg(long)]
    no_shrink: bool,
    /// Print the calls of the shortest history that fails.
    #[arg(long)]
    calls: bool,
    /// Print the whole history of each seed.
    #[arg(long)]
    verbose: bool,
}

impl Options {
    fn kinds(&self, seed: u64) -> Vec<Kind> {
        if let Some(kind) = self.kind {
            return vec![kind];
        }
        let mut kinds = vec![Kind::Node];
        kinds.extend(seed.is_multiple_of(LIFE_SHARE).then_some(Kind::Life));
        kinds.extend(seed.is_multiple_of(CLUSTER_SHARE).then_some(Kind::Cluster));
        kinds
    }
}

fn main() -> ExitCode {
    let options = Options::parse();
    let started = Instant::now();
    let next = AtomicU64::new(options.seed);
    let end = options.seed.saturating_add(options.seeds);
    let is_time = || options.seconds == 0 || started.elapsed().as_secs() < options.seconds;
    let failed: Mutex<Option<(u64, Kind, Finding)>> = Mutex::new(None);
    let told = Mutex::new(Instant::now());
    std::thread::scope(|scope| {
        for _ in 0..options.jobs.max(1) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end || !is_time() || failed.lock().is_some() {
                        return;
                    }
                    for kind in options.kinds(seed) {
                        match kind.run(seed, options.verbose) {
                            Ok(summary) if options.verbose => println!("{summary:?}"),
                            Ok(_) => {}
                            Err(finding) => drop(failed.lock().get_or_insert((seed, kind, finding))),
                        }
                    }
                    let mut told = told.lock();
                    if told.elapsed() > PROGRESS_INTERVAL {
                        *told = Instant::now();
                        println!("{} seeds", seed - options.seed + 1);
                    }
                }
            });
        }
    });
    let seeds = next.load(Ordering::Relaxed).min(end) - options.seed;
    let Some((seed, kind, finding)) = failed.into_inner() else {
        println!("{seeds} seeds in {:.0?}, no finding", started.elapsed());
        return ExitCode::SUCCESS;
    };
    println!("seed {seed}, after {seeds} seeds: round {}: {}", finding.round, finding.text);
    if options.no_shrink {
        return ExitCode::FAILURE;
    }
    kind.shrink(seed, finding, options.calls);
    ExitCode::FAILURE
}
