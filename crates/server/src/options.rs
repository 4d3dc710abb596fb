//! What the configuration says to each service, in that service's own terms.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hyperbytedb_application::auth::AuthOptions;
use hyperbytedb_application::backup::BackupOptions;
use hyperbytedb_application::continuous::ContinuousOptions;
use hyperbytedb_application::disk_space::DiskSpaceOptions;
use hyperbytedb_application::flush::FlushOptions;
use hyperbytedb_application::log::committer::CommitOptions;
use hyperbytedb_application::memtable::queue::SealLimits;
use hyperbytedb_application::monitor::MonitorOptions;
use hyperbytedb_application::statement_summary::StatementSummaryOptions;
use hyperbytedb_application::statements::QueryOptions;
use hyperbytedb_application::subscriptions::SubscriberOptions;
use hyperbytedb_application::windows::WindowOptions;
use hyperbytedb_domain::Precision;
use hyperbytedb_domain::pace::HeavySlots;
use hyperbytedb_domain::scan::SortBound;
use hyperbytedb_http_api::{AccessLog, AccessLogFormat, AccessLogOptions, HttpOptions};
use hyperbytedb_line_protocol::ParseOptions;
use hyperbytedb_storage_rocksdb::{StorageOptions, WalSync};

use crate::config::Config;
use crate::diagnostics;

pub fn monitor(config: &Config) -> Option<MonitorOptions> {
    let monitor = &config.monitor;
    if !monitor.store_enabled {
        return None;
    }
    let mut tags = vec![("hostname".to_owned(), diagnostics::hostname())];
    if config.cluster.enabled {
        tags.push(("nodeID".to_owned(), config.cluster.node_id.to_string()));
    }
    Some(MonitorOptions {
        database: monitor.store_database.clone(),
        interval: Duration::from_secs(monitor.store_interval_secs),
        tags,
    })
}

pub fn slow_threshold(config: &Config) -> Option<Duration> {
    let ms = config.query.slow_threshold_ms;
    (ms > 0).then(|| Duration::from_millis(ms))
}

pub fn access_log(config: &Config) -> Result<Option<AccessLog>, String> {
    let http = &config.http;
    let format = match (http.access_log.as_str(), config.logging.format.as_str()) {
        ("off", _) => return Ok(None),
        ("json", _) | ("auto", "json") => AccessLogFormat::Json,
        _ => AccessLogFormat::Combined,
    };
    let (path, exclude) = (http.access_log_path.clone(), http.access_log_exclude.clone());
    AccessLog::open(AccessLogOptions { format, path, exclude })
        .map(Some)
        .map_err(|error| format!("http.access_log_path {:?} cannot be opened: {error}", http.access_log_path))
}

/// Where this process writes.
pub fn own_folders(config: &Config) -> Vec<PathBuf> {
    let embedded = (!config.engine.is_clickhouse()).then(|| config.engine_dir());
    [config.wal_dir(), config.meta_dir()].into_iter().chain(embedded).collect()
}

pub fn heavy_slots(config: &Config) -> Option<Arc<HeavySlots>> {
    let slots = config.query.max_heavy;
    (slots > 0).then(|| HeavySlots::new(slots, Duration::from_millis(config.query.heavy_after_ms)))
}

pub fn statement_summary(config: &Config) -> StatementSummaryOptions {
    let summary = &config.statement_summary;
    StatementSummaryOptions { enabled: summary.enabled, max_entries: summary.max_entries }
}

pub fn auth(config: &Config) -> AuthOptions {
    AuthOptions {
        shared_secret: config.auth.shared_secret.reveal().to_owned(),
        cache_ttl: Duration::from_secs(config.auth.cache_ttl_secs),
        cache_entries: config.auth.cache_entries,
    }
}

pub fn continuous_queries(config: &Config) -> Option<ContinuousOptions> {
    let continuous = &config.continuous_queries;
    continuous.enabled.then(|| ContinuousOptions {
        run_interval: Duration::from_secs(continuous.run_interval_secs),
        workers: continuous.workers,
        log: continuous.log,
    })
}

pub fn views(config: &Config) -> Option<WindowOptions> {
    let views = &config.views;
    views.enabled.then(|| WindowOptions {
        node: config.node_id(),
        interval: Duration::from_millis(views.interval_ms),
        workers: views.workers,
        max_windows_per_run: views.max_windows_per_run,
        max_points_per_run: views.max_points_per_run,
        max_log_bytes: views.max_log_bytes,
        ..WindowOptions::default()
    })
}

pub fn backups(config: &Config) -> BackupOptions {
    BackupOptions {
        max_snapshots: config.backup.max_snapshots,
        expiry: Duration::from_secs(config.backup.expiry_secs),
        ..BackupOptions::in_dir(config.snapshots_dir())
    }
}

pub fn subscriptions(config: &Config) -> SubscriberOptions {
    let subscriber = &config.subscriber;
    SubscriberOptions {
        enabled: subscriber.enabled,
        max_backlog_bytes: subscriber.max_backlog_bytes,
        max_backlog_age: Duration::from_secs(subscriber.max_backlog_age_secs),
        timeout: Duration::from_secs(subscriber.timeout_secs),
        max_destinations: subscriber.max_destinations,
        origin: config.cluster.enabled.then_some(config.cluster.node_id),
    }
}

pub fn storage(config: &Config) -> StorageOptions {
    StorageOptions {
        wal_dir: config.wal_dir(),
        meta_dir: config.meta_dir(),
        wal_sync: match config.wal.sync.as_str() {
            "interval" => WalSync::Interval(Duration::from_millis(config.wal.sync_interval_ms)),
            "off" => WalSync::Off,
            _ => WalSync::Always,
        },
        wal_write_buffer_bytes: config.storage.wal_write_buffer_bytes,
        meta_write_buffer_bytes: config.storage.meta_write_buffer_bytes,
        meta_cache_bytes: config.storage.meta_cache_bytes,
        series_cache_entries: config.storage.series_cache_entries,
        max_series_per_database: config.limits.max_series_per_database,
        max_values_per_tag: config.limits.max_values_per_tag,
        max_open_files: config.storage.max_open_files,
    }
}

pub fn flush(config: &Config) -> FlushOptions {
    let flush = &config.flush;
    FlushOptions {
        limits: SealLimits {
            rows: flush.max_rows,
            bytes: flush.max_bytes,
            age: Duration::from_secs(flush.interval_secs),
            small_rows: flush.small_rows,
            small_age: Duration::from_secs(flush.small_interval_secs.max(flush.interval_secs)),
        },
        memory_limit_bytes: flush.memory_limit_bytes,
        checkpoint_interval: Duration::from_secs(flush.checkpoint_interval_secs),
        checkpoint_bytes: flush.checkpoint_bytes,
        wal_size_bytes: flush.wal_size_bytes,
        wal_size_bytes_max: config.wal.max_bytes,
        disk_space: DiskSpaceOptions {
            warn_free_bytes: config.storage.warn_free_bytes,
            min_free_bytes: config.storage.min_free_bytes,
        },
        merge_quiet: Duration::from_secs(flush.merge_quiet_secs),
        ended_quiet: (flush.ended_quiet_secs > 0).then(|| Duration::from_secs(flush.ended_quiet_secs)),
        overlap_series_max: flush.overlap_series_max,
        head_bytes: flush.head_bytes,
        workers: flush.workers,
        stop_timeout: Duration::from_secs(flush.stop_timeout_secs),
        ..FlushOptions::default()
    }
}

pub fn committer(config: &Config) -> CommitOptions {
    CommitOptions {
        queue_length: config.wal.queue_length,
        group_records_max: config.wal.group_writes_max,
        group_bytes_max: config.wal.group_bytes_max,
        ..CommitOptions::default()
    }
}

pub fn parser(config: &Config) -> ParseOptions {
    ParseOptions {
        max_points: config.write.max_points,
        max_line_bytes: config.write.max_line_bytes,
        max_tags: config.write.max_tags,
        max_fields: config.write.max_fields,
        max_absent_values: config.write.max_absent_values,
        uint_support: config.write.uint_support,
        ..ParseOptions::new(Precision::Nanosecond, 0)
    }
}

pub fn queries(config: &Config) -> QueryOptions {
    let query = &config.query;
    QueryOptions {
        max_concurrent: query.max_concurrent,
        timeout: (query.timeout_secs > 0).then(|| Duration::from_secs(query.timeout_secs)),
        max_memory_bytes: query.max_memory_bytes,
        max_rows_read: query.max_rows_read,
        // ClickHouse knows its servers.
        max_threads: if config.engine.is_clickhouse() { 0 } else { config.chdb.max_query_threads },
        max_select_buckets: query.max_select_buckets,
        max_select_points: query.max_select_points,
        max_select_series: query.max_select_series,
        max_buffered_points: query.max_buffered_points,
        sort_bound: SortBound { rows: query.max_sort_rows, bytes: query.max_sort_bytes },
    }
}

pub fn http(config: &Config) -> HttpOptions {
    let http = &config.http;
    HttpOptions {
        max_body_bytes: http.max_body_bytes,
        max_inflated_body_bytes: http.max_inflated_body_bytes,
        max_inflight_body_bytes: http.max_inflight_body_bytes,
        body_timeout: Duration::from_secs(http.body_timeout_secs),
        hashing_threads: config.auth.hashing_threads,
        max_queued_logins: config.auth.max_queued_logins,
        ping_auth: config.auth.ping_auth_enabled,
        metrics_auth: config.auth.metrics_auth_enabled,
        requests_per_second_by_address: config.limits.requests_per_second_by_address,
        requests_per_second_by_user: config.limits.requests_per_second_by_user,
        request_burst_secs: config.limits.request_burst_secs,
        max_concurrent_writes: http.max_concurrent_writes,
        max_queued_writes: http.max_queued_writes,
        max_concurrent_queries: http.max_concurrent_queries,
        max_queued_queries: http.max_queued_queries,
        max_concurrent_sql: config.sql.max_concurrent,
        max_queued_sql: config.sql.max_queued,
        max_sql_result_bytes: config.sql.max_result_bytes,
        queue_timeout: Duration::from_secs(http.queue_timeout_secs),
        replay_timeout: Duration::from_secs(http.replay_timeout_secs),
        max_chunk_rows: http.max_chunk_rows,
        max_row_limit: http.max_row_limit,
        max_buffered_answer_bytes: http.max_buffered_answer_bytes,
    }
}
