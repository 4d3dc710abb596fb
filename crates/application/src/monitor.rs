//! What SHOW STATS counts, written as points at intervals: InfluxDB's database `_internal`, which dashboards read.

use std::sync::Arc;
use std::time::Duration;

use hyperbytedb_domain::QueryContext;
use hyperbytedb_domain::catalog::{Command, RetentionPolicySpec};
use hyperbytedb_domain::ports::{CatalogPort, IngestionPort, WriteRequest, WriteSource};
use hyperbytedb_domain::result::SeriesBlock;
use hyperbytedb_line_protocol::PointPrinter;

use crate::commands::CommandService;
use crate::statements::StatementService;
use crate::threads::Stop;
use crate::waiting::now_ns;

const POLICY: &str = "monitor";
const HOUR: i64 = 3_600_000_000_000;

#[derive(Debug, Clone)]
pub struct MonitorOptions {
    pub database: String,
    pub interval: Duration,
    /// Tags of all points, by key.
    pub tags: Vec<(String, String)>,
}

/// Writes them the way that all points go.
pub struct Monitor {
    pub options: MonitorOptions,
    pub catalog: Arc<dyn CatalogPort>,
    pub commands: Arc<CommandService>,
    pub ingestion: Arc<dyn IngestionPort>,
    pub statements: Arc<StatementService>,
}

impl Monitor {
    pub fn run(&self, stop: &Stop) {
        let interval = i64::try_from(self.options.interval.as_nanos()).unwrap_or(i64::MAX).max(1);
        let mut is_failing = false;
        loop {
            let now = now_ns();
            if !stop.wait(Duration::from_nanos((interval - now.rem_euclid(interval)) as u64)) {
                return;
            }
            let now = now_ns();
            let stored = self.store(now - now.rem_euclid(interval));
            if let (Err(error), false) = (&stored, is_failing) {
                let database = &self.options.database;
                tracing::warn!(error, database, "the server's own statistics cannot be stored (monitor)");
            }
            is_failing = stored.is_err();
        }
    }

    fn store(&self, time: i64) -> Result<(), String> {
        self.create_database()?;
        let mut body = String::new();
        for block in self.statements.stats(None).map_err(|error| error.to_string())? {
            self.print(&block, time, &mut body);
        }
        let request = WriteRequest::lines(WriteSource::Server, &self.options.database, POLICY, body);
        self.ingestion.write(request).map_err(|error| error.to_string())
    }

    fn print(&self, block: &SeriesBlock, time: i64, body: &mut String) {
        let own = self.options.tags.iter();
        let mut tags: Vec<_> = block.tags.iter().flat_map(|tags| tags.iter()).chain(own).collect();
        tags.sort();
        for row in block.rows() {
            let mut point = PointPrinter::begin(body, &block.name);
            tags.iter().for_each(|(key, value)| point.tag(key, value));
            block.columns.iter().zip(row).for_each(|(column, value)| point.field(column, value));
            point.end(time);
        }
    }

    /// With a policy of InfluxDB's name and durations; one that somebody has changed stays as it is.
    fn create_database(&self) -> Result<(), String> {
        let spec = RetentionPolicySpec {
            name: Some(POLICY.to_owned()),
            duration: Some(7 * 24 * HOUR),
            replication: Some(1),
            shard_duration: Some(24 * HOUR),
            ..RetentionPolicySpec::default()
        };
        let name = self.options.database.clone();
        let catalog = self.catalog.catalog();
        let command = match catalog.database(&name) {
            None => Command::CreateDatabase { name, policy: Some(spec) },
            Some(database) if database.retention_policy(POLICY).is_none() => {
                Command::CreateRetentionPolicy { database: name, spec, default: false }
            }
            Some(_) => return Ok(()),
        };
        self.commands.run(command, &QueryContext::unbounded()).map_err(|error| error.to_string())
    }
}
