//! Rows of a partition, a page at a time.

use std::sync::Arc;
use std::time::Duration;

use hyperbytedb_domain::EngineError;
use hyperbytedb_domain::catalog::{Catalog, ShardGroup, Table, TableId};
use hyperbytedb_domain::ports::{ReceiveError, RowsPage, RowsQuery};
use hyperbytedb_line_protocol::print_point;

use super::{POLL, RepairService, background};
use crate::reader::TableReader;
use crate::waiting;
use crate::waiting::now_ns;
use crate::warm::as_written;

/// How long another node may wait for what this one has agreed on.
const PATIENCE: Duration = Duration::from_secs(5);
/// Rows of a page at most: of several times, where there are fewer series.
const ROWS_MAX: u64 = 100_000;
/// A page with so many bytes ends at the next time.
const BYTES_MAX: usize = 8 << 20;
/// A page of several series with so many bytes ends before the time that it has come to.
const BYTES_OF_A_TIME_MAX: usize = 32 << 20;

/// A partition of a table.
pub struct Partition {
    pub table: Arc<Table>,
    pub group: ShardGroup,
}

impl Partition {
    /// A partition as this node knows it, once it has seen an agreed entry. `None`: there is none any more.
    pub fn seen(
        service: &RepairService,
        agreed_index: u64,
        table: TableId,
        shard: u64,
    ) -> Result<Option<Self>, ReceiveError> {
        let until = waiting::now() + PATIENCE;
        while service.catalog.catalog().cluster.applied_index() < agreed_index {
            if waiting::now() >= until {
                let text = format!("node {} knows less of the schema", service.node);
                return Err(ReceiveError::NotNow(text));
            }
            waiting::sleep(POLL);
        }
        let catalog = service.catalog.catalog();
        let Some(table) = catalog.table_by_id(table) else { return Ok(None) };
        let policy = catalog.policy_of(table);
        let group = policy.and_then(|policy| policy.shard_groups.values().find(|group| group.id == shard));
        Ok(group.map(|group| Self { table: table.clone(), group: *group }))
    }

    /// The partitions of a table. One that is partly past its policy loses rows all the time, and soon all of them.
    pub fn unexpired(catalog: &Catalog, table: &Arc<Table>) -> Vec<Self> {
        let Some(policy) = catalog.policy_of(table) else { return Vec::new() };
        let visible_from = policy.visible_from(now_ns());
        let groups = policy.shard_groups.values().filter(|group| group.start >= visible_from);
        groups.map(|group| Self { table: table.clone(), group: *group }).collect()
    }

    /// The first rows that are asked for. A page of one series has at least those of one time.
    pub fn read(&self, reader: &TableReader, query: &RowsQuery) -> Result<RowsPage, EngineError> {
        let Self { table, group } = self;
        let limit = query.limit.clamp(1, ROWS_MAX);
        let mut stream = reader.stored_rows(table, group, &query.series, query.from, limit, &background())?;
        let mut page = Page::new(query.series.len() > 1);
        while let Some(batch) = stream.next_batch()? {
            let read = as_written(table, &batch).map_err(|e| EngineError::failed("compare rows", e))?;
            let points = read.into_points();
            for row in 0..points.rows() {
                if page.ends_before(points.times[row]) {
                    return Ok(page.ended());
                }
                print_point(&points, row, &mut page.lines);
                page.rows += 1;
            }
        }
        // Further rows may be of the time of the last one.
        Ok(if page.rows >= limit {
            page.ended()
        } else {
            RowsPage { lines: page.lines, ..RowsPage::default() }
        })
    }
}

/// A page as it is made.
struct Page {
    lines: String,
    rows: u64,
    of_several_series: bool,
    /// Of the last row, and where the rows of that time begin.
    time: Option<i64>,
    begin: usize,
}

impl Page {
    fn new(of_several_series: bool) -> Self {
        Self { lines: String::new(), rows: 0, of_several_series, time: None, begin: 0 }
    }

    /// Whether no row of this time, which is not before that of the last row, has a place.
    fn ends_before(&mut self, time: i64) -> bool {
        if self.time != Some(time) {
            let is_full = self.lines.len() >= BYTES_MAX;
            (self.time, self.begin) = (Some(time), self.lines.len());
            return is_full;
        }
        self.of_several_series && self.lines.len() >= BYTES_OF_A_TIME_MAX
    }

    /// Without the rows of the last time.
    fn ended(mut self) -> RowsPage {
        self.lines.truncate(self.begin);
        RowsPage { lines: self.lines, complete_before: self.time, clock: 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pages of rows of a length at these times: the time that each ends before, and its rows.
    fn page(of_several: bool, times: &[i64], bytes: usize) -> (Option<i64>, usize) {
        let mut page = Page::new(of_several);
        for &time in times {
            if page.ends_before(time) {
                let ended = page.ended();
                return (ended.complete_before, ended.lines.len() / bytes);
            }
            page.lines.push_str(&"x".repeat(bytes));
        }
        (None, page.lines.len() / bytes)
    }

    #[test]
    fn a_page_ends_between_two_times() {
        let bytes = BYTES_MAX / 4;
        assert_eq!(page(true, &[1, 2, 2, 3], bytes), (None, 4));
        assert_eq!(page(true, &[1, 2, 2, 2, 2, 3], bytes), (Some(3), 5), "the rows of a time together");
        assert_eq!(page(true, &[1, 2, 3, 4, 5], bytes), (Some(5), 4));
    }

    #[test]
    fn what_is_too_much_of_a_time_is_left_out() {
        let bytes = BYTES_OF_A_TIME_MAX / 2;
        assert_eq!(page(true, &[1, 1, 1], bytes), (Some(1), 0), "nothing: fewer series have to be asked for");
        assert_eq!(page(false, &[1, 1, 1, 2], bytes), (Some(2), 3), "one series has what it has");
    }
}
