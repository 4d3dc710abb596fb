//! Runs seeds, and prints the shortest history that fails.

use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::Parser;
use hyperbytedb_simulator::history::generate;
use hyperbytedb_simulator::run::{Finding, run};
use hyperbytedb_simulator::scheduler::PRINT_CALLS;
use hyperbytedb_simulator::shrink::shrink;
use parking_lot::Mutex;

/// How often progress is told.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(60);

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

fn main() -> ExitCode {
    let options = Options::parse();
    let started = Instant::now();
    let next = AtomicU64::new(options.seed);
    let end = options.seed.saturating_add(options.seeds);
    let is_time = || options.seconds == 0 || started.elapsed().as_secs() < options.seconds;
    let failed: Mutex<Option<(u64, Finding)>> = Mutex::new(None);
    let told = Mutex::new(Instant::now());
    std::thread::scope(|scope| {
        for _ in 0..options.jobs.max(1) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end || !is_time() || failed.lock().is_some() {
                        return;
                    }
                    let history = generate(seed);
                    if options.verbose {
                        println!("seed {seed}\n{history}");
                    }
                    match run(&history) {
                        Ok(summary) if options.verbose => println!("{summary:?}"),
                        Ok(_) => {}
                        Err(finding) => drop(failed.lock().get_or_insert((seed, finding))),
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
    let Some((seed, finding)) = failed.into_inner() else {
        println!("{seeds} seeds in {:.0?}, no finding", started.elapsed());
        return ExitCode::SUCCESS;
    };
    println!("seed {seed}, after {seeds} seeds: round {}: {}", finding.round, finding.text);
    if options.no_shrink {
        return ExitCode::FAILURE;
    }
    println!("shrinking …");
    let (shortest, finding) = shrink(&generate(seed), finding);
    println!("{shortest}{}", finding.text);
    if options.calls {
        PRINT_CALLS.store(true, Ordering::Relaxed);
        let _ = run(&shortest);
    }
    ExitCode::FAILURE
}
