//! Merging partitions that hold rows of one series and time twice.

use hyperbytedb_metrics as metrics;
use std::time::{Duration, Instant};

use hashbrown::HashMap;
use hyperbytedb_domain::catalog::TableId;
use hyperbytedb_domain::{EngineError, StorageError};

use super::FlushService;
use super::duplicates::Settled;
use crate::threads::Stop;

const LOOK_INTERVAL: Duration = Duration::from_millis(500);
/// How long a partition whose merge failed is left alone.
const RETRY_PAUSE: Duration = Duration::from_secs(10);
/// Partitions that are merged before the engine is synced for all of them.
const MERGES_PER_SYNC: usize = 64;

impl FlushService {
    pub(super) fn run_merges(&self, stop: &Stop) {
        let mut failed: HashMap<(TableId, u64), Instant> = HashMap::new();
        while stop.wait(LOOK_INTERVAL) {
            failed.retain(|_, at| at.elapsed() < RETRY_PAUSE);
            let is_wanted = |partition: &Settled| {
                !stop.is_set() && !failed.contains_key(&(partition.table, partition.shard))
            };
            for (Settled { table, shard, .. }, error) in self.merge_settled(is_wanted) {
                tracing::error!(%error, table = table.0, shard, "merge failed; it is tried again");
                metrics::MERGE_ERRORS.increment(1);
                failed.insert((table, shard), Instant::now());
            }
        }
    }

    /// Merges the dirty partitions that are quiet, and clears their marks. Returns those that failed.
    pub fn merge_settled(&self, is_wanted: impl Fn(&Settled) -> bool) -> Vec<(Settled, EngineError)> {
        let mut failed = Vec::new();
        for partitions in self.dirty.settled(self.options.merge_quiet).chunks(MERGES_PER_SYNC) {
            let mut merged = Vec::new();
            for &partition in partitions.iter().filter(|partition| is_wanted(partition)) {
                match self.ports.sink.merge_partition(partition.table, partition.shard) {
                    Ok(()) => merged.push(partition),
                    Err(error) => failed.push((partition, error)),
                }
            }
            if let Err(error) = self.clear_marks(&merged) {
                failed.extend(merged.into_iter().map(|partition| (partition, error.clone())));
            }
        }
        failed
    }

    /// A mark must not be gone when a power failure undoes the merge.
    fn clear_marks(&self, merged: &[Settled]) -> Result<(), EngineError> {
        if merged.is_empty() {
            return Ok(());
        }
        self.ports.sink.sync()?;
        let failed = |error: StorageError| EngineError::failed("clear a mark", error);
        let _may_clear = self.marks_clear.lock();
        merged.iter().try_for_each(|partition| self.dirty.clear(partition)).map_err(failed)?;
        metrics::MERGED_PARTITIONS.increment(merged.len() as u64);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use hyperbytedb_domain::catalog::ShardGroup;
    use hyperbytedb_domain::{QueryContext, TimeRange};
    use hyperbytedb_memory_ports::{Call, Controller, Disk, MemoryPorts, Undisturbed, Verdict};

    use super::*;
    use crate::flush::FlushOptions;

    struct NoSync;

    impl Controller for NoSync {
        fn before(&self, call: Call, _: Option<&QueryContext>) -> Verdict {
            if call == Call::EngineSync { Verdict::Fail } else { Verdict::Proceed }
        }

        fn after(&self, _: Call) {}
    }

    /// Whether a partition is still dirty after a pass, and how many merges failed in it.
    fn pass(controller: Arc<dyn Controller>) -> (bool, usize) {
        let ports = MemoryPorts::open(&Disk::default(), controller).outbound();
        let options = FlushOptions { merge_quiet: Duration::ZERO, ..FlushOptions::default() };
        let flush = FlushService::new(options, ports).unwrap();
        let shard = ShardGroup { id: 1, start: 0, end: 10 };
        drop(flush.dirty.mark(TableId(1), &[shard]).unwrap());
        let failed = flush.merge_settled(|_| true).len();
        (flush.dirty.touches(TableId(1), TimeRange::ALL), failed)
    }

    #[test]
    fn a_mark_goes_only_when_the_merge_will_survive() {
        assert_eq!(pass(Arc::new(Undisturbed)), (false, 0));
        assert_eq!(pass(Arc::new(NoSync)), (true, 1));
    }
}
