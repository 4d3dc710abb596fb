//! What became of the runs of continuous queries, for SHOW STATS and the metrics.

use std::collections::BTreeMap;
use std::time::Duration;

use parking_lot::Mutex;

use super::Key;

/// One run.
#[derive(Debug, Clone)]
pub struct Run {
    /// When it was due and when the next one is, in nanoseconds since 1970.
    pub at: i64,
    pub next: i64,
    pub duration: Duration,
    /// Points written, or what went wrong.
    pub result: Result<i64, String>,
}

/// Runs since the start.
#[derive(Debug, Default)]
pub struct Runs(Mutex<Counts>);

#[derive(Debug, Default)]
struct Counts {
    succeeded: i64,
    failed: i64,
    last: BTreeMap<Key, Run>,
}

impl Runs {
    pub(super) fn note(&self, key: &Key, run: Run) {
        let labels = [("database", key.0.clone()), ("query", key.1.clone())];
        metrics::histogram!("hyperbytedb_continuous_query_seconds", &labels)
            .record(run.duration.as_secs_f64());
        metrics::gauge!("hyperbytedb_continuous_query_last_run_seconds", &labels).set(run.at as f64 / 1e9);
        let mut counts = self.0.lock();
        match &run.result {
            Ok(rows) => {
                counts.succeeded += 1;
                metrics::counter!("hyperbytedb_continuous_query_points_written_total", &labels)
                    .increment(rows.unsigned_abs());
            }
            Err(_) => {
                counts.failed += 1;
                metrics::counter!("hyperbytedb_continuous_query_errors_total", &labels).increment(1);
            }
        }
        counts.last.insert(key.clone(), run);
    }

    /// Forgets the queries that are gone.
    pub(super) fn retain(&self, is_there: impl Fn(&Key) -> bool) {
        self.0.lock().last.retain(|key, _| is_there(key));
    }

    /// How many succeeded, and how many failed.
    pub fn counts(&self) -> (i64, i64) {
        let counts = self.0.lock();
        (counts.succeeded, counts.failed)
    }

    /// The last run of each query, by database and name.
    pub fn last(&self) -> BTreeMap<Key, Run> {
        self.0.lock().last.clone()
    }
}
