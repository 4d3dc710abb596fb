//! The order of rows of one group that have the same time but belong to different series.
//!
//! InfluxDB does not define it, yet its answers depend on it: it merges one cursor a series, shard by shard, through a
//! binary heap. Here the rows of a group go through the same heap, so that small results come in InfluxDB's order.
//! A group that is too large to be held keeps the engine's order, which is that of the series.

use std::cmp::Ordering;
use std::collections::VecDeque;

use hashbrown::HashMap;
use hyperbytedb_domain::FieldValue;

use crate::error::ExecError;
use crate::row::{Row, RowStream, Series};
use crate::scan::table_rows::TableRows;
use crate::scope::Scope;

/// Rows of a group that are held to be put in order.
const GROUP_ROWS_MAX: usize = 65_536;

/// What decides between rows of one time.
#[derive(Debug, Clone)]
pub(crate) enum TieBreak {
    /// InfluxDB's heap of cursors. These inputs, by position, come before it as far as they are strings.
    Heap { texts: Vec<usize> },
    /// The order of the series.
    Series { ascending: bool },
}

/// Rows of a table with ties in InfluxDB's order.
pub(crate) struct TieOrder<'a> {
    rows: TableRows<'a>,
    scope: Scope,
    tie_break: TieBreak,
    /// How many rows of a series and shard are read.
    series_rows: Option<SeriesRows>,
    /// Rows in their final order.
    ready: VecDeque<Row>,
    /// The first row of the next group.
    held: Option<Tied>,
    /// The current group, if it is too large.
    passing: Option<Series>,
}

/// A row with what decides its place.
struct Tied {
    row: Row,
    series_key: String,
    shard: i128,
}

/// Counts the rows of each series within a shard.
struct SeriesRows {
    max: usize,
    shard: i128,
    counts: HashMap<String, usize>,
}

impl SeriesRows {
    fn admits(&mut self, series_key: &str, shard: i128) -> bool {
        if self.shard != shard {
            self.shard = shard;
            self.counts.clear();
        }
        let count = self.counts.entry_ref(series_key).or_default();
        *count += 1;
        *count <= self.max
    }
}

impl<'a> TieOrder<'a> {
    /// `series_rows_max`: rows beyond it are left out, of each series and shard.
    pub fn new(
        rows: TableRows<'a>,
        scope: &Scope,
        tie_break: TieBreak,
        series_rows_max: Option<usize>,
    ) -> Self {
        let series_rows = series_rows_max.map(|max| SeriesRows { max, shard: 0, counts: HashMap::new() });
        let (ready, held) = (VecDeque::new(), None);
        Self { rows, scope: scope.clone(), tie_break, series_rows, ready, held, passing: None }
    }

    /// Overwrites `row` with the next one that is read of its series; false at the end.
    fn read(&mut self, row: &mut Row) -> Result<bool, ExecError> {
        while self.rows.next_row(row)? {
            let Some(series_rows) = &mut self.series_rows else { return Ok(true) };
            if series_rows.admits(&self.rows.series_key(), self.rows.shards().index(row.time)) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn read_tied(&mut self) -> Result<Option<Tied>, ExecError> {
        let mut row = Row::default();
        Ok(self.read(&mut row)?.then(|| self.tied(row)))
    }

    /// The row that was read last, with what decides its place.
    fn tied(&self, row: Row) -> Tied {
        Tied { series_key: self.rows.series_key(), shard: self.rows.shards().index(row.time), row }
    }

    /// Reads a group and puts it in order; false at the end.
    fn fill(&mut self) -> Result<bool, ExecError> {
        let Some(first) = (match self.held.take() {
            Some(held) => Some(held),
            None => self.read_tied()?,
        }) else {
            return Ok(false);
        };
        let mut group = vec![first];
        while group.len() < GROUP_ROWS_MAX {
            match self.read_tied()? {
                Some(next) if self.is_same_group(&group[0].row.series, &next.row) => group.push(next),
                next => {
                    self.held = next;
                    self.ready = ordered(group, &self.tie_break, self.scope.ascending);
                    return Ok(true);
                }
            }
        }
        self.passing = Some(group[0].row.series.clone());
        self.ready = group.into_iter().map(|tied| tied.row).collect();
        Ok(true)
    }

    fn is_same_group(&self, group: &Series, row: &Row) -> bool {
        self.scope.grouping.compare_outer_groups(group, &row.series).is_eq()
    }
}

impl RowStream for TieOrder<'_> {
    fn next_row(&mut self, row: &mut Row) -> Result<bool, ExecError> {
        loop {
            if let Some(next) = self.ready.pop_front() {
                *row = next;
                return Ok(true);
            }
            if let Some(group) = self.passing.take() {
                if !self.read(row)? {
                    return Ok(false);
                }
                if self.is_same_group(&group, row) {
                    self.passing = Some(group);
                    return Ok(true);
                }
                self.held = Some(self.tied(std::mem::take(row)));
            }
            if !self.fill()? {
                return Ok(false);
            }
        }
    }
}

/// The rows of a group, which come in the order of their times.
fn ordered(mut group: Vec<Tied>, tie_break: &TieBreak, ascending: bool) -> VecDeque<Row> {
    if group.windows(2).all(|pair| pair[0].row.time != pair[1].row.time) {
        return group.into_iter().map(|tied| tied.row).collect();
    }
    let texts = match tie_break {
        TieBreak::Heap { texts } => texts,
        TieBreak::Series { ascending } => {
            for ties in group.chunk_by_mut(|a, b| a.row.time == b.row.time) {
                ties.sort_by(|a, b| directed(a.series_key.cmp(&b.series_key), *ascending));
            }
            return group.into_iter().map(|tied| tied.row).collect();
        }
    };
    let mut out = VecDeque::with_capacity(group.len());
    let mut rest = group.into_iter().peekable();
    while let Some(first) = rest.next() {
        let shard = first.shard;
        let mut rows = vec![first];
        while let Some(next) = rest.next_if(|next| next.shard == shard) {
            rows.push(next);
        }
        out.extend(merged(rows, texts, ascending));
    }
    out
}

fn directed(ordering: Ordering, ascending: bool) -> Ordering {
    if ascending { ordering } else { ordering.reverse() }
}

/// One cursor a series, merged.
fn merged(rows: Vec<Tied>, texts: &[usize], ascending: bool) -> Vec<Row> {
    let mut keys: Vec<&str> = rows.iter().map(|tied| tied.series_key.as_str()).collect();
    keys.sort_unstable();
    keys.dedup();
    if !ascending {
        keys.reverse();
    }
    let position: HashMap<String, usize> =
        keys.iter().enumerate().map(|(i, key)| ((*key).to_owned(), i)).collect();
    let mut cursors: Vec<VecDeque<Row>> = keys.iter().map(|_| VecDeque::new()).collect();
    for tied in rows {
        if let Some(&cursor) = position.get(&tied.series_key) {
            cursors[cursor].push_back(tied.row);
        }
    }
    let mut heap = Heap { items: (0..cursors.len()).collect(), cursors, texts, ascending };
    heap.init();
    std::iter::from_fn(|| heap.next()).collect()
}

/// Go's `container/heap` over cursors: where rows are equal, its moves decide.
struct Heap<'t> {
    items: Vec<usize>,
    cursors: Vec<VecDeque<Row>>,
    texts: &'t [usize],
    ascending: bool,
}

impl Heap<'_> {
    fn less(&self, a: usize, b: usize) -> bool {
        let head = |i: usize| self.cursors[self.items[i]].front();
        let (Some(a), Some(b)) = (head(a), head(b)) else { return false };
        let ordering = a.time.cmp(&b.time).then_with(|| compare_texts(self.texts, a, b));
        directed(ordering, self.ascending).is_lt()
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

/// Compares strings, up to the first value that is none.
fn compare_texts(texts: &[usize], a: &Row, b: &Row) -> Ordering {
    for &i in texts {
        let (FieldValue::String(a), FieldValue::String(b)) = (&a.values[i], &b.values[i]) else { break };
        let ordering = a.cmp(b);
        if ordering.is_ne() {
            return ordering;
        }
    }
    Ordering::Equal
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAP: TieBreak = TieBreak::Heap { texts: Vec::new() };

    fn tied(key: &str, time: i64) -> Tied {
        let values = vec![FieldValue::String(key.into())];
        let row = Row { time, values, ..Row::default() };
        Tied { row, series_key: key.to_owned(), shard: 0 }
    }

    fn keys(rows: impl IntoIterator<Item = Row>) -> String {
        let text = |row: Row| match &row.values[0] {
            FieldValue::String(text) => text.to_string(),
            other => format!("{other:?}"),
        };
        rows.into_iter().map(text).collect()
    }

    #[test]
    fn the_heap_decides() {
        // After the row of `a` at 1 the heap is c, b.
        let rows = || ["a", "b", "c"].map(|key| tied(key, 1)).into();
        assert_eq!(keys(ordered(rows(), &HEAP, true)), "acb");
    }

    #[test]
    fn strings_come_before_the_heap() {
        let rows = || ["a", "b", "c"].map(|key| tied(key, 1)).into();
        let texts = TieBreak::Heap { texts: vec![0] };
        assert_eq!(keys(ordered(rows(), &texts, true)), "abc");
        assert_eq!(keys(ordered(rows(), &texts, false)), "cba");
    }

    #[test]
    fn series_in_order() {
        let rows = || ["b", "a", "c"].map(|key| tied(key, 1)).into();
        assert_eq!(keys(ordered(rows(), &TieBreak::Series { ascending: true }, true)), "abc");
        assert_eq!(keys(ordered(rows(), &TieBreak::Series { ascending: false }, true)), "cba");
    }

    #[test]
    fn every_row_comes_once() {
        let rows = (0..100).map(|i| tied(["a", "b", "c"][i % 3], (i / 7) as i64)).collect::<Vec<_>>();
        let mut sorted: Vec<i64> = rows.iter().map(|t| t.row.time).collect();
        sorted.sort_unstable();
        let times: Vec<i64> = ordered(rows, &HEAP, true).iter().map(|row| row.time).collect();
        assert_eq!(times, sorted);
    }

    #[test]
    fn a_series_is_read_up_to_its_limit_in_each_shard() {
        let mut rows = SeriesRows { max: 1, shard: 0, counts: HashMap::new() };
        assert!(rows.admits("a", 0) && rows.admits("b", 0));
        assert!(!rows.admits("a", 0));
        assert!(rows.admits("a", 1));
    }
}
