//! The composition root: adapters into ports, ports into services.

mod background;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyperbytedb_application::auth::AuthService;
use hyperbytedb_application::auth::first_users::FirstUsers;
use hyperbytedb_application::backup::{BackupService, SnapshotPorts};
use hyperbytedb_application::cluster::Lease;
use hyperbytedb_application::cluster::conflicts::Conflicts;
use hyperbytedb_application::commands::CommandService;
use hyperbytedb_application::continuous::ContinuousOptions;
use hyperbytedb_application::flush::FlushService;
use hyperbytedb_application::ingestion::IngestionService;
use hyperbytedb_application::log::committer::{CommitPorts, Committer};
use hyperbytedb_application::log::replay::replay;
use hyperbytedb_application::monitor::MonitorOptions;
use hyperbytedb_application::reader::TableReader;
use hyperbytedb_application::sql::{SqlApi, SqlService};
use hyperbytedb_application::statement_summary::StatementSummary;
use hyperbytedb_application::statements::StatementService;
use hyperbytedb_application::statements::running::RunningQueries;
use hyperbytedb_application::subscriptions::SubscriberOptions;
use hyperbytedb_application::threads::Threads;
use hyperbytedb_application::windows::{QueryKey, WindowOptions, WindowState};
use hyperbytedb_application::{Phase, QueryApi, Readiness};
use hyperbytedb_domain::catalog::Catalog;
use hyperbytedb_domain::error::EXIT_FAILED;
use hyperbytedb_domain::ports::{AuthPort, Outbound, SqlPort};
use hyperbytedb_domain::{StorageError, limits};
use hyperbytedb_http_api::HttpState;
use hyperbytedb_storage_rocksdb::Storage;
use metrics_exporter_prometheus::PrometheusHandle;

use crate::cluster;
use crate::config::{Config, GraphiteConfig, OpenTsdbConfig, UdpConfig};
use crate::diagnostics;
use crate::disk::DiskWatch;
use crate::engine::{Engine, refuse_other_engine};
use crate::first_users::first_users;
use crate::head_file;
use crate::metrics::{self, Collector};
use crate::options;
use crate::trace_parent;

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
        let storage = Storage::open(&options::storage(config)).map_err(|e| locked(e, &config.meta_dir()))?;
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
        readiness.on_failure(|_| signal_hook::low_level::exit(EXIT_FAILED));
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
        let flush = Arc::new(FlushService::new(options::flush(config), ports.clone())?);
        flush.start(&threads)?;
        let backups = Arc::new(BackupService::new(
            options::backups(config),
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
        let committer = Committer::start(options::committer(config), commit_ports, &threads)?;
        let commands = Arc::new(CommandService::new(committer.clone()));
        let ingestion = Arc::new(IngestionService {
            catalog: ports.catalog.clone(),
            series: ports.series.clone(),
            wal: ports.wal.clone(),
            flush: flush.clone(),
            committer: committer.clone(),
            parse_limits: options::parser(config),
            known_series: Default::default(),
            max_measurements_per_database: config.limits.max_measurements_per_database,
            replication: Default::default(),
        });
        let windows = options::views(config).map(|options| {
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
        let query_options = options::queries(config);
        let statements = Arc::new(StatementService {
            catalog: ports.catalog.clone(),
            series: ports.series.clone(),
            reader: TableReader::new(&ports, flush.clone()),
            wal: ports.wal.clone(),
            flush: flush.clone(),
            commands: commands.clone(),
            ingestion: ingestion.clone(),
            summary: Arc::new(StatementSummary::new(options::statement_summary(config))),
            heavy: options::heavy_slots(config),
            running: Arc::new(
                RunningQueries::new(query_options.max_concurrent)
                    .with_slow_threshold(options::slow_threshold(config)),
            ),
            runs: Arc::default(),
            windows: windows.as_ref().map(|(_, state)| state.clone()),
            subscribers: Arc::default(),
            cluster: cluster.as_ref().map(|node| node.port.clone()).unwrap_or_default(),
            options: query_options,
            about: diagnostics::about(config),
        });
        let auth =
            config.auth.enabled.then(|| AuthService::new(ports.catalog.clone(), options::auth(config)));
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
            continuous: options::continuous_queries(config),
            windows,
            subscriber: options::subscriptions(config),
            cluster,
            udp: config.udp.clone(),
            graphite: config.graphite.clone(),
            opentsdb: config.opentsdb.clone(),
            max_body_bytes: config.http.max_body_bytes,
            monitor: options::monitor(config),
            folders: options::own_folders(config),
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

    /// Takes no more, flushes for a while and ends the threads. What is not flushed then is in the log.
    pub fn stop(&self) -> Result<(), Box<dyn Error>> {
        self.flush.flush_for_stop();
        self.end_threads();
        self.flush.checkpoint()?;
        head_file::save(&self.flush, &self.head_file);
        Ok(())
    }

    /// Takes no more and ends the threads.
    pub fn end_threads(&self) {
        hyperbytedb_engine_chdb::wait_for_space_no_more();
        if let Some(node) = &self.cluster {
            node.stop();
        }
        self.committer.close();
        self.threads.stop();
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
            access_log: options::access_log(config)?,
            follow_trace: trace_parent::follow(&config.tracing),
            metrics: self.metrics.clone(),
            options: options::http(config),
        })
    }
}

/// The usual reason why a store does not open.
fn locked(error: StorageError, dir: &Path) -> String {
    if error.to_string().contains("LOCK") || error.to_string().contains("lock") {
        return format!("{error}\nis another hyperbytedb running on {}?", dir.display());
    }
    error.to_string()
}
