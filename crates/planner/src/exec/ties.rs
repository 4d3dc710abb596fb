//! The order of rows of one group that have the same time but belong to different series.
//!
//! InfluxDB does not define it, yet its answers depend on it: it merges one cursor a series, shard by shard, through a
//! binary heap. Here the rows of a group go through the same heap, so that small results come in InfluxDB's order.
//! A group that is too large to be held keeps the engine's order, which is that of the series.

use std::collections::VecDeque;

use super::error::ExecError;
use super::row::{Row, RowStream};
use super::scan::TableRows;

/// Rows of a group that are held to be put in order.
const GROUP_ROWS_MAX: usize = 65_536;
/// Nanoseconds from the first instant of year 1, from which shards are counted, to 1970.
const YEAR_ONE_NS: i128 = 62_135_596_800 * 1_000_000_000;

/// Rows of a table with ties in InfluxDB's order.
pub(super) struct TieOrder<'a> {
    rows: TableRows<'a>,
    ascending: bool,
    /// Rows in their final order.
    ready: VecDeque<Row>,
    /// The first row of the next group.
    held: Option<Tied>,
    /// The current group is too large.
    passing: bool,
}

/// A row with what decides its place.
struct Tied {
    row: Row,
    series_key: String,
    shard: i128,
}

impl<'a> TieOrder<'a> {
    pub fn new(rows: TableRows<'a>, ascending: bool) -> Self {
        Self { rows, ascending, ready: VecDeque::new(), held: None, passing: false }
    }

    fn read(&mut self) -> Result<Option<Tied>, ExecError> {
        let mut row = Row::default();
        if !self.rows.next_row(&mut row)? {
            return Ok(None);
        }
        let width = i128::from(self.rows.shard_duration().max(1));
        let shard = (i128::from(row.time) + YEAR_ONE_NS).div_euclid(width);
        Ok(Some(Tied { series_key: self.rows.series_key(), row, shard }))
    }

    /// Reads a group and puts it in order; false at the end.
    fn fill(&mut self) -> Result<bool, ExecError> {
        let Some(first) = (match self.held.take() {
            Some(held) => Some(held),
            None => self.read()?,
        }) else {
            return Ok(false);
        };
        let mut group = vec![first];
        while group.len() < GROUP_ROWS_MAX {
            match self.read()? {
                Some(next) if next.row.series == group[0].row.series => group.push(next),
                next => {
                    self.held = next;
                    self.ready = ordered(group, self.ascending);
                    return Ok(true);
                }
            }
        }
        self.passing = true;
        self.ready = group.into_iter().map(|tied| tied.row).collect();
        Ok(true)
    }
}

impl RowStream for TieOrder<'_> {
    fn next_row(&mut self, row: &mut Row) -> Result<bool, ExecError> {
        loop {
            if let Some(next) = self.ready.pop_front() {
                *row = next;
                return Ok(true);
            }
            if self.passing {
                return self.rows.next_row(row);
            }
            if !self.fill()? {
                return Ok(false);
            }
        }
    }
}

/// The rows of a group, shard by shard through the heap.
fn ordered(group: Vec<Tied>, ascending: bool) -> VecDeque<Row> {
    if group.windows(2).all(|pair| pair[0].row.time != pair[1].row.time) {
        return group.into_iter().map(|tied| tied.row).collect();
    }
    let mut out = VecDeque::with_capacity(group.len());
    let mut rest = group.into_iter().peekable();
    while let Some(first) = rest.next() {
        let shard = first.shard;
        let mut rows = vec![first];
        while let Some(next) = rest.next_if(|next| next.shard == shard) {
            rows.push(next);
        }
        out.extend(merged(rows, ascending));
    }
    out
}

/// One cursor a series, merged.
fn merged(rows: Vec<Tied>, ascending: bool) -> Vec<Row> {
    let mut keys: Vec<&str> = rows.iter().map(|tied| tied.series_key.as_str()).collect();
    keys.sort_unstable();
    keys.dedup();
    if !ascending {
        keys.reverse();
    }
    let position: hashbrown::HashMap<String, usize> =
        keys.iter().enumerate().map(|(i, key)| ((*key).to_owned(), i)).collect();
    let mut cursors: Vec<VecDeque<Row>> = keys.iter().map(|_| VecDeque::new()).collect();
    for tied in rows {
        if let Some(&cursor) = position.get(&tied.series_key) {
            cursors[cursor].push_back(tied.row);
        }
    }
    let mut heap = Heap { items: (0..cursors.len()).collect(), cursors, ascending };
    heap.init();
    std::iter::from_fn(|| heap.next()).collect()
}

/// Go's `container/heap` over cursors: where times are equal, its moves decide.
struct Heap {
    items: Vec<usize>,
    cursors: Vec<VecDeque<Row>>,
    ascending: bool,
}

impl Heap {
    fn less(&self, a: usize, b: usize) -> bool {
        let time = |i: usize| self.cursors[self.items[i]].front().map_or(0, |row| row.time);
        if self.ascending { time(a) < time(b) } else { time(a) > time(b) }
    }

    fn init(&mut self) {
        let count = self.items.len();
        for i in (0..count / 2).rev() {
            self.down(i, count);
        }
    }

    fn next(&mut self) -> Option<Row> {
        let last = self.items.len().checked_sub(1)?;
        self.items.swap(0, last);
        self.down(0, last);
        let cursor = self.items.pop()?;
        let row = self.cursors[cursor].pop_front();
        if !self.cursors[cursor].is_empty() {
            self.items.push(cursor);
            self.up(self.items.len() - 1);
        }
        row
    }

    fn up(&mut self, mut j: usize) {
        while j > 0 {
            let parent = (j - 1) / 2;
            if !self.less(j, parent) {
                break;
            }
            self.items.swap(parent, j);
            j = parent;
        }
    }

    fn down(&mut self, mut i: usize, count: usize) {
        loop {
            let left = 2 * i + 1;
            if left >= count {
                break;
            }
            let right = left + 1;
            let child = if right < count && self.less(right, left) { right } else { left };
            if !self.less(child, i) {
                break;
            }
            self.items.swap(i, child);
            i = child;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tied(key: &str, time: i64) -> Tied {
        Tied { row: Row { time, ..Row::default() }, series_key: key.to_owned(), shard: 0 }
    }

    #[test]
    fn rows_of_one_time_come_as_the_heap_gives_them() {
        // a: 15 45 75, b: 5 25 45: at 45 the heap holds b before a.
        let rows =
            vec![tied("b", 5), tied("a", 15), tied("b", 25), tied("a", 45), tied("b", 45), tied("a", 75)];
        let times: Vec<i64> = merged(rows, true).iter().map(|row| row.time).collect();
        assert_eq!(times, [5, 15, 25, 45, 45, 75]);
    }

    #[test]
    fn every_row_comes_once() {
        let rows = (0..100).map(|i| tied(["a", "b", "c"][i % 3], (i / 7) as i64)).collect::<Vec<_>>();
        let mut sorted: Vec<i64> = rows.iter().map(|t| t.row.time).collect();
        sorted.sort_unstable();
        let times: Vec<i64> = ordered(rows, true).iter().map(|row| row.time).collect();
        assert_eq!(times, sorted);
    }
}
