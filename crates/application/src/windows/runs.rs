//! What became of the last attempts at dirty windows, for SHOW MATERIALIZED VIEWS, SHOW STATS and the metrics.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use hyperbytedb_metrics as metrics;
use parking_lot::Mutex;

use super::query::QueryKey;
use crate::waiting::now_ns;

const RETRY_MAX: Duration = Duration::from_secs(60);

/// Points that a run has changed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Changes {
    pub written: u64,
    pub removed: u64,
}

/// How a query fares since the start.
#[derive(Debug, Clone, Default)]
pub struct Fate {
    /// When the last run ended, in nanoseconds since 1970; 0: there was none.
    pub last_run: i64,
    pub changes: Changes,
    /// Empty after a success.
    pub error: String,
    failures: u32,
    retry_at: Option<Instant>,
    /// The windows of the last run, and until when they rest.
    rests: Option<(i64, Instant)>,
    /// Windows of the next run.
    windows: usize,
}

/// Of all queries.
#[derive(Default)]
pub struct Fates(Mutex<BTreeMap<QueryKey, Fate>>);

impl Fates {
    pub fn of(&self, key: &QueryKey) -> Fate {
        self.0.lock().get(key).cloned().unwrap_or_default()
    }

    /// `rest`: the start of the windows, and for how long they are left alone.
    pub(super) fn succeeded(&self, key: &QueryKey, rest: (i64, Duration), took: Duration, changes: Changes) {
        let labels = labels(key);
        metrics::VIEW_RUN_DURATION.with(labels).record(took);
        metrics::VIEW_POINTS_WRITTEN.with(labels).increment(changes.written);
        metrics::VIEW_POINTS_REMOVED.with(labels).increment(changes.removed);
        let mut fates = self.0.lock();
        let fate = fates.entry(key.clone()).or_default();
        fate.last_run = now_ns();
        fate.changes.written += changes.written;
        fate.changes.removed += changes.removed;
        fate.error.clear();
        (fate.failures, fate.retry_at) = (0, None);
        fate.rests = Some((rest.0, Instant::now() + rest.1));
        fate.windows = fate.windows.saturating_mul(2);
    }

    pub(super) fn failed(&self, key: &QueryKey, error: String, first_pause: Duration) {
        metrics::VIEW_ERRORS.with(labels(key)).increment(1);
        let mut fates = self.0.lock();
        let fate = fates.entry(key.clone()).or_default();
        let pause = first_pause.saturating_mul(1 << fate.failures.min(6)).min(RETRY_MAX);
        fate.failures += 1;
        fate.retry_at = Some(Instant::now() + pause);
        fate.error = error;
    }

    /// The next run takes fewer windows; false when one had just one.
    pub(super) fn shrink(&self, key: &QueryKey, windows: usize) -> bool {
        self.0.lock().entry(key.clone()).or_default().windows = (windows / 4).max(1);
        windows > 1
    }

    pub(super) fn retain(&self, is_there: impl Fn(&QueryKey) -> bool) {
        self.0.lock().retain(|key, _| is_there(key));
    }
}

impl Fate {
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.retry_at.is_none_or(|at| at <= now)
    }

    /// The start of windows that have just been computed and are to wait.
    pub(super) fn resting(&self, now: Instant) -> Option<i64> {
        self.rests.filter(|(_, until)| now < *until).map(|(start, _)| start)
    }

    pub(super) fn windows(&self, max: usize) -> usize {
        match self.windows {
            0 => FIRST_WINDOWS.min(max),
            windows => windows.clamp(1, max.max(1)),
        }
    }
}

/// Windows of a query's first run.
const FIRST_WINDOWS: usize = 500;

fn labels(key: &QueryKey) -> [&str; 2] {
    [&key.database, &key.name]
}
