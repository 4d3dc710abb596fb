//! Continuous queries: SELECT … INTO statements that run by themselves, each over the windows that have ended.
//!
//! One thread looks what is due; a few workers run it, so that a slow query delays none of the others. When a run has
//! succeeded, its time is stored with the query: after a restart the next run covers what the server missed.

mod runs;
mod schedule;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender};
use hyperbytedb_domain::catalog::{Catalog, Command};
use hyperbytedb_domain::ports::{Caller, CatalogPort};
use hyperbytedb_domain::{FieldValue, QueryContext};
use hyperbytedb_timeseriesql::ast::{
    CreateContinuousQueryStatement, SelectStatement, Statement, StoredQueryKind,
};
use hyperbytedb_timeseriesql::parse_statement;
use parking_lot::Mutex;

pub use self::runs::{Run, Runs};
pub use self::schedule::Schedule;
use crate::api::{QueryApi, QueryRequest, ResultEvent, ResultSink, SinkClosed};
use crate::cluster::Lease;
use crate::commands::CommandService;
use crate::threads::{Stop, Threads};
use crate::waiting::now_ns;
use crate::windows::{QueryKey, WindowState, with_time};

/// How often an idle worker looks whether it must stop.
const STOP_INTERVAL: Duration = Duration::from_millis(100);

/// Settings of continuous queries.
#[derive(Debug, Clone)]
pub struct ContinuousOptions {
    /// Between two looks at what is due.
    pub run_interval: Duration,
    /// Queries that run at the same time.
    pub workers: usize,
    /// Whether each run is logged.
    pub log: bool,
}

impl Default for ContinuousOptions {
    fn default() -> Self {
        Self { run_interval: Duration::from_secs(1), workers: 4, log: true }
    }
}

/// Runs the continuous queries of all databases.
pub struct ContinuousQueries {
    pub options: ContinuousOptions,
    pub catalog: Arc<dyn CatalogPort>,
    pub queries: Arc<dyn QueryApi>,
    pub commands: Arc<CommandService>,
    pub runs: Arc<Runs>,
    pub lease: Lease,
    /// Told of windows that a run computes; `None`: nobody computes late ones.
    pub windows: Option<Arc<WindowState>>,
    pub board: Arc<Board>,
}

/// Database and name.
pub type Key = (String, String);

/// A query, ready to run.
struct Prepared {
    /// As it is stored.
    text: String,
    select: SelectStatement,
    /// `None`: it never runs.
    schedule: Option<Schedule>,
}

/// A run that is due. Dropped, it gives way to the next one.
pub struct Job {
    board: Arc<Board>,
    pub key: Key,
    query: Arc<Prepared>,
    due: i64,
}

impl Drop for Job {
    fn drop(&mut self) {
        self.board.running.lock().remove(&self.key);
    }
}

/// What the looking thread and the workers share.
#[derive(Default)]
pub struct Board {
    known: Mutex<HashMap<Key, Arc<Prepared>>>,
    running: Mutex<HashSet<Key>>,
    /// Queries whose last run failed: when they are tried again.
    failed: Mutex<HashMap<Key, i64>>,
}

impl ContinuousQueries {
    pub fn start(self: Arc<Self>, threads: &Threads) -> std::io::Result<()> {
        let (sender, jobs) = crossbeam_channel::bounded::<Job>(self.options.workers.max(1));
        for worker in 0..self.options.workers.max(1) {
            let (service, jobs) = (self.clone(), jobs.clone());
            threads.spawn(&format!("cq-{worker}"), move |stop| service.work(&jobs, stop))?;
        }
        threads.spawn("continuous-queries", move |stop| self.look(&sender, stop))
    }

    fn look(&self, jobs: &Sender<Job>, stop: &Stop) {
        while stop.wait(self.options.run_interval) {
            if !self.lease.is_held() {
                continue;
            }
            for job in self.due() {
                // Where the queue is full, it is due at the next look, too.
                let _ = jobs.try_send(job);
            }
        }
    }

    fn work(&self, jobs: &Receiver<Job>, stop: &Stop) {
        while !stop.is_set() {
            if let Ok(job) = jobs.recv_timeout(STOP_INTERVAL)
                && self.lease.is_held()
            {
                self.work_on(&job);
            }
        }
    }

    /// The runs that are due and not on their way, the longest due first.
    pub fn due(&self) -> Vec<Job> {
        let catalog = self.catalog.catalog();
        let mut known = self.board.known.lock();
        *known = prepared(&catalog, std::mem::take(&mut known));
        self.runs.retain(|key| known.contains_key(key));
        self.board.failed.lock().retain(|key, _| known.contains_key(key));
        due(&catalog, &known, &self.board, now_ns())
    }

    /// Runs a query; false when that fails.
    pub fn work_on(&self, job: &Job) -> bool {
        let Some(schedule) = &job.query.schedule else { return true };
        let now = now_ns();
        let again = schedule.due(Some(schedule.run_time(now)), now);
        let has_failed = self.run(job, schedule, now).is_err();
        let mut failed = job.board.failed.lock();
        failed.remove(&job.key);
        if has_failed {
            failed.insert(job.key.clone(), again);
        }
        !has_failed
    }

    /// Runs a query over what is due, and notes its time. What fails stays due.
    fn run(&self, job: &Job, schedule: &Schedule, now: i64) -> Result<(), ()> {
        let (database, name) = (job.key.0.clone(), job.key.1.clone());
        let started = Instant::now();
        let windows = schedule.windows(job.due, now);
        let key = QueryKey::new(StoredQueryKind::ContinuousQuery, &database, &name);
        let late = self.windows.as_ref().zip(windows.as_ref());
        late.inspect(|(state, windows)| state.begin_run(&key, windows));
        let answer = windows.clone().map_or(Ok(0), |windows| {
            select_into(&*self.queries, &database, &with_time(&job.query.select, windows.start, windows.end)?)
        });
        let at = schedule.run_time(now);
        let stored = answer.and_then(|rows| {
            let command =
                Command::SetContinuousQueryRun { database: database.clone(), name: name.clone(), at };
            self.commands.run(command, &QueryContext::unbounded()).map_err(|error| error.to_string())?;
            Ok(rows)
        });
        late.inspect(|(state, _)| state.end_run(&key, stored.is_ok()));
        if windows.is_none() && stored.is_ok() {
            return Ok(());
        }
        let run = Run { at, next: schedule.due(Some(at), now), duration: started.elapsed(), result: stored };
        let outcome = match &run.result {
            Ok(rows) => {
                if self.options.log {
                    tracing::info!(
                        database,
                        name,
                        rows,
                        ms = run.duration.as_millis() as u64,
                        "ran a continuous query"
                    );
                }
                Ok(())
            }
            Err(error) => {
                tracing::error!(database, name, error, "a continuous query failed; its windows stay due");
                Err(())
            }
        };
        self.runs.note(&job.key, run);
        outcome
    }
}

fn due(catalog: &Catalog, known: &HashMap<Key, Arc<Prepared>>, board: &Arc<Board>, now: i64) -> Vec<Job> {
    let mut jobs = Vec::new();
    for database in catalog.databases.values() {
        for query in &database.continuous_queries {
            let key = (database.name.clone(), query.name.clone());
            let Some(prepared) = known.get(&key) else { continue };
            let Some(schedule) = &prepared.schedule else { continue };
            let due = schedule.due(query.last_run, now);
            let is_waiting = board.failed.lock().get(&key).is_some_and(|&again| now < again);
            if due <= now && !is_waiting && board.running.lock().insert(key.clone()) {
                jobs.push(Job { board: board.clone(), key, query: prepared.clone(), due });
            }
        }
    }
    jobs.sort_by_key(|job| job.due);
    jobs
}

/// The queries of a catalogue; those that have not changed are kept.
fn prepared(catalog: &Catalog, mut known: HashMap<Key, Arc<Prepared>>) -> HashMap<Key, Arc<Prepared>> {
    let mut queries = HashMap::new();
    for database in catalog.databases.values() {
        for query in &database.continuous_queries {
            let key = (database.name.clone(), query.name.clone());
            let prepared = match known.remove(&key) {
                Some(prepared) if prepared.text == query.query => Some(prepared),
                _ => prepare(&query.query).map(Arc::new),
            };
            queries.extend(prepared.map(|prepared| (key, prepared)));
        }
    }
    queries
}

fn prepare(text: &str) -> Option<Prepared> {
    match parse_statement(text) {
        Ok(Statement::CreateContinuousQuery(statement)) => {
            let schedule = Schedule::new(&statement);
            let CreateContinuousQueryStatement { source, .. } = *statement;
            Some(Prepared { text: text.to_owned(), select: source, schedule })
        }
        _ => {
            tracing::error!(text, "a stored continuous query cannot be read");
            None
        }
    }
}

/// Runs a SELECT INTO. Returns the points written.
pub fn select_into(queries: &dyn QueryApi, database: &str, select: &SelectStatement) -> Result<i64, String> {
    let request = QueryRequest {
        // Who made the query was asked for its privileges then.
        caller: Caller::Trusted,
        text: select.to_string(),
        database: database.to_owned(),
        ..QueryRequest::default()
    };
    let mut written = Written::default();
    queries.query(&request, &mut written).map_err(|error| error.to_string())?;
    written.error.map_or(Ok(written.rows), Err)
}

/// What SELECT INTO answers.
#[derive(Default)]
struct Written {
    rows: i64,
    error: Option<String>,
}

impl ResultSink for Written {
    fn emit(&mut self, event: ResultEvent, _: &QueryContext) -> Result<(), SinkClosed> {
        match event {
            ResultEvent::Series { block, .. } => {
                let rows = block.rows().filter_map(|row| match row.last() {
                    Some(FieldValue::Integer(rows)) => Some(*rows),
                    _ => None,
                });
                self.rows += rows.sum::<i64>();
            }
            ResultEvent::End { error, .. } => self.error = error.map(|error| error.to_string()),
            ResultEvent::Documents { .. } => {}
        }
        Ok(())
    }
}
