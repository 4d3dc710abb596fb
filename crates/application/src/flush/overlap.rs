//! Could a flush store a second row of a series and time that is already there?
//!
//! Answered from the greatest flushed time of each series, kept in a bounded map. A series that is not in it counts as
//! overlapping unless its points are newer than everything in the table.

use std::collections::{BTreeSet, HashMap};

use hyperbytedb_domain::SeriesId;
use hyperbytedb_domain::catalog::{Table, TableId};
use parking_lot::Mutex;

use crate::memtable::columns::SeriesExtent;

/// Greatest flushed times.
#[derive(Debug)]
pub struct OverlapTracker {
    tables: Mutex<HashMap<TableId, TableTimes>>,
    /// Entries kept per table; a table with more series starts over.
    series_per_table_max: usize,
}

#[derive(Debug, Default)]
struct TableTimes {
    /// Greatest time in the table; `None` = nothing stored.
    max_time: Option<i64>,
    /// `i64::MIN` = the series is new: nothing stored.
    series: HashMap<SeriesId, i64>,
}

impl OverlapTracker {
    pub fn new(series_per_table_max: usize) -> Self {
        Self { tables: Mutex::default(), series_per_table_max }
    }

    /// Whether the table's greatest time is known.
    pub fn knows(&self, table: TableId) -> bool {
        self.tables.lock().contains_key(&table)
    }

    /// Sets what is stored in a table before the first flush of this process.
    pub fn load(&self, table: TableId, max_time: Option<i64>) {
        self.tables.lock().entry(table).or_insert_with(|| TableTimes { max_time, series: HashMap::new() });
    }

    /// Notes series that have just been registered for the first time.
    pub fn note_new(&self, table: TableId, series: impl Iterator<Item = SeriesId>) {
        let mut tables = self.tables.lock();
        let Some(times) = tables.get_mut(&table) else { return };
        for id in series {
            if times.series.len() >= self.series_per_table_max {
                return;
            }
            times.series.entry(id).or_insert(i64::MIN);
        }
    }

    /// Partitions in which these rows may repeat a stored (series, time). `row_times` are the times of the batch.
    pub fn overlapping(&self, table: &Table, extents: &[SeriesExtent], row_times: &[i64]) -> Vec<i64> {
        let tables = self.tables.lock();
        let Some(times) = tables.get(&table.id) else { return all_partitions(table, row_times) };
        let Some(table_max) = times.max_time else { return Vec::new() };
        let mut partitions = BTreeSet::new();
        for extent in extents {
            let bound = times.series.get(&extent.series).copied().unwrap_or(table_max);
            if extent.min_time <= bound {
                let rows = row_times.get(extent.from..extent.to).unwrap_or_default();
                partitions.extend(rows.iter().take_while(|&&t| t <= bound).map(|&t| table.partition_of(t)));
            }
        }
        partitions.into_iter().collect()
    }

    /// Notes rows that are now stored.
    pub fn flushed(&self, table: TableId, extents: &[SeriesExtent]) {
        let mut tables = self.tables.lock();
        let Some(times) = tables.get_mut(&table) else { return };
        if times.series.len() + extents.len() > self.series_per_table_max {
            times.series.clear();
        }
        for extent in extents {
            times.max_time = times.max_time.max(Some(extent.max_time));
            if times.series.len() < self.series_per_table_max {
                let last = times.series.entry(extent.series).or_insert(i64::MIN);
                *last = (*last).max(extent.max_time);
            }
        }
    }

    pub fn forget(&self, table: TableId) {
        self.tables.lock().remove(&table);
    }
}

fn all_partitions(table: &Table, row_times: &[i64]) -> Vec<i64> {
    row_times.iter().map(|&t| table.partition_of(t)).collect::<BTreeSet<_>>().into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        Table {
            id: TableId(1),
            database: "db".into(),
            retention_policy: "rp".into(),
            measurement: "m".into(),
            partition_duration: 100,
            tags: vec![],
            fields: vec![],
        }
    }

    fn extent(series: u64, times: &[i64]) -> SeriesExtent {
        SeriesExtent {
            series: SeriesId(series),
            from: 0,
            to: times.len(),
            min_time: times[0],
            max_time: times[times.len() - 1],
        }
    }

    fn overlaps(tracker: &OverlapTracker, series: u64, times: &[i64]) -> Vec<i64> {
        tracker.overlapping(&table(), &[extent(series, times)], times)
    }

    #[test]
    fn only_late_points_overlap() {
        let tracker = OverlapTracker::new(10);
        let id = TableId(1);
        tracker.load(id, None);
        assert!(overlaps(&tracker, 1, &[10, 20]).is_empty());
        tracker.flushed(id, &[extent(1, &[10, 250])]);
        assert!(overlaps(&tracker, 1, &[251]).is_empty());
        assert_eq!(overlaps(&tracker, 1, &[150, 250, 260, 300]), [1, 2]);
        assert_eq!(overlaps(&tracker, 2, &[10]), [0], "an unknown series may be stored already");
        tracker.note_new(id, [SeriesId(2)].into_iter());
        assert!(overlaps(&tracker, 2, &[10]).is_empty(), "a new one can not");
    }

    #[test]
    fn a_full_map_is_safe() {
        let tracker = OverlapTracker::new(1);
        tracker.load(TableId(1), None);
        tracker.flushed(TableId(1), &[extent(1, &[50])]);
        tracker.flushed(TableId(1), &[extent(2, &[60])]);
        assert_eq!(overlaps(&tracker, 1, &[40]), [0]);
        assert!(overlaps(&tracker, 1, &[61]).is_empty());
    }
}
