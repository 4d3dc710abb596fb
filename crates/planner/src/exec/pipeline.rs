//! A call at work: rows in, points out, bucket by bucket.

use std::collections::VecDeque;

use hyperbytedb_domain::FieldValue;

use super::call::{CallPlan, StagePlan};
use super::error::ExecError;
use super::inputs::{cast, has_type};
use super::level::Level;
use super::limit::RowLimit;
use super::row::{Row, Series};
use super::stage::{Filling, Reduce, Transforming};
use crate::functions::Point;

enum Stage {
    Reduce(Reduce),
    Transform(Transforming),
    Fill(Filling),
}

/// The operators of one call and the points they have produced.
pub(super) struct Pipeline {
    plan: CallPlan,
    stages: Vec<Stage>,
    limit: RowLimit,
    /// The time of the latest input of the bucket.
    input_time: Option<i64>,
    output: VecDeque<(Series, Point)>,
}

impl Pipeline {
    /// `level`: the level of the statement, for LIMIT and OFFSET.
    pub fn new(plan: CallPlan, level: &Level) -> Self {
        let stages = plan.stages.iter().map(|stage| Stage::new(stage, &plan.level)).collect();
        Self { stages, limit: RowLimit::new(level), input_time: None, output: VecDeque::new(), plan }
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
        self.push(&row.series, point)
    }

    fn push(&mut self, series: &Series, point: Point) -> Result<(), ExecError> {
        self.input_time = Some(point.time);
        feed(&mut self.stages, series, point, &mut self.limit, &mut self.output)
    }

    /// Feeds a point that the engine has reduced already.
    pub fn push_reduced(&mut self, series: &Series, point: Point) -> Result<(), ExecError> {
        self.input_time = Some(point.time);
        let (_, rest) = self.stages.split_at_mut(1);
        feed(rest, series, point, &mut self.limit, &mut self.output)
    }

    /// The bucket has no more points.
    pub fn end_bucket(&mut self) -> Result<(), ExecError> {
        for position in 0..self.stages.len() {
            let (stage, rest) = self.stages[position..].split_at_mut(1);
            let mut result = Ok(());
            let mut emit = |series: &Series, point: Point| {
                if result.is_ok() {
                    result = feed(rest, series, point, &mut self.limit, &mut self.output);
                }
            };
            match &mut stage[0] {
                Stage::Reduce(reduce) => reduce.end_bucket(&mut emit),
                Stage::Transform(transform) => transform.end_bucket(&mut emit),
                Stage::Fill(fill) => fill.end_bucket(&mut emit),
            }
            result?;
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

    pub fn output(&mut self) -> &mut VecDeque<(Series, Point)> {
        &mut self.output
    }

    pub fn peek(&self) -> Option<&(Series, Point)> {
        self.output.front()
    }
}

impl Stage {
    fn new(plan: &StagePlan, level: &Level) -> Self {
        match plan {
            StagePlan::Reduce(reduce) => Self::Reduce(Reduce::new(reduce, level)),
            StagePlan::Transform { transformation, input } => {
                Self::Transform(Transforming::new(transformation, *input, level))
            }
            StagePlan::Fill { mode, value_type } => Self::Fill(Filling::new(*mode, *value_type, level)),
        }
    }
}

/// Passes a point through the stages.
fn feed(
    stages: &mut [Stage],
    series: &Series,
    point: Point,
    limit: &mut RowLimit,
    output: &mut VecDeque<(Series, Point)>,
) -> Result<(), ExecError> {
    let Some((stage, rest)) = stages.split_first_mut() else {
        if limit.admits(series) {
            output.push_back((series.clone(), point));
        }
        return Ok(());
    };
    let mut result = Ok(());
    let mut emit = |series: &Series, point: Point| {
        if result.is_ok() {
            result = feed(rest, series, point, limit, output);
        }
    };
    match stage {
        Stage::Reduce(reduce) => reduce.push(series, &point, &mut emit)?,
        Stage::Transform(transform) => transform.push(series, &point, &mut emit)?,
        Stage::Fill(fill) => fill.push(series, point, &mut emit),
    }
    result
}
