//! What a copy prints.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hyperbytedb_application::engine_copy::{Outcome, Step, Tally};
use parking_lot::Mutex;

/// Between two lines about one partition.
const INTERVAL: Duration = Duration::from_secs(2);

#[derive(Default)]
pub struct Progress {
    rows: AtomicU64,
    printed: Mutex<Option<Instant>>,
}

impl Progress {
    pub fn note(&self, step: &Step<'_>) {
        match step {
            Step::Copied { table, partition, rows } => {
                let copied = self.rows.fetch_add(*rows, Ordering::Relaxed) + rows;
                let mut printed = self.printed.lock();
                if printed.is_none_or(|at| at.elapsed() >= INTERVAL) {
                    *printed = Some(Instant::now());
                    let (name, shard) = (&table.measurement, partition.shard);
                    println!("  {name}, shard {shard}: {copied} of about {} rows", partition.rows);
                }
            }
            Step::Seen { table, partition, outcome, seen, of } => {
                let copied = self.rows.swap(0, Ordering::Relaxed);
                let what = match outcome {
                    Outcome::Same => "is there".to_owned(),
                    Outcome::Copied => format!("{copied} rows copied, the same on both sides"),
                    Outcome::Changed => format!("{copied} rows copied; it changed meanwhile"),
                };
                let (database, policy) = (&table.database, &table.retention_policy);
                println!(
                    "{seen}/{of} {database}.{policy}.{}, shard {}: {what}",
                    table.measurement, partition.shard
                );
            }
        }
    }
}

pub fn summary(tally: &Tally) -> String {
    let Tally { same, copied, changed, removed, rows } = tally;
    let meanwhile = if *changed > 0 { format!(", {changed} changed meanwhile") } else { String::new() };
    format!(
        "partitions: {same} were the same, {copied} copied{meanwhile}, {removed} removed that are not here; {rows} rows"
    )
}
