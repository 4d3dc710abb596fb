//! Calls that read the same rows, and the rows they produce together.

use hyperbytedb_functions::Point;
use hyperbytedb_planner::PreparedSelect;

use crate::calls::call_plan::CallPlan;
use crate::calls::pipeline::Pipeline;
use crate::calls::pushdown::{self, AggregatePoints};
use crate::error::ExecError;
use crate::inputs::Inputs;
use crate::limits::Limited;
use crate::order::ties::TieBreak;
use crate::row::{Row, RowStream, Series};
use crate::runtime::Runtime;
use crate::scope::Scope;
use crate::sources::{self, Request};

/// The calls of a SELECT with one and the same range of time.
pub(crate) struct Part<'a> {
    feed: Feed<'a>,
    pipelines: Vec<Pipeline<'a>>,
    scope: Scope,
    outer_group: Option<Series>,
    /// All input of the outer group is in: what is left can go out.
    outer_group_ended: bool,
    exhausted: bool,
}

/// Points of one series and time, one slot a call.
pub(crate) struct PartRow {
    pub series: Series,
    pub time: i64,
    pub points: Vec<Option<Point>>,
}

enum Feed<'a> {
    Rows { stream: Box<dyn RowStream + 'a>, row: Row },
    Reduced { stream: AggregatePoints<'a>, series: Series, points: Vec<Option<Point>> },
}

impl Feed<'_> {
    fn advance(&mut self) -> Result<bool, ExecError> {
        match self {
            Self::Rows { stream, row } => stream.next_row(row),
            Self::Reduced { stream, series, points } => match stream.next(points)? {
                Some(next) => {
                    *series = next;
                    Ok(true)
                }
                None => Ok(false),
            },
        }
    }

    fn series(&self) -> &Series {
        match self {
            Self::Rows { row, .. } => &row.series,
            Self::Reduced { series, .. } => series,
        }
    }

    fn push(&mut self, pipelines: &mut [Pipeline<'_>]) -> Result<(), ExecError> {
        match self {
            Self::Rows { row, .. } => pipelines.iter_mut().try_for_each(|p| p.push_row(row)),
            Self::Reduced { series, points, .. } => {
                for (pipeline, point) in pipelines.iter_mut().zip(points) {
                    if let Some(point) = point.take() {
                        pipeline.push_reduced(series, point)?;
                    }
                }
                Ok(())
            }
        }
    }
}

/// Inputs without which a row is of no use to any call.
pub(crate) fn required(calls: &[CallPlan]) -> Vec<usize> {
    calls.iter().map(|call| call.driver_input).collect()
}

impl<'a> Part<'a> {
    /// `calls` share their scope but for LIMIT, which `scope` tells.
    pub fn new(
        runtime: &Runtime<'a>,
        select: &'a PreparedSelect,
        scope: &Scope,
        calls: Vec<CallPlan>,
        inputs: &Inputs,
    ) -> Result<Self, ExecError> {
        let reading = calls.first().map_or(scope, |call| &call.scope);
        let mut pushed = runtime.options.pushdown.then(|| pushdown::plan(select, &calls)).flatten();
        if let Some(plans) = &mut pushed
            && !pushdown::allows_limits(runtime, plans)?
        {
            pushed = None;
        }
        let feed = match pushed {
            Some(plans) => Feed::Reduced {
                stream: AggregatePoints::new(runtime, plans, reading),
                series: Series::default(),
                points: Vec::new(),
            },
            None => {
                let required = required(&calls);
                let (tie_break, limited) = match calls.as_slice() {
                    [call] => (call.tie_break(), call.limited()),
                    _ => (TieBreak::Heap { texts: Vec::new() }, Limited::No),
                };
                let request = Request { scope: reading, inputs, required: &required, tie_break, limited };
                Feed::Rows { stream: sources::rows(runtime, select, &request)?, row: Row::default() }
            }
        };
        Ok(Self {
            feed,
            pipelines: calls.into_iter().map(|call| Pipeline::new(call, scope, runtime)).collect(),
            scope: scope.clone(),
            outer_group: None,
            outer_group_ended: false,
            exhausted: false,
        })
    }

    /// The next row, in order.
    pub fn next(&mut self) -> Result<Option<PartRow>, ExecError> {
        loop {
            if let Some(row) = self.ready() {
                return Ok(Some(row));
            }
            if self.outer_group_ended {
                if self.exhausted {
                    return Ok(None);
                }
                self.outer_group_ended = false;
                self.outer_group = Some(self.feed.series().clone());
                self.feed.push(&mut self.pipelines)?;
                continue;
            }
            self.read()?;
        }
    }

    fn read(&mut self) -> Result<(), ExecError> {
        let more = self.feed.advance()?;
        let same_outer_group = more
            && self
                .outer_group
                .as_ref()
                .is_some_and(|b| self.scope.grouping.compare_outer_groups(b, self.feed.series()).is_eq());
        if same_outer_group {
            return self.feed.push(&mut self.pipelines);
        }
        self.pipelines.iter_mut().try_for_each(Pipeline::end_outer_group)?;
        self.outer_group_ended = true;
        self.exhausted = !more;
        Ok(())
    }

    /// The first of the points produced so far, joined with those of the other calls, once nothing before it can come.
    fn ready(&mut self) -> Option<PartRow> {
        let heads = self.pipelines.iter().filter_map(Pipeline::peek);
        let (series, first) =
            heads.min_by(|a, b| self.scope.directed(a.0.cmp(&b.0).then_with(|| a.1.time.cmp(&b.1.time))))?;
        let (series, time) = (series.clone(), first.time);
        if !self.outer_group_ended
            && self.pipelines.iter().any(|p| p.peek().is_none() && !self.is_past(p, time))
        {
            return None;
        }
        let points = self.pipelines.iter_mut().map(|pipeline| {
            let is_next = pipeline.peek().is_some_and(|(s, p)| p.time == time && *s == series);
            if is_next { pipeline.take().map(|(_, point)| point) } else { None }
        });
        let points = points.collect();
        Some(PartRow { series, time, points })
    }

    /// Whether a call will produce nothing more at `time` or before.
    fn is_past(&self, pipeline: &Pipeline<'_>, time: i64) -> bool {
        self.scope.grouping.is_flat()
            && pipeline.bound().is_some_and(|bound| self.scope.directed(bound.cmp(&time)).is_gt())
    }
}
