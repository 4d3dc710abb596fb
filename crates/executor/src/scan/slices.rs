//! A row scan of any length in bounded memory.
//!
//! The engine orders rows in memory, so a long scan is read as several short ones that follow each other: runs of
//! groups, then windows of time within a group that is too large, then windows within a window. A scan is first tried
//! as a whole, with a bound on what may be sorted; most are small, and pay nothing. Rows are counted only past the
//! bound, and only of what is too large. A slice is read when its rows are asked for, so nothing runs ahead of a client.
//!
//! Counts are estimates, from above: they ignore `any_of`. How many rows really came decides how much the next slice
//! covers.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::array::RecordBatch;
use hyperbytedb_domain::ports::BatchStream;
use hyperbytedb_domain::scan::{
    AggregateScan, CompareOp, Operand, Predicate, RowScan, Scan, ScanOutput, SortBound, TagId, Window,
};
use hyperbytedb_domain::{EngineError, FieldValue, SeriesId, Tags, TimeRange};

use crate::error::ExecError;
use crate::runtime::Runtime;
use crate::scan::column_reader::ColumnReader;
use crate::scan::shards::Shards;

/// Windows that a span of time is counted in.
const WINDOWS: i128 = 1024;
/// Runs of small groups are kept together up to this part of a slice.
const GROUPS_PART: u64 = 8;
/// A slice covers at most so many times the rows that it may have, however few of those counted come.
const RATIO_MIN: f64 = 1.0 / 64.0;
/// The next slice may have so many times the rows, in proportion, of the last.
const RATIO_MARGIN: f64 = 1.5;

/// Values of the grouping tags.
type Key = Vec<Arc<str>>;

/// A segment of a scan.
#[derive(Debug, Clone, PartialEq)]
enum Bounds {
    Whole,
    /// The groups between two, which are included; their series where each group is one.
    Groups {
        first: Key,
        last: Key,
        series: Vec<SeriesId>,
    },
    Time(TimeRange),
}

#[derive(Debug, Clone, PartialEq)]
struct Segment {
    bounds: Bounds,
    /// As counted.
    rows: u64,
}

/// A scan that has been cut into segments, in the order of its rows.
struct Cut {
    scan: Scan,
    segments: VecDeque<Segment>,
    /// Rows of one slice.
    budget: u64,
    /// Rows that come for each that was counted.
    ratio: f64,
}

/// A slice being read.
struct Slice {
    segments: Vec<Segment>,
    stream: Box<dyn BatchStream>,
    rows: u64,
}

/// The batches of a row scan.
pub(crate) struct Slices {
    /// The innermost last.
    cuts: Vec<Cut>,
    current: Option<Slice>,
    bound: SortBound,
    limit_per_group: u64,
    /// Rows so far of the group that is cut into windows.
    group_rows: u64,
}

impl Slices {
    pub fn new(scan: Scan, bound: SortBound) -> Self {
        let limit_per_group = row_scan(&scan).map_or(0, |rows| rows.limit_per_group);
        let segments = [Segment { bounds: Bounds::Whole, rows: 0 }].into();
        let budget = if bound.rows > 0 { bound.rows } else { u64::MAX };
        let cuts = vec![Cut { scan, segments, budget, ratio: 1.0 }];
        Self { cuts, current: None, bound, limit_per_group, group_rows: 0 }
    }

    /// The next rows; `None` at the end.
    pub fn next_batch(&mut self, runtime: &Runtime<'_>) -> Result<Option<RecordBatch>, ExecError> {
        loop {
            let slice = match &mut self.current {
                Some(slice) => slice,
                None => match self.next_slice(runtime)? {
                    Some(slice) => self.current.insert(slice),
                    None => return Ok(None),
                },
            };
            match runtime.next_batch(slice.stream.as_mut()) {
                Ok(Some(batch)) => {
                    slice.rows += batch.num_rows() as u64;
                    self.group_rows += batch.num_rows() as u64;
                    return Ok(Some(batch));
                }
                Ok(None) => self.finish(),
                Err(ExecError::Engine(EngineError::SortLimit)) if slice.rows == 0 => {
                    if let Some(slice) = self.current.take() {
                        self.cut(slice.segments, runtime)?;
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Starts the next slice.
    fn next_slice(&mut self, runtime: &Runtime<'_>) -> Result<Option<Slice>, ExecError> {
        while let Some(cut) = self.cuts.last_mut() {
            let Some(segments) = cut.take() else {
                self.cuts.pop();
                continue;
            };
            let is_time = matches!(segments[0].bounds, Bounds::Time(_));
            if !is_time {
                self.group_rows = 0;
            } else if self.limit_per_group > 0 && self.group_rows >= self.limit_per_group {
                self.cuts.pop();
                continue;
            }
            let divisible = segments.len() > 1 || segments[0].is_divisible();
            if divisible && cut.estimate(&segments) > cut.budget as f64 {
                self.divide(&segments[0], runtime)?;
                continue;
            }
            let mut scan = cut.scan_of(&segments);
            if let ScanOutput::Rows(rows) = &mut scan.output {
                rows.sort_bound = divisible.then_some(self.bound);
                rows.limit_per_group -= if is_time { self.group_rows.min(rows.limit_per_group) } else { 0 };
            }
            match runtime.scan(&scan) {
                Ok(stream) => return Ok(Some(Slice { segments, stream, rows: 0 })),
                // An engine may know before its first batch.
                Err(ExecError::Engine(EngineError::SortLimit)) => self.cut(segments, runtime)?,
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// Learns from a slice that has been read.
    fn finish(&mut self) {
        let (Some(slice), Some(cut)) = (self.current.take(), self.cuts.last_mut()) else { return };
        let counted: u64 = slice.segments.iter().map(|segment| segment.rows).sum();
        if counted > 0 && self.limit_per_group == 0 {
            cut.ratio = (slice.rows as f64 / counted as f64 * RATIO_MARGIN).clamp(RATIO_MIN, 1.0);
        }
    }

    /// Divides a slice that is too large.
    fn cut(&mut self, segments: Vec<Segment>, runtime: &Runtime<'_>) -> Result<(), ExecError> {
        let Some(cut) = self.cuts.last_mut() else { return Ok(()) };
        if let [segment] = segments.as_slice() {
            return self.divide(segment, runtime);
        }
        if cut.ratio < 1.0 {
            cut.ratio = 1.0;
        } else {
            cut.budget = (segments.iter().map(|segment| segment.rows).sum::<u64>() / 2).max(1);
        }
        segments.into_iter().rev().for_each(|segment| cut.segments.push_front(segment));
        Ok(())
    }

    /// Cuts a segment into smaller ones, which come next.
    fn divide(&mut self, segment: &Segment, runtime: &Runtime<'_>) -> Result<(), ExecError> {
        let Some(cut) = self.cuts.last() else { return Ok(()) };
        let scan = cut.scan_of(std::slice::from_ref(segment));
        let budget = cut.budget;
        let is_grouped = row_scan(&scan).is_some_and(|rows| !rows.group_by.is_empty());
        let segments = match &segment.bounds {
            Bounds::Whole if is_grouped => groups(&scan, budget / GROUPS_PART, runtime)?,
            Bounds::Groups { first, last, .. } if first != last => {
                groups(&scan, segment.rows / GROUPS_PART, runtime)?
            }
            Bounds::Whole | Bounds::Groups { .. } => windows(&scan, shard_windows(&scan), runtime)?,
            Bounds::Time(range) => windows(&scan, fine_windows(*range), runtime)?,
        };
        self.cuts.push(Cut { scan, segments, budget, ratio: 1.0 });
        Ok(())
    }
}

impl Segment {
    fn is_divisible(&self) -> bool {
        !matches!(self.bounds, Bounds::Time(range) if range.min >= range.max)
    }
}

impl Cut {
    /// Rows to expect.
    fn estimate(&self, segments: &[Segment]) -> f64 {
        segments.iter().map(|segment| segment.rows as f64).sum::<f64>() * self.ratio
    }

    /// The next segments that fit in a slice together; at least one.
    fn take(&mut self) -> Option<Vec<Segment>> {
        let mut segments = vec![self.segments.pop_front()?];
        let mut rows = segments[0].rows as f64;
        while let Some(next) = self.segments.front() {
            rows += next.rows as f64;
            if rows * self.ratio > self.budget as f64 {
                break;
            }
            segments.extend(self.segments.pop_front());
        }
        Some(segments)
    }

    /// The scan of segments that follow each other.
    fn scan_of(&self, segments: &[Segment]) -> Scan {
        let mut scan = self.scan.clone();
        let (Some(first), Some(last)) = (segments.first(), segments.last()) else { return scan };
        match (&first.bounds, &last.bounds) {
            (Bounds::Time(a), Bounds::Time(b)) => {
                scan.time = TimeRange { min: a.min.min(b.min), max: a.max.max(b.max) };
            }
            (Bounds::Groups { first, .. }, Bounds::Groups { last, .. }) => {
                self.restrict_groups(&mut scan, segments, first, last);
            }
            _ => {}
        }
        scan
    }

    fn restrict_groups(&self, scan: &mut Scan, segments: &[Segment], first: &Key, last: &Key) {
        let ScanOutput::Rows(rows) = &mut scan.output else { return };
        let series_of = |segment: &Segment| match &segment.bounds {
            Bounds::Groups { series, .. } => series.clone(),
            _ => Vec::new(),
        };
        let series: Vec<SeriesId> = segments.iter().flat_map(series_of).collect();
        if !series.is_empty() {
            rows.series = Some(series.into());
            return;
        }
        let (least, greatest) = if rows.descending { (last, first) } else { (first, last) };
        let mut conditions = vec![
            beyond(&rows.group_by, least, CompareOp::Gt, CompareOp::Ge),
            beyond(&rows.group_by, greatest, CompareOp::Lt, CompareOp::Le),
        ];
        conditions.extend(scan.filter.take());
        scan.filter = Some(Predicate::And(conditions));
    }
}

fn row_scan(scan: &Scan) -> Option<&RowScan> {
    match &scan.output {
        ScanOutput::Rows(rows) => Some(rows),
        ScanOutput::Aggregates(_) => None,
    }
}

/// Tags that come after (or before) a key, or are equal to it.
fn beyond(tags: &[TagId], key: &[Arc<str>], strictly: CompareOp, op: CompareOp) -> Predicate {
    let compare = |tag: TagId, op, value: &Arc<str>| Predicate::Compare {
        left: Operand::Tag(tag),
        op,
        right: Operand::Literal(FieldValue::String(Arc::clone(value))),
    };
    match (tags, key) {
        ([tag], [value, ..]) => compare(*tag, op, value),
        ([tag, tags @ ..], [value, key @ ..]) => Predicate::Or(vec![
            compare(*tag, strictly, value),
            Predicate::And(vec![compare(*tag, CompareOp::Eq, value), beyond(tags, key, strictly, op)]),
        ]),
        _ => Predicate::Constant(true),
    }
}

/// Windows of one shard each, or finer ones within a shard.
fn shard_windows(scan: &Scan) -> Window {
    let shards = Shards::of(&scan.table);
    if shards.index(scan.time.min) == shards.index(scan.time.max) {
        return fine_windows(scan.time);
    }
    shards.windows()
}

fn fine_windows(range: TimeRange) -> Window {
    let length = i128::from(range.max) - i128::from(range.min) + 1;
    let every = length.div_euclid(WINDOWS) + i128::from(length.rem_euclid(WINDOWS) > 0);
    Window { every: i64::try_from(every).unwrap_or(i64::MAX).max(1), offset: range.min }
}

/// The windows of time that have rows.
fn windows(scan: &Scan, window: Window, runtime: &Runtime<'_>) -> Result<VecDeque<Segment>, ExecError> {
    let mut segments = VecDeque::new();
    let count = AggregateScan { window: Some(window), ..AggregateScan::default() };
    count_rows(scan, count, runtime, |_, start, rows| {
        let last = i128::from(start) - window.since_start(start) + i128::from(window.every) - 1;
        let max = last.min(i128::from(scan.time.max)) as i64;
        let range = TimeRange { min: start.max(scan.time.min), max };
        segments.push_back(Segment { bounds: Bounds::Time(range), rows });
    })?;
    Ok(segments)
}

/// The groups that have rows, small ones together up to `target` rows.
fn groups(scan: &Scan, target: u64, runtime: &Runtime<'_>) -> Result<VecDeque<Segment>, ExecError> {
    let Some(output) = row_scan(scan) else { return Ok(VecDeque::new()) };
    let table = &scan.table;
    let names = output.group_by.iter().filter_map(|tag| table.tags.get(tag.0 as usize));
    let names: Vec<&String> = names.collect();
    let group_is_series = names.len() == table.tags.len();
    let mut segments: VecDeque<Segment> = VecDeque::new();
    let count = AggregateScan { group_by: output.group_by.clone(), ..AggregateScan::default() };
    count_rows(scan, count, runtime, |key, _, rows| {
        let id = group_is_series.then(|| {
            let pairs = names.iter().zip(&key).map(|(name, value)| ((*name).clone(), value.to_string()));
            Tags::new(pairs.collect()).series_id()
        });
        match segments.back_mut() {
            Some(Segment { bounds: Bounds::Groups { last, series, .. }, rows: so_far })
                if *so_far + rows <= target =>
            {
                *last = key;
                series.extend(id);
                *so_far += rows;
            }
            _ => {
                let bounds =
                    Bounds::Groups { first: key.clone(), last: key, series: id.into_iter().collect() };
                segments.push_back(Segment { bounds, rows });
            }
        }
    })?;
    Ok(segments)
}

/// Calls `visit` with the tags, the time and the number of rows of each group of `count`, in the order of the scan.
fn count_rows(
    scan: &Scan,
    count: AggregateScan,
    runtime: &Runtime<'_>,
    mut visit: impl FnMut(Key, i64, u64),
) -> Result<(), ExecError> {
    let Some(rows) = row_scan(scan) else { return Ok(()) };
    let tags = count.group_by.len();
    let count = Scan {
        table: Arc::clone(&scan.table),
        time: scan.time,
        filter: scan.filter.clone(),
        shards: None,
        merge_duplicates: false,
        output: ScanOutput::Aggregates(AggregateScan {
            count_rows: true,
            series: rows.series.clone(),
            descending: rows.descending,
            ..count
        }),
    };
    let mut stream = runtime.scan(&count)?;
    while let Some(batch) = runtime.next_uncounted(stream.as_mut())? {
        let columns = batch.columns().iter().map(ColumnReader::new).collect::<Result<Vec<_>, _>>()?;
        for row in 0..batch.num_rows() {
            let key = columns[..tags].iter().map(|tag| tag.shared_text(row)).collect();
            visit(key, columns[tags].integer(row), columns[tags + 1].integer(row).max(0) as u64);
        }
    }
    Ok(())
}
