//! A call at work: rows in, points out, one outer group after the other.

use std::collections::VecDeque;
use std::ops::ControlFlow;

use hyperbytedb_domain::FieldValue;
use hyperbytedb_functions::Point;

use crate::budget::{HeldPoints, Pace};
use crate::calls::call_plan::CallPlan;
use crate::error::ExecError;
use crate::inputs::{cast, has_type};
use crate::limits::rows::RowLimit;
use crate::row::{Row, Series};
use crate::runtime::Runtime;
use crate::scope::Scope;
use crate::windows::StagePlan;
use crate::windows::{Filling, Reduce, Transforming};

enum Stage<'a> {
    Reduce(Reduce),
    Transform(Transforming<'a>),
    Fill(Filling),
}

/// The operators of one call and the points they have produced.
pub(crate) struct Pipeline<'a> {
    plan: CallPlan,
    stages: Vec<Stage<'a>>,
    /// The time of the latest input of the outer group.
    input_time: Option<i64>,
    output: Output<'a>,
}

/// Points within LIMIT and OFFSET that nobody has taken yet.
struct Output<'a> {
    points: VecDeque<(Series, Point)>,
    limit: RowLimit,
    held: HeldPoints,
    /// Filling may produce any number of points, of which the limit may admit none.
    pace: Pace<'a>,
}

impl Output<'_> {
    fn push(&mut self, series: &Series, point: Point) -> Result<(), ExecError> {
        self.pace.step()?;
        if self.limit.admits(series) {
            self.held.add(1)?;
            self.points.push_back((series.clone(), point));
        }
        Ok(())
    }
}

impl<'a> Pipeline<'a> {
    /// `scope`: that of the statement, for LIMIT and OFFSET.
    pub fn new(plan: CallPlan, scope: &Scope, runtime: &Runtime<'a>) -> Self {
        let stages = plan.stages.iter().map(|stage| Stage::new(stage, &plan.scope, runtime)).collect();
        let output = Output {
            points: VecDeque::new(),
            limit: RowLimit::new(scope),
            held: HeldPoints::none_of(&runtime.budget),
            pace: Pace::new(runtime.context),
        };
        Self { plan, stages, input_time: None, output }
    }

    /// Feeds the call's columns of a row.
    pub fn push_row(&mut self, row: &Row) -> Result<(), ExecError> {
        let value = match &row.values[self.plan.driver_input] {
            FieldValue::Null => FieldValue::Null,
            value => cast(value.clone(), self.plan.driver_type),
        };
        let value = if has_type(&value, self.plan.driver_type) { value } else { FieldValue::Null };
        let mut point = Point::new(row.time, value);
        if !point.is_nil() {
            point.aux.extend(self.plan.aux.iter().map(|&i| row.values[i].clone()));
        }
        self.input_time = Some(point.time);
        feed(&mut self.stages, &row.series, point, &mut self.output)
    }

    /// Feeds a point that the engine has reduced already.
    pub fn push_reduced(&mut self, series: &Series, point: Point) -> Result<(), ExecError> {
        self.input_time = Some(point.time);
        let (first, rest) = self.stages.split_at_mut(1);
        let point = match &mut first[0] {
            Stage::Reduce(reduce) => reduce.reduced(point),
            _ => Some(point),
        };
        point.map_or(Ok(()), |point| feed(rest, series, point, &mut self.output))
    }

    /// The outer group has no more points.
    pub fn end_outer_group(&mut self) -> Result<(), ExecError> {
        for position in 0..self.stages.len() {
            let (stage, rest) = self.stages[position..].split_at_mut(1);
            let output = &mut self.output;
            match &mut stage[0] {
                Stage::Reduce(reduce) => collect(rest, output, |emit| Ok(reduce.end_outer_group(emit)))?,
                Stage::Transform(transform) => collect(rest, output, |emit| transform.end_outer_group(emit))?,
                Stage::Fill(fill) => collect(rest, output, |emit| Ok(fill.end_outer_group(emit)))?,
            }
        }
        self.input_time = None;
        Ok(())
    }

    /// No output comes before this time any more (after it, when descending).
    pub fn bound(&self) -> Option<i64> {
        self.stages.iter().fold(self.input_time, |input, stage| match stage {
            Stage::Reduce(reduce) => reduce.bound(input),
            Stage::Transform(transform) => transform.bound(input),
            Stage::Fill(fill) => fill.bound(),
        })
    }

    pub fn peek(&self) -> Option<&(Series, Point)> {
        self.output.points.front()
    }

    pub fn take(&mut self) -> Option<(Series, Point)> {
        self.output.held.remove(1);
        self.output.points.pop_front()
    }
}

impl<'a> Stage<'a> {
    fn new(plan: &StagePlan, scope: &Scope, runtime: &Runtime<'a>) -> Self {
        match plan {
            StagePlan::Reduce(reduce) => Self::Reduce(Reduce::new(reduce, scope, &runtime.budget)),
            StagePlan::Transform { transformation, input } => {
                Self::Transform(Transforming::new(transformation, *input, scope, runtime))
            }
            StagePlan::Fill { mode, value_type } => Self::Fill(Filling::new(mode, *value_type, scope)),
        }
    }
}

/// Passes a point through the stages.
fn feed(
    stages: &mut [Stage<'_>],
    series: &Series,
    point: Point,
    output: &mut Output<'_>,
) -> Result<(), ExecError> {
    let Some((stage, rest)) = stages.split_first_mut() else { return output.push(series, point) };
    match stage {
        Stage::Reduce(reduce) => collect(rest, output, |emit| reduce.push(series, &point, emit)),
        Stage::Transform(transform) => collect(rest, output, |emit| transform.push(series, &point, emit)),
        Stage::Fill(fill) => collect(rest, output, |emit| Ok(fill.push(series, point, emit))),
    }
}

/// Runs an operator and passes what it emits through the stages after it. The first error stops it.
fn collect(
    rest: &mut [Stage<'_>],
    output: &mut Output<'_>,
    operator: impl FnOnce(&mut dyn FnMut(&Series, Point) -> ControlFlow<()>) -> Result<(), ExecError>,
) -> Result<(), ExecError> {
    let mut result = Ok(());
    operator(&mut |series, point| {
        if result.is_ok() {
            result = feed(rest, series, point, output);
        }
        if result.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    result
}
