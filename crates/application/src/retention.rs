//! Retention: shard groups whose points are all past their policy are dropped.
//!
//! Such points are not shown any more anyway; this is what frees the disk.

use hyperbytedb_metrics as metrics;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyperbytedb_domain::QueryContext;
use hyperbytedb_domain::catalog::{Catalog, Command};
use hyperbytedb_domain::ports::CatalogPort;

use crate::cluster::Lease;
use crate::commands::CommandService;
use crate::threads::Stop;
use crate::waiting::now_ns;

/// How often the catalogue is looked at: a policy that was made shorter acts at once.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// Drops what has expired.
pub struct RetentionService {
    pub catalog: Arc<dyn CatalogPort>,
    pub commands: Arc<CommandService>,
    pub check_interval: Duration,
    pub lease: Lease,
}

/// Durations of all policies that have one, by database and policy.
type Durations = BTreeMap<(String, String), i64>;

/// When it was checked, and what was to be kept then.
struct Check {
    at: Instant,
    durations: Durations,
}

impl RetentionService {
    /// Checks at the start, then at each interval and whenever a policy's duration has changed.
    pub fn run(&self, stop: &Stop) {
        let mut last = None;
        while stop.wait(LOOK_INTERVAL) {
            if !self.lease.is_held() {
                last = None;
            } else if self.is_due(&mut last) {
                self.drop_expired(now_ns());
            }
        }
    }

    /// Whether it is time for a check, which is the last one from now on.
    fn is_due(&self, last: &mut Option<Check>) -> bool {
        let durations = durations_of(&self.catalog.catalog());
        let is_due = last
            .as_ref()
            .is_none_or(|last| last.at.elapsed() >= self.check_interval || last.durations != durations);
        if is_due {
            *last = Some(Check { at: Instant::now(), durations });
        }
        is_due
    }

    /// Drops the shard groups that are past their policy at this time; false when some stay. What fails is tried again at
    /// the next check.
    pub fn drop_expired(&self, now: i64) -> bool {
        let catalog = self.catalog.catalog();
        let mut are_gone = true;
        for database in catalog.databases.values() {
            for policy in database.retention_policies.values() {
                let ids: Vec<u64> = policy.expired(now).map(|group| group.id).collect();
                if ids.is_empty() {
                    continue;
                }
                let (database, policy, groups) = (&database.name, &policy.name, ids.len());
                let command = Command::DropShardGroups { ids };
                match self.commands.run(command, &QueryContext::unbounded()) {
                    Ok(()) => {
                        tracing::info!(database, policy, groups, "dropped shard groups past their policy");
                        metrics::RETENTION_DROPPED.increment(groups as u64);
                    }
                    Err(error) => {
                        tracing::error!(%error, database, policy, groups, "shard groups past their policy stay");
                        metrics::RETENTION_ERRORS.increment(1);
                        are_gone = false;
                    }
                }
            }
        }
        are_gone
    }
}

fn durations_of(catalog: &Catalog) -> Durations {
    let of_database = |database: &Arc<hyperbytedb_domain::catalog::Database>| {
        let policies = database.retention_policies.values().filter(|policy| policy.duration > 0);
        let name = database.name.clone();
        policies.map(|policy| ((name.clone(), policy.name.clone()), policy.duration)).collect::<Vec<_>>()
    };
    catalog.databases.values().flat_map(of_database).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{NEVER, Node};

    #[test]
    fn a_policy_that_has_changed_is_checked_at_once() {
        let node = Node::new();
        let service = RetentionService {
            catalog: node.ports.catalog.clone(),
            commands: node.commands.clone(),
            check_interval: NEVER,
            lease: Lease::default(),
        };
        let mut last = None;
        assert!(service.is_due(&mut last), "at the start");
        node.query("ALTER RETENTION POLICY autogen ON db SHARD DURATION 1h");
        node.write("m v=1");
        assert!(!service.is_due(&mut last), "nothing that matters has changed");
        node.query("ALTER RETENTION POLICY autogen ON db DURATION 1h");
        assert!(service.is_due(&mut last));
        assert!(!service.is_due(&mut last));
    }
}
