//! SHOW STATS: InfluxDB's modules in its order, then those of parts that only this server has.

use std::sync::atomic::{AtomicU64, Ordering};

use hyperbytedb_domain::StorageError;
use hyperbytedb_domain::catalog::Catalog;
use hyperbytedb_domain::ports::SeriesIndexPort;
use hyperbytedb_domain::result::SeriesBlock;
use hyperbytedb_metrics::stats::{
    GRAPHITE, Graphite, HTTPD, Httpd, OPENTSDB, OpenTsdb, QUERY_EXECUTOR, QueryExecutor,
};
use hyperbytedb_metrics::stats::{RUNTIME, Runtime, UDP, Udp, WRITE, Write};

use super::super::rows::{Rows, integer, text};
use super::server::About;
use super::views;
use crate::continuous::{Run, Runs};
use crate::subscriptions::{Counts, SubscriberCounts};
use crate::windows::WindowState;

/// What is asked for its numbers.
pub struct Sources<'a> {
    pub catalog: &'a Catalog,
    pub series: &'a dyn SeriesIndexPort,
    pub about: &'a About,
    pub runs: &'a Runs,
    pub windows: Option<&'a WindowState>,
    pub subscribers: &'a SubscriberCounts,
    pub queries_active: usize,
    pub memtable_bytes: usize,
    pub log_bytes: u64,
    pub log_sequence: u64,
}

const DATABASE: &str = "database";
const SUBSCRIBER: &str = "subscriber";
/// The last run of each continuous query.
const CONTINUOUS_QUERIES: &str = "continuousQuery";

/// The modules that are asked for.
struct Modules<'a> {
    only: Option<&'a str>,
    blocks: Vec<SeriesBlock>,
}

impl Modules<'_> {
    fn wants(&self, name: &str) -> bool {
        self.only.is_none_or(|only| only == name)
    }

    fn add(&mut self, name: &str, columns: &[&'static str], values: Vec<i64>) {
        self.add_tagged(name, &[], columns, values);
    }

    fn add_tagged(&mut self, name: &str, tags: &[(&str, &str)], columns: &[&'static str], values: Vec<i64>) {
        if self.wants(name) {
            let mut rows = Rows::new(name, columns);
            rows.extend(values.into_iter().map(integer));
            let tags = tags.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
            let tags = (tags.len() > 0).then(|| tags.collect());
            self.blocks.push(SeriesBlock { tags, ..rows.block() });
        }
    }
}

pub fn stats(sources: &Sources<'_>, only: Option<&str>) -> Result<Vec<SeriesBlock>, StorageError> {
    let mut modules = Modules { only, blocks: Vec::new() };
    add_influxdbs(sources, &mut modules)?;
    add_own(sources, &mut modules);
    Ok(modules.blocks)
}

fn add_influxdbs(sources: &Sources<'_>, modules: &mut Modules<'_>) -> Result<(), StorageError> {
    QUERY_EXECUTOR.queries_active.set(number(sources.queries_active));
    modules.add(Runtime::NAME, Runtime::COLUMNS, RUNTIME.values());
    modules.add(QueryExecutor::NAME, QueryExecutor::COLUMNS, QUERY_EXECUTOR.values());
    if modules.wants(DATABASE) {
        for database in sources.catalog.databases_in_order() {
            let mut series = 0;
            for table in database.retention_policies.values().flat_map(|policy| policy.tables.values()) {
                series += sources.series.series_count(table.id)?;
            }
            let (tags, columns) = ([(DATABASE, database.name.as_str())], ["numMeasurements", "numSeries"]);
            let values = vec![number(database.measurements().len()), number(series)];
            modules.add_tagged(DATABASE, &tags, &columns, values);
        }
    }
    let (points, log) = (number(sources.memtable_bytes), number(sources.log_bytes));
    modules.add("tsm1_cache", &["cachedBytes", "memBytes"], vec![points, points]);
    modules.add("tsm1_wal", &["currentSegmentDiskBytes", "oldSegmentsDiskBytes"], vec![log, 0]);
    modules.add(Write::NAME, Write::COLUMNS, WRITE.values());
    if modules.wants(SUBSCRIBER) {
        modules.blocks.extend(subscribers(sources.subscribers));
    }
    let (succeeded, failed) = sources.runs.counts();
    modules.add("cq", &["queryFail", "queryOk"], vec![failed, succeeded]);
    let About { http, udp, graphite, opentsdb, .. } = sources.about;
    modules.add_tagged(Httpd::NAME, &[("bind", http)], Httpd::COLUMNS, HTTPD.values());
    if let Some((bind, protocol)) = graphite {
        let tags = [("bind", bind.as_str()), ("proto", protocol)];
        modules.add_tagged(Graphite::NAME, &tags, Graphite::COLUMNS, GRAPHITE.values());
    }
    if let Some(bind) = opentsdb {
        modules.add_tagged(OpenTsdb::NAME, &[("bind", bind)], OpenTsdb::COLUMNS, OPENTSDB.values());
    }
    if let Some(bind) = udp {
        modules.add_tagged(Udp::NAME, &[("bind", bind)], Udp::COLUMNS, UDP.values());
    }
    Ok(())
}

fn add_own(sources: &Sources<'_>, modules: &mut Modules<'_>) {
    let databases = &sources.catalog.databases;
    let measurements: usize = databases.values().map(|database| database.measurements().len()).sum();
    let numbers = vec![number(databases.len()), number(measurements)];
    modules.add("catalog", &["numDatabases", "numMeasurements"], numbers);
    modules.add("memtable", &["bytes"], vec![number(sources.memtable_bytes)]);
    let log = vec![number(sources.log_bytes), number(sources.log_sequence)];
    modules.add("wal", &["bytes", "sequence"], log);
    if modules.wants(CONTINUOUS_QUERIES) {
        for ((database, name), run) in sources.runs.last() {
            let (catalog, windows) = (sources.catalog, sources.windows);
            let dirty = views::dirty_windows_of_continuous_query(catalog, &database, &name, windows);
            modules.blocks.push(last_run(database, name, &run, dirty));
        }
    }
    if modules.wants(views::MODULE) {
        modules.blocks.extend(views::stats(sources.catalog, sources.windows));
    }
}

fn number(value: impl TryInto<i64>) -> i64 {
    value.try_into().unwrap_or(i64::MAX)
}

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
