//! Aggregates by group and window.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Builder, RecordBatch};
use hashbrown::HashMap;
use hyperbytedb_domain::scan::{AggregateFunction, AggregateScan, FieldId, Scan, TagId};
use hyperbytedb_domain::settings;
use hyperbytedb_domain::time::MIN_TIME;
use hyperbytedb_domain::{EngineError, FieldType, FieldValue, QueryContext, TimeRange};

use crate::accumulator::Accumulator;
use crate::chunk::Chunk;
use crate::columns::{TagColumn, ValueColumn, batch};
use crate::filter::RowFilter;
use crate::series::SeriesHead;
use crate::table::{Index, TableHead};
use crate::value::Value;

/// Series between two looks at whether the query is still wanted.
const CHECK_SERIES: usize = 256;
/// Bytes of a value that an aggregate must hold.
const HELD_BYTES: usize = 16;

type Key = Box<[Arc<str>]>;

/// What is read of one series.
struct Selected {
    chunks: Vec<Arc<Chunk>>,
    rest: Option<RowFilter>,
    group: u32,
}

/// One row of the answer.
struct Cell {
    group: u32,
    start: i64,
    rows: u64,
    accumulators: Vec<Accumulator>,
}

/// An aggregation of the chunks as they were when it was made.
pub struct Aggregation<'a> {
    scan: &'a AggregateScan,
    types: Vec<FieldType>,
    time: TimeRange,
    selected: Vec<Selected>,
    groups: Groups,
    cells: Vec<Cell>,
    by_key: HashMap<(u32, i64), usize>,
}

impl<'a> Aggregation<'a> {
    pub fn new(head: &TableHead, scan: &Scan, aggregates: &'a AggregateScan) -> Result<Self, EngineError> {
        let time = scan.time;
        let mut groups = Groups::default();
        let select = |index: &Index, series: &Arc<SeriesHead>, rest| {
            let group = groups.group_of(index, series, &aggregates.group_by);
            Selected { chunks: series.chunks_in(time), rest, group }
        };
        let selected =
            head.select(scan.filter.as_ref(), &scan.table, aggregates.series.as_deref(), select)?;
        let field_type = |field| scan.table.field_type(field).unwrap_or(FieldType::Float);
        Ok(Self {
            scan: aggregates,
            types: aggregates.aggregates.iter().map(|a| field_type(a.field)).collect(),
            time,
            selected,
            groups,
            cells: Vec::new(),
            by_key: HashMap::new(),
        })
    }

    /// How many values it looks at, about.
    pub fn values(&self) -> usize {
        if end_of(self.scan).is_some() {
            return self.selected.len() * self.scan.aggregates.len();
        }
        let rows: usize = self.selected.iter().flat_map(|s| &s.chunks).map(|chunk| chunk.rows()).sum();
        rows * self.scan.aggregates.len().max(1)
    }

    /// The answer, in one batch; `None` when there is no row.
    pub fn run(mut self, context: &QueryContext) -> Result<Option<RecordBatch>, EngineError> {
        for (n, series) in std::mem::take(&mut self.selected).iter().enumerate() {
            if n % CHECK_SERIES == 0 {
                context.keep_pace()?;
                self.check_memory(context)?;
            }
            self.take(series);
        }
        self.answer()
    }

    fn check_memory(&self, context: &QueryContext) -> Result<(), EngineError> {
        let held =
            || self.cells.iter().flat_map(|cell| &cell.accumulators).map(Accumulator::held).sum::<usize>();
        let limit = context.max_memory_bytes;
        if limit > 0 && (held() * HELD_BYTES) as u64 > limit {
            return Err(EngineError::MemoryLimit { setting: settings::QUERY_MAX_MEMORY_BYTES });
        }
        Ok(())
    }

    fn take(&mut self, selected: &Selected) {
        match end_of(self.scan) {
            None => selected.chunks.iter().for_each(|chunk| self.take_chunk(selected, chunk)),
            Some(End::First) => self.take_until_found(selected, selected.chunks.iter()),
            Some(End::Last) => self.take_until_found(selected, selected.chunks.iter().rev()),
        }
    }

    /// Takes chunks until every field has had a value.
    fn take_until_found<'c>(&mut self, selected: &Selected, chunks: impl Iterator<Item = &'c Arc<Chunk>>) {
        let mut missing: Vec<FieldId> = self.scan.aggregates.iter().map(|a| a.field).collect();
        for chunk in chunks {
            self.take_chunk(selected, chunk);
            let is_met = |row: &usize| selected.rest.as_ref().is_none_or(|rest| rest.is_met(chunk, *row));
            missing.retain(|field| {
                let rows = chunk.rows_in(self.time).filter(is_met);
                let position = chunk.layout().position(*field);
                position.is_none_or(|position| chunk.present_words(position, rows).next().is_none())
            });
            if missing.is_empty() {
                return;
            }
        }
    }

    fn take_chunk(&mut self, selected: &Selected, chunk: &Chunk) {
        let rows = chunk.rows_in(self.time);
        match &selected.rest {
            None => self.take_rows(chunk, selected.group, rows),
            Some(rest) => {
                let met: Vec<usize> = rows.filter(|&row| rest.is_met(chunk, row)).collect();
                self.take_rows(chunk, selected.group, met.into_iter());
            }
        }
    }

    /// Takes rows of one chunk, window by window.
    fn take_rows(&mut self, chunk: &Chunk, group: u32, mut rows: impl Iterator<Item = usize> + Clone) {
        let positions: Vec<Option<usize>> =
            self.scan.aggregates.iter().map(|a| chunk.layout().position(a.field)).collect();
        loop {
            let Some(first) = rows.clone().next() else { return };
            let (start, last) = self.window_of(chunk.time(first));
            let run = rows.clone().take_while(|&row| chunk.time(row) <= last);
            let count = run.clone().count();
            let cell = self.cell(group, start);
            cell.rows += count as u64;
            for (accumulator, position) in cell.accumulators.iter_mut().zip(&positions) {
                if let Some(position) = position {
                    accumulator.take(chunk, *position, run.clone());
                }
            }
            if count > 0 {
                rows.nth(count - 1);
            }
        }
    }

    /// The start of the window of a time, and its last instant.
    fn window_of(&self, time: i64) -> (i64, i64) {
        let Some(window) = self.scan.window else { return (0, i64::MAX) };
        let start = i128::from(time) - window.since_start(time);
        let last = (start + i128::from(window.every.max(1)) - 1).min(i128::from(i64::MAX)) as i64;
        // A window may begin before all time.
        (start.max(i128::from(MIN_TIME)) as i64, last)
    }

    fn cell(&mut self, group: u32, start: i64) -> &mut Cell {
        let at = *self.by_key.entry((group, start)).or_insert_with(|| {
            let new = self.scan.aggregates.iter().zip(&self.types);
            let accumulators = new.map(|(a, field_type)| Accumulator::new(a.function, *field_type)).collect();
            self.cells.push(Cell { group, start, rows: 0, accumulators });
            self.cells.len() - 1
        });
        &mut self.cells[at]
    }

    fn answer(mut self) -> Result<Option<RecordBatch>, EngineError> {
        let groups = std::mem::take(&mut self.groups);
        let after = |tag: &TagId| self.scan.after_time.contains(tag);
        let (first, then) = (groups.ranks(self.scan, |tag| !after(tag)), groups.ranks(self.scan, after));
        let descending = self.scan.descending;
        self.cells.sort_unstable_by(|a, b| {
            let order = first[a.group as usize].cmp(&first[b.group as usize]).then(a.start.cmp(&b.start));
            let order = if descending { order.reverse() } else { order };
            order.then(then[a.group as usize].cmp(&then[b.group as usize]))
        });
        if self.cells.is_empty() {
            return Ok(None);
        }
        let rows = self.cells.len();
        let mut tags: Vec<TagColumn> = self.scan.group_by.iter().map(|_| TagColumn::default()).collect();
        let mut starts = Int64Builder::with_capacity(rows);
        let result_type = |(n, field_type): (usize, &FieldType)| {
            Accumulator::result_type(self.scan.aggregates[n].function, *field_type)
        };
        let mut values: Vec<(ValueColumn, Int64Builder)> = self
            .types
            .iter()
            .enumerate()
            .map(|column| (ValueColumn::new(result_type(column)), Int64Builder::new()))
            .collect();
        let mut counts = Int64Builder::new();
        for cell in std::mem::take(&mut self.cells) {
            let (codes, texts) = &groups.keys[cell.group as usize];
            for (column, (code, text)) in tags.iter_mut().zip(codes.iter().zip(texts)) {
                column.append(*code, text);
            }
            starts.append_value(cell.start);
            for ((column, times), accumulator) in values.iter_mut().zip(cell.accumulators) {
                let (value, time) = accumulator.result();
                column.append(if value == FieldValue::Null { None } else { Value::of_literal(&value) });
                times.append_option(time);
            }
            counts.append_value(cell.rows as i64);
        }
        let mut columns = tags.iter_mut().map(TagColumn::finish).collect::<Result<Vec<ArrayRef>, _>>()?;
        columns.push(Arc::new(starts.finish()));
        for ((column, times), aggregate) in values.iter_mut().zip(&self.scan.aggregates) {
            columns.push(column.finish());
            if aggregate.with_time {
                columns.push(Arc::new(times.finish()));
            }
        }
        if self.scan.count_rows {
            columns.push(Arc::new(counts.finish()));
        }
        batch(columns, rows).map(Some)
    }
}

/// The side of the range at which a series' points decide an answer.
enum End {
    First,
    Last,
}

/// Where an aggregation asks for first or last points alone, which of them: few chunks are read then.
fn end_of(scan: &AggregateScan) -> Option<End> {
    let all = |function| scan.aggregates.iter().all(|aggregate| aggregate.function == function);
    match () {
        () if scan.window.is_some() || scan.count_rows || scan.aggregates.is_empty() => None,
        () if all(AggregateFunction::First) => Some(End::First),
        () if all(AggregateFunction::Last) => Some(End::Last),
        () => None,
    }
}

/// The groups of the series: codes and texts of the grouping tags.
#[derive(Default)]
struct Groups {
    by_codes: HashMap<Box<[u32]>, u32>,
    keys: Vec<(Box<[u32]>, Key)>,
}

impl Groups {
    fn group_of(&mut self, index: &Index, series: &SeriesHead, group_by: &[TagId]) -> u32 {
        let codes: Box<[u32]> = group_by.iter().map(|tag| series.code(tag.0 as usize)).collect();
        if let Some(&group) = self.by_codes.get(&codes) {
            return group;
        }
        let texts = group_by.iter().map(|tag| index.shared_tag_value(series, *tag)).collect();
        let group = self.keys.len() as u32;
        self.keys.push((codes.clone(), texts));
        self.by_codes.insert(codes, group);
        group
    }

    /// The place of each group in the order of some of its tags.
    fn ranks(&self, scan: &AggregateScan, is_key: impl Fn(&TagId) -> bool) -> Vec<u32> {
        let places: Vec<usize> = (0..scan.group_by.len()).filter(|&n| is_key(&scan.group_by[n])).collect();
        let key = |group: u32| places.iter().map(move |&n| &*self.keys[group as usize].1[n]);
        let mut order: Vec<u32> = (0..self.keys.len() as u32).collect();
        order.sort_unstable_by(|&a, &b| key(a).cmp(key(b)));
        let mut ranks = vec![0; order.len()];
        let mut rank = 0;
        for pair in 0..order.len() {
            if pair > 0 && key(order[pair - 1]).cmp(key(order[pair])).is_ne() {
                rank += 1;
            }
            ranks[order[pair] as usize] = rank;
        }
        ranks
    }
}
