//! The columns a SELECT reads from its sources.

use hyperbytedb_domain::{FieldType, FieldValue};
use hyperbytedb_functions::go_math;
use hyperbytedb_timeseriesql::ast::{DataType, Expr, VarRef};

use crate::expression::Slots;

/// Distinct references, each with its position in the rows of the sources.
#[derive(Debug, Clone, Default)]
pub(crate) struct Inputs {
    pub refs: Vec<VarRef>,
}

impl Inputs {
    /// The position of a reference, added if it is new.
    pub fn add(&mut self, variable: &VarRef) -> usize {
        self.position(variable).unwrap_or_else(|| {
            self.refs.push(variable.clone());
            self.refs.len() - 1
        })
    }

    /// Adds every reference of an expression.
    pub fn add_all(&mut self, expr: &Expr) {
        match expr {
            Expr::VarRef(variable) => {
                self.add(variable);
            }
            Expr::Paren(inner) => self.add_all(inner),
            Expr::Binary(binary) => {
                self.add_all(&binary.lhs);
                self.add_all(&binary.rhs);
            }
            Expr::Call(call) => call.args.iter().for_each(|a| self.add_all(a)),
            _ => {}
        }
    }

    pub fn position(&self, variable: &VarRef) -> Option<usize> {
        self.refs.iter().position(|r| r == variable)
    }

    pub fn len(&self) -> usize {
        self.refs.len()
    }
}

impl Slots for Inputs {
    fn variable(&self, variable: &VarRef) -> Option<usize> {
        self.position(variable)
    }
}

/// The field type a reference of this type yields; tags are strings. `None`: nothing is known.
pub(crate) fn value_type(data_type: Option<DataType>) -> Option<FieldType> {
    match data_type? {
        DataType::Float => Some(FieldType::Float),
        DataType::Integer => Some(FieldType::Integer),
        DataType::Unsigned => Some(FieldType::Unsigned),
        DataType::String | DataType::Tag => Some(FieldType::String),
        DataType::Boolean => Some(FieldType::Boolean),
        DataType::Time | DataType::Duration | DataType::AnyField => None,
    }
}

/// Whether a stored field can be read as another type.
pub(crate) fn can_cast(from: FieldType, to: FieldType) -> bool {
    let is_number = |t| matches!(t, FieldType::Float | FieldType::Integer | FieldType::Unsigned);
    from == to || (is_number(from) && is_number(to))
}

/// Numbers become the asked-for kind of number; everything else stays as it is.
pub(crate) fn cast(value: FieldValue, to: FieldType) -> FieldValue {
    use FieldValue::{Float, Integer, Unsigned};
    match (to, value) {
        (FieldType::Float, Integer(v)) => Float(v as f64),
        (FieldType::Float, Unsigned(v)) => Float(v as f64),
        (FieldType::Integer, Float(v)) => Integer(go_math::to_integer(v)),
        (FieldType::Integer, Unsigned(v)) => Integer(v as i64),
        (FieldType::Unsigned, Float(v)) => Unsigned(go_math::to_unsigned(v)),
        (FieldType::Unsigned, Integer(v)) => Unsigned(v as u64),
        (_, value) => value,
    }
}

/// Whether a value is of a type.
pub(crate) fn has_type(value: &FieldValue, field_type: FieldType) -> bool {
    matches!(
        (value, field_type),
        (FieldValue::Float(_), FieldType::Float)
            | (FieldValue::Integer(_), FieldType::Integer)
            | (FieldValue::Unsigned(_), FieldType::Unsigned)
            | (FieldValue::String(_), FieldType::String)
            | (FieldValue::Boolean(_), FieldType::Boolean)
    )
}
