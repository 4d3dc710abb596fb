//! Types of expressions whose references are resolved.

use hyperbytedb_timeseriesql::ast::{BinaryExpr, BinaryOp, Call, DataType, Expr};

use super::PrepareError;

/// The type of an expression whose references carry theirs; `None` where it is not known, because a name is not.
///
/// This is the type InfluxDB assigns, which for mathematics over integers is not that of the value: a column of
/// `sin(i)` counts as an integer, and a statement around it reads it as one.
///
/// # Errors
/// Operands that do not go together.
pub fn expr_type(expr: &Expr) -> Result<Option<DataType>, PrepareError> {
    match expr {
        Expr::VarRef(reference) => Ok(reference.data_type),
        Expr::Call(call) => call_type(call),
        Expr::Binary(binary) => binary_type(binary),
        Expr::Paren(inner) => expr_type(inner),
        Expr::Number(_) => Ok(Some(DataType::Float)),
        Expr::Integer(_) => Ok(Some(DataType::Integer)),
        Expr::Unsigned(_) => Ok(Some(DataType::Unsigned)),
        Expr::String(_) => Ok(Some(DataType::String)),
        Expr::Boolean(_) => Ok(Some(DataType::Boolean)),
        _ => Ok(None),
    }
}

fn call_type(call: &Call) -> Result<Option<DataType>, PrepareError> {
    let mut arguments = call.args.iter().map(expr_type);
    let first = arguments.next().transpose()?.flatten();
    arguments.try_for_each(|argument| argument.map(|_| ()))?;
    Ok(match call.name.as_str() {
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
        _ => first,
    })
}

fn binary_type(binary: &BinaryExpr) -> Result<Option<DataType>, PrepareError> {
    let (lhs, rhs) = (expr_type(&binary.lhs)?, expr_type(&binary.rhs)?);
    let (Some(left), Some(right)) = (lhs, rhs) else { return Ok(lhs.or(rhs)) };
    check_signs(binary, left, right)?;
    let result = operation_type(binary.op, left, right);
    let result =
        result.ok_or_else(|| type_error(binary, format!("incompatible types: {left} and {right}")))?;
    Ok(Some(result))
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
