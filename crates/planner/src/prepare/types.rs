//! Types of expressions whose references are resolved.

use hyperbytedb_functions::MathFunction;
use hyperbytedb_timeseriesql::ast::{BinaryExpr, BinaryOp, DataType, Expr};

use super::PrepareError;
use super::error::refuse;

/// The type of a column whose references carry theirs; `None` where it is not known, because a name is not.
///
/// This is the type InfluxDB assigns, which for mathematics over integers is not that of the value: a column of
/// `sin(i)` counts as an integer, and a statement around it reads it as one.
///
/// # Errors
/// Operands that do not go together.
pub(super) fn expr_type(expr: &Expr) -> Result<Option<DataType>, PrepareError> {
    type_with(expr, &call_type)
}

/// The same for a column of the outermost statement, where mathematics over unknown names has a type as well.
pub(super) fn result_type(expr: &Expr) -> Result<Option<DataType>, PrepareError> {
    type_with(expr, &|name, arguments| match call_type(name, arguments)? {
        None => math_type(name, arguments),
        known => Ok(known),
    })
}

/// The type of a call by its name and the types of its arguments.
type CallType<'a> = &'a dyn Fn(&str, &[Option<DataType>]) -> Result<Option<DataType>, PrepareError>;

fn type_with(expr: &Expr, of_call: CallType<'_>) -> Result<Option<DataType>, PrepareError> {
    match expr {
        Expr::VarRef(reference) => Ok(reference.data_type),
        Expr::Call(call) => {
            let arguments: Result<Vec<_>, _> = call.args.iter().map(|arg| type_with(arg, of_call)).collect();
            of_call(&call.name, &arguments?)
        }
        Expr::Binary(binary) => {
            let (lhs, rhs) = (type_with(&binary.lhs, of_call)?, type_with(&binary.rhs, of_call)?);
            match (lhs, rhs) {
                (Some(left), Some(right)) => binary_type(binary, left, right).map(Some),
                (lhs, rhs) => Ok(lhs.or(rhs)),
            }
        }
        Expr::Paren(inner) => type_with(inner, of_call),
        Expr::Number(_) => Ok(Some(DataType::Float)),
        Expr::Integer(_) => Ok(Some(DataType::Integer)),
        Expr::Unsigned(_) => Ok(Some(DataType::Unsigned)),
        Expr::String(_) => Ok(Some(DataType::String)),
        Expr::Boolean(_) => Ok(Some(DataType::Boolean)),
        _ => Ok(None),
    }
}

fn call_type(name: &str, arguments: &[Option<DataType>]) -> Result<Option<DataType>, PrepareError> {
    Ok(match name {
        "mean"
        | "median"
        | "integral"
        | "stddev"
        | "derivative"
        | "non_negative_derivative"
        | "moving_average"
        | "exponential_moving_average"
        | "double_exponential_moving_average"
        | "triple_exponential_moving_average"
        | "relative_strength_index"
        | "triple_exponential_derivative"
        | "kaufmans_efficiency_ratio"
        | "kaufmans_adaptive_moving_average"
        | "chande_momentum_oscillator"
        | "holt_winters"
        | "holt_winters_with_fit" => Some(DataType::Float),
        "count" | "elapsed" => Some(DataType::Integer),
        "count_hll" => Some(DataType::Unsigned),
        "sum_hll" | "merge_hll" => Some(DataType::String),
        _ => arguments.first().copied().flatten(),
    })
}

/// Mathematics whose first argument is unknown.
fn math_type(name: &str, arguments: &[Option<DataType>]) -> Result<Option<DataType>, PrepareError> {
    use MathFunction::{Abs, Atan2, Ceil, Floor, Pow, Round};
    match (MathFunction::parse(name), arguments) {
        (None | Some(Abs | Ceil | Floor | Round), _) => Ok(None),
        (Some(Atan2 | Pow), [_, Some(second)]) if !is_number(*second) => {
            refuse!("invalid argument type for the second argument in {name}(): {second}")
        }
        _ => Ok(Some(DataType::Float)),
    }
}

/// Whether values of the type are numbers.
pub(super) const fn is_number(data_type: DataType) -> bool {
    matches!(data_type, DataType::Float | DataType::Integer | DataType::Unsigned)
}

fn binary_type(binary: &BinaryExpr, left: DataType, right: DataType) -> Result<DataType, PrepareError> {
    check_signs(binary, left, right)?;
    operation_type(binary.op, left, right)
        .ok_or_else(|| type_error(binary, format!("incompatible types: {left} and {right}")))
}

/// An integer and an unsigned go together only if the integer is a literal.
fn check_signs(binary: &BinaryExpr, left: DataType, right: DataType) -> Result<(), PrepareError> {
    let (integer, unsigned) = match (left, right) {
        (DataType::Integer, DataType::Unsigned) => (&binary.lhs, &binary.rhs),
        (DataType::Unsigned, DataType::Integer) => (&binary.rhs, &binary.lhs),
        _ => return Ok(()),
    };
    let op = binary.op;
    if unsigned.is_literal() {
        return Err(type_error(binary, format!("cannot use {op} with an integer and unsigned literal")));
    }
    if !integer.is_literal() {
        let message =
            format!("cannot use {op} between an integer and unsigned, an explicit cast is required");
        return Err(type_error(binary, message));
    }
    Ok(())
}

fn type_error(binary: &BinaryExpr, message: String) -> PrepareError {
    PrepareError::Invalid(format!("type error: {binary}: {message}"))
}

/// The type of `left op right`; `None` where the operator is not defined for them.
fn operation_type(op: BinaryOp, left: DataType, right: DataType) -> Option<DataType> {
    use DataType::{Boolean, Float, Integer, Unsigned};
    let bitwise = matches!(op, BinaryOp::BitAnd | BinaryOp::BitOr | BinaryOp::BitXor);
    if op.is_comparison() {
        return Some(Boolean);
    }
    match (left, right) {
        (Boolean, _) if bitwise || op.is_logical() => Some(Boolean),
        (Float, Float | Integer | Unsigned) | (Integer | Unsigned, Float) => {
            (op.is_arithmetic() && !bitwise).then_some(Float)
        }
        (Integer, Integer) => op.is_arithmetic().then_some(Integer),
        (Integer | Unsigned, Unsigned) | (Unsigned, Integer) => op.is_arithmetic().then_some(Unsigned),
        (DataType::String | DataType::Tag, _) if op.is_regex() => Some(Boolean),
        _ => None,
    }
}
