//! The one order of everything that changes points or the catalogue.
//!
//! Writers and statements hand their records to the [`committer`], one thread that checks them against the catalogue,
//! appends them to the log in durable groups and lets them take effect in log order: commands change the catalogue,
//! points go to the memtables, removals to the queues of their tables. Consumers follow with [`cursors`] of their own;
//! [`replay`] lets records take effect again after a restart.

pub mod committer;
pub mod cursors;
pub mod epochs;
pub mod replay;

use hyperbytedb_domain::catalog::{Catalog, CatalogError, Command, Effects};
use hyperbytedb_domain::wal::Sequence;
use hyperbytedb_domain::{EngineError, StorageError, settings};
use thiserror::Error;

use crate::flush::{FlushService, PendingWork};
use crate::subscriptions;

/// Why a record did not take effect.
#[derive(Debug, Clone, Error)]
pub enum LogError {
    /// The catalogue refuses the command.
    #[error(transparent)]
    Refused(#[from] CatalogError),
    /// The catalogue has changed since the record was made: it must be made again.
    #[error("the schema changed meanwhile; please retry")]
    Stale,
    #[error("the queue to the write-ahead log is full ({})", settings::WAL_QUEUE_LENGTH)]
    QueueFull,
    #[error("the server is stopping")]
    Stopped,
    /// The nodes of the cluster could not agree on a command: it has not taken effect, or may still do so.
    #[error("{0}")]
    NotAgreed(String),
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// A removal that is in the log, and will be carried out, did not end well yet.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

/// Makes what a command needs that the catalogue is about to have.
fn prepare(flush: &FlushService, sequence: Sequence, command: Option<&Command>) {
    if let Some(command) = command
        && let Err(error) = subscriptions::begin(flush.cursors(), command, sequence)
    {
        tracing::error!(%error, "a subscription begins later than it was created");
    }
}

/// Lets a command take effect beyond the catalogue, which has `catalog` as its state behind it. Returns what its
/// caller should wait for. `replayed`: it may have been carried out before.
fn take_effect(
    flush: &FlushService,
    catalog: &Catalog,
    sequence: Sequence,
    command: Option<&Command>,
    effects: &Effects,
    replayed: bool,
) -> Vec<PendingWork> {
    // The engine's answers have a partition until it is dropped: whoever drops a shard waits for that.
    let dropped = effects.dropped_shards.iter();
    let mut waits: Vec<_> =
        dropped.map(|(table, shards)| flush.drop_partitions(sequence, table, shards, replayed)).collect();
    for table in &effects.dropped_tables {
        flush.drop_table(sequence, table);
    }
    if let Some(Command::DeletePoints { scopes }) = command {
        let deletes = scopes.iter().filter(|scope| sequence > flush.cursors().flushed_of(scope.table));
        waits.extend(deletes.filter_map(|scope| {
            let table = catalog.table_by_id(scope.table)?;
            Some(flush.delete(sequence, table, scope, replayed))
        }));
    }
    waits
}
