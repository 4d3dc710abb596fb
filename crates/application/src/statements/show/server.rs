//! SHOW QUERIES, STATS and DIAGNOSTICS: the server about itself.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hyperbytedb_domain::catalog::Catalog;
use hyperbytedb_domain::result::SeriesBlock;

use super::super::rows::{Rows, integer, text};
use super::super::running::RunningQuery;
use super::catalog::go_duration;
use super::views;
use crate::continuous::{Run, Runs};
use crate::subscriptions::{Counts, SubscriberCounts};
use crate::windows::WindowState;

pub fn queries(running: &[RunningQuery]) -> Vec<SeriesBlock> {
    let mut rows = Rows::new("", &["qid", "query", "database", "duration", "status"]);
    for query in running {
        let status = match query {
            query if query.cancel.is_cancelled() => "killed",
            query if query.is_waiting => "waiting",
            _ => "running",
        };
        let duration = go_duration(in_whole_units(query.announced.elapsed()));
        rows.row([integer(query.id), text(&query.text), text(&query.database), text(duration), text(status)]);
    }
    vec![rows.block()]
}

/// Nanoseconds, cut to whole seconds, milliseconds or microseconds.
fn in_whole_units(elapsed: Duration) -> i64 {
    let ns = i64::try_from(elapsed.as_nanos()).unwrap_or(i64::MAX);
    let unit = [1_000_000_000, 1_000_000, 1_000].into_iter().find(|unit| ns >= *unit).unwrap_or(1);
    ns - ns % unit
}

/// What SHOW STATS counts.
#[derive(Debug, Clone, Copy)]
pub struct Statistics {
    pub queries_active: usize,
    pub memtable_bytes: usize,
    pub wal_bytes: u64,
    pub wal_sequence: u64,
}

/// The modules of SHOW STATS. Names follow InfluxDB where it has the module; `subscriber` is one that tools look for.
pub fn stats(
    catalog: &Catalog,
    statistics: &Statistics,
    runs: &Runs,
    windows: Option<&WindowState>,
    subscribers_counts: &SubscriberCounts,
    module: Option<&str>,
) -> Vec<SeriesBlock> {
    let measurements: usize = catalog.databases.values().map(|db| db.measurements().len()).sum();
    let mut blocks = Vec::new();
    let mut add = |name: &str, columns: &[&'static str], values: &[i64]| {
        if module.is_none_or(|m| m == name) {
            let mut rows = Rows::new(name, columns);
            rows.extend(values.iter().map(|v| integer(*v)));
            blocks.push(rows.block());
        }
    };
    let number = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
    add(
        "catalog",
        &["numDatabases", "numMeasurements"],
        &[number(catalog.databases.len()), number(measurements)],
    );
    let (succeeded, failed) = runs.counts();
    add("cq", &["queryFail", "queryOk"], &[failed, succeeded]);
    add("memtable", &["bytes"], &[number(statistics.memtable_bytes)]);
    add("queryExecutor", &["queriesActive"], &[number(statistics.queries_active)]);
    let wal = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    add("wal", &["bytes", "sequence"], &[wal(statistics.wal_bytes), wal(statistics.wal_sequence)]);
    if module.is_none_or(|m| m == SUBSCRIBER) {
        blocks.extend(subscribers(subscribers_counts));
    }
    if module.is_none_or(|m| m == CONTINUOUS_QUERIES) {
        for ((database, name), run) in runs.last() {
            let dirty = views::dirty_windows_of_continuous_query(catalog, &database, &name, windows);
            blocks.push(last_run(database, name, &run, dirty));
        }
    }
    if module.is_none_or(|m| m == views::MODULE) {
        blocks.extend(views::stats(catalog, windows));
    }
    blocks
}

const SUBSCRIBER: &str = "subscriber";

/// All together, then each destination of ALL and each subscription of ANY.
fn subscribers(counts: &SubscriberCounts) -> Vec<SeriesBlock> {
    let routes = counts.all();
    let sum = |of: fn(&Counts) -> &AtomicU64| -> u64 {
        routes.iter().map(|(_, counts)| of(counts).load(Ordering::Relaxed)).sum()
    };
    let mut all =
        Rows::new(SUBSCRIBER, &["createFailures", "pointsDropped", "pointsWritten", "writeFailures"]);
    all.row([
        integer(counts.create_failures()),
        integer(sum(|counts| &counts.points_dropped)),
        integer(sum(|counts| &counts.points_written)),
        integer(sum(|counts| &counts.write_failures)),
    ]);
    let mut blocks = vec![all.block()];
    blocks.extend(routes.iter().map(|(route, counts)| {
        let mut rows = Rows::new(SUBSCRIBER, &["pointsDropped", "pointsWritten", "writeFailures"]);
        let Counts { points_written, write_failures, points_dropped } = &**counts;
        rows.row(
            [points_dropped, points_written, write_failures].map(|n| integer(n.load(Ordering::Relaxed))),
        );
        let tags = [
            ("database", &route.database),
            ("destination", &route.destinations.join(",")),
            ("mode", &route.mode),
            ("name", &route.subscription),
            ("retention_policy", &route.retention_policy),
        ];
        let tags = tags.map(|(key, value)| (key.to_owned(), value.clone()));
        SeriesBlock { tags: Some(tags.into()), ..rows.block() }
    }));
    blocks
}

/// The module of the last run of each continuous query.
const CONTINUOUS_QUERIES: &str = "continuousQuery";

fn last_run(database: String, name: String, run: &Run, dirty_windows: u64) -> SeriesBlock {
    let columns = ["lastRun", "nextRun", "durationNs", "pointsWritten", "lastError", "dirtyWindows"];
    let mut rows = Rows::new(CONTINUOUS_QUERIES, &columns);
    let (written, error) = match &run.result {
        Ok(written) => (*written, ""),
        Err(error) => (0, error.as_str()),
    };
    let duration = i64::try_from(run.duration.as_nanos()).unwrap_or(i64::MAX);
    rows.row([
        integer(run.at),
        integer(run.next),
        integer(duration),
        integer(written),
        text(error),
        integer(dirty_windows),
    ]);
    let tags = [("database".to_owned(), database), ("name".to_owned(), name)];
    SeriesBlock { tags: Some(tags.into()), ..rows.block() }
}

pub fn diagnostics(started: Instant, module: Option<&str>) -> Vec<SeriesBlock> {
    let wanted = |name: &str| module.is_none_or(|m| m == name);
    let mut blocks = Vec::new();
    if wanted("build") {
        let mut rows = Rows::new("build", &["Branch", "Build Time", "Commit", "Version"]);
        rows.row([text(""), text(""), text(""), text(env!("CARGO_PKG_VERSION"))]);
        blocks.push(rows.block());
    }
    if wanted("system") {
        let mut rows = Rows::new("system", &["PID", "uptime"]);
        let uptime = i64::try_from(started.elapsed().as_nanos()).unwrap_or(i64::MAX);
        rows.row([integer(std::process::id()), text(go_duration(uptime))]);
        blocks.push(rows.block());
    }
    blocks
}
