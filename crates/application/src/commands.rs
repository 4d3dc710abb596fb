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

    pub fn is_in_cluster(&self) -> bool {
        self.committer.is_in_cluster()
    }

    /// Returns when the command has taken effect, for deletes also in the engine. A context that ends ends the wait: the
    /// command is in the log and goes on.
    pub fn run(&self, command: Command, context: &QueryContext) -> Result<(), LogError> {
        for work in self.committer.command(command)?.waits {
            work.wait(context)?;
        }
        Ok(())
    }

    /// Drops a table whose last series is gone, unless it has series again.
    pub fn drop_empty_table(&self, table: TableId) {
        if self.committer.is_in_cluster() {
            // Other nodes may have points of it that are still on their way.
            return;
        }
        match self.committer.command(Command::DropEmptyTable { table }) {
            Ok(_) | Err(LogError::Stale | LogError::Stopped) => {}
            Err(error) => tracing::warn!(%error, table = table.0, "an empty table could not be dropped"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use hyperbytedb_domain::catalog::DeleteScope;
    use hyperbytedb_domain::{EngineError, TimeRange};
    use hyperbytedb_memory_ports::Call;

    use super::*;
    use crate::testing::Node;

    fn delete_all(node: &Node, measurement: &str) -> Command {
        let table = node.table(measurement).expect("a table");
        let time = TimeRange::ALL;
        Command::DeletePoints {
            scopes: vec![DeleteScope { table: table.id, version: table.version, time, filter: None }],
        }
    }

    #[test]
    fn a_delete_is_over_when_the_engine_has_carried_it_out() {
        let node = Node::new();
        node.write("m v=1 1");
        node.flush_all();
        assert_eq!(node.stored_rows(), 1);
        node.commands.run(delete_all(&node, "m"), &QueryContext::unbounded()).expect("a delete");
        assert_eq!(node.stored_rows(), 0);
    }

    #[test]
    fn a_delete_that_fails_says_so_and_goes_on() {
        let node = Node::patient();
        node.write("m,h=a v=1 1\nm,h=b v=1 1");
        node.flush_all();
        node.faults.fail(Call::DropPartitions, 1);
        let delete = node.commands.run(delete_all(&node, "m"), &QueryContext::unbounded());
        assert!(matches!(delete, Err(LogError::Engine(EngineError::Failed { .. }))));
        assert_eq!(node.stored_rows(), 2);
        node.flush_all();
        assert_eq!(node.stored_rows(), 0, "tried again, for somebody waits for it");
    }

    #[test]
    fn a_statement_that_ends_does_not_end_its_delete() {
        let node = Node::patient();
        node.write("m v=1 1");
        node.flush_all();
        node.faults.fail(Call::DistinctSeries, 1);
        let delete = delete_all(&node, "m");
        assert!(node.commands.run(delete, &QueryContext::unbounded()).is_err());
        // The delete waits for its next attempt; another one behind it waits with it.
        let soon = Some(Instant::now() + Duration::from_millis(10));
        let context = QueryContext { deadline: soon, ..QueryContext::unbounded() };
        let behind = node.commands.run(delete_all(&node, "m"), &context);
        assert!(matches!(behind, Err(LogError::Engine(EngineError::Timeout))));
        node.flush_all();
        assert_eq!(node.stored_rows(), 0);
    }

    #[test]
    fn only_a_table_without_series_is_dropped_as_empty() {
        let node = Node::new();
        node.write("m v=1 1\nn v=1 1");
        let (m, n) = (node.table("m").expect("a table"), node.table("n").expect("a table"));
        let series: Vec<_> = node.resolve("m v=1 1").batches[0].series.iter().map(|(id, _)| *id).collect();
        node.ports.series.remove_series(&m, &series).expect("the index");
        node.commands.drop_empty_table(m.id);
        node.commands.drop_empty_table(n.id);
        assert!(node.table("m").is_none());
        assert!(node.table("n").is_some());
    }
}
