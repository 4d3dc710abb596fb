//! A server process: the services over ports in memory, with their threads as tasks of a scheduler.

use std::sync::Arc;
use std::time::Duration;

use hyperbytedb_application::cluster::Lease;
use hyperbytedb_application::cluster::node::ClusterNode;
use hyperbytedb_application::commands::CommandService;
use hyperbytedb_application::continuous::{ContinuousOptions, ContinuousQueries, Job};
use hyperbytedb_application::flush::{FlushOptions, FlushService};
use hyperbytedb_application::ingestion::IngestionService;
use hyperbytedb_application::log::LogError;
use hyperbytedb_application::log::committer::{CommitOptions, CommitPorts, Committer};
use hyperbytedb_application::log::replay::replay;
use hyperbytedb_application::memtable::queue::SealLimits;
use hyperbytedb_application::reader::TableReader;
use hyperbytedb_application::retention::RetentionService;
use hyperbytedb_application::statement_summary::{StatementSummary, StatementSummaryOptions};
use hyperbytedb_application::statements::running::RunningQueries;
use hyperbytedb_application::statements::{QueryOptions, StatementService};
use hyperbytedb_application::threads::Stop;
use hyperbytedb_application::warm::Warmer;
use hyperbytedb_application::windows::{QueryKey, WindowOptions, WindowService, WindowState};
use hyperbytedb_application::{QueryApi, QueryRequest, Readiness, ResultEvent, ResultSink, SinkClosed};
use hyperbytedb_domain::catalog::Catalog;
use hyperbytedb_domain::cluster::{Consistency, NodeId};
use hyperbytedb_domain::ports::{Caller, IngestionPort, Outbound, WriteError, WriteRequest, WriteSource};
use hyperbytedb_domain::result::SeriesBlock;
use hyperbytedb_domain::{CancelToken, EngineError, HybridClock, Precision, QueryContext, StorageError};
use hyperbytedb_head::snapshot;
use hyperbytedb_line_protocol::ParseOptions;
use hyperbytedb_memory_ports::{Disk, MemoryPorts};
use hyperbytedb_timeseriesql::ast::StoredQueryKind;

use crate::cluster::seat::Seat;
use crate::history::VIEWS;
use crate::queries::{LastRuns, QUERIES};
use crate::scheduler::{FLUSH, Host, REMOVAL};

/// Small, so that memtables are sealed by size, too.
const MEMTABLE_ROWS: usize = 12;
const NS_PER_MS: u64 = 1_000_000;
const FLUSH_WORKERS: usize = 2;

/// A running server.
pub struct Process {
    pub host: Host,
    pub flush: Arc<FlushService>,
    ports: Outbound,
    pub committer: Arc<Committer>,
    ingestion: Arc<IngestionService>,
    statements: Arc<StatementService>,
    commands: Arc<CommandService>,
    /// `None`: no views are kept.
    windows: Option<WindowService>,
    retention: RetentionService,
    continuous: ContinuousQueries,
    /// Held where there are no other nodes.
    pub lease: Lease,
    /// As the other nodes of a cluster see it.
    pub node: Option<Arc<ClusterNode>>,
}

impl Process {
    /// Opens the stores and starts the threads. Nothing is replayed yet.
    pub fn open(
        disk: &Disk,
        host: Host,
        head_bytes: usize,
        has_views: bool,
        seat: Option<&Seat>,
    ) -> Result<Self, LogError> {
        let ports = MemoryPorts::open(disk, host.scheduler.clone()).outbound();
        let readiness = Arc::new(Readiness::default());
        let fail = host.on_failure();
        readiness.on_failure(move |_| fail());
        let flush = Arc::new(FlushService::new(flush_options(head_bytes), ports.clone())?);
        let applying = flush.clone();
        host.set_applying(move || applying.epochs().is_locked());
        for _ in 0..FLUSH_WORKERS {
            let flush = flush.clone();
            host.spawn(FLUSH, None, move || flush.run_flushes(&Stop::default()));
        }
        let removing = flush.clone();
        host.spawn(REMOVAL, None, move || removing.run_removals(&Stop::default()));
        let (conflicts, node_id) = (seat.map(Seat::conflicts), seat.map_or(1, |seat| seat.id));
        let commit_ports = CommitPorts {
            origin: node_id,
            wal: ports.wal.clone(),
            catalog: ports.catalog.clone(),
            series: ports.series.clone(),
            flush: flush.clone(),
            readiness: readiness.clone(),
            conflicts: conflicts.clone(),
        };
        let last_clock = ports.wal.last_clock();
        let scheduler = host.scheduler.clone();
        let wall = Arc::new(move || scheduler.clock().unsigned_abs() / NS_PER_MS);
        let clock =
            seat.map_or_else(|| HybridClock::with_wall(last_clock, wall), |seat| seat.clock(last_clock));
        let (committer, worker) = Committer::with_clock(CommitOptions::default(), commit_ports, clock);
        host.spawn("committer", None, move || while worker.commit_next() {});
        let commands = Arc::new(CommandService::new(committer.clone()));
        let ingestion = Arc::new(IngestionService {
            catalog: ports.catalog.clone(),
            series: ports.series.clone(),
            wal: ports.wal.clone(),
            flush: flush.clone(),
            committer: committer.clone(),
            max_measurements_per_database: 0,
            parse_limits: ParseOptions::new(Precision::Nanosecond, 0),
            known_series: Default::default(),
            replication: Default::default(),
        });
        let node = seat.zip(conflicts).map(|(seat, conflicts)| {
            let node = Arc::new(seat.node(&ports, &flush, &committer, readiness, conflicts));
            // Nobody else sets it.
            let _ = ingestion.replication.set(node.replication.clone());
            node
        });
        let load = || {
            let (wal, catalog) = (ports.wal.clone(), ports.catalog.clone());
            let state = WindowState::load(
                &window_options(node_id),
                flush.clone(),
                wal,
                catalog,
                ports.local_state.clone(),
            )?;
            Ok::<_, LogError>(Arc::new(state))
        };
        let state = has_views.then(load).transpose()?;
        let options = QueryOptions { timeout: None, ..QueryOptions::default() };
        let statements = Arc::new(StatementService {
            catalog: ports.catalog.clone(),
            series: ports.series.clone(),
            reader: TableReader::new(&ports, flush.clone()),
            wal: ports.wal.clone(),
            flush: flush.clone(),
            commands: commands.clone(),
            ingestion: ingestion.clone(),
            summary: Arc::new(StatementSummary::new(StatementSummaryOptions::default())),
            heavy: None,
            running: Arc::new(RunningQueries::new(options.max_concurrent)),
            runs: Arc::default(),
            windows: state.clone(),
            subscribers: Arc::default(),
            cluster: Default::default(),
            options,
            about: Default::default(),
        });
        let lease = if seat.is_some() { Lease::of_cluster() } else { Lease::default() };
        let windows = state.map(|state| WindowService {
            options: window_options(node_id),
            state,
            catalog: ports.catalog.clone(),
            wal: ports.wal.clone(),
            statements: statements.clone(),
            lease: lease.clone(),
            queries: Default::default(),
        });
        let retention = RetentionService {
            catalog: ports.catalog.clone(),
            commands: commands.clone(),
            check_interval: Duration::ZERO,
            lease: lease.clone(),
        };
        let continuous = ContinuousQueries {
            options: ContinuousOptions::default(),
            catalog: ports.catalog.clone(),
            queries: statements.clone(),
            commands: commands.clone(),
            runs: statements.runs.clone(),
            lease: lease.clone(),
            windows: statements.windows.clone(),
            board: Arc::default(),
        };
        Ok(Self {
            node,
            host,
            flush,
            ports,
            committer,
            ingestion,
            statements,
            commands,
            windows,
            retention,
            continuous,
            lease,
        })
    }

    /// Brings back what the log holds, and before that the heads that an orderly stop kept.
    pub fn replay(&self, head_file: Option<Vec<u8>>) -> Result<(), String> {
        self.replay_log(head_file)?;
        self.watch_emptied()
    }

    pub fn replay_log(&self, head_file: Option<Vec<u8>>) -> Result<(), String> {
        if let Some(file) = head_file {
            let last = self.ports.wal.last_sequence();
            let (_, outcome) = snapshot::restore(self.flush.head(), last, &mut file.as_slice());
            outcome.map_err(|error| format!("the heads of an orderly stop are refused: {error}"))?;
        }
        replay(&self.flush, &self.ports).map(drop).map_err(|error| error.to_string())
    }

    /// Has tables dropped whose last series is gone.
    pub fn watch_emptied(&self) -> Result<(), String> {
        let commands = Arc::downgrade(&self.commands);
        self.flush
            .on_emptied(move |table| {
                if let Some(commands) = commands.upgrade() {
                    commands.drop_empty_table(table);
                }
            })
            .map_err(|error| error.to_string())
    }

    /// Fills the heads with what the engine holds.
    pub fn warm(&self) {
        let warmer = Warmer {
            catalog: self.ports.catalog.clone(),
            reader: self.statements.reader.clone(),
            flush: self.flush.clone(),
        };
        warmer.run(&Stop::default());
    }

    pub fn write(
        &self,
        database: &str,
        retention_policy: &str,
        body: String,
        consistency: Option<Consistency>,
    ) -> Result<(), WriteError> {
        let lines = WriteRequest::lines(WriteSource::Http, database, retention_policy, body);
        self.ingestion.write(WriteRequest { consistency, ..lines })
    }

    /// The blocks of a statement, or its error.
    pub fn query(
        &self,
        database: &str,
        text: &str,
        cancel: &CancelToken,
    ) -> Result<Vec<SeriesBlock>, String> {
        let request = QueryRequest {
            caller: Caller::Trusted,
            text: text.to_owned(),
            database: database.to_owned(),
            cancel: cancel.clone(),
            ..QueryRequest::default()
        };
        let mut answer = Answer::default();
        self.statements.query(&request, &mut answer).map_err(|error| error.to_string())?;
        answer.error.map_or(Ok(answer.blocks), Err)
    }

    pub fn reader(&self) -> TableReader {
        self.statements.reader.clone()
    }

    pub fn catalog(&self) -> Arc<Catalog> {
        self.ports.catalog.catalog()
    }

    /// Has everything in memory flushed.
    pub fn press(&self) {
        self.flush.press();
    }

    pub fn flush_all(&self) -> Result<(), EngineError> {
        self.flush.flush_all(&QueryContext::unbounded())
    }

    pub fn checkpoint(&self) -> Result<(), EngineError> {
        self.flush.checkpoint()
    }

    /// Reads the log for the views.
    pub fn follow(&self) -> Result<(), StorageError> {
        self.windows.as_ref().map_or(Ok(()), |windows| windows.state.follower.follow())
    }

    /// Computes dirty windows; false when there are none.
    pub fn compute(&self) -> bool {
        self.windows.as_ref().is_some_and(WindowService::work_once)
    }

    /// Drops what has expired; false when some of it stays.
    pub fn expire(&self, now: i64) -> bool {
        self.retention.drop_expired(now)
    }

    /// Drops what expires, while this node holds the lease.
    pub fn retain(&self) {
        self.retention.run(&Stop::default());
    }

    /// Runs of continuous queries that are due.
    pub fn due_queries(&self) -> Vec<Job> {
        self.continuous.due()
    }

    pub fn run_query(&self, job: &Job) -> bool {
        self.continuous.work_on(job)
    }

    /// When each continuous query has run last, as it is stored.
    pub fn last_runs(&self) -> LastRuns {
        let catalog = self.catalog();
        let queries = catalog.database(QUERIES).map(|database| &database.continuous_queries);
        queries.into_iter().flatten().map(|query| (query.name.clone(), query.last_run)).collect()
    }

    /// Whether a view that has a source has dirty windows.
    pub fn has_work(&self) -> bool {
        let Some(windows) = &self.windows else { return false };
        let catalog = self.catalog();
        let views = catalog.database(VIEWS).map(|database| &database.materialized_views);
        views.into_iter().flatten().any(|view| {
            let key = QueryKey::new(StoredQueryKind::MaterializedView, VIEWS, &view.name);
            catalog.database(&view.name).is_some() && windows.state.backlog(&key).dirty_ns > 0
        })
    }

    /// Merges the partitions that hold duplicates, and those of ended shard groups.
    pub fn merge(&self) -> Result<(), EngineError> {
        self.flush.merge_ended(Duration::ZERO, || true)?;
        self.flush.merge_settled(|_| true).into_iter().try_for_each(|(_, error)| Err(error))
    }

    /// An orderly stop, but for the end of the threads. Returns the heads for the next start.
    pub fn stop(&self) -> Result<Vec<u8>, EngineError> {
        self.flush.flush_for_stop();
        self.committer.close();
        self.checkpoint()?;
        let mut head_file = Vec::new();
        snapshot::save(self.flush.head(), self.flush.applied(), &mut head_file)
            .map_err(|error| EngineError::failed("keep the heads", error))?;
        Ok(head_file)
    }

    pub fn log_bytes(&self) -> u64 {
        self.ports.wal.size_bytes()
    }
}

/// Few windows at a time, so that what a run does not take waits for the next one.
fn window_options(node: NodeId) -> WindowOptions {
    WindowOptions {
        node,
        max_windows_per_run: 40,
        retry_pause: Duration::ZERO,
        pause_factor: 0,
        ..WindowOptions::default()
    }
}

fn flush_options(head_bytes: usize) -> FlushOptions {
    let never = Duration::from_secs(86_400);
    FlushOptions {
        limits: SealLimits {
            rows: MEMTABLE_ROWS,
            age: never,
            small_age: never,
            ..FlushOptions::default().limits
        },
        merge_quiet: Duration::ZERO,
        ended_quiet: Some(Duration::ZERO),
        retry_pause: Duration::ZERO,
        // A few series are remembered, others not.
        overlap_series_max: 8,
        head_bytes,
        stop_timeout: never,
        ..FlushOptions::default()
    }
}

#[derive(Default)]
struct Answer {
    blocks: Vec<SeriesBlock>,
    error: Option<String>,
}

impl ResultSink for Answer {
    fn emit(&mut self, event: ResultEvent, _: &QueryContext) -> Result<(), SinkClosed> {
        match event {
            ResultEvent::Series { block, .. } => self.blocks.push(block),
            ResultEvent::Documents { documents, .. } => self.blocks.extend(documents.into_iter().flatten()),
            ResultEvent::End { error, .. } => self.error = error.map(|error| error.to_string()),
        }
        Ok(())
    }
}
