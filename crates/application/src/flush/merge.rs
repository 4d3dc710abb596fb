//! Merging partitions that hold rows of one series and time twice.

use std::time::{Duration, Instant};

use hashbrown::HashMap;
use hyperbytedb_domain::EngineError;
use hyperbytedb_domain::catalog::TableId;

use super::FlushService;
use super::duplicates::Settled;
use crate::threads::Stop;

const LOOK_INTERVAL: Duration = Duration::from_millis(500);
/// How long a partition whose merge failed is left alone.
const RETRY_PAUSE: Duration = Duration::from_secs(10);

impl FlushService {
    pub(super) fn run_merges(&self, stop: &Stop) {
        let mut failed: HashMap<(TableId, u64), Instant> = HashMap::new();
        while stop.wait(LOOK_INTERVAL) {
            failed.retain(|_, at| at.elapsed() < RETRY_PAUSE);
            for partition in self.dirty.settled(self.options.merge_quiet) {
                let key = (partition.table, partition.shard);
                if stop.is_set() || failed.contains_key(&key) {
                    continue;
                }
                if let Err(error) = self.merge(&partition) {
                    tracing::error!(%error, table = key.0.0, shard = key.1, "merge failed; it is tried again");
                    metrics::counter!("hyperbytedb_merge_errors_total").increment(1);
                    failed.insert(key, Instant::now());
                }
            }
        }
    }

    /// Merges a partition and clears its mark.
    pub fn merge(&self, partition: &Settled) -> Result<(), EngineError> {
        self.ports.sink.merge_partition(partition.table, partition.shard)?;
        self.dirty.clear(partition).map_err(|error| EngineError::failed("clear a mark", error))?;
        metrics::counter!("hyperbytedb_merged_partitions_total").increment(1);
        Ok(())
    }
}
