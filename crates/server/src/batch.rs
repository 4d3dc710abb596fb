//! Lines that a listener gathers and writes together, as InfluxDB's listeners do. Nobody is answered: what is refused is logged.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyperbytedb_application::commands::CommandService;
use hyperbytedb_domain::catalog::Command;
use hyperbytedb_domain::ports::{CatalogPort, IngestionPort, WriteError, WriteRequest, WriteSource};
use hyperbytedb_domain::{Precision, QueryContext};

/// Says it where others than this machine reach a listener, which asks nobody who he is.
pub fn warn_where_open(address: SocketAddr, setting: &str) {
    if !address.ip().is_loopback() {
        tracing::warn!(%address, setting, "anybody who reaches this address may write points");
    }
}

/// Bytes from which a batch does not wait for further lines.
const BATCH_BYTES: usize = 4 << 20;

/// When a batch is written.
#[derive(Debug, Clone, Copy)]
pub struct BatchOptions {
    pub lines: usize,
    pub timeout: Duration,
}

impl BatchOptions {
    pub const fn new(lines: usize, timeout_ms: u64) -> Self {
        Self { lines, timeout: Duration::from_millis(timeout_ms) }
    }
}

/// Lines that wait to be written.
#[derive(Debug, Default)]
pub struct Batch {
    pub lines: Vec<u8>,
    pub count: usize,
    since: Option<Instant>,
}

impl Batch {
    /// Adds text of so many lines.
    pub fn add(&mut self, text: &[u8], count: usize) {
        self.since.get_or_insert_with(Instant::now);
        self.lines.extend_from_slice(text);
        if !text.ends_with(b"\n") {
            self.lines.push(b'\n');
        }
        self.count += count;
    }

    pub fn is_due(&self, options: BatchOptions) -> bool {
        let waited = self.since.is_some_and(|since| since.elapsed() >= options.timeout);
        self.count >= options.lines || self.lines.len() >= BATCH_BYTES || waited
    }

    /// How long it waits for more; `None`: it is empty.
    pub fn patience(&self, options: BatchOptions) -> Option<Duration> {
        self.since.map(|since| options.timeout.saturating_sub(since.elapsed()))
    }
}

/// Where a listener's lines go.
#[derive(Clone)]
pub struct BatchWriter {
    /// For the log.
    pub listener: &'static str,
    pub database: String,
    pub retention_policy: String,
    pub precision: Precision,
    pub catalog: Arc<dyn CatalogPort>,
    pub commands: Arc<CommandService>,
    pub ingestion: Arc<dyn IngestionPort>,
}

impl BatchWriter {
    pub fn create_database(&self) {
        let (listener, name) = (self.listener, self.database.clone());
        if self.catalog.catalog().database(&name).is_some() {
            return;
        }
        let command = Command::CreateDatabase { name, policy: None };
        if let Err(error) = self.commands.run(command, &QueryContext::unbounded()) {
            tracing::warn!(%error, database = self.database, "{listener}: the database cannot be created");
        }
    }

    /// Whether all of it was taken.
    pub fn write(&self, batch: Batch) -> bool {
        self.try_write(batch).is_ok()
    }

    /// The same, and why not.
    pub fn try_write(&self, batch: Batch) -> Result<(), WriteError> {
        let (database, retention_policy) = (&self.database, &self.retention_policy);
        let lines = WriteRequest::lines(WriteSource::Listener, database, retention_policy, batch.lines);
        let written = self.ingestion.write(WriteRequest { precision: self.precision, ..lines });
        if let Err(error) = &written {
            tracing::warn!("{}: points were refused: {error}", self.listener);
        }
        written
    }
}
