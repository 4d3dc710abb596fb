//! Databases of an opened backup into a running server: schema by statements, points by writes, then what works by itself.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hyperbytedb_application::{QueryApi, QueryRequest, ResultEvent, ResultSink, SinkClosed};
use hyperbytedb_backup::{Client, Server};
use hyperbytedb_domain::catalog::{Database, RetentionPolicy, Table};
use hyperbytedb_domain::ports::Caller;
use hyperbytedb_domain::result::SeriesBlock;
use hyperbytedb_domain::{FieldValue, QueryContext};
use hyperbytedb_line_protocol::PointPrinter;
use hyperbytedb_timeseriesql::ast::{
    CreateDatabaseStatement, CreateRetentionPolicyStatement, DatabaseRetentionPolicy,
};
use hyperbytedb_timeseriesql::quote::quote_ident;
use tokio::runtime::Runtime;
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;

use super::shown;
use super::stored::Stored;
use super::users::restore_users;
use crate::compose::Application;

/// Bytes of lines in one write, about.
const WRITE_BYTES: usize = 1 << 20;
/// Rows read at a time.
const BLOCK_ROWS: usize = 5_000;
/// Writes under way, and bodies that wait for their turn.
const WRITERS: usize = 4;
const BODIES_AHEAD: usize = 4;

/// What is restored, and under which name.
pub struct Names {
    /// `None`: all databases.
    pub wanted: Option<String>,
    /// Only of one.
    pub new_name: Option<String>,
}

impl Names {
    fn target<'a>(&'a self, database: &'a str) -> &'a str {
        self.new_name.as_deref().unwrap_or(database)
    }
}

pub fn restore(
    runtime: &Runtime,
    server: &Server,
    copy: &Application,
    names: &Names,
) -> Result<(), Box<dyn Error>> {
    let catalog = copy.catalog();
    let databases: Vec<&Arc<Database>> =
        catalog.databases_in_order().into_iter().filter(|db| is_wanted(names, db)).collect();
    if let (Some(name), true) = (&names.wanted, databases.is_empty()) {
        return Err(format!("the backup has no database {name}").into());
    }
    let client = Client::new(server)?;
    runtime.block_on(refuse_existing(&client, &databases, names))?;
    let run = |statements: Vec<String>| {
        statements.iter().try_for_each(|statement| runtime.block_on(client.query(statement)).map(drop))
    };
    for database in &databases {
        run(schema(database, names.target(&database.name)))?;
    }
    // What views compute from here on may not be in what is read.
    let stored = |database: &&Arc<Database>| Stored::of(database, names.target(&database.name), copy);
    let stored = databases.iter().map(stored).collect::<Result<Vec<_>, _>>()?;
    for database in databases {
        let target = names.target(&database.name);
        let written = write_points(runtime, &client, copy.queries(), database, target)?;
        println!("restored database {target}: {written} points");
    }
    for Stored { statements, left_out } in stored {
        run(statements)?;
        left_out.iter().for_each(|what| println!("not restored: {what}"));
    }
    if names.wanted.is_none() {
        runtime.block_on(restore_users(&client, &catalog))?;
    }
    Ok(())
}

fn is_wanted(names: &Names, database: &Database) -> bool {
    names.wanted.as_ref().is_none_or(|name| *name == database.name)
}

/// Nothing is changed when a database is there already.
async fn refuse_existing(
    client: &Client,
    databases: &[&Arc<Database>],
    names: &Names,
) -> Result<(), Box<dyn Error>> {
    let existing = shown(client, "SHOW DATABASES").await?;
    let target = |database: &Arc<Database>| names.target(&database.name).to_owned();
    match databases.iter().map(|db| target(db)).find(|name| existing.contains(name)) {
        Some(name) => {
            let hint = "drop it, or restore under another name with --database and --as";
            Err(format!("the server has a database {name} already: {hint}").into())
        }
        None => Ok(()),
    }
}

/// The statements that make the database and its policies.
fn schema(database: &Database, target: &str) -> Vec<String> {
    let limit = |ns: i64| (ns != 0).then_some(ns);
    let mut statements = Vec::new();
    if let Some(policy) = database.retention_policy("") {
        let first = DatabaseRetentionPolicy {
            name: Some(policy.name.clone()),
            duration_ns: Some(policy.duration),
            replication: Some(policy.replication),
            shard_duration_ns: Some(policy.shard_duration),
            future_write_limit_ns: limit(policy.future_write_limit),
            past_write_limit_ns: limit(policy.past_write_limit),
        };
        let create = CreateDatabaseStatement { name: target.to_owned(), retention_policy: Some(first) };
        statements.push(create.to_string());
    } else {
        statements
            .push(CreateDatabaseStatement { name: target.to_owned(), retention_policy: None }.to_string());
    }
    let is_other = |policy: &&Arc<RetentionPolicy>| policy.name != database.default_retention_policy;
    statements.extend(database.policies_in_order().into_iter().filter(is_other).map(|policy| {
        let create = CreateRetentionPolicyStatement {
            name: policy.name.clone(),
            database: target.to_owned(),
            duration_ns: policy.duration,
            replication: policy.replication,
            shard_duration_ns: Some(policy.shard_duration),
            default: false,
            future_write_limit_ns: limit(policy.future_write_limit),
            past_write_limit_ns: limit(policy.past_write_limit),
        };
        create.to_string()
    }));
    statements
}

/// A write that is on its way.
struct Body {
    policy: String,
    lines: String,
    points: u64,
}

/// Reads all points of a database and writes them. Returns their number.
fn write_points(
    runtime: &Runtime,
    client: &Client,
    queries: Arc<dyn QueryApi>,
    database: &Database,
    target: &str,
) -> Result<u64, Box<dyn Error>> {
    let (sender, receiver) = mpsc::channel::<Body>(BODIES_AHEAD);
    let (receiver, written) = (Arc::new(Mutex::new(receiver)), Arc::new(AtomicU64::new(0)));
    let mut writers = JoinSet::new();
    for _ in 0..WRITERS {
        let (client, target) = (client.clone(), target.to_owned());
        let (receiver, written) = (receiver.clone(), written.clone());
        let write = async move {
            loop {
                let next = receiver.lock().await.recv().await;
                let Some(Body { policy, lines, points }) = next else { return Ok(()) };
                client.write(&target, &policy, lines).await?;
                written.fetch_add(points, Ordering::Relaxed);
            }
        };
        writers.spawn_on(write, runtime.handle());
    }
    drop(receiver);
    let read = read_points(&*queries, database, sender);
    let mut failure = None;
    while let Some(ended) = runtime.block_on(writers.join_next()) {
        let ended: Result<(), hyperbytedb_backup::Error> = ended?;
        failure = failure.or(ended.err());
    }
    let written = written.load(Ordering::Relaxed);
    // A writer that failed is why the reading stopped.
    match failure.map(|error| error.to_string()).or(read.err()) {
        Some(error) => Err(format!("{error} ({written} points of {target} were written before)").into()),
        None => Ok(written),
    }
}

fn read_points(
    queries: &dyn QueryApi,
    database: &Database,
    sender: mpsc::Sender<Body>,
) -> Result<(), String> {
    let mut sink = LinesSink { sender, policy: String::new(), lines: String::new(), points: 0, error: None };
    for policy in database.policies_in_order() {
        sink.policy.clone_from(&policy.name);
        for table in policy.tables.values() {
            let request = QueryRequest {
                caller: Caller::Trusted,
                text: all_of(table),
                database: database.name.clone(),
                chunk_rows: Some(BLOCK_ROWS),
                ..QueryRequest::default()
            };
            queries.query(&request, &mut sink).map_err(|error| error.to_string())?;
            if let Some(error) = sink.error.take() {
                return Err(format!("{}: {error}", table.measurement));
            }
        }
        sink.send().map_err(|_| "the writers ended".to_owned())?;
    }
    Ok(())
}

/// Fields alone are columns, so a tag of the same name is none.
fn all_of(table: &Table) -> String {
    let (policy, measurement) = (quote_ident(&table.retention_policy), quote_ident(&table.measurement));
    format!("SELECT *::field FROM {policy}.{measurement} GROUP BY *")
}

/// Prints rows as lines and hands them on.
struct LinesSink {
    sender: mpsc::Sender<Body>,
    policy: String,
    lines: String,
    points: u64,
    error: Option<String>,
}

impl LinesSink {
    fn send(&mut self) -> Result<(), SinkClosed> {
        let (policy, lines) = (self.policy.clone(), std::mem::take(&mut self.lines));
        let points = std::mem::take(&mut self.points);
        if points == 0 {
            return Ok(());
        }
        self.sender.blocking_send(Body { policy, lines, points }).map_err(|_| SinkClosed)
    }

    fn push(&mut self, block: &SeriesBlock) -> Result<(), SinkClosed> {
        for row in block.rows() {
            let mut point = PointPrinter::begin(&mut self.lines, &block.name);
            for (key, value) in block.tags.iter().flat_map(|tags| tags.iter()) {
                point.tag(key, value);
            }
            let mut time = 0;
            for (key, value) in block.columns.iter().zip(row) {
                match value {
                    FieldValue::Time(t) => time = *t,
                    value => point.field(key, value),
                }
            }
            self.points += u64::from(point.end(time));
            if self.lines.len() >= WRITE_BYTES {
                self.send()?;
            }
        }
        Ok(())
    }
}

impl ResultSink for LinesSink {
    fn emit(&mut self, event: ResultEvent, _: &QueryContext) -> Result<(), SinkClosed> {
        match event {
            ResultEvent::Series { block, .. } => self.push(&block),
            ResultEvent::Documents { documents, .. } => {
                documents.iter().flatten().try_for_each(|block| self.push(block))
            }
            ResultEvent::End { error, .. } => {
                self.error = error.map(|error| error.to_string());
                Ok(())
            }
        }
    }
}
