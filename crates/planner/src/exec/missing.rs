//! What stands in for a missing value in a row: the fill option applies to single values too.

use hyperbytedb_domain::{FieldType, FieldValue};
use hyperbytedb_timeseriesql::ast::{FillValue, VarRef};

use super::inputs::{cast, value_type};
use super::row::Series;
use crate::prepared::Fill;

/// Replaces nulls by the number of `fill(number)`, or by the value before under `fill(previous)`.
#[derive(Debug)]
pub(super) struct Missing {
    mode: Mode,
}

#[derive(Debug)]
enum Mode {
    Null,
    Number(Vec<FieldValue>),
    Previous { series: Option<Series>, values: Vec<FieldValue> },
}

impl Missing {
    pub fn new(fill: Fill, refs: &[VarRef]) -> Self {
        Self::of_types(fill, refs.iter().map(|r| value_type(r.data_type)))
    }

    /// One slot a type; `None`: the slot is always null.
    pub fn of_types(fill: Fill, types: impl Iterator<Item = Option<FieldType>>) -> Self {
        let mode = match fill {
            Fill::Null | Fill::None | Fill::Linear => Mode::Null,
            Fill::Previous => Mode::Previous { series: None, values: vec![FieldValue::Null; types.count()] },
            Fill::Number(number) => Mode::Number(
                types.map(|t| t.map_or(FieldValue::Null, |t| cast(fill_number(number), t))).collect(),
            ),
        };
        Self { mode }
    }

    pub fn replace(&mut self, series: &Series, values: &mut [FieldValue]) {
        match &mut self.mode {
            Mode::Null => {}
            Mode::Number(numbers) => {
                for (value, number) in values.iter_mut().zip(numbers) {
                    if *value == FieldValue::Null {
                        value.clone_from(number);
                    }
                }
            }
            Mode::Previous { series: current, values: previous } => {
                if current.as_ref() != Some(series) {
                    *current = Some(series.clone());
                    previous.fill(FieldValue::Null);
                }
                for (value, previous) in values.iter_mut().zip(previous) {
                    match value {
                        FieldValue::Null => value.clone_from(previous),
                        value => previous.clone_from(value),
                    }
                }
            }
        }
    }
}

pub(super) const fn fill_number(number: FillValue) -> FieldValue {
    match number {
        FillValue::Integer(n) => FieldValue::Integer(n),
        FillValue::Number(n) => FieldValue::Float(n),
    }
}
