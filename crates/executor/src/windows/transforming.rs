//! Transformations.

use hyperbytedb_domain::{FieldType, QueryContext};
use hyperbytedb_functions::{Point, Transform, Transformation, Windows};

use super::groups::Groups;
use super::{Emit, shown_start};
use crate::error::ExecError;
use crate::row::Series;
use crate::runtime::Runtime;
use crate::scope::Scope;

/// Transformations: each group's points through an operator of its own.
pub(crate) struct Transforming<'a> {
    transformation: Transformation,
    input: FieldType,
    scope: Scope,
    windows: Windows,
    groups: Groups<Transform>,
    context: &'a QueryContext,
}

impl<'a> Transforming<'a> {
    pub fn new(
        transformation: &Transformation,
        input: FieldType,
        scope: &Scope,
        runtime: &Runtime<'a>,
    ) -> Self {
        Self {
            transformation: transformation.clone(),
            input,
            scope: scope.clone(),
            windows: scope.windows(),
            groups: Groups::new(&runtime.budget),
            context: runtime.context,
        }
    }

    pub fn push(&mut self, series: &Series, point: &Point, emit: &mut Emit<'_>) -> Result<(), ExecError> {
        if point.is_nil() {
            return Ok(());
        }
        let make = || Ok(self.transformation.transform(self.input, &self.windows, self.scope.ascending)?);
        let (_, transform) = self.groups.get(series, make)?;
        let start = shown_start(self.windows.range.min);
        let before = transform.held();
        transform.push(point, &mut |point| {
            let _ = emit(series, point.at_window(start));
        });
        let after = transform.held();
        self.groups.held.remove(before.saturating_sub(after));
        self.groups.held.add(after.saturating_sub(before))
    }

    pub fn end_outer_group(&mut self, emit: &mut Emit<'_>) -> Result<(), ExecError> {
        let mut positions: Vec<usize> = (0..self.groups.members.len()).collect();
        self.groups.sort(&mut positions);
        let start = shown_start(self.windows.range.min);
        for position in positions {
            let (series, transform) = &mut self.groups.members[position];
            let is_wanted = || self.context.check().is_ok();
            transform.finish(&is_wanted, &mut |point| {
                let _ = emit(series, point.at_window(start));
            })?;
            self.context.check()?;
        }
        self.groups.clear();
        Ok(())
    }

    pub fn bound(&self, input: Option<i64>) -> Option<i64> {
        match self.transformation {
            Transformation::HoltWinters { .. } | Transformation::Integral { .. } => None,
            _ => input,
        }
    }
}
