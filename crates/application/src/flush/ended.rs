//! Making one part of what shard groups hold whose time is over.
//!
//! Hardly anything is written into them any more, and one part is smaller and quicker to read than the parts of many
//! flushes. The engine itself does so minutes later, for it cannot know that a shard group has ended.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use hyperbytedb_domain::EngineError;
use hyperbytedb_domain::catalog::TableId;
use hyperbytedb_domain::ports::PartitionInfo;
use hyperbytedb_metrics as metrics;
use parking_lot::Mutex;

use super::FlushService;
use crate::memtable::columns::{ShardRows, SortedRows};
use crate::threads::Stop;
use crate::waiting;

const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// A partition is merged when at least one row of so many came since the last time; so a late point now and then does not
/// have all others written again.
const ROWS_PER_NEW_ROW_MAX: u64 = 4;

/// A larger partition is left to the engine: its merge would hold up the server's stop.
const PARTITION_BYTES_MAX: u64 = 1 << 30;

/// What was flushed into partitions since they were merged.
#[derive(Default)]
pub(super) struct FlushedPartitions {
    partitions: Mutex<BTreeMap<(TableId, u64), Flushed>>,
}

#[derive(Clone, Copy, PartialEq)]
struct Flushed {
    /// Of the shard group, in nanoseconds since 1970.
    end: i64,
    rows: u64,
    /// When the last of them came.
    at: Instant,
    /// They were too few when the partition was last looked at.
    left: bool,
}

impl FlushedPartitions {
    pub fn note(&self, table: TableId, rows: &SortedRows) {
        let mut partitions = self.partitions.lock();
        for ShardRows { shard, rows, .. } in rows.by_shard() {
            let new = Flushed { end: shard.end, rows: 0, at: waiting::now(), left: false };
            let flushed = partitions.entry((table, shard.id)).or_insert(new);
            *flushed = Flushed { rows: flushed.rows + rows, ..new };
        }
    }

    /// Partitions whose time is over and into which nothing was flushed for `quiet`.
    fn quiet(&self, quiet: Duration) -> Vec<((TableId, u64), Flushed)> {
        let (now, time) = (waiting::now(), waiting::now_ns());
        let is_quiet = |flushed: &Flushed| {
            !flushed.left && flushed.end <= time && now.saturating_duration_since(flushed.at) >= quiet
        };
        let partitions = self.partitions.lock();
        partitions
            .iter()
            .filter(|(_, flushed)| is_quiet(flushed))
            .map(|(key, flushed)| (*key, *flushed))
            .collect()
    }

    /// Forgets the rows of a partition that is merged or gone, unless others have come.
    fn forget(&self, key: (TableId, u64), before: Flushed) {
        let mut partitions = self.partitions.lock();
        if partitions.get(&key) == Some(&before) {
            partitions.remove(&key);
        }
    }

    /// Leaves a partition until more rows come.
    fn leave(&self, key: (TableId, u64), before: Flushed) {
        if let Some(flushed) = self.partitions.lock().get_mut(&key).filter(|flushed| **flushed == before) {
            flushed.left = true;
        }
    }
}

impl FlushService {
    pub(super) fn run_ended_merges(&self, quiet: Duration, stop: &Stop) {
        while stop.wait(LOOK_INTERVAL) {
            if let Err(error) = self.merge_ended(quiet, || !stop.is_set()) {
                tracing::warn!(%error, "merging the partitions of a shard group whose time is over failed");
            }
        }
    }

    /// Merges the partitions of ended shard groups that are quiet.
    pub fn merge_ended(&self, quiet: Duration, go_on: impl Fn() -> bool) -> Result<(), EngineError> {
        for (key @ (table, shard), flushed) in self.flushed_partitions.quiet(quiet) {
            if !go_on() {
                break;
            }
            // Whatever comes of it, it is not tried again without new rows.
            self.flushed_partitions.leave(key, flushed);
            let stored = self.ports.sink.partitions(Some(table))?;
            let partition = stored.iter().find(|partition| partition.shard == shard);
            if partition.is_some_and(|partition| !is_worth_it(partition, flushed.rows)) {
                continue;
            }
            if partition.is_some() {
                self.ports.sink.merge_partition(table, shard)?;
                metrics::MERGED_PARTITIONS.increment(1);
            }
            self.flushed_partitions.forget(key, Flushed { left: true, ..flushed });
        }
        Ok(())
    }
}

fn is_worth_it(partition: &PartitionInfo, new_rows: u64) -> bool {
    partition.bytes <= PARTITION_BYTES_MAX && new_rows.saturating_mul(ROWS_PER_NEW_ROW_MAX) >= partition.rows
}

#[cfg(test)]
mod tests {
    use hyperbytedb_memory_ports::Call;

    use super::*;
    use crate::testing::{Node, WEEK};

    fn merge(node: &Node) {
        node.flush.merge_ended(Duration::ZERO, || true).expect("a pass");
    }

    /// Points of which the engine has each twice, the first at `start`.
    fn write_twice(node: &Node, start: i64, points: i64) {
        for value in [1, 2] {
            let lines: Vec<String> =
                (start..start + points).map(|time| format!("m v={value} {time}")).collect();
            node.write(&lines.join("\n"));
            node.flush_all();
        }
    }

    #[test]
    fn what_an_ended_shard_group_holds_becomes_one_part() {
        let node = Node::new();
        write_twice(&node, 1, 8);
        write_twice(&node, WEEK, 1);
        assert_eq!(node.stored_rows(), 18);
        merge(&node);
        assert_eq!(node.stored_rows(), 9);
    }

    #[test]
    fn a_shard_group_of_today_is_left_alone() {
        let node = Node::new();
        write_twice(&node, waiting::now_ns(), 2);
        merge(&node);
        assert_eq!(node.stored_rows(), 4);
    }

    #[test]
    fn a_few_late_points_have_nothing_written_again_until_they_are_many() {
        let node = Node::new();
        write_twice(&node, 1, 8);
        merge(&node);
        write_twice(&node, 1, 1);
        merge(&node);
        assert_eq!(node.stored_rows(), 10, "two rows beside eight others");
        write_twice(&node, 1, 1);
        merge(&node);
        assert_eq!(node.stored_rows(), 8);
    }

    #[test]
    fn a_merge_that_fails_is_left_to_the_engine() {
        let node = Node::patient();
        write_twice(&node, 1, 2);
        node.faults.fail(Call::MergePartition, 1);
        assert!(node.flush.merge_ended(Duration::ZERO, || true).is_err());
        merge(&node);
        assert_eq!(node.stored_rows(), 4);
        write_twice(&node, 1, 2);
        merge(&node);
        assert_eq!(node.stored_rows(), 2);
    }
}
