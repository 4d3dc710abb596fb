//! The write path: line protocol to columns, schema, log, memtables.

pub mod committer;
pub mod schema;

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use hyperbytedb_domain::ports::{IngestionPort, MetadataPort, SeriesIndexPort, WriteError, WriteRequest};
use hyperbytedb_domain::wal::{Sequence, WriteEntry};
use hyperbytedb_domain::{Precision, StorageError};
use hyperbytedb_line_protocol::{ParseOptions, Parsed, parse};

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
        let default_time = now - now.rem_euclid(request.precision.nanoseconds());
        let mut parsed = self.parse(&request.body, request.precision, default_time);
        if parsed.batches.is_empty() {
            return parsed.errors_text().map_or(Ok(()), |text| Err(WriteError::Unparsable(text)));
        }
        let (resolved, policy) = {
            let _no_drops = self.commands.enter_write();
            let catalog = self.metadata.catalog();
            let (database, policy) = find_target(&catalog, &request.database, &request.retention_policy)?;
            let target = Target { database, policy, now: Some(now) };
            let batches = std::mem::take(&mut parsed.batches);
            let mut resolved = self.resolver().resolve(&target, batches).map_err(internal)?;
            self.commit(request, &policy.name, default_time, &parsed, &mut resolved)?;
            (resolved, policy.name.clone())
        };
        tracing::trace!(
            database = request.database,
            policy,
            dropped = resolved.dropped_lines.len(),
            "written"
        );
        outcome(&parsed, &resolved)
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
        let parsed = self.parse(&entry.body, entry.precision, entry.default_time);
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
    if parsed.is_complete() && dropped_lines.is_empty() {
        return body.clone();
    }
    let dropped: hashbrown::HashSet<u32> = dropped_lines.iter().copied().collect();
    let mut kept = Vec::with_capacity(body.len());
    for (line, span) in parsed.lines.iter().enumerate() {
        if !dropped.contains(&(line as u32)) {
            kept.extend_from_slice(body.get(span.start..span.end).unwrap_or_default());
            kept.push(b'\n');
        }
    }
    kept.into()
}

/// InfluxDB reports points that were dropped before lines that could not be read.
fn outcome(parsed: &Parsed, resolved: &Resolved) -> Result<(), WriteError> {
    let dropped = parsed.dropped() + resolved.dropped_lines.len();
    let reason = parsed.dropped_reason().or_else(|| resolved.reason.clone());
    match (reason, parsed.errors_text()) {
        (Some(reason), _) => Err(WriteError::Partial { reason, dropped }),
        (None, Some(reason)) => Err(WriteError::Partial { reason, dropped: 0 }),
        (None, None) => Ok(()),
    }
}
