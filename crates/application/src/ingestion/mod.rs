//! The write path: line protocol to columns, schema, log, memtables.

pub mod committer;
pub mod schema;

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use hyperbytedb_domain::points::PointsBatch;
use hyperbytedb_domain::ports::{IngestionPort, MetadataPort, SeriesIndexPort, WriteError, WriteRequest};
use hyperbytedb_domain::wal::{Sequence, WriteEntry};
use hyperbytedb_domain::{Precision, StorageError};
use hyperbytedb_line_protocol::{ParseOptions, Parsed, body_without, parse};

use self::committer::{CommitError, Committer};
use self::schema::{Resolved, SchemaResolver, Target, find_target};
use crate::commands::CommandService;
use crate::flush::FlushService;

/// How long a write waits for memory before it is refused.
const ROOM_WAIT: Duration = Duration::from_secs(5);
/// What a refused client should wait.
const RETRY_AFTER_SECS: u64 = 2;

/// Accepts points.
pub struct IngestionService {
    pub metadata: Arc<dyn MetadataPort>,
    pub series: Arc<dyn SeriesIndexPort>,
    pub flush: Arc<FlushService>,
    pub commands: Arc<CommandService>,
    pub committer: Committer,
    /// Limits of the parser; precision and default time come with each request.
    pub parse_limits: ParseOptions,
}

impl IngestionService {
    fn accept(&self, request: &WriteRequest) -> Result<(), WriteError> {
        if request.database.is_empty() {
            return Err(WriteError::DatabaseRequired);
        }
        let catalog = self.metadata.catalog();
        if catalog.database(&request.database).is_none() {
            return Err(WriteError::DatabaseNotFound(request.database.clone()));
        }
        self.wait_for_room()?;
        let now = now_ns();
        let mut parsed = self.parse(&request.body, request.precision, now);
        let batches = std::mem::take(&mut parsed.batches);
        let mut drops = parsed.drops();
        if !batches.is_empty() {
            let resolved = self.store(request, now, &parsed, batches)?;
            for &line in &resolved.dropped_lines {
                let first = resolved.reasons.iter().find(|(l, _)| *l == line);
                let start = parsed.lines.get(line as usize).map_or(usize::MAX, |span| span.start);
                drops.add(start, first.map_or("", |(_, reason)| reason));
            }
        }
        parsed.error_text(&drops).map_or(Ok(()), |text| Err(WriteError::Rejected(text)))
    }

    /// Makes the points durable and visible, but for those that break a rule of the schema.
    fn store(
        &self,
        request: &WriteRequest,
        now: i64,
        parsed: &Parsed,
        batches: Vec<PointsBatch>,
    ) -> Result<Resolved, WriteError> {
        let _no_drops = self.commands.enter_write();
        let catalog = self.metadata.catalog();
        let (database, policy) = find_target(&catalog, &request.database, &request.retention_policy)?;
        let target = Target { database, policy, now: Some(now) };
        let mut resolved = self.resolver().resolve(&target, batches).map_err(internal)?;
        resolved.dropped_lines.sort_unstable();
        self.commit(request, &policy.name, now, parsed, &mut resolved)?;
        Ok(resolved)
    }

    fn parse(&self, body: &[u8], precision: Precision, default_time: i64) -> Parsed {
        parse(body, &ParseOptions { precision, default_time, ..self.parse_limits.clone() })
    }

    fn resolver(&self) -> SchemaResolver<'_> {
        SchemaResolver { metadata: &*self.metadata, series: &*self.series, overlap: &self.flush.overlap }
    }

    fn commit(
        &self,
        request: &WriteRequest,
        policy: &str,
        default_time: i64,
        parsed: &Parsed,
        resolved: &mut Resolved,
    ) -> Result<(), WriteError> {
        let batches = std::mem::take(&mut resolved.batches);
        if batches.is_empty() {
            return Ok(());
        }
        let entry = WriteEntry {
            database: request.database.clone(),
            retention_policy: policy.to_owned(),
            precision: request.precision,
            default_time,
            body: accepted_body(&request.body, parsed, &resolved.dropped_lines),
        };
        self.committer.commit(entry, batches).map_err(|error| match error {
            CommitError::QueueFull => overloaded(error.to_string()),
            CommitError::Stopped | CommitError::Storage(_) => WriteError::Internal(error.to_string()),
        })
    }

    /// Back-pressure: waits a little for the flusher, then refuses.
    fn wait_for_room(&self) -> Result<(), WriteError> {
        let deadline = Instant::now() + ROOM_WAIT;
        while !self.flush.has_room() {
            self.flush.wake_up();
            if Instant::now() >= deadline {
                metrics::counter!("hyperbytedb_writes_refused_total").increment(1);
                let reason = "points in memory have reached flush.memory_limit_bytes: retry later".to_owned();
                return Err(overloaded(reason));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// Puts a logged write back into the memtables.
    pub fn replay(&self, sequence: Sequence, entry: &WriteEntry) -> Result<(), WriteError> {
        let parsed = parse(&entry.body, &ParseOptions::accepted(entry.precision, entry.default_time));
        let catalog = self.metadata.catalog();
        let batches = match find_target(&catalog, &entry.database, &entry.retention_policy) {
            Ok((database, policy)) => {
                let target = Target { database, policy, now: None };
                self.resolver().resolve(&target, parsed.batches).map_err(internal)?.batches
            }
            // Dropped since.
            Err(_) => Vec::new(),
        };
        self.flush.push(sequence, batches);
        Ok(())
    }
}

impl IngestionPort for IngestionService {
    fn write(&self, request: WriteRequest) -> Result<(), WriteError> {
        let started = Instant::now();
        let answer = self.accept(&request);
        metrics::histogram!("hyperbytedb_write_seconds").record(started.elapsed().as_secs_f64());
        answer
    }
}

/// Now, in nanoseconds since 1970.
pub fn now_ns() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

fn internal(error: StorageError) -> WriteError {
    WriteError::Internal(error.to_string())
}

fn overloaded(reason: String) -> WriteError {
    WriteError::Overloaded { reason, retry_after_secs: RETRY_AFTER_SECS }
}

/// The request's body without the lines that were refused.
fn accepted_body(body: &Bytes, parsed: &Parsed, dropped_lines: &[u32]) -> Bytes {
    let complete = parsed.errors.is_empty() && parsed.errors_left_out == 0 && parsed.dropped.is_empty();
    if complete && dropped_lines.is_empty() {
        return body.clone();
    }
    body_without(body, &parsed.lines, dropped_lines).into()
}
