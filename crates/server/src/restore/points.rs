//! The points of a database, read from the opened backup and written to the server.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use hyperbytedb_application::{QueryApi, QueryRequest, ResultEvent, ResultSink, SinkClosed};
use hyperbytedb_backup::{Client, Lines};
use hyperbytedb_domain::catalog::{Database, Table};
use hyperbytedb_domain::ports::Caller;
use hyperbytedb_domain::result::SeriesBlock;
use hyperbytedb_domain::{FieldValue, QueryContext};
use hyperbytedb_line_protocol::PointPrinter;
use hyperbytedb_timeseriesql::quote::quote_ident;
use tokio::runtime::Runtime;
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;

/// Bytes of lines in one write, about.
const WRITE_BYTES: usize = 1 << 20;
/// Rows read at a time.
const BLOCK_ROWS: usize = 5_000;
/// Writes under way, and bodies that wait for their turn.
const WRITERS: usize = 4;
const BODIES_AHEAD: usize = 4;

/// What became of the points.
#[derive(Debug, Default)]
pub struct Counts {
    written: AtomicU64,
    /// They were past their policy before they could be written.
    expired: AtomicU64,
}

impl Counts {
    pub fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    pub fn expired(&self) -> u64 {
        self.expired.load(Ordering::Relaxed)
    }
}

/// A write that is on its way.
struct Body {
    policy: String,
    lines: Lines,
}

/// Reads all points of a database and writes them.
pub fn write_points(
    runtime: &Runtime,
    client: &Client,
    queries: Arc<dyn QueryApi>,
    database: &Database,
    target: &str,
) -> Result<Arc<Counts>, Box<dyn Error>> {
    let (sender, receiver) = mpsc::channel::<Body>(BODIES_AHEAD);
    let (receiver, counts) = (Arc::new(Mutex::new(receiver)), Arc::new(Counts::default()));
    let mut writers = JoinSet::new();
    for _ in 0..WRITERS {
        let (client, target) = (client.clone(), target.to_owned());
        let (receiver, counts) = (receiver.clone(), counts.clone());
        let write = async move {
            loop {
                let next = receiver.lock().await.recv().await;
                let Some(Body { policy, lines }) = next else { return Ok(()) };
                let expired = client.write(&target, &policy, &lines).await?;
                counts.expired.fetch_add(expired, Ordering::Relaxed);
                counts.written.fetch_add(lines.len() as u64 - expired, Ordering::Relaxed);
            }
        };
        writers.spawn_on(write, runtime.handle());
    }
    drop(receiver);
    let read = read_points(&*queries, database, sender, &counts);
    let mut failure = None;
    while let Some(ended) = runtime.block_on(writers.join_next()) {
        let ended: Result<(), hyperbytedb_backup::Error> = ended?;
        failure = failure.or(ended.err());
    }
    // A writer that failed is why the reading stopped.
    match failure.map(|error| error.to_string()).or(read.err()) {
        Some(error) => {
            let written = counts.written();
            let hint = "restore again with --resume, or drop the database";
            Err(format!("{error} ({written} points of {target} were written before; {hint})").into())
        }
        None => Ok(counts),
    }
}

fn read_points(
    queries: &dyn QueryApi,
    database: &Database,
    sender: mpsc::Sender<Body>,
    counts: &Counts,
) -> Result<(), String> {
    let mut sink = LinesSink {
        sender,
        counts,
        policy: String::new(),
        duration: 0,
        lines: Lines::default(),
        error: None,
    };
    for policy in database.policies_in_order() {
        sink.policy.clone_from(&policy.name);
        sink.duration = policy.duration;
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
struct LinesSink<'a> {
    sender: mpsc::Sender<Body>,
    counts: &'a Counts,
    policy: String,
    /// Of the policy; 0 keeps points for ever.
    duration: i64,
    lines: Lines,
    error: Option<String>,
}

impl LinesSink<'_> {
    fn send(&mut self) -> Result<(), SinkClosed> {
        let lines = std::mem::take(&mut self.lines);
        if lines.is_empty() {
            return Ok(());
        }
        self.sender.blocking_send(Body { policy: self.policy.clone(), lines }).map_err(|_| SinkClosed)
    }

    fn push(&mut self, block: &SeriesBlock) -> Result<(), SinkClosed> {
        let oldest = oldest(self.duration);
        for row in block.rows() {
            if row.iter().any(|value| matches!(value, FieldValue::Time(time) if *time < oldest)) {
                self.counts.expired.fetch_add(1, Ordering::Relaxed);
                continue;
            }
            self.lines.push(|text| print(text, block, row));
            if self.lines.bytes() >= WRITE_BYTES {
                self.send()?;
            }
        }
        Ok(())
    }
}

/// The time before which points of such a policy have expired.
fn oldest(duration: i64) -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    if duration == 0 { i64::MIN } else { i64::try_from(now).unwrap_or(i64::MAX).saturating_sub(duration) }
}

/// Appends a row as a line, unless it has no fields.
fn print(text: &mut String, block: &SeriesBlock, row: &[FieldValue]) {
    let mut point = PointPrinter::begin(text, &block.name);
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
    point.end(time);
}

impl ResultSink for LinesSink<'_> {
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
