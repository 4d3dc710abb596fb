//! The modules of SHOW DIAGNOSTICS that say what runs and how it is configured: InfluxDB's names, our values.

use std::fs;

use hyperbytedb_application::statements::{About, Rows, go_duration, integer, text};
use hyperbytedb_domain::FieldValue;
use hyperbytedb_domain::result::SeriesBlock;

use crate::config::Config;

/// What the server says of itself.
pub fn about(config: &Config) -> About {
    let (udp, graphite) = (&config.udp, &config.graphite);
    About {
        http: config.server.address(),
        udp: udp.enabled.then(|| udp.bind_address.clone()),
        opentsdb: config.opentsdb.enabled.then(|| config.opentsdb.bind_address.clone()),
        graphite: graphite.enabled.then(|| (graphite.bind_address.clone(), graphite.protocol.clone())),
        diagnostics: modules(config),
        ..About::default()
    }
}

/// The machine's name, where Linux says it.
pub fn hostname() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    Some(name.trim()).filter(|name| !name.is_empty()).unwrap_or("localhost").to_owned()
}

fn modules(config: &Config) -> Vec<SeriesBlock> {
    let mut modules = vec![
        module(
            "build",
            [
                ("Branch", text("")),
                ("Build Time", text("")),
                ("Commit", text("")),
                ("Version", text(VERSION)),
            ],
        ),
        module(
            "config",
            [("bind-address", text(config.server.address())), ("reporting-enabled", boolean(false))],
        ),
        coordinator(config),
        continuous_queries(config),
        data(config),
        http(config),
        module("config-meta", [("dir", text(config.meta_dir().to_string_lossy()))]),
        monitor(config),
        retention(config),
        subscriber(config),
        module("network", [("hostname", text(hostname()))]),
        runtime(),
    ];
    modules.extend(config.graphite.enabled.then(|| graphite(config)));
    modules.extend(config.opentsdb.enabled.then(|| opentsdb(config)));
    modules.extend(config.udp.enabled.then(|| udp(config)));
    modules
}

const VERSION: &str = env!("CARGO_PKG_VERSION");

fn module<const N: usize>(name: &str, values: [(&'static str, FieldValue); N]) -> SeriesBlock {
    let mut rows = Rows::new(name, &values.each_ref().map(|(column, _)| *column));
    rows.extend(values.map(|(_, value)| value));
    rows.block()
}

fn boolean(value: bool) -> FieldValue {
    FieldValue::Boolean(value)
}

fn seconds(seconds: u64) -> FieldValue {
    milliseconds(seconds.saturating_mul(1_000))
}

fn milliseconds(ms: u64) -> FieldValue {
    text(go_duration(i64::try_from(ms.saturating_mul(1_000_000)).unwrap_or(i64::MAX)))
}

fn coordinator(config: &Config) -> SeriesBlock {
    let query = &config.query;
    module(
        "config-coordinator",
        [
            ("log-queries-after", milliseconds(query.slow_threshold_ms)),
            ("max-concurrent-queries", integer(query.max_concurrent)),
            ("max-select-buckets", integer(query.max_select_buckets)),
            ("max-select-point", integer(query.max_select_points)),
            ("max-select-series", integer(query.max_select_series)),
            ("query-timeout", seconds(query.timeout_secs)),
            ("write-timeout", seconds(config.cluster.write_timeout_secs)),
        ],
    )
}

fn continuous_queries(config: &Config) -> SeriesBlock {
    let queries = &config.continuous_queries;
    module(
        "config-cqs",
        [
            ("enabled", boolean(queries.enabled)),
            ("query-stats-enabled", boolean(false)),
            ("run-interval", seconds(queries.run_interval_secs)),
        ],
    )
}

fn data(config: &Config) -> SeriesBlock {
    let flush = &config.flush;
    let fsync_delay = if config.wal.sync == "interval" { config.wal.sync_interval_ms } else { 0 };
    module(
        "config-data",
        [
            ("cache-max-memory-size", integer(flush.memory_limit_bytes)),
            ("cache-snapshot-memory-size", integer(flush.max_bytes)),
            ("cache-snapshot-write-cold-duration", seconds(flush.interval_secs)),
            ("compact-full-write-cold-duration", seconds(flush.merge_quiet_secs)),
            ("dir", text(config.engine_dir().to_string_lossy())),
            ("max-concurrent-compactions", integer(0)),
            ("max-series-per-database", integer(config.limits.max_series_per_database)),
            ("max-values-per-tag", integer(config.limits.max_values_per_tag)),
            ("wal-dir", text(config.wal_dir().to_string_lossy())),
            ("wal-fsync-delay", milliseconds(fsync_delay)),
        ],
    )
}

fn http(config: &Config) -> SeriesBlock {
    module(
        "config-httpd",
        [
            ("access-log-path", text(&config.http.access_log_path)),
            ("bind-address", text(config.server.address())),
            ("enabled", boolean(true)),
            ("https-enabled", boolean(!config.tls.certificate.is_empty())),
            ("max-connection-limit", integer(config.server.max_connections)),
            ("max-row-limit", integer(config.http.max_row_limit)),
        ],
    )
}

fn monitor(config: &Config) -> SeriesBlock {
    let monitor = &config.monitor;
    if !monitor.store_enabled {
        return module("config-monitor", [("store-enabled", boolean(false))]);
    }
    module(
        "config-monitor",
        [
            ("store-database", text(&monitor.store_database)),
            ("store-enabled", boolean(true)),
            ("store-interval", seconds(monitor.store_interval_secs)),
        ],
    )
}

fn retention(config: &Config) -> SeriesBlock {
    let retention = &config.retention;
    module(
        "config-retention",
        [("check-interval", seconds(retention.check_interval_secs)), ("enabled", boolean(retention.enabled))],
    )
}

/// There is no buffer: each destination reads the log.
fn subscriber(config: &Config) -> SeriesBlock {
    let subscriber = &config.subscriber;
    module(
        "config-subscriber",
        [
            ("enabled", boolean(subscriber.enabled)),
            ("http-timeout", seconds(subscriber.timeout_secs)),
            ("write-buffer-size", integer(0)),
            ("write-concurrency", integer(1)),
        ],
    )
}

fn graphite(config: &Config) -> SeriesBlock {
    let graphite = &config.graphite;
    module(
        "config-graphite",
        [
            ("enabled", boolean(graphite.enabled)),
            ("bind-address", text(&graphite.bind_address)),
            ("protocol", text(&graphite.protocol)),
            ("database", text(&graphite.database)),
            ("retention-policy", text(&graphite.retention_policy)),
            ("batch-size", integer(graphite.batch_size)),
            ("batch-pending", integer(1)),
            ("batch-timeout", milliseconds(graphite.batch_timeout_ms)),
        ],
    )
}

fn opentsdb(config: &Config) -> SeriesBlock {
    let opentsdb = &config.opentsdb;
    module(
        "config-opentsdb",
        [
            ("enabled", boolean(opentsdb.enabled)),
            ("bind-address", text(&opentsdb.bind_address)),
            ("database", text(&opentsdb.database)),
            ("retention-policy", text(&opentsdb.retention_policy)),
            ("batch-size", integer(opentsdb.batch_size)),
            ("batch-pending", integer(1)),
            ("batch-timeout", milliseconds(opentsdb.batch_timeout_ms)),
        ],
    )
}

fn udp(config: &Config) -> SeriesBlock {
    let udp = &config.udp;
    module(
        "config-udp",
        [
            ("enabled", boolean(udp.enabled)),
            ("bind-address", text(&udp.bind_address)),
            ("database", text(&udp.database)),
            ("retention-policy", text(&udp.retention_policy)),
            ("batch-size", integer(udp.batch_size)),
            ("batch-pending", integer(1)),
            ("batch-timeout", milliseconds(udp.batch_timeout_ms)),
            ("precision", text(&udp.precision)),
        ],
    )
}

fn runtime() -> SeriesBlock {
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    module(
        "runtime",
        [
            ("GOARCH", text(architecture)),
            ("GOMAXPROCS", integer(cores)),
            ("GOOS", text(std::env::consts::OS)),
            ("version", text(concat!("rust", env!("CARGO_PKG_RUST_VERSION")))),
        ],
    )
}
