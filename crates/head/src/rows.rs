//! Rows of a table in the order of a row scan.
//!
//! The chunks are taken when the scan begins; rows are merged when they are asked for.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::RecordBatch;
use hyperbytedb_domain::ports::BatchStream;
use hyperbytedb_domain::scan::{FieldId, RowScan, Scan, TagId};
use hyperbytedb_domain::{EngineError, QueryContext, TimeRange};

use crate::chunk::Chunk;
use crate::columns::RowColumns;
use crate::filter::RowFilter;
use crate::series::SeriesHead;
use crate::table::{Index, TableHead};

/// Rows of a batch.
const BATCH_ROWS: usize = 8192;
/// Series between two looks at whether the query is still wanted.
const CHECK_SERIES: usize = 1024;

/// The rows of one series.
pub struct Source {
    /// The tags of the scan: codes and texts.
    pub tags: Box<[(u32, Arc<str>)]>,
    group: Box<[Arc<str>]>,
    ties: String,
    rest: Option<RowFilter>,
    chunks: Vec<Arc<Chunk>>,
}

/// A position in a source.
struct Cursor {
    /// Chunks begun, counted from the end when descending.
    chunk: usize,
    /// What is left of the last of them.
    rows: Range<usize>,
}

/// A row that is next in its source, ordered as rows of a group are.
type Next = Reverse<(i64, usize)>;

/// A running row scan.
pub struct RowStream {
    rows: RowScan,
    time: TimeRange,
    columns: RowColumns,
    context: QueryContext,
    /// By group, then in the order that decides among rows of one time.
    sources: Vec<Source>,
    cursors: Vec<Cursor>,
    /// The sources that have not begun.
    ahead: usize,
    heap: BinaryHeap<Next>,
    /// Rows of the group so far.
    group_rows: u64,
}

impl RowStream {
    pub fn new(
        head: &TableHead,
        scan: &Scan,
        rows: &RowScan,
        context: &QueryContext,
    ) -> Result<Self, EngineError> {
        let (table, time) = (&scan.table, scan.time);
        let ties = table.other_tags(&rows.group_by);
        let source = |index: &Index, series: &Arc<SeriesHead>, rest| {
            let text = |tag: &TagId| index.shared_tag_value(series, *tag);
            let tags = rows.tags.iter().map(|tag| (series.code(tag.0 as usize), text(tag))).collect();
            let group = rows.group_by.iter().map(text).collect();
            let ties: Vec<&str> = ties.iter().map(|tag| index.tag_value(series, *tag)).collect();
            let source = Source { tags, group, ties: ties.join("\0"), rest, chunks: Vec::new() };
            (source, series.clone())
        };
        let selected = head.select(scan.filter.as_ref(), table, rows.series.as_deref(), source)?;
        let mut sources = Vec::with_capacity(selected.len());
        for (n, (source, series)) in selected.into_iter().enumerate() {
            if n % CHECK_SERIES == 0 {
                context.keep_pace()?;
            }
            let chunks = series.chunks_in(time);
            if !chunks.is_empty() {
                sources.push(Source { chunks, ..source });
            }
        }
        sources.sort_unstable_by(|a, b| {
            let groups = a.group.cmp(&b.group);
            let groups = if rows.descending { groups.reverse() } else { groups };
            groups.then_with(|| a.ties.cmp(&b.ties))
        });
        let cursors = sources.iter().map(|_| Cursor { chunk: 0, rows: 0..0 }).collect();
        Ok(Self {
            rows: rows.clone(),
            time,
            columns: RowColumns::new(table, rows),
            context: context.clone(),
            sources,
            cursors,
            ahead: 0,
            heap: BinaryHeap::new(),
            group_rows: 0,
        })
    }

    /// Puts the series of the next group into the heap. False when there is none.
    fn next_group(&mut self) -> bool {
        let first = self.ahead;
        let Some(group) = self.sources.get(first).map(|source| source.group.clone()) else { return false };
        let members = self.sources[first..].iter().take_while(|source| source.group == group).count();
        self.ahead += members;
        self.group_rows = 0;
        (first..self.ahead).for_each(|source| self.push_next(source));
        true
    }

    /// Moves a source to its next row that the scan wants, and puts that into the heap.
    fn push_next(&mut self, source: usize) {
        let (of, cursor) = (&self.sources[source], &mut self.cursors[source]);
        let descending = self.rows.descending;
        loop {
            let Some((chunk, row)) = of.at(cursor, descending) else {
                let Some(chunk) = of.chunk(cursor.chunk, descending) else { return };
                cursor.rows = chunk.rows_in(self.time);
                cursor.chunk += 1;
                continue;
            };
            if of.wants(chunk, row, &self.rows.any_of) {
                let time = chunk.time(row);
                // A later time comes first when descending; turning all bits round cannot overflow.
                let key = if descending { !time } else { time };
                self.heap.push(Reverse((key, source)));
                return;
            }
            cursor.advance(descending);
        }
    }

    /// Appends the next row of the group. False at its end.
    fn next_row(&mut self) -> bool {
        let limit = self.rows.limit_per_group;
        if limit > 0 && self.group_rows >= limit {
            self.heap.clear();
            return false;
        }
        let Some(Reverse((_, source))) = self.heap.pop() else { return false };
        let (of, cursor) = (&self.sources[source], &mut self.cursors[source]);
        if let Some((chunk, row)) = of.at(cursor, self.rows.descending) {
            self.columns.append(of, chunk, row);
            self.group_rows += 1;
        }
        cursor.advance(self.rows.descending);
        self.push_next(source);
        true
    }
}

impl BatchStream for RowStream {
    fn next_batch(&mut self) -> Result<Option<RecordBatch>, EngineError> {
        self.context.keep_pace()?;
        while self.columns.rows() < BATCH_ROWS {
            if !self.next_row() && !self.next_group() {
                break;
            }
        }
        if self.columns.rows() == 0 {
            return Ok(None);
        }
        self.columns.finish().map(Some)
    }
}

impl Source {
    fn chunk(&self, number: usize, descending: bool) -> Option<&Arc<Chunk>> {
        if descending { self.chunks.iter().rev().nth(number) } else { self.chunks.get(number) }
    }

    /// The row that a cursor stands on; `None` at the end of its chunk.
    fn at(&self, cursor: &Cursor, descending: bool) -> Option<(&Chunk, usize)> {
        let row = cursor.row(descending)?;
        Some((self.chunk(cursor.chunk.checked_sub(1)?, descending)?, row))
    }

    fn wants(&self, chunk: &Chunk, row: usize, any_of: &[FieldId]) -> bool {
        (any_of.is_empty() || chunk.has_any(row, any_of))
            && self.rest.as_ref().is_none_or(|rest| rest.is_met(chunk, row))
    }
}

impl Cursor {
    fn row(&self, descending: bool) -> Option<usize> {
        let mut rows = self.rows.clone();
        if descending { rows.next_back() } else { rows.next() }
    }

    fn advance(&mut self, descending: bool) {
        let _ = if descending { self.rows.next_back() } else { self.rows.next() };
    }
}
