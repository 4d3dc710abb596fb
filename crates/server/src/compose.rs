//! The composition root: adapters into ports, ports into services.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyperbytedb_application::auth::first_users::FirstUsers;
use hyperbytedb_application::auth::{AuthOptions, AuthService};
use hyperbytedb_application::backup::{BackupOptions, BackupService, SnapshotPorts};
use hyperbytedb_application::cluster::Lease;
use hyperbytedb_application::cluster::conflicts::Conflicts;
use hyperbytedb_application::commands::CommandService;
use hyperbytedb_application::continuous::{ContinuousOptions, ContinuousQueries};
use hyperbytedb_application::disk_space::DiskSpaceOptions;
use hyperbytedb_application::flush::{FlushOptions, FlushService};
use hyperbytedb_application::ingestion::IngestionService;
use hyperbytedb_application::log::committer::{CommitOptions, CommitPorts, Committer};
use hyperbytedb_application::log::replay::replay;
use hyperbytedb_application::memtable::queue::SealLimits;
use hyperbytedb_application::monitor::{Monitor, MonitorOptions};
use hyperbytedb_application::reader::TableReader;
use hyperbytedb_application::retention::RetentionService;
use hyperbytedb_application::sql::{SqlApi, SqlService};
use hyperbytedb_application::statement_summary::{StatementSummary, StatementSummaryOptions};
use hyperbytedb_application::statements::running::RunningQueries;
use hyperbytedb_application::statements::{QueryOptions, StatementService};
use hyperbytedb_application::subscriptions::{SubscriberOptions, SubscriberService};
use hyperbytedb_application::threads::Threads;
use hyperbytedb_application::warm::Warmer;
use hyperbytedb_application::windows::{QueryKey, WindowOptions, WindowService, WindowState};
use hyperbytedb_application::{Phase, QueryApi, Readiness};
use hyperbytedb_domain::catalog::Catalog;
use hyperbytedb_domain::pace::HeavySlots;
use hyperbytedb_domain::ports::{AuthPort, Outbound, SqlPort};
use hyperbytedb_domain::scan::SortBound;
use hyperbytedb_domain::{Precision, StorageError, limits};
use hyperbytedb_http_api::{AccessLog, AccessLogFormat, AccessLogOptions, HttpOptions, HttpState};
use hyperbytedb_line_protocol::ParseOptions;
use hyperbytedb_storage_rocksdb::{Storage, StorageOptions, WalSync};
use hyperbytedb_subscriber::Courier;
use metrics_exporter_prometheus::PrometheusHandle;

use crate::batch::BatchWriter;
use crate::cluster;
use crate::config::{Config, GraphiteConfig, OpenTsdbConfig, UdpConfig};
use crate::diagnostics;
use crate::disk::DiskWatch;
use crate::engine::{Engine, refuse_other_engine};
use crate::first_users::first_users;
use crate::graphite;
use crate::head_file;
use crate::metrics::{self, Collector};
use crate::opentsdb;
use crate::trace_parent;
use crate::udp::{self, UdpListener};

/// The exit status after a failure that the server cannot go on from.
const FAILED: i32 = 70;

/// How often slow queries are looked for.
const SLOW_LOOK_MIN: Duration = Duration::from_millis(10);
const SLOW_LOOK_MAX: Duration = Duration::from_secs(1);

/// All services of a server.
pub struct Application {
    pub readiness: Arc<Readiness>,
    backups: Arc<BackupService>,
    ports: Outbound,
    sql: Arc<dyn SqlPort>,
    flush: Arc<FlushService>,
    committer: Arc<Committer>,
    commands: Arc<CommandService>,
    ingestion: Arc<IngestionService>,
    statements: Arc<StatementService>,
    metrics: PrometheusHandle,
    threads: Threads,
    head_file: PathBuf,
    /// Between two checks of the retention policies; `None` = never.
    retention_interval: Option<Duration>,
    /// `None`: authentication is off.
    auth: Option<Arc<AuthService>>,
    first_users: FirstUsers,
    /// `None`: continuous queries do not run.
    continuous: Option<ContinuousOptions>,
    /// `None`: views are not kept.
    windows: Option<(WindowOptions, Arc<WindowState>)>,
    subscriber: SubscriberOptions,
    /// `None`: this server is a node of its own.
    cluster: Option<cluster::Node>,
    udp: UdpConfig,
    graphite: GraphiteConfig,
    opentsdb: OpenTsdbConfig,
    max_body_bytes: usize,
    monitor: Option<MonitorOptions>,
    /// Where data is written.
    folders: Vec<PathBuf>,
}

impl Application {
    /// Opens the stores and starts the threads. Nothing is replayed yet.
    pub fn open(config: &Config) -> Result<Self, Box<dyn Error>> {
        std::fs::create_dir_all(&config.storage.data_dir)
            .map_err(|e| format!("data folder {}: {e}", config.storage.data_dir))?;
        cluster::prepare(config)?;
        let (metrics, started) = (metrics::install()?, Instant::now());
        // Before the stores, which make a data folder one that is in use.
        refuse_other_engine(config)?;
        limits::register();
        let storage = Storage::open(&storage_options(config)).map_err(|e| locked(e, &config.meta_dir()))?;
        let report_storage = storage.reporter();
        let engine = Engine::open(config)?;
        let snapshots = SnapshotPorts {
            engine: engine.snapshots.clone(),
            state: storage.local_state.clone(),
            log: storage.wal.clone(),
        };
        let ports = Outbound {
            sink: engine.sink.clone(),
            engine: engine.queries.clone(),
            catalog: storage.catalog,
            local_state: storage.local_state,
            series: storage.series,
            wal: storage.wal,
        };
        let readiness = Arc::new(Readiness::default());
        // The log has everything that was acknowledged: a start anew is the way out.
        // The engine's threads run on: it must not be taken down under them, as an exit in order would.
        readiness.on_failure(|_| signal_hook::low_level::exit(FAILED));
        let threads = Threads::new(readiness.clone());
        let reports = vec![Box::new(report_storage), engine.reporter()];
        let collector = Collector { handle: metrics.clone(), started, readiness: readiness.clone(), reports };
        threads.spawn("metrics", move |stop| collector.run(stop))?;
        let (opening, opened) = (readiness.clone(), engine.opened());
        threads.spawn_vital("engine", move || {
            if let Err(error) = opened() {
                opening.fail(format!("the engine cannot be opened: {error}"));
            }
        })?;
        let flush = Arc::new(FlushService::new(flush_options(config), ports.clone())?);
        flush.start(&threads)?;
        let backups = Arc::new(BackupService::new(
            backup_options(config),
            env!("CARGO_PKG_VERSION"),
            ports.catalog.clone(),
            flush.clone(),
            snapshots,
        )?);
        let conflicts =
            config.cluster.enabled.then(|| Arc::new(Conflicts::new(config.cluster.conflict_rows)));
        let commit_ports = CommitPorts {
            origin: config.node_id(),
            wal: ports.wal.clone(),
            catalog: ports.catalog.clone(),
            series: ports.series.clone(),
            flush: flush.clone(),
            readiness: readiness.clone(),
            conflicts: conflicts.clone(),
        };
        let committer = Committer::start(commit_options(config), commit_ports, &threads)?;
        let commands = Arc::new(CommandService::new(committer.clone()));
        let ingestion = Arc::new(IngestionService {
            catalog: ports.catalog.clone(),
            series: ports.series.clone(),
            wal: ports.wal.clone(),
            flush: flush.clone(),
            committer: committer.clone(),
            parse_limits: parse_limits(config),
            known_series: Default::default(),
            max_measurements_per_database: config.limits.max_measurements_per_database,
            replication: Default::default(),
        });
        let windows = window_options(config).map(|options| {
            let state = WindowState::load(
                &options,
                flush.clone(),
                ports.wal.clone(),
                ports.catalog.clone(),
                ports.local_state.clone(),
            )?;
            Ok::<_, StorageError>((options, Arc::new(state)))
        });
        let windows = windows.transpose()?;
        if windows.is_none() {
            flush.cursors().release(hyperbytedb_application::log::cursors::WINDOWS);
        }
        let cluster = conflicts
            .map(|conflicts| cluster::Node::new(config, &ports, &flush, &committer, &readiness, conflicts));
        if let Some(node) = &cluster {
            // Nobody else sets it.
            let _ = ingestion.replication.set(node.replication.clone());
        }
        let options = query_options(config);
        let statements = Arc::new(StatementService {
            catalog: ports.catalog.clone(),
            series: ports.series.clone(),
            reader: TableReader::new(&ports, flush.clone()),
            wal: ports.wal.clone(),
            flush: flush.clone(),
            commands: commands.clone(),
            ingestion: ingestion.clone(),
            summary: Arc::new(StatementSummary::new(summary_options(config))),
            heavy: heavy_slots(config),
            running: Arc::new(
                RunningQueries::new(options.max_concurrent).with_slow_threshold(slow_threshold(config)),
            ),
            runs: Arc::default(),
            windows: windows.as_ref().map(|(_, state)| state.clone()),
            subscribers: Arc::default(),
            cluster: cluster.as_ref().map(|node| node.port.clone()).unwrap_or_default(),
            options,
            about: diagnostics::about(config),
        });
        let auth = config.auth.enabled.then(|| AuthService::new(ports.catalog.clone(), auth_options(config)));
        let retention_interval =
            config.retention.enabled.then(|| Duration::from_secs(config.retention.check_interval_secs));
        Ok(Self {
            readiness,
            backups,
            ports,
            sql: engine.sql,
            flush,
            committer,
            commands,
            ingestion,
            statements,
            metrics,
            threads,
            head_file: head_file::path(&config.storage.data_dir),
            retention_interval,
            auth: auth.transpose()?.map(Arc::new),
            first_users: first_users(&config.auth, |name| std::env::var(name).ok())?,
            continuous: continuous_options(config),
            windows,
            subscriber: subscriber_options(config),
            cluster,
            udp: config.udp.clone(),
            graphite: config.graphite.clone(),
            opentsdb: config.opentsdb.clone(),
            max_body_bytes: config.http.max_body_bytes,
            monitor: monitor_options(config),
            folders: own_folders(config),
        })
    }

    /// Brings back what the log holds, then lets requests in.
    pub fn replay(&self) -> Result<(), Box<dyn Error + Send + Sync>> {
        head_file::restore(&self.flush, self.ports.wal.last_sequence(), &self.head_file);
        head_file::remove(&self.head_file)
            .map_err(|error| format!("the head's file cannot be removed: {error}"))?;
        replay(&self.flush, &self.ports)
            .map_err(|e| format!("the write-ahead log cannot be replayed: {e}"))?;
        if let Some(node) = &self.cluster {
            node.join(self.backups.clone(), &self.threads)
                .map_err(|error| format!("this node cannot take part in its cluster: {error}"))?;
        }
        let commands = Arc::downgrade(&self.commands);
        self.flush.on_emptied(move |table| {
            if let Some(commands) = commands.upgrade() {
                commands.drop_empty_table(table);
            }
        })?;
        self.first_users.create(&*self.ports.catalog, &self.commands)?;
        if self.auth.is_some() && !self.ports.catalog.catalog().has_admin() {
            tracing::warn!(
                "authentication is on and there is no admin: nothing goes through (docs/authentication.md)"
            );
        }
        // Before the first write.
        self.disk_watch().look();
        self.readiness.set(Phase::Ready);
        self.start_background().map_err(|error| StorageError::failed("start a thread", error))?;
        Ok(())
    }

    /// Starts what works on a server that is ready.
    fn start_background(&self) -> std::io::Result<()> {
        let options = self.subscriber.clone();
        let subscriber = SubscriberService {
            delivery: Arc::new(Courier::new(options.timeout)?),
            options,
            catalog: self.ports.catalog.clone(),
            wal: self.ports.wal.clone(),
            flush: self.flush.clone(),
            counts: self.statements.subscribers.clone(),
        };
        self.threads.spawn("subscriptions", move |stop| subscriber.run(stop))?;
        if let Some(threshold) = self.statements.running.slow_threshold() {
            let running = self.statements.running.clone();
            self.threads.spawn("slow-queries", move |stop| {
                while stop.wait((threshold / 4).clamp(SLOW_LOOK_MIN, SLOW_LOOK_MAX)) {
                    running.log_slow();
                }
            })?;
        }
        let disk = self.disk_watch();
        self.threads.spawn("disk", move |stop| disk.run(stop))?;
        if self.udp.enabled {
            let UdpConfig { database, retention_policy, precision, bind_address, .. } = &self.udp;
            let writer = self.batch_writer("UDP", database, retention_policy);
            let listener = UdpListener {
                socket: udp::bind(bind_address, "udp.bind_address")?,
                options: self.udp.batches(),
                writer: BatchWriter { precision: Precision::parse(precision), ..writer },
            };
            self.threads.spawn("udp", move |stop| listener.run(stop))?;
        }
        if self.graphite.enabled {
            self.start_graphite()?;
        }
        if self.opentsdb.enabled {
            self.start_opentsdb()?;
        }
        if let Some(options) = self.monitor.clone() {
            let monitor = Monitor {
                options,
                catalog: self.ports.catalog.clone(),
                commands: self.commands.clone(),
                ingestion: self.ingestion.clone(),
                statements: self.statements.clone(),
            };
            self.threads.spawn("monitor", move |stop| monitor.run(stop))?;
        }
        let backups = self.backups.clone();
        self.threads.spawn("backups", move |stop| backups.run(stop))?;
        if let Some(check_interval) = self.retention_interval {
            let (catalog, commands) = (self.ports.catalog.clone(), self.commands.clone());
            let retention = RetentionService { catalog, commands, check_interval, lease: self.lease() };
            self.threads.spawn("retention", move |stop| retention.run(stop))?;
        }
        if let Some(options) = self.continuous.clone() {
            let continuous = ContinuousQueries {
                options,
                catalog: self.ports.catalog.clone(),
                queries: self.statements.clone(),
                commands: self.commands.clone(),
                runs: self.statements.runs.clone(),
                lease: self.lease(),
                board: Arc::default(),
            };
            Arc::new(continuous).start(&self.threads)?;
        }
        if let Some((options, state)) = &self.windows {
            let windows = WindowService {
                options: options.clone(),
                state: state.clone(),
                catalog: self.ports.catalog.clone(),
                wal: self.ports.wal.clone(),
                statements: self.statements.clone(),
                queries: Default::default(),
                lease: self.lease(),
            };
            Arc::new(windows).start(&self.threads)?;
        }
        let warmer = Warmer {
            catalog: self.ports.catalog.clone(),
            reader: self.statements.reader.clone(),
            flush: self.flush.clone(),
        };
        self.threads.spawn("warm", move |stop| warmer.run(stop))
    }

    fn start_graphite(&self) -> std::io::Result<()> {
        let config = &self.graphite;
        let writer = self.batch_writer("Graphite", &config.database, &config.retention_policy);
        graphite::start(config, writer, &self.threads)
    }

    fn start_opentsdb(&self) -> std::io::Result<()> {
        let config = &self.opentsdb;
        let writer = self.batch_writer("OpenTSDB", &config.database, &config.retention_policy);
        opentsdb::start(config, self.max_body_bytes, writer, &self.threads)
    }

    fn batch_writer(&self, listener: &'static str, database: &str, retention_policy: &str) -> BatchWriter {
        BatchWriter {
            listener,
            database: database.to_owned(),
            retention_policy: retention_policy.to_owned(),
            precision: Precision::Nanosecond,
            catalog: self.ports.catalog.clone(),
            commands: self.commands.clone(),
            ingestion: self.ingestion.clone(),
        }
    }

    /// Takes no more, flushes for a while and ends the threads. What is not flushed then is in the log.
    pub fn stop(&self) -> Result<(), Box<dyn Error>> {
        self.flush.flush_for_stop();
        if let Some(node) = &self.cluster {
            node.stop();
        }
        self.committer.close();
        self.threads.stop();
        self.flush.checkpoint()?;
        head_file::save(&self.flush, &self.head_file);
        Ok(())
    }

    fn disk_watch(&self) -> DiskWatch {
        DiskWatch {
            flush: self.flush.clone(),
            wal: self.ports.wal.clone(),
            readiness: self.readiness.clone(),
            folders: self.folders.clone(),
        }
    }

    fn lease(&self) -> Lease {
        self.cluster.as_ref().map(|node| node.lease.clone()).unwrap_or_default()
    }

    pub fn catalog(&self) -> Arc<Catalog> {
        self.ports.catalog.catalog()
    }

    /// Ranges of time that a view has still to compute for what is in the log now.
    pub fn dirty_windows(&self, database: &str, view: &str) -> Result<Vec<(i64, i64)>, StorageError> {
        let Some((_, windows)) = &self.windows else { return Ok(Vec::new()) };
        windows.follower.follow()?;
        let key = QueryKey { is_view: true, database: database.to_owned(), name: view.to_owned() };
        Ok(windows.dirty_ranges(&key))
    }

    pub fn commands(&self) -> &CommandService {
        &self.commands
    }

    pub fn queries(&self) -> Arc<dyn QueryApi> {
        self.statements.clone()
    }

    /// SQL, where it is enabled.
    fn sql(&self, config: &Config) -> Option<Arc<dyn SqlApi>> {
        let enabled = match config.sql.enabled.as_str() {
            "always" => true,
            "with-auth" => self.auth.is_some(),
            _ => false,
        };
        let service = SqlService { statements: self.statements.clone(), engine: self.sql.clone() };
        enabled.then(|| Arc::new(service) as Arc<dyn SqlApi>)
    }

    pub fn http_state(&self, config: &Config) -> Result<HttpState, Box<dyn Error>> {
        Ok(HttpState {
            ingestion: self.ingestion.clone(),
            queries: self.statements.clone(),
            schema: self.statements.clone(),
            sql: self.sql(config),
            backups: Some(self.backups.clone()),
            cluster: self.cluster.as_ref().map(|node| node.port.clone()).unwrap_or_default(),
            statement_summary: self.statements.summary.clone(),
            readiness: self.readiness.clone(),
            auth: self.auth.clone().map(|auth| auth as Arc<dyn AuthPort>),
            access_log: access_log(config)?,
            follow_trace: trace_parent::follow(&config.tracing),
            metrics: self.metrics.clone(),
            options: http_options(config),
        })
    }
}

fn monitor_options(config: &Config) -> Option<MonitorOptions> {
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

fn slow_threshold(config: &Config) -> Option<Duration> {
    let ms = config.query.slow_threshold_ms;
    (ms > 0).then(|| Duration::from_millis(ms))
}

fn access_log(config: &Config) -> Result<Option<AccessLog>, String> {
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
fn own_folders(config: &Config) -> Vec<PathBuf> {
    let embedded = (!config.engine.is_clickhouse()).then(|| config.engine_dir());
    [config.wal_dir(), config.meta_dir()].into_iter().chain(embedded).collect()
}

fn heavy_slots(config: &Config) -> Option<Arc<HeavySlots>> {
    let slots = config.query.max_heavy;
    (slots > 0).then(|| HeavySlots::new(slots, Duration::from_millis(config.query.heavy_after_ms)))
}

fn summary_options(config: &Config) -> StatementSummaryOptions {
    let summary = &config.statement_summary;
    StatementSummaryOptions { enabled: summary.enabled, max_entries: summary.max_entries }
}

fn auth_options(config: &Config) -> AuthOptions {
    AuthOptions {
        shared_secret: config.auth.shared_secret.reveal().to_owned(),
        cache_ttl: Duration::from_secs(config.auth.cache_ttl_secs),
        cache_entries: config.auth.cache_entries,
    }
}

fn continuous_options(config: &Config) -> Option<ContinuousOptions> {
    let continuous = &config.continuous_queries;
    continuous.enabled.then(|| ContinuousOptions {
        run_interval: Duration::from_secs(continuous.run_interval_secs),
        workers: continuous.workers,
        log: continuous.log,
    })
}

fn window_options(config: &Config) -> Option<WindowOptions> {
    let views = &config.views;
    views.enabled.then(|| WindowOptions {
        interval: Duration::from_millis(views.interval_ms),
        workers: views.workers,
        max_windows_per_run: views.max_windows_per_run,
        max_points_per_run: views.max_points_per_run,
        max_log_bytes: views.max_log_bytes,
        ..WindowOptions::default()
    })
}

fn backup_options(config: &Config) -> BackupOptions {
    BackupOptions {
        max_snapshots: config.backup.max_snapshots,
        expiry: Duration::from_secs(config.backup.expiry_secs),
        ..BackupOptions::in_dir(config.snapshots_dir())
    }
}

fn subscriber_options(config: &Config) -> SubscriberOptions {
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

/// The usual reason why a store does not open.
fn locked(error: StorageError, dir: &Path) -> String {
    if error.to_string().contains("LOCK") || error.to_string().contains("lock") {
        return format!("{error}\nis another hyperbytedb running on {}?", dir.display());
    }
    error.to_string()
}

pub fn storage_options(config: &Config) -> StorageOptions {
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

fn flush_options(config: &Config) -> FlushOptions {
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

fn commit_options(config: &Config) -> CommitOptions {
    CommitOptions {
        queue_length: config.wal.queue_length,
        group_records_max: config.wal.group_writes_max,
        group_bytes_max: config.wal.group_bytes_max,
        ..CommitOptions::default()
    }
}

fn parse_limits(config: &Config) -> ParseOptions {
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

fn query_options(config: &Config) -> QueryOptions {
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

fn http_options(config: &Config) -> HttpOptions {
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
