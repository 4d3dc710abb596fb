//! What stands in for a missing value in a row: the fill option applies to single values too.

use hyperbytedb_domain::{FieldType, FieldValue};
use hyperbytedb_timeseriesql::ast::{Fill, FillValue, VarRef};

use crate::inputs::{cast, value_type};
use crate::row::Series;
use crate::windows::fill_number;

/// How the number of `fill(number)` appears in a column.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Slot {
    /// Not at all: the column is always null.
    Null,
    /// As it is: the type of the column is not known.
    Untyped,
    Typed(FieldType),
}

/// Replaces nulls by the number of `fill(number)`, or by the value before under `fill(previous)`.
#[derive(Debug)]
pub(crate) struct Missing {
    mode: Mode,
}

#[derive(Debug)]
enum Mode {
    Null,
    Number(Vec<FieldValue>),
    Previous { series: Option<Series>, values: Vec<FieldValue> },
}

impl Missing {
    pub fn new(fill: Fill, slots: impl Iterator<Item = Slot>) -> Self {
        let mode = match fill {
            Fill::Null | Fill::None | Fill::Linear => Mode::Null,
            Fill::Previous => Mode::Previous { series: None, values: vec![FieldValue::Null; slots.count()] },
            Fill::Number(number) => Mode::Number(slots.map(|slot| slot.value(number)).collect()),
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

impl Slot {
    /// The slot of a column that is selected by its name.
    pub fn of(variable: &VarRef) -> Self {
        value_type(variable.data_type).map_or(Self::Untyped, Self::Typed)
    }

    fn value(self, number: FillValue) -> FieldValue {
        match self {
            Self::Null => FieldValue::Null,
            Self::Untyped => fill_number(number),
            Self::Typed(to) => cast(fill_number(number), to),
        }
    }
}
