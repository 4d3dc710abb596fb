//! Commands, through the log.

use std::sync::Arc;

use hyperbytedb_domain::QueryContext;
use hyperbytedb_domain::catalog::Command;

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
}
