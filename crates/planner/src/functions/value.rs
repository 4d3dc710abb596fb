//! Operators on single values.

use hyperbytedb_domain::FieldValue;
use hyperbytedb_timeseriesql::ast::BinaryOp;

/// `left op right` for every operator except the regular-expression ones; `Null` where the types do not fit.
///
/// `=` and friends give a boolean, `AND` and `OR` too.
pub fn binary(op: BinaryOp, left: &FieldValue, right: &FieldValue) -> FieldValue {
    todo!("{op:?} {left:?} {right:?}")
}

/// Is a condition's value true? Anything but the boolean is not.
pub fn is_true(value: &FieldValue) -> bool {
    matches!(value, FieldValue::Boolean(true))
}
