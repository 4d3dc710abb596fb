//! The write path: line protocol to columns, schema, log.

pub mod schema;

use hyperbytedb_metrics as metrics;
use hyperbytedb_metrics::stats::{HTTPD, WRITE};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyperbytedb_columnar::{KnownSeries, StoredError, encode_without, form_of_whole, read};
use hyperbytedb_domain::ports::{
    CatalogPort, IngestionPort, SeriesIndexPort, WalPort, WriteError, WriteRequest, WriteSource,
};
use hyperbytedb_domain::wal::{BodyForm, TableVersion, WalEntry, WriteEntry};
use hyperbytedb_domain::{PointsBatch, StorageError, limits, settings};
use hyperbytedb_line_protocol::{ParseOptions, Parsed, body_without};
use tracing::debug_span;

use self::schema::{Resolved, SchemaResolver, Target, UnloggedSeries};
use crate::auth::access::authorize_write;
use crate::cluster::replication::Replication;
use crate::flush::FlushService;
use crate::log::LogError;
use crate::log::committer::{Committer, ResolvedWrite};
use crate::waiting;

/// How long a write waits for memory before it is refused.
const ROOM_WAIT: Duration = Duration::from_secs(5);
const ROOM_POLL: Duration = Duration::from_millis(5);
/// What a refused client should wait.
const RETRY_AFTER_SECS: u64 = 2;
/// How often what a write was resolved against may change before it is in the log.
const ATTEMPTS_MAX: usize = 64;

/// Accepts points.
pub struct IngestionService {
    pub catalog: Arc<dyn CatalogPort>,
    pub series: Arc<dyn SeriesIndexPort>,
    pub wal: Arc<dyn WalPort>,
    pub flush: Arc<FlushService>,
    pub committer: Arc<Committer>,
    /// Limits of the parser; precision and default time come with each request.
    pub parse_limits: ParseOptions,
    pub known_series: KnownSeries,
    /// 0 = no limit.
    pub max_measurements_per_database: usize,
    /// Set in a cluster.
    pub replication: OnceLock<Arc<Replication>>,
}

impl IngestionService {
    fn accept(&self, request: &WriteRequest) -> Result<(), WriteError> {
        if request.database.is_empty() {
            return Err(WriteError::DatabaseRequired);
        }
        let catalog = self.catalog.catalog();
        if catalog.database(&request.database).is_none() {
            return Err(WriteError::DatabaseNotFound(request.database.clone()));
        }
        authorize_write(&request.caller, &catalog, &request.database)?;
        drop(catalog);
        // Held until the write has ended: a drain waits for it.
        let replication = self.replication.get();
        let _entered =
            replication.map(|replication| replication.gate.enter()).transpose().map_err(overloaded)?;
        self.wait_for_room()?;
        let mut unlogged = UnloggedSeries::default();
        let taken = self.take(request, &mut unlogged);
        unlogged.give_up(&self.flush);
        taken
    }

    /// Logs what can be of a request. `unlogged`: gets what was registered for what is not logged.
    fn take(&self, request: &WriteRequest, unlogged: &mut UnloggedSeries) -> Result<(), WriteError> {
        let now = waiting::now_ns();
        let default_time = request.default_time.unwrap_or(now);
        for _ in 0..ATTEMPTS_MAX {
            let mut stage = Instant::now();
            let mut parsed = debug_span!("parse").in_scope(|| self.parse(request, default_time))?;
            metrics::WRITE_PARSE.record_duration(lap(&mut stage));
            count_limits(&parsed);
            if parsed.has_too_many_points {
                return Err(WriteError::TooManyPoints { max: self.parse_limits.max_points });
            }
            let batches = std::mem::take(&mut parsed.batches);
            let mut drops = parsed.drops();
            let mut committed_at = None;
            let mut written = 0;
            let parsed_points = batches.iter().map(PointsBatch::rows).sum();
            let failed = |error| {
                count_failed(request, parsed_points);
                error
            };
            if !batches.is_empty() {
                let target =
                    Target { database: &request.database, retention_policy: &request.retention_policy, now };
                let mut resolved = debug_span!("schema")
                    .in_scope(|| self.resolver().resolve(&target, batches, unlogged))
                    .map_err(failed)?;
                written = resolved.batches.iter().map(|batch| batch.rows()).sum();
                let record = self.record(request, default_time, &parsed, &mut resolved)?;
                metrics::WRITE_SCHEMA.record_duration(lap(&mut stage));
                let committed = debug_span!("commit", points = written)
                    .in_scope(|| record.map(|record| self.committer.write(record)).transpose());
                match committed {
                    Err(LogError::Stale) => continue,
                    committed => committed_at = committed.map_err(log_error).map_err(failed)?,
                }
                if committed_at.is_some() {
                    unlogged.settle(&*self.series);
                }
                metrics::WRITE_COMMIT.record_duration(lap(&mut stage));
                metrics::INGESTED_POINTS.increment(written as u64);
                for &line in &resolved.dropped_lines {
                    let first = resolved.reasons.iter().find(|(l, _)| *l == line);
                    let start = parsed.lines.get(line as usize).map_or(usize::MAX, |span| span.start);
                    drops.add(start, first.map_or("", |(_, reason)| reason));
                }
            }
            metrics::REJECTED_POINTS.increment(parsed.refused(&drops) as u64);
            count_points(request, written, drops.count());
            if let (Some(sequence), Some(replication)) = (committed_at, self.replication.get()) {
                let confirmed =
                    debug_span!("confirm").in_scope(|| replication.confirm(sequence, request.consistency));
                metrics::WRITE_CONFIRM.record_duration(stage.elapsed());
                confirmed.map_err(WriteError::Unconfirmed)?;
            }
            return parsed.error_text(&drops).map_or(Ok(()), |text| Err(WriteError::Rejected(text)));
        }
        Err(log_error(LogError::Stale))
    }

    pub(crate) fn parse(&self, request: &WriteRequest, default_time: i64) -> Result<Parsed, WriteError> {
        let uint_support = self.parse_limits.uint_support || request.from == WriteSource::Server;
        let options = ParseOptions {
            precision: request.precision,
            default_time,
            uint_support,
            ..self.parse_limits.clone()
        };
        read(request.format, &request.body, &request.measurement, &options, &self.known_series)
            .map_err(|error| WriteError::Rejected(error.to_string()))
    }

    pub(crate) fn resolver(&self) -> SchemaResolver<'_> {
        SchemaResolver {
            catalog: &*self.catalog,
            series: &*self.series,
            committer: &self.committer,
            flush: &self.flush,
            max_measurements: self.max_measurements_per_database,
        }
    }

    /// The record of what is to be kept of a request; `None` when that is nothing.
    pub(crate) fn record(
        &self,
        request: &WriteRequest,
        default_time: i64,
        parsed: &Parsed,
        resolved: &mut Resolved,
    ) -> Result<Option<ResolvedWrite>, WriteError> {
        let batches = std::mem::take(&mut resolved.batches);
        if batches.is_empty() {
            return Ok(None);
        }
        let mut shards: Vec<u64> =
            batches.iter().flat_map(|batch| &batch.shards).map(|shard| shard.id).collect();
        shards.sort_unstable();
        shards.dedup();
        let version = |batch: &crate::memtable::ResolvedBatch| TableVersion {
            measurement: batch.table.measurement.clone(),
            table: batch.table.id,
            version: batch.table.version,
        };
        let tables: Vec<TableVersion> = batches.iter().map(version).collect();
        let (form, body) =
            self.accepted_body(request, default_time, parsed, &tables, &resolved.dropped_lines)?;
        let entry = WalEntry::Write(WriteEntry {
            database: request.database.clone(),
            retention_policy: resolved.retention_policy.clone(),
            precision: request.precision,
            default_time,
            tables,
            shards,
            form,
            body,
        });
        let entry = self.wal.encode(&entry)?;
        let (catalog, epoch) = (resolved.catalog.clone(), resolved.epoch);
        Ok(Some(ResolvedWrite { entry, catalog, epoch, batches }))
    }

    /// What is kept of a body: all of it as it came, or a part of it.
    fn accepted_body(
        &self,
        request: &WriteRequest,
        default_time: i64,
        parsed: &Parsed,
        tables: &[TableVersion],
        dropped_lines: &[u32],
    ) -> Result<(BodyForm, Bytes), WriteError> {
        let is_whole = parsed.errors.is_empty()
            && parsed.errors_left_out == 0
            && parsed.dropped.is_empty()
            && dropped_lines.is_empty();
        let whole = form_of_whole(request.format, &request.measurement, tables);
        match whole.filter(|form| is_whole || *form == BodyForm::Lines) {
            Some(form) if is_whole => Ok((form, request.body.clone())),
            Some(form) => Ok((form, body_without(&request.body, &parsed.lines, dropped_lines).into())),
            None => {
                let batches = self.parse(request, default_time)?.batches;
                let columns = encode_without(batches, dropped_lines).map_err(encoding_failed)?;
                Ok((BodyForm::Columns, columns.into()))
            }
        }
    }

    /// Back-pressure: waits a little for the flush, then refuses.
    fn wait_for_room(&self) -> Result<(), WriteError> {
        if let Some(reason) = self.flush.disk_space().read_only() {
            return Err(refused(settings::STORAGE_MIN_FREE_BYTES, reason));
        }
        let deadline = waiting::now() + ROOM_WAIT;
        loop {
            let (setting, full) = if !self.flush.has_room() {
                let setting = settings::FLUSH_MEMORY_LIMIT_BYTES;
                (setting, format!("points in memory have reached {setting}"))
            } else if !self.flush.log_has_room() {
                let setting = settings::WAL_MAX_BYTES;
                let why = "for the engine does not take its points";
                (setting, format!("the write-ahead log has reached {setting}, {why}"))
            } else {
                return Ok(());
            };
            if waiting::now() >= deadline {
                return Err(refused(setting, format!("{full}: retry later")));
            }
            self.flush.press();
            waiting::sleep(ROOM_POLL);
        }
    }
}

impl IngestionPort for IngestionService {
    fn write(&self, request: WriteRequest) -> Result<(), WriteError> {
        let (started, bytes) = (Instant::now(), request.body.len());
        let answer = self.accept(&request);
        metrics::WRITE_REQUESTS.increment(1);
        WRITE.req.increment();
        match &answer {
            Ok(()) | Err(WriteError::Rejected(_)) => {
                WRITE.write_ok.increment();
                WRITE.sub_write_ok.increment();
            }
            Err(_) => WRITE.write_error.increment(),
        }
        metrics::WRITE_PAYLOAD_BYTES.record(bytes as f64);
        if answer.is_err() {
            metrics::WRITE_ERRORS.increment(1);
        }
        metrics::WRITE_DURATION.record_duration(started.elapsed());
        answer
    }
}

/// The time since the last stage ended; the next one begins.
fn lap(stage: &mut Instant) -> Duration {
    let now = Instant::now();
    now - std::mem::replace(stage, now)
}

/// What a writer is told when its record did not take effect.
fn log_error(error: LogError) -> WriteError {
    match error {
        LogError::QueueFull => {
            limits::exceeded(settings::WAL_QUEUE_LENGTH);
            overloaded(error.to_string())
        }
        LogError::Stale | LogError::NotAgreed(_) => overloaded(error.to_string()),
        LogError::Stopped => WriteError::Stopping,
        LogError::Storage(error) => WriteError::Storage(error),
        // A write's own command was refused again and again, or a removal failed: neither can be the writer's fault.
        LogError::Refused(_) | LogError::Engine(_) => {
            WriteError::Storage(StorageError::failed("write", error))
        }
    }
}

/// Counts the lines that a limit has stopped.
fn count_limits(parsed: &Parsed) {
    parsed.errors.iter().filter_map(|error| error.reason.limit()).for_each(limits::exceeded);
    if parsed.has_too_many_points {
        limits::exceeded(settings::WRITE_MAX_POINTS);
    }
}

/// What SHOW STATS counts of points.
fn count_points(request: &WriteRequest, written: usize, dropped: usize) {
    let (written, dropped) = (written as i64, dropped as i64);
    WRITE.point_req.add(written + dropped);
    WRITE.point_req_local.add(written + dropped);
    WRITE.write_drop.add(dropped);
    if request.from == WriteSource::Http {
        HTTPD.points_written_ok.add(written);
        HTTPD.points_written_dropped.add(dropped);
    }
}

fn count_failed(request: &WriteRequest, points: usize) {
    if request.from == WriteSource::Http {
        HTTPD.points_written_fail.add(points as i64);
    }
}

/// A limit of the server keeps a write out.
fn refused(setting: &'static str, reason: String) -> WriteError {
    limits::exceeded(setting);
    metrics::WRITES_REFUSED.increment(1);
    overloaded(reason)
}

fn overloaded(reason: String) -> WriteError {
    WriteError::Overloaded { reason, retry_after_secs: RETRY_AFTER_SECS }
}

fn encoding_failed(error: StoredError) -> WriteError {
    WriteError::Storage(StorageError::failed("write", error))
}
