//! What became of the runs of continuous queries, for SHOW STATS and the metrics.

use std::collections::BTreeMap;
use std::time::Duration;

use hyperbytedb_metrics as metrics;
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
        let labels = [key.0.as_str(), key.1.as_str()];
        metrics::CONTINUOUS_QUERY_DURATION.with(labels).record(run.duration);
        metrics::CONTINUOUS_QUERY_LAST_RUN.with(labels).set(run.at as f64 / 1e9);
        let mut counts = self.0.lock();
        match &run.result {
            Ok(rows) => {
                counts.succeeded += 1;
                metrics::CONTINUOUS_QUERY_POINTS.with(labels).increment(rows.unsigned_abs());
            }
            Err(_) => {
                counts.failed += 1;
                metrics::CONTINUOUS_QUERY_ERRORS.with(labels).increment(1);
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
