//! Catalogue commands, ordered with the writes where they remove points.
//!
//! A command that removes points runs alone: writes wait. Everything accepted before it is flushed, the command is
//! logged, carried out, and the log is truncated behind it. So the log never holds a write that a later drop or delete
//! has removed, and a replay after a crash meets at most one such command, as the last record of its time.

use std::ops::ControlFlow;
use std::sync::Arc;

use hyperbytedb_domain::catalog::{CatalogError, Command, DeleteScope, Effects, Table, TableId};
use hyperbytedb_domain::ports::{
    FlushPort, MetadataError, MetadataPort, PointsSinkPort, QueryPort, SeriesIndexPort, WalPort,
};
use hyperbytedb_domain::wal::{WalEntry, WalRecord};
use hyperbytedb_domain::{EngineError, QueryContext, SeriesId, StorageError, TimeRange};
use parking_lot::{RwLock, RwLockReadGuard};
use thiserror::Error;

use crate::flush::FlushService;
use crate::ingestion::committer::HybridClock;

/// Why a command was refused or failed.
#[derive(Debug, Clone, Error)]
pub enum CommandError {
    #[error(transparent)]
    Refused(#[from] CatalogError),
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error(transparent)]
    Engine(#[from] EngineError),
}

impl From<MetadataError> for CommandError {
    fn from(error: MetadataError) -> Self {
        match error {
            MetadataError::Refused(error) => Self::Refused(error),
            MetadataError::Storage(error) => Self::Storage(error),
        }
    }
}

/// Carries out commands.
pub struct CommandService {
    /// Writers hold it shared from the look at the catalogue until their points are in the memtables.
    gate: RwLock<()>,
    node: u64,
    clock: HybridClock,
    metadata: Arc<dyn MetadataPort>,
    series: Arc<dyn SeriesIndexPort>,
    sink: Arc<dyn PointsSinkPort>,
    engine: Arc<dyn QueryPort>,
    wal: Arc<dyn WalPort>,
    flush: Arc<FlushService>,
}

/// The ports the command service works on.
pub struct CommandPorts {
    pub metadata: Arc<dyn MetadataPort>,
    pub series: Arc<dyn SeriesIndexPort>,
    pub sink: Arc<dyn PointsSinkPort>,
    pub engine: Arc<dyn QueryPort>,
    pub wal: Arc<dyn WalPort>,
}

impl CommandService {
    pub fn new(node: u64, ports: CommandPorts, flush: Arc<FlushService>) -> Self {
        let CommandPorts { metadata, series, sink, engine, wal } = ports;
        let (gate, clock) = (RwLock::default(), HybridClock::default());
        Self { gate, node, clock, metadata, series, sink, engine, wal, flush }
    }

    /// Keeps commands that remove points out while it is held.
    pub fn enter_write(&self) -> RwLockReadGuard<'_, ()> {
        self.gate.read()
    }

    /// Carries out a command.
    pub fn run(&self, command: &Command) -> Result<(), CommandError> {
        if removes_points(command) {
            self.run_ordered(command)
        } else {
            Ok(self.metadata.apply(command).map(drop)?)
        }
    }

    fn run_ordered(&self, command: &Command) -> Result<(), CommandError> {
        let _alone = self.gate.write();
        // A command that will be refused must not be logged.
        self.metadata.catalog().as_ref().clone().apply(command)?;
        self.flush.flush_all()?;
        let entry = WalEntry::Command(command.clone());
        let sequence =
            self.wal.append(&[WalRecord { origin: self.node, clock: self.clock.next(), entry }])?;
        self.carry_out(command)?;
        self.flush.push(sequence, Vec::new());
        Ok(self.flush.checkpoint()?)
    }

    /// Carries out a logged command; once more does no harm.
    pub fn carry_out(&self, command: &Command) -> Result<(), CommandError> {
        if let Command::DeletePoints { database, scopes } = command {
            return scopes.iter().try_for_each(|scope| self.delete_points(database, scope));
        }
        let effects = self.metadata.apply(command)?;
        self.follow_up(&effects)
    }

    fn follow_up(&self, effects: &Effects) -> Result<(), CommandError> {
        let dropped: Vec<TableId> = effects.dropped_tables.iter().map(|t| t.id).collect();
        self.flush.discard(&dropped)?;
        for table in &effects.dropped_tables {
            self.sink.drop_table(table.id)?;
            self.series.drop_table(table)?;
        }
        for (table, start, end) in &effects.dropped_slices {
            self.delete_points(
                &table.database,
                &DeleteScope {
                    retention_policy: table.retention_policy.clone(),
                    measurement: table.measurement.clone(),
                    time: hyperbytedb_domain::TimeRange { min: *start, max: end.saturating_sub(1) },
                    filter: None,
                },
            )?;
        }
        Ok(())
    }

    fn delete_points(&self, database: &str, scope: &DeleteScope) -> Result<(), CommandError> {
        let catalog = self.metadata.catalog();
        let Some(table) = catalog.table(database, &scope.retention_policy, &scope.measurement) else {
            return Ok(());
        };
        self.sink.ensure_table(table)?;
        self.sink.delete_rows(table, scope.time, scope.filter.as_ref())?;
        self.remove_empty_series(table)?;
        if self.series.series_count(table.id)? > 0 {
            return Ok(());
        }
        let effects = self.metadata.apply(&Command::DropTable {
            database: database.to_owned(),
            retention_policy: table.retention_policy.clone(),
            measurement: table.measurement.clone(),
        })?;
        self.follow_up(&effects)
    }

    /// Series without points are no longer series, as in InfluxDB.
    fn remove_empty_series(&self, table: &Table) -> Result<(), CommandError> {
        let stored = self.engine.distinct_series(table, TimeRange::ALL, None, &QueryContext::unbounded())?;
        let stored: hashbrown::HashSet<SeriesId> = stored.into_iter().collect();
        let mut empty = Vec::new();
        self.series.for_each_series(table.id, &mut |id, _| {
            if !stored.contains(&id) {
                empty.push(id);
            }
            ControlFlow::Continue(())
        })?;
        if !empty.is_empty() {
            self.series.remove_series(table, &empty)?;
        }
        Ok(())
    }
}

/// Whether a command must be ordered with the writes.
fn removes_points(command: &Command) -> bool {
    matches!(
        command,
        Command::DropDatabase { .. }
            | Command::DropRetentionPolicy { .. }
            | Command::DropMeasurement { .. }
            | Command::DropTable { .. }
            | Command::DeletePoints { .. }
            | Command::DropShard { .. }
    )
}
