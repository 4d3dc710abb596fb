//! Commands, through the log.

use std::sync::Arc;

use hyperbytedb_domain::QueryContext;
use hyperbytedb_domain::catalog::{Command, TableId};

use crate::log::LogError;
use crate::log::committer::Committer;

/// Carries out commands.
pub struct CommandService {
    committer: Arc<Committer>,
}

impl CommandService {
    pub fn new(committer: Arc<Committer>) -> Self {
        Self { committer }
    }

    /// Returns when the command has taken effect, for deletes also in the engine. A context that ends ends the wait: the
    /// command is in the log and goes on.
    pub fn run(&self, command: Command, context: &QueryContext) -> Result<(), LogError> {
        for work in self.committer.command(command)? {
            work.wait(context)?;
        }
        Ok(())
    }

    /// Drops a table whose last series is gone, unless it has series again.
    pub fn drop_empty_table(&self, table: TableId) {
        match self.committer.command(Command::DropEmptyTable { table }) {
            Ok(_) | Err(LogError::Stale | LogError::Stopped) => {}
            Err(error) => tracing::warn!(%error, table = table.0, "an empty table could not be dropped"),
        }
    }
}
