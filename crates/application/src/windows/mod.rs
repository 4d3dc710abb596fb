//! Windows of stored queries that are to be computed again: all of materialized views, those of continuous queries that
//! got late points or are to be backfilled.
//!
//! A [`follower`] reads the log behind a cursor and notes which windows its records make dirty (`dirty.rs`). Workers take
//! them, newest first, run the statement over them and, of a view, make the target equal to what comes out (`views`).
//! Nothing is computed from what was computed before, so late, overwritten and deleted points come out right.

mod dirty;
mod follower;
mod query;
mod ranges;
mod runs;

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyperbytedb_domain::catalog::Catalog;
use hyperbytedb_domain::cluster::NodeId;
use hyperbytedb_domain::ports::{CatalogPort, LocalStatePort, WalPort};
use hyperbytedb_domain::{QueryContext, StorageError};
use hyperbytedb_metrics as metrics;
use parking_lot::Mutex;

pub use self::dirty::Backlog;
use self::dirty::{DirtyBoard, Mark};
use self::follower::Follower;
pub use self::query::{Place, QueryKey, StoredQueries, StoredQuery, with_time};
pub use self::ranges::Ranges;
pub use self::runs::{Changes, Fate, Fates};
use crate::cluster::Lease;
use crate::continuous::select_into;
use crate::flush::FlushService;
use crate::statements::StatementService;
use crate::threads::{Stop, Threads};
use crate::views::mirror::{Mirror, MirrorError};
use crate::waiting::now_ns;

/// How often an idle worker looks for dirty windows.
const WORKER_INTERVAL: Duration = Duration::from_millis(50);
/// What expires within this time is no longer computed: some of it might be gone before it is read.
const EXPIRY_MARGIN_NS: i64 = 300_000_000_000;
/// Nodes that do not compute keep late windows of continuous queries for so many times LATE.
const KEPT_LATE_FACTOR: i64 = 2;

/// Settings of views and late windows.
#[derive(Debug, Clone)]
pub struct WindowOptions {
    /// Whose records are this node's own.
    pub node: NodeId,
    /// Between two looks at the log.
    pub interval: Duration,
    /// Runs at the same time.
    pub workers: usize,
    /// Windows of one run.
    pub max_windows_per_run: usize,
    /// Points that one run may compute.
    pub max_points_per_run: usize,
    /// Bytes of log behind which all windows are computed anew instead.
    pub max_log_bytes: u64,
    /// The pause after a failure; twice as long after each further one.
    pub retry_pause: Duration,
    /// Windows that become dirty again at once wait so many times as long as they take to compute.
    pub pause_factor: u32,
}

impl Default for WindowOptions {
    fn default() -> Self {
        Self {
            node: 1,
            interval: Duration::from_millis(250),
            workers: 2,
            max_windows_per_run: 10_000,
            max_points_per_run: 200_000,
            max_log_bytes: 1 << 30,
            retry_pause: Duration::from_secs(1),
            pause_factor: 3,
        }
    }
}

/// What is known of dirty windows: for those who ask, and for the service.
pub struct WindowState {
    pub follower: Follower,
    board: Arc<DirtyBoard>,
    fates: Fates,
}

impl WindowState {
    /// Nothing may have been appended to the log yet.
    pub fn load(
        options: &WindowOptions,
        flush: Arc<FlushService>,
        wal: Arc<dyn WalPort>,
        catalog: Arc<dyn CatalogPort>,
        local_state: Arc<dyn LocalStatePort>,
    ) -> Result<Self, StorageError> {
        let board = Arc::new(DirtyBoard::load(local_state)?);
        let follower = Follower::new(flush, wal, catalog, board.clone(), options);
        Ok(Self { follower, board, fates: Fates::default() })
    }

    pub fn backlog(&self, key: &QueryKey) -> Backlog {
        self.board.backlog(key)
    }

    /// How many windows a continuous query has to compute beside those of its next run.
    pub fn late_windows(&self, query: &StoredQuery, catalog: &Catalog) -> u64 {
        let late = self.board.ranges(&query.key).within(i64::MIN, computable_until(query, catalog));
        query.count_windows(late.length())
    }

    /// A run of a continuous query begins, which computes these windows with all points that have come so far.
    pub fn begin_run(&self, key: &QueryKey, windows: &Range<i64>) {
        self.board.cover(key, windows);
    }

    pub fn end_run(&self, key: &QueryKey, has_succeeded: bool) {
        self.board.uncover(key, has_succeeded);
    }

    /// Ranges of time of the windows that a query has still to compute.
    pub fn dirty_ranges(&self, key: &QueryKey) -> Vec<(i64, i64)> {
        self.board.ranges(key).iter().collect()
    }

    pub fn fate(&self, key: &QueryKey) -> Fate {
        self.fates.of(key)
    }

    /// Has the windows over a range of time computed.
    pub fn backfill(
        &self,
        query: &StoredQuery,
        times: &Range<i64>,
        catalog: &Catalog,
    ) -> Result<(), StorageError> {
        let ranges = query.backfill_over(times, catalog);
        self.board.mark(&BTreeMap::from([(query.key.clone(), Mark { ranges, is_backfill: true })]))
    }
}

/// Windows that a worker is at.
struct Taken<'a> {
    board: &'a DirtyBoard,
    key: &'a QueryKey,
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        self.board.give_back(self.key);
    }
}

/// Computes dirty windows.
pub struct WindowService {
    pub options: WindowOptions,
    pub state: Arc<WindowState>,
    pub catalog: Arc<dyn CatalogPort>,
    pub wal: Arc<dyn WalPort>,
    pub statements: Arc<StatementService>,
    pub queries: Mutex<StoredQueries>,
    pub lease: Lease,
}

impl WindowService {
    pub fn start(self: Arc<Self>, threads: &Threads) -> std::io::Result<()> {
        for worker in 0..self.options.workers.max(1) {
            let service = self.clone();
            threads.spawn(&format!("windows-{worker}"), move |stop| service.work(stop))?;
        }
        threads.spawn("windows-follower", move |stop| self.follow(stop))
    }

    fn follow(&self, stop: &Stop) {
        while stop.wait(self.options.interval) {
            if let Err(error) = self.state.follower.follow() {
                tracing::error!(%error, "the log could not be followed for views; it is tried again");
            }
            if !self.lease.is_held() {
                self.forget_old();
            }
            let behind = self.state.follower.records_behind();
            metrics::VIEWS_LOG_RECORDS_BEHIND.set(behind as f64);
            self.report();
        }
    }

    /// On a node that computes nothing: windows of continuous queries that whoever does must have computed long ago.
    fn forget_old(&self) {
        let mut queries = self.queries.lock();
        queries.update(&self.catalog.catalog());
        let now = now_ns();
        for query in queries.iter().filter(|query| !query.key.is_view) {
            let Some(late) = query.late else { continue };
            // Who goes on with it may be this node, and how far it is is not known here.
            if self.state.backlog(&query.key).backfill_ns > 0 {
                continue;
            }
            let kept = late.saturating_mul(KEPT_LATE_FACTOR);
            self.state.board.leave_out(&query.key, i64::MIN, query.window(now.saturating_sub(kept)).start);
        }
    }

    fn report(&self) {
        let mut queries = self.queries.lock();
        queries.update(&self.catalog.catalog());
        self.state.fates.retain(|key| queries.get(key).is_some());
        for query in queries.iter().filter(|query| query.key.is_view) {
            let labels = [query.key.database.as_str(), query.key.name.as_str()];
            let windows = query.count_windows(self.state.backlog(&query.key).dirty_ns);
            metrics::VIEW_DIRTY_WINDOWS.with(labels).set(windows as f64);
        }
    }

    fn work(&self, stop: &Stop) {
        while !stop.is_set() {
            let worked = self.lease.is_held() && self.work_once();
            if !worked && !stop.wait(WORKER_INTERVAL) {
                return;
            }
        }
    }

    /// Computes some windows of one query; false when there is nothing to do.
    pub fn work_once(&self) -> bool {
        let catalog = self.catalog.catalog();
        let queries: Vec<Arc<StoredQuery>> = {
            let mut queries = self.queries.lock();
            queries.update(&catalog);
            queries.iter().cloned().collect()
        };
        let now = Instant::now();
        let mut found = false;
        for query in queries {
            if !self.lease.is_held() {
                return found;
            }
            let fate = self.state.fates.of(&query.key);
            if !fate.is_due(now) {
                continue;
            }
            self.leave_out_expired(&query, &catalog);
            let until = computable_until(&query, &catalog);
            let (windows, resting) = (fate.windows(self.options.max_windows_per_run), fate.resting(now));
            let taken = self.state.board.take(&query.key, |dirty| {
                let mut ranges = dirty.iter().filter(|(start, _)| *start < until).rev();
                ranges.find_map(|(start, end)| {
                    let whole = query.windows_over(start, end.min(until));
                    let last = query.last_windows(whole.start, whole.end, windows);
                    (resting != Some(last.start)).then_some(last)
                })
            });
            if let Some(range) = taken {
                found = true;
                self.run(&query, &range, windows);
            }
        }
        found
    }

    fn run(&self, query: &StoredQuery, range: &Range<i64>, windows: usize) {
        let started = Instant::now();
        let (database, name) = (&query.key.database, &query.key.name);
        // What is not done when this ends, however it ends, is dirty again.
        let _taken = Taken { board: &self.state.board, key: &query.key };
        let outcome = self.compute(query, range).and_then(|changes| {
            if changes.written > 0 {
                // Only points that survive a power failure make windows clean.
                self.wal.sync()?;
            }
            self.state.board.done(&query.key)?;
            Ok(changes)
        });
        match outcome {
            Ok(changes) => {
                let took = started.elapsed();
                tracing::debug!(database, name, ?range, ?changes, ?took, "computed windows");
                let rest = took * self.options.pause_factor;
                self.state.fates.succeeded(&query.key, (range.start, rest), took, changes);
            }
            Err(MirrorError::TooManyPoints { .. }) if self.state.fates.shrink(&query.key, windows) => {}
            Err(error) => {
                tracing::warn!(%error, database, name, "windows could not be computed; they are tried again");
                self.state.fates.failed(&query.key, error.to_string(), self.options.retry_pause);
            }
        }
    }

    fn compute(&self, query: &StoredQuery, range: &Range<i64>) -> Result<Changes, MirrorError> {
        if query.key.is_view {
            let mirror = Mirror { statements: &self.statements, max_points: self.options.max_points_per_run };
            return mirror.refresh(query, range, &QueryContext::unbounded());
        }
        let select = query.over(range).map_err(MirrorError::Statement)?;
        let written = select_into(&*self.statements, &query.key.database, &select);
        let written = written.map_err(MirrorError::Statement)?.unsigned_abs();
        Ok(Changes { written, removed: 0 })
    }

    /// A window that begins to expire, in a source or the target, stays as it is.
    fn leave_out_expired(&self, query: &StoredQuery, catalog: &Catalog) {
        let now = now_ns().saturating_add(EXPIRY_MARGIN_NS);
        let mut kept_from = i64::MIN;
        for place in query.sources.iter().chain(&query.targets) {
            let Some(database) = catalog.database(&place.database) else { continue };
            let name = place.retention_policy.as_deref().unwrap_or_default();
            let Some(policy) = database.retention_policy(name) else { continue };
            kept_from = kept_from.max(policy.visible_from(now));
        }
        if kept_from > i64::MIN {
            let window = query.window(kept_from);
            let first = if window.start == kept_from { window.start } else { window.end };
            self.state.board.leave_out(&query.key, i64::MIN, first);
        }
    }
}

/// Windows of a continuous query wait for the run that computes them anyway.
fn computable_until(query: &StoredQuery, catalog: &Catalog) -> i64 {
    let Some(schedule) = &query.schedule else { return i64::MAX };
    let queries = catalog.database(&query.key.database).map(|database| &database.continuous_queries);
    let last_run = queries.and_then(|queries| queries.iter().find(|cq| cq.name == query.key.name));
    let now = now_ns();
    let due = schedule.due(last_run.and_then(|cq| cq.last_run), now);
    let next = schedule.windows(due, now.max(due)).map_or(due, |windows| windows.start);
    query.window(next.min(now)).start
}
