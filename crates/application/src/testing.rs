//! A node over ports in memory, for unit tests.
//!
//! It has no threads: where a call would wait for one, the committer and the workers do what they find to do on the
//! thread of the test, so that each run of a test is like the last. [`Faults`] decides what becomes of calls of the ports.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyperbytedb_domain::catalog::{Command, Table};
use hyperbytedb_domain::ports::{Caller, IngestionPort, Outbound, WriteError, WriteRequest, WriteSource};
use hyperbytedb_domain::{FieldValue, Precision, QueryContext};
use hyperbytedb_line_protocol::ParseOptions;
use hyperbytedb_memory_ports::{Call, Controller, Disk, MemoryPorts, Random, Verdict};
use parking_lot::Mutex;

use crate::api::{QueryApi, QueryRequest, Readiness, ResultEvent, ResultSink, SinkClosed};
use crate::commands::CommandService;
use crate::flush::{FlushOptions, FlushService};
use crate::ingestion::IngestionService;
use crate::ingestion::schema::{Target, UnloggedSeries};
use crate::log::LogError;
use crate::log::committer::{CommitOptions, CommitPorts, CommitWorker, Committer, ResolvedWrite};
use crate::log::replay::replay;
use crate::memtable::queue::SealLimits;
use crate::reader::TableReader;
use crate::statement_summary::{StatementSummary, StatementSummaryOptions};
use crate::statements::running::RunningQueries;
use crate::statements::{QueryOptions, StatementService};
use crate::threads::Stop;
use crate::waiting;
use crate::warm::Warmer;

pub const DATABASE: &str = "db";
pub const NEVER: Duration = Duration::from_secs(86_400);
/// The length of a shard group, in nanoseconds.
pub const WEEK: i64 = 7 * 86_400 * 1_000_000_000;
/// How long a call waits for what nobody does before the test fails.
const PATIENCE: Duration = Duration::from_secs(20);

/// What becomes of the calls of the ports: all pass but those that a test has named.
#[derive(Default)]
pub struct Faults(Mutex<Plans>);

#[derive(Default)]
struct Plans {
    verdicts: BTreeMap<Call, Vec<Verdict>>,
    actions: BTreeMap<Call, Box<dyn FnOnce() + Send>>,
    calls: BTreeMap<Call, usize>,
}

impl Faults {
    /// The next calls of a kind fail.
    pub fn fail(&self, call: Call, times: usize) {
        self.plan(call, vec![Verdict::Fail; times]);
    }

    /// The next call of a kind fails after a part of it, chosen by the number, has taken effect.
    pub fn fail_partly(&self, call: Call, part: u64) {
        self.plan(call, vec![Verdict::FailPartly(part)]);
    }

    fn plan(&self, call: Call, verdicts: Vec<Verdict>) {
        self.0.lock().verdicts.insert(call, verdicts);
    }

    /// Calls of a kind so far.
    pub fn calls(&self, call: Call) -> usize {
        self.0.lock().calls.get(&call).copied().unwrap_or(0)
    }
}

impl Controller for Faults {
    fn before(&self, call: Call, _: Option<&QueryContext>) -> Verdict {
        let mut plans = self.0.lock();
        *plans.calls.entry(call).or_default() += 1;
        let action = plans.actions.remove(&call);
        let verdict = plans.verdicts.get_mut(&call).and_then(Vec::pop).unwrap_or(Verdict::Proceed);
        drop(plans);
        action.into_iter().for_each(|action| action());
        verdict
    }

    fn after(&self, _: Call) {}
}

/// Settings of a node.
#[derive(Clone)]
pub struct NodeOptions {
    pub flush: FlushOptions,
    pub commit: CommitOptions,
}

impl Default for NodeOptions {
    /// Nothing is flushed that nobody asks for, what fails is tried again at once, and queries read the engine.
    fn default() -> Self {
        let defaults = FlushOptions::default();
        let flush = FlushOptions {
            limits: SealLimits { age: NEVER, small_age: NEVER, ..defaults.limits },
            retry_pause: Duration::ZERO,
            merge_quiet: Duration::ZERO,
            ended_quiet: Some(Duration::ZERO),
            head_bytes: 0,
            stop_timeout: NEVER,
            ..defaults
        };
        Self { flush, commit: CommitOptions::default() }
    }
}

/// A node. Cheap to clone.
#[derive(Clone)]
pub struct Node {
    pub disk: Disk,
    pub faults: Arc<Faults>,
    pub ports: Outbound,
    pub readiness: Arc<Readiness>,
    pub flush: Arc<FlushService>,
    pub committer: Arc<Committer>,
    pub commands: Arc<CommandService>,
    pub ingestion: Arc<IngestionService>,
    pub statements: Arc<StatementService>,
    options: NodeOptions,
    /// `None` once it has ended.
    worker: Arc<Mutex<Option<CommitWorker>>>,
    idle_since: Arc<Mutex<Option<Instant>>>,
}

impl Node {
    /// A new node with an empty database.
    pub fn new() -> Self {
        Self::with(NodeOptions::default())
    }

    /// A node that tries again what failed only when somebody waits for it.
    pub fn patient() -> Self {
        let mut options = NodeOptions::default();
        options.flush.retry_pause = NEVER;
        Self::with(options)
    }

    pub fn with(options: NodeOptions) -> Self {
        Self::on(Disk::default(), options)
    }

    pub fn on(disk: Disk, options: NodeOptions) -> Self {
        let node = Self::open(disk, options);
        node.replay().expect("a replay");
        node.command(Command::CreateDatabase { name: DATABASE.to_owned(), policy: None });
        node
    }

    /// Opens the stores. Nothing is replayed yet.
    pub fn open(disk: Disk, options: NodeOptions) -> Self {
        let faults = Arc::new(Faults::default());
        let ports = MemoryPorts::open(&disk, faults.clone()).outbound();
        let readiness = Arc::new(Readiness::default());
        let flush = Arc::new(FlushService::new(options.flush.clone(), ports.clone()).expect("a flush"));
        let commit_ports = CommitPorts {
            origin: 1,
            wal: ports.wal.clone(),
            catalog: ports.catalog.clone(),
            series: ports.series.clone(),
            flush: flush.clone(),
            readiness: readiness.clone(),
            conflicts: None,
        };
        let (committer, worker) = Committer::new(options.commit.clone(), commit_ports);
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
        let query_options = QueryOptions { timeout: None, ..QueryOptions::default() };
        let statements = Arc::new(StatementService {
            catalog: ports.catalog.clone(),
            series: ports.series.clone(),
            reader: TableReader::new(&ports, flush.clone()),
            wal: ports.wal.clone(),
            flush: flush.clone(),
            commands: commands.clone(),
            ingestion: ingestion.clone(),
            heavy: None,
            running: Arc::new(RunningQueries::new(query_options.max_concurrent)),
            summary: Arc::new(StatementSummary::new(StatementSummaryOptions::default())),
            runs: Arc::default(),
            windows: None,
            subscribers: Arc::default(),
            cluster: Default::default(),
            options: query_options,
            about: Default::default(),
        });
        let node = Self {
            disk,
            faults,
            ports,
            readiness,
            flush,
            committer,
            commands,
            ingestion,
            statements,
            options,
            worker: Arc::new(Mutex::new(Some(worker))),
            idle_since: Arc::default(),
        };
        let working = node.clone();
        waiting::replace_on_this_thread(move || working.work());
        node
    }

    pub fn replay(&self) -> Result<u64, LogError> {
        replay(&self.flush, &self.ports)
    }

    /// Another process on what this one has left on its disk.
    pub fn restart(&self) -> Self {
        let node = Self::open(self.disk.clone(), self.options.clone());
        node.replay().expect("a replay");
        node
    }

    /// As [`restart`](Self::restart), behind a power failure that forgets some of what was not synced.
    pub fn fail_power(&self, seed: u64) -> Self {
        self.disk.fail_power(&mut Random::new(seed));
        self.restart()
    }

    /// What other threads would do while this one waits.
    fn work(&self) {
        let committed = self.worker.try_lock().is_some_and(|mut worker| {
            let has_records = worker.as_ref().is_some_and(CommitWorker::has_records);
            if has_records && !worker.as_ref().is_some_and(CommitWorker::commit_next) {
                *worker = None;
            }
            has_records
        });
        let is_idle = !committed && !self.flush.work_off();
        let mut idle_since = self.idle_since.lock();
        *idle_since = is_idle.then(|| idle_since.unwrap_or_else(Instant::now));
        assert!(idle_since.is_none_or(|since| since.elapsed() < PATIENCE), "waits for what nobody does");
    }

    /// Has the committer commit what has queued up. False when it cannot go on.
    pub fn commit(&self) -> bool {
        let mut worker = self.worker.lock();
        let goes_on = worker.as_ref().is_some_and(CommitWorker::commit_next);
        if !goes_on {
            *worker = None;
        }
        goes_on
    }

    /// Does something just before the next call of a kind takes effect.
    pub fn before(&self, call: Call, act: impl FnOnce(&Self) + Send + 'static) {
        let node = self.clone();
        self.faults.0.lock().actions.insert(call, Box::new(move || act(&node)));
    }

    pub fn command(&self, command: Command) {
        self.commands.run(command, &QueryContext::unbounded()).expect("a command");
    }

    pub fn try_write(&self, lines: &str) -> Result<(), WriteError> {
        self.ingestion.write(request(lines))
    }

    pub fn write(&self, lines: &str) {
        self.try_write(lines).expect("a write");
    }

    /// A write as it goes to the committer. What it needs of the catalogue must be there.
    pub fn resolve(&self, lines: &str) -> ResolvedWrite {
        let request = request(lines);
        let mut parsed = self.ingestion.parse(&request, 0).expect("lines");
        let batches = std::mem::take(&mut parsed.batches);
        let target = Target { database: DATABASE, retention_policy: "", now: 0 };
        let mut resolved = self
            .ingestion
            .resolver()
            .resolve(&target, batches, &mut UnloggedSeries::default())
            .expect("batches");
        self.ingestion.record(&request, 0, &parsed, &mut resolved).expect("a record").expect("points")
    }

    /// Runs statements; a text for each row of the answers.
    pub fn try_query(&self, text: &str) -> Result<Vec<String>, String> {
        let request = QueryRequest {
            caller: Caller::Trusted,
            text: text.to_owned(),
            database: DATABASE.to_owned(),
            ..QueryRequest::default()
        };
        let mut answer = Answer::default();
        self.statements.query(&request, &mut answer).map_err(|error| error.to_string())?;
        answer.error.map_or(Ok(answer.rows), Err)
    }

    pub fn query(&self, text: &str) -> Vec<String> {
        self.try_query(text).expect("an answer")
    }

    /// Keys of the series of a measurement, as the index has them.
    pub fn series(&self, measurement: &str) -> Vec<String> {
        let Some(table) = self.table(measurement) else { return Vec::new() };
        let mut keys = Vec::new();
        let walk = self.ports.series.for_each_series(table.id, &mut |_, tags| {
            keys.push(tags.series_key(measurement));
            std::ops::ControlFlow::Continue(())
        });
        walk.expect("the index");
        keys
    }

    pub fn table(&self, measurement: &str) -> Option<Arc<Table>> {
        self.ports.catalog.catalog().table(DATABASE, "", measurement).cloned()
    }

    /// Numbers of the shard groups, by time.
    pub fn shards(&self) -> Vec<u64> {
        let catalog = self.ports.catalog.catalog();
        let policy = catalog.database(DATABASE).and_then(|database| database.retention_policy(""));
        policy.map_or_else(Vec::new, |policy| policy.shard_groups.values().map(|group| group.id).collect())
    }

    /// Rows in the parts of the engine, those that are stored twice counted twice.
    pub fn stored_rows(&self) -> u64 {
        self.disk.engine.partitions().iter().map(|partition| partition.rows).sum()
    }

    pub fn flush_all(&self) {
        self.flush.flush_all(&QueryContext::unbounded()).expect("a flush");
    }

    /// Fills the heads.
    pub fn warm(&self) {
        let warmer = Warmer {
            catalog: self.ports.catalog.clone(),
            reader: self.statements.reader.clone(),
            flush: self.flush.clone(),
        };
        warmer.run(&Stop::default());
    }
}

fn request(lines: &str) -> WriteRequest {
    WriteRequest::lines(WriteSource::Http, DATABASE, "", lines.to_owned())
}

#[derive(Default)]
struct Answer {
    rows: Vec<String>,
    error: Option<String>,
}

impl ResultSink for Answer {
    fn emit(&mut self, event: ResultEvent, _: &QueryContext) -> Result<(), SinkClosed> {
        let blocks = match event {
            ResultEvent::Series { block, .. } => vec![block],
            ResultEvent::Documents { documents, .. } => documents.into_iter().flatten().collect(),
            ResultEvent::End { error, .. } => {
                self.error = self.error.take().or(error.map(|error| error.to_string()));
                Vec::new()
            }
        };
        for block in &blocks {
            self.rows.extend(block.rows().map(|row| {
                let texts: Vec<String> = row.iter().map(text).collect();
                texts.join(" ")
            }));
        }
        Ok(())
    }
}

fn text(value: &FieldValue) -> String {
    match value {
        FieldValue::Null => "-".to_owned(),
        FieldValue::Float(value) => value.to_string(),
        FieldValue::Integer(value) | FieldValue::Time(value) => value.to_string(),
        FieldValue::Unsigned(value) => value.to_string(),
        FieldValue::String(value) => value.to_string(),
        FieldValue::Boolean(value) => value.to_string(),
        FieldValue::Strings(values) => values.join(","),
    }
}
