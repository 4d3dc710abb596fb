//! Could a flush store a second row of a series and time that is already there?
//!
//! Answered from the greatest stored time of each partition and, in a bounded map, of each series. A series that is not
//! in the map may have been stored up to the greatest time of the partition.

use std::collections::HashMap;

use hyperbytedb_domain::SeriesId;
use hyperbytedb_domain::catalog::{ShardGroup, TableId};
use parking_lot::Mutex;

use crate::memtable::columns::{SeriesRun, ShardRows, SortedRows, shard_of};

/// Greatest stored times.
#[derive(Debug)]
pub struct OverlapTracker {
    tables: Mutex<HashMap<TableId, StoredTimes>>,
    /// Entries kept per table; a table with more series starts over.
    series_per_table_max: usize,
}

#[derive(Debug, Default)]
struct StoredTimes {
    /// By number of the shard group; a partition that is not here is empty.
    partitions: HashMap<u64, i64>,
    /// Greatest stored time of a series; `i64::MIN` = the series is new: nothing stored.
    series: HashMap<SeriesId, i64>,
}

impl StoredTimes {
    /// The greatest time up to which rows of the series may be stored.
    fn bound(&self, series: SeriesId) -> i64 {
        self.series.get(&series).copied().unwrap_or(i64::MAX)
    }

    /// The greatest time in the table.
    fn max_time(&self) -> i64 {
        self.partitions.values().copied().max().unwrap_or(i64::MIN)
    }
}

impl OverlapTracker {
    pub fn new(series_per_table_max: usize) -> Self {
        Self { tables: Mutex::default(), series_per_table_max }
    }

    /// Whether it is known what the table holds.
    pub fn knows(&self, table: TableId) -> bool {
        self.tables.lock().contains_key(&table)
    }

    /// Sets what is stored in a table before the first flush of this process: the greatest time of each partition.
    pub fn load(&self, table: TableId, max_times: Vec<(u64, i64)>) {
        let stored = StoredTimes { partitions: max_times.into_iter().collect(), series: HashMap::new() };
        self.tables.lock().entry(table).or_insert(stored);
    }

    /// Notes series that have just been registered for the first time.
    pub fn note_new(&self, table: TableId, series: impl Iterator<Item = SeriesId>) {
        let mut tables = self.tables.lock();
        let Some(stored) = tables.get_mut(&table) else { return };
        for id in series {
            if stored.series.len() >= self.series_per_table_max {
                return;
            }
            stored.series.entry(id).or_insert(i64::MIN);
        }
    }

    /// Partitions in which these rows may repeat a stored (series, time).
    pub fn overlapping(&self, table: TableId, rows: &SortedRows) -> Vec<ShardGroup> {
        let tables = self.tables.lock();
        let Some(stored) = tables.get(&table) else { return rows.shards.clone() };
        let mut overlapping: Vec<ShardGroup> = Vec::new();
        for run in &rows.runs {
            let of_series = stored.bound(run.series).min(stored.max_time());
            if run.min_time > of_series {
                continue;
            }
            for &time in rows.times.get(run.from..run.to).unwrap_or_default() {
                if time > of_series {
                    break;
                }
                if overlapping.last().is_some_and(|shard| shard.contains(time)) {
                    continue;
                }
                let Some(shard) = shard_of(&rows.shards, time) else { continue };
                let of_partition = stored.partitions.get(&shard.id).copied().unwrap_or(i64::MIN);
                if time <= of_partition && !overlapping.contains(&shard) {
                    overlapping.push(shard);
                }
            }
        }
        overlapping
    }

    /// Notes rows that are now stored.
    pub fn flushed(&self, table: TableId, rows: &SortedRows) {
        let mut tables = self.tables.lock();
        let Some(stored) = tables.get_mut(&table) else { return };
        if stored.series.len() + rows.runs.len() > self.series_per_table_max {
            stored.series.clear();
        }
        // What an unknown series may have stored before this flush.
        let before = stored.max_time();
        for SeriesRun { series, max_time, .. } in &rows.runs {
            if stored.series.len() < self.series_per_table_max {
                let last = stored.series.entry(*series).or_insert(before);
                *last = (*last).max(*max_time);
            }
        }
        for ShardRows { shard, max_time, .. } in rows.by_shard() {
            let stored = stored.partitions.entry(shard.id).or_insert(i64::MIN);
            *stored = (*stored).max(max_time);
        }
    }

    /// Notes partitions that are dropped.
    pub fn forget_partitions(&self, table: TableId, shards: &[u64]) {
        if let Some(stored) = self.tables.lock().get_mut(&table) {
            stored.partitions.retain(|shard, _| !shards.contains(shard));
        }
    }

    pub fn forget(&self, table: TableId) {
        self.tables.lock().remove(&table);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::RecordBatch;
    use arrow::datatypes::Schema;

    use super::*;

    const TABLE: TableId = TableId(1);

    /// Rows of the given series, in shard groups of 100 that are numbered from 1.
    fn rows(series: &[(u64, &[i64])]) -> SortedRows {
        let (mut times, mut runs) = (Vec::new(), Vec::new());
        for (id, of_series) in series {
            let from = times.len();
            times.extend_from_slice(of_series);
            runs.push(SeriesRun {
                series: SeriesId(*id),
                from,
                to: times.len(),
                min_time: of_series[0],
                max_time: of_series[of_series.len() - 1],
            });
        }
        let mut shards: Vec<ShardGroup> = times.iter().map(|&time| shard(time / 100)).collect();
        shards.sort_unstable_by_key(|shard| shard.id);
        shards.dedup();
        SortedRows { batch: RecordBatch::new_empty(Arc::new(Schema::empty())), times, shards, runs }
    }

    fn shard(number: i64) -> ShardGroup {
        ShardGroup { id: number as u64 + 1, start: number * 100, end: number * 100 + 100 }
    }

    fn overlaps(tracker: &OverlapTracker, series: u64, times: &[i64]) -> Vec<u64> {
        tracker.overlapping(TABLE, &rows(&[(series, times)])).into_iter().map(|shard| shard.id).collect()
    }

    #[test]
    fn only_late_points_overlap() {
        let tracker = OverlapTracker::new(10);
        tracker.load(TABLE, Vec::new());
        assert!(overlaps(&tracker, 1, &[10, 20]).is_empty());
        tracker.flushed(TABLE, &rows(&[(1, &[10, 150, 250])]));
        assert!(overlaps(&tracker, 1, &[251]).is_empty());
        assert_eq!(overlaps(&tracker, 1, &[150, 250, 260, 300]), [2, 3]);
        assert_eq!(overlaps(&tracker, 2, &[10]), [1], "an unknown series may be stored already");
        tracker.note_new(TABLE, [SeriesId(2)].into_iter());
        assert!(overlaps(&tracker, 2, &[10]).is_empty(), "a new one can not");
    }

    #[test]
    fn an_empty_partition_cannot_overlap() {
        let tracker = OverlapTracker::new(10);
        tracker.load(TABLE, vec![(5, 420)]);
        assert!(overlaps(&tracker, 1, &[10, 110]).is_empty());
        assert_eq!(overlaps(&tracker, 1, &[110, 410]), [5]);
        tracker.forget_partitions(TABLE, &[5]);
        assert!(overlaps(&tracker, 1, &[410]).is_empty());
    }

    /// After a restart the series are unknown: what a flush brings says nothing of what was there before it.
    #[test]
    fn a_flush_after_a_restart_does_not_hide_what_was_stored() {
        let tracker = OverlapTracker::new(10);
        tracker.load(TABLE, vec![(1, 50), (2, 150), (3, 250)]);
        for week in 0..3 {
            let times = [week * 100 + 10, week * 100 + 50];
            assert_eq!(overlaps(&tracker, 1, &times), [week as u64 + 1]);
            tracker.flushed(TABLE, &rows(&[(1, &times)]));
        }
    }

    #[test]
    fn a_full_map_is_safe() {
        let tracker = OverlapTracker::new(1);
        tracker.load(TABLE, Vec::new());
        tracker.flushed(TABLE, &rows(&[(1, &[50])]));
        tracker.flushed(TABLE, &rows(&[(2, &[60])]));
        assert_eq!(overlaps(&tracker, 1, &[40]), [1]);
        assert!(overlaps(&tracker, 1, &[61]).is_empty());
    }
}
