//! Letting the engine aggregate, where its answer is the same.

use std::collections::VecDeque;
use std::sync::Arc;

use hyperbytedb_domain::catalog::Table;
use hyperbytedb_domain::ports::BatchStream;
use hyperbytedb_domain::scan::{
    Aggregate as ScanAggregate, AggregateFunction, AggregateScan, FieldId, Scan, ScanOutput, TagId, Window,
};
use hyperbytedb_domain::{EngineError, FieldType, FieldValue, QueryContext, TimeRange};
use hyperbytedb_functions::{Aggregate, Interval, Point};
use hyperbytedb_planner::PreparedSelect;
use hyperbytedb_timeseriesql::ast::Expr;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::calls::call_plan::CallPlan;
use crate::error::ExecError;
use crate::limits::series::SeriesLimit;
use crate::row::Series;
use crate::runtime::Runtime;
use crate::scan::column_reader::ColumnReader;
use crate::scan::predicate;
use crate::scan::table_rows::SeriesFilter;
use crate::scan::tables::{TableSource, tables_by_name};
use crate::scope::Scope;
use crate::windows::shown_start;
use crate::windows::{ReducePlan, StagePlan};

/// The aggregation of one table.
#[derive(Debug)]
pub(crate) struct AggregatePlan {
    pub scan: Scan,
    name: Arc<str>,
    /// For each GROUP BY key whether the table has it; the scanned tags are those it has.
    group: Vec<bool>,
    /// For each call where its points are found.
    calls: Vec<Option<PointColumns>>,
    limit: Option<SeriesLimit>,
}

/// Columns of a batch.
#[derive(Debug, Clone, Copy)]
struct PointColumns {
    value: usize,
    /// The time of the selected point.
    time: Option<usize>,
    /// How many values there are, where the aggregate may be null of some.
    count: Option<usize>,
    /// Null of some is not a number.
    null_is_nan: bool,
}

/// The aggregations that answer these calls, one a measurement, in order; `None` where Rust has to reduce rows.
pub(crate) fn plan(select: &PreparedSelect, calls: &[CallPlan]) -> Option<Vec<AggregatePlan>> {
    let scope = &calls.first()?.scope;
    let measurements = tables_by_name(select, scope)?;
    let reduces = calls.iter().map(reduce_of).collect::<Option<Vec<_>>>()?;
    if scope.range.is_empty() {
        return None;
    }
    let window = match scope.interval {
        None => None,
        Some(interval) => Some(uniform_window(interval, scope.zone.as_ref(), scope.range)?),
    };
    let condition = select.condition.as_ref();
    let mut plans = Vec::with_capacity(measurements.len());
    for measurement in &measurements {
        let [source] = measurement.as_slice() else { return None };
        plans.push(AggregatePlan::new(source, scope, calls, &reduces, window, condition)?);
    }
    Some(plans)
}

/// Whether SLIMIT lets the engine aggregate over shards; it lists the tag sets.
pub(crate) fn allows_limits(runtime: &Runtime<'_>, plans: &mut [AggregatePlan]) -> Result<bool, ExecError> {
    for plan in plans {
        if !plan.has_uniform_limit(runtime)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The first stage, if points come to it without anything the engine cannot return.
fn reduce_of(call: &CallPlan) -> Option<&ReducePlan> {
    match call.stages.first() {
        // Whether a percentile leaves a gap depends on all groups of a window.
        Some(StagePlan::Reduce(reduce))
            if call.aux.is_empty()
                && (call.scope.grouping.is_flat()
                    || !matches!(reduce.aggregate, Aggregate::Percentile(_))) =>
        {
            Some(reduce)
        }
        _ => None,
    }
}

impl AggregatePlan {
    fn new(
        source: &TableSource,
        scope: &Scope,
        calls: &[CallPlan],
        reduces: &[&ReducePlan],
        window: Option<Window>,
        condition: Option<&Expr>,
    ) -> Option<Self> {
        let table = &source.table;
        let split = condition.map(|c| predicate::split(c, table)).unwrap_or_default();
        if split.residual.is_some() {
            return None;
        }
        let mut aggregates = Aggregates::default();
        let mut positions = Vec::with_capacity(calls.len());
        for (call, reduce) in calls.iter().zip(reduces) {
            positions.push(match field_of(call, table)? {
                None => None,
                Some(field) => Some(aggregates.add(reduce, field)?),
            });
        }
        let keys: Vec<Option<TagId>> = scope.grouping.keys.iter().map(|key| table.tag(key)).collect();
        let group_by: Vec<TagId> = keys.iter().flatten().copied().collect();
        let within_outer_group = |(i, key): (usize, &Option<TagId>)| {
            if scope.grouping.outer.contains(&i) { None } else { *key }
        };
        let after_time = keys.iter().enumerate().filter_map(within_outer_group).collect();
        let columns = aggregates.columns(group_by.len() + 1);
        let point_columns = |(value, count): (usize, Option<usize>), reduce: &ReducePlan| PointColumns {
            count: count.map(|count| columns[count].value),
            null_is_nan: reduce.aggregate == Aggregate::Stddev,
            ..columns[value]
        };
        Some(Self {
            calls: positions
                .into_iter()
                .zip(reduces)
                .map(|(p, reduce)| Some(point_columns(p?, reduce)))
                .collect(),
            group: keys.iter().map(Option::is_some).collect(),
            name: Arc::clone(&source.name),
            limit: SeriesLimit::new(source, scope, condition),
            scan: Scan {
                table: Arc::clone(table),
                time: scope.range,
                filter: split.pushed,
                shards: None,
                merge_duplicates: false,
                output: ScanOutput::Aggregates(AggregateScan {
                    group_by,
                    after_time,
                    window,
                    aggregates: aggregates.0,
                    descending: !scope.ascending,
                    ..AggregateScan::default()
                }),
            },
        })
    }

    /// Lists the tag sets within SLIMIT; false if they differ between shards, so that groups cannot span these.
    fn has_uniform_limit(&mut self, runtime: &Runtime<'_>) -> Result<bool, ExecError> {
        let Some(limit) = &mut self.limit else { return Ok(true) };
        limit.prepare(runtime)?;
        Ok(limit.is_uniform())
    }

    fn has_values(&self) -> bool {
        self.calls.iter().any(Option::is_some)
    }
}

/// `Some(None)`: the table has no such field. `None`: it has one that is read as another type.
fn field_of(call: &CallPlan, table: &Table) -> Option<Option<FieldId>> {
    use hyperbytedb_timeseriesql::ast::DataType;
    match table.field(&call.driver.name) {
        _ if call.driver.data_type == Some(DataType::Tag) => Some(None),
        None => Some(None),
        Some((id, stored)) => (stored == call.driver_type).then_some(Some(id)),
    }
}

fn function_of(reduce: &ReducePlan) -> Option<AggregateFunction> {
    let function = match &reduce.aggregate {
        Aggregate::Count => return Some(AggregateFunction::Count),
        Aggregate::First => return Some(AggregateFunction::First),
        Aggregate::Last => return Some(AggregateFunction::Last),
        Aggregate::Sum => AggregateFunction::Sum,
        Aggregate::Mean => AggregateFunction::Mean,
        Aggregate::Min => AggregateFunction::Min,
        Aggregate::Max => AggregateFunction::Max,
        Aggregate::Spread => AggregateFunction::Spread,
        Aggregate::Stddev => AggregateFunction::Stddev,
        Aggregate::Median => AggregateFunction::Median,
        // Which of several equal values it takes shows in the time.
        Aggregate::Percentile(rank) if !reduce.keeps_time => AggregateFunction::Percentile(*rank),
        _ => return None,
    };
    matches!(reduce.input, FieldType::Float | FieldType::Integer | FieldType::Unsigned).then_some(function)
}

/// What one scan computes, each aggregate once.
#[derive(Default)]
struct Aggregates(Vec<ScanAggregate>);

impl Aggregates {
    /// Positions of what a call needs: its own aggregate, and a count. `None`: the engine has no such aggregate.
    fn add(&mut self, reduce: &ReducePlan, field: FieldId) -> Option<(usize, Option<usize>)> {
        let function = function_of(reduce)?;
        let value = self.position(ScanAggregate { function, field, with_time: reduce.keeps_time });
        // One value has no deviation, and a few no low percentile; which is not the same as no values.
        let null_of_some = matches!(function, AggregateFunction::Stddev | AggregateFunction::Percentile(_));
        let count = null_of_some.then(|| {
            self.position(ScanAggregate { function: AggregateFunction::Count, field, with_time: false })
        });
        Some((value, count))
    }

    fn position(&mut self, aggregate: ScanAggregate) -> usize {
        self.0.iter().position(|a| *a == aggregate).unwrap_or_else(|| {
            self.0.push(aggregate);
            self.0.len() - 1
        })
    }

    /// Columns of the values and times, after the first `next` columns.
    fn columns(&self, mut next: usize) -> Vec<PointColumns> {
        let columns = self.0.iter().map(|aggregate| {
            let time = aggregate.with_time.then_some(next + 1);
            let columns = PointColumns { value: next, time, count: None, null_is_nan: false };
            next += 1 + usize::from(aggregate.with_time);
            columns
        });
        columns.collect()
    }
}

impl PointColumns {
    fn last(&self) -> usize {
        self.value.max(self.time.unwrap_or(0)).max(self.count.unwrap_or(0))
    }

    fn point(&self, columns: &[ColumnReader], row: usize, time: i64) -> Option<Point> {
        let time = self.time.map_or(time, |column| columns[column].integer(row));
        let mut point = Point::new(time, columns[self.value].value(row));
        let has_point = self.count.map_or(!point.is_nil(), |count| columns[count].integer(row) > 0);
        if self.null_is_nan && point.is_nil() {
            point.value = FieldValue::Float(f64::NAN);
        }
        has_point.then_some(point)
    }
}

/// The windows as the engine knows them, if the zone's offset is the same all over the range.
fn uniform_window(interval: Interval, zone: Option<&TimeZone>, range: TimeRange) -> Option<Window> {
    let Interval { every, offset } = interval;
    let Some(zone) = zone else { return Some(Window { every, offset }) };
    // The windows at the ends may reach beyond the range.
    let first = timestamp(range.min.checked_sub(every.checked_mul(2)?)?)?;
    let last = timestamp(range.max.checked_add(every.checked_mul(2)?)?)?;
    if zone.following(first).next().is_some_and(|t| t.timestamp() <= last) {
        return None;
    }
    let shift = i64::from(zone.to_offset(first).seconds()) * 1_000_000_000;
    Some(Window { every, offset: (offset - shift).rem_euclid(every) })
}

fn timestamp(nanoseconds: i64) -> Option<Timestamp> {
    Timestamp::from_nanosecond(i128::from(nanoseconds)).ok()
}

/// Scans at work while the answer of the first is read: of many small tables, asking takes most of the time.
const SCANS_AT_ONCE: usize = 4;
/// Measurements from which on the scans share out the cores among them.
const ONE_THREAD_SCANS: usize = 8;

/// Reduced points of all measurements.
pub(crate) struct AggregatePoints<'a> {
    runtime: Runtime<'a>,
    plans: VecDeque<AggregatePlan>,
    scope: Scope,
    /// Of each scan.
    context: QueryContext,
    /// Of the first plans.
    streams: VecDeque<Box<dyn BatchStream>>,
    columns: Vec<ColumnReader>,
    rows: usize,
    next: usize,
    series: Option<Series>,
}

impl<'a> AggregatePoints<'a> {
    pub fn new(runtime: &Runtime<'a>, plans: Vec<AggregatePlan>, scope: &Scope) -> Self {
        let plans: VecDeque<AggregatePlan> = plans.into_iter().filter(AggregatePlan::has_values).collect();
        let mut context = runtime.context.clone();
        if plans.len() >= ONE_THREAD_SCANS {
            context.max_threads = 1;
        }
        Self {
            runtime: runtime.clone(),
            plans,
            scope: scope.clone(),
            context,
            streams: VecDeque::new(),
            columns: Vec::new(),
            rows: 0,
            next: 0,
            series: None,
        }
    }

    /// The next group and window, with the point of each call that has one.
    pub fn next(&mut self, points: &mut Vec<Option<Point>>) -> Result<Option<Series>, ExecError> {
        loop {
            while let Some(plan) =
                self.plans.get(self.streams.len()).filter(|_| self.streams.len() < SCANS_AT_ONCE)
            {
                self.streams.push_back(self.runtime.scan_in(&plan.scan, &self.context)?);
            }
            let (Some(plan), Some(stream)) = (self.plans.front(), self.streams.front_mut()) else {
                return Ok(None);
            };
            if self.next < self.rows {
                let row = self.next;
                self.next += 1;
                let series = self.series_at(row);
                if self.points_at(row, &series, points) {
                    return Ok(Some(series));
                }
                continue;
            }
            match self.runtime.next_batch(stream.as_mut())? {
                Some(batch) => {
                    self.columns = batch.columns().iter().map(ColumnReader::new).collect::<Result<_, _>>()?;
                    let needed = plan.calls.iter().flatten().map(PointColumns::last).max();
                    if needed.is_some_and(|n| n >= self.columns.len()) {
                        return Err(EngineError::failed("scan", "unexpected number of columns").into());
                    }
                    (self.rows, self.next) = (batch.num_rows(), 0);
                }
                None => {
                    (self.rows, self.next, self.series) = (0, 0, None);
                    self.plans.pop_front();
                    self.streams.pop_front();
                }
            }
        }
    }

    /// Whether any call has a point in this row.
    fn points_at(&self, row: usize, series: &Series, points: &mut Vec<Option<Point>>) -> bool {
        let Some(plan) = self.plans.front() else { return false };
        if plan.limit.as_ref().is_some_and(|limit| !limit.admits_everywhere(series)) {
            return false;
        }
        let time = match self.scope.interval {
            Some(_) => self.columns[plan.group.iter().filter(|g| **g).count()].integer(row),
            None => shown_start(self.scope.range.min),
        };
        points.clear();
        points.extend(plan.calls.iter().map(|call| call.as_ref()?.point(&self.columns, row, time)));
        points.iter().any(Option::is_some)
    }

    fn series_at(&mut self, row: usize) -> Series {
        let Some(plan) = self.plans.front() else { return Series::default() };
        let mut columns = self.columns.iter();
        let mut tag = |present: &bool| if *present { columns.next() } else { None };
        let tags: Vec<Option<&ColumnReader>> = plan.group.iter().map(&mut tag).collect();
        let text = |column: &Option<&ColumnReader>| column.map_or(String::new(), |c| c.text(row).to_owned());
        match &self.series {
            Some(series) if tags.iter().zip(series.tags.iter()).all(|(c, v)| *text(c) == **v) => {
                series.clone()
            }
            _ => {
                let shared =
                    |c: &Option<&ColumnReader>| c.map_or_else(|| Arc::from(""), |c| c.shared_text(row));
                let series = Series::new(Arc::clone(&plan.name), tags.iter().map(shared).collect());
                self.series.insert(series).clone()
            }
        }
    }
}
