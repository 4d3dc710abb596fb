//! Operators over the windows of an outer group, one group beside the other: aggregates and selectors, transformations, fill.

use std::ops::ControlFlow;

use hyperbytedb_domain::{FieldType, FieldValue};
use hyperbytedb_functions::{Aggregate, FillMode, Point, Transformation};
use hyperbytedb_timeseriesql::ast::{Fill, FillValue};

use crate::row::Series;

mod filling;
mod gaps;
mod groups;
mod reduce;
mod transforming;

pub(crate) use filling::Filling;
pub(crate) use reduce::Reduce;
pub(crate) use transforming::Transforming;

/// Receives the points of an operator with their groups; may break off.
pub(crate) type Emit<'e> = dyn FnMut(&Series, Point) -> ControlFlow<()> + 'e;

/// An operator of a call.
#[derive(Debug, Clone)]
pub(crate) enum StagePlan {
    Reduce(ReducePlan),
    Transform { transformation: Transformation, input: FieldType },
    Fill { mode: FillMode, value_type: FieldType },
}

/// One aggregate or selector over windows.
#[derive(Debug, Clone)]
pub(crate) struct ReducePlan {
    pub aggregate: Aggregate,
    pub input: FieldType,
    /// Points keep the time of the point they were selected from; else they have the start of their window.
    pub keeps_time: bool,
    /// Auxiliary values in front that are only there to group by.
    pub grouping_aux: usize,
    /// Its windows are filled.
    pub is_filled: bool,
}

/// A start without a lower bound is shown as 1970.
pub(crate) fn shown_start(start: i64) -> i64 {
    if start <= hyperbytedb_domain::time::MIN_TIME { 0 } else { start }
}

/// `None`: windows without points are left out.
pub(crate) fn fill_mode(fill: Fill) -> Option<FillMode> {
    match fill {
        Fill::None => None,
        Fill::Null => Some(FillMode::Null),
        Fill::Number(number) => Some(FillMode::Number(fill_number(number))),
        Fill::Previous => Some(FillMode::Previous),
        Fill::Linear => Some(FillMode::Linear),
    }
}

pub(crate) const fn fill_number(number: FillValue) -> FieldValue {
    match number {
        FillValue::Integer(n) => FieldValue::Integer(n),
        FillValue::Number(n) => FieldValue::Float(n),
    }
}
