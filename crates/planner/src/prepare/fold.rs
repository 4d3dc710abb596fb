//! Constant folding of columns and dimensions: no clock, no time zone.

use hyperbytedb_domain::FieldValue;
use hyperbytedb_functions::MathFunction;
use hyperbytedb_timeseriesql::ast::{Call, Expr};
use hyperbytedb_timeseriesql::reduce::reduce;
use jiff::tz::TimeZone;

/// Folds operators over constants; calls stay.
pub(super) fn fold_constants(expr: &Expr) -> Expr {
    fold_operators(expr.clone())
}

/// Folds operators and mathematics over constants.
pub(super) fn fold_column(expr: &Expr) -> Expr {
    let mut expr = expr.clone();
    fold_calls(&mut expr);
    fold_operators(expr)
}

fn fold_operators(expr: Expr) -> Expr {
    reduce(expr, None, &TimeZone::UTC)
}

fn fold_calls(expr: &mut Expr) {
    match expr {
        Expr::Call(call) => {
            for argument in &mut call.args {
                fold_calls(argument);
                let operand = std::mem::replace(argument, Expr::Nil);
                *argument = fold_operators(operand);
            }
            if let Some(value) = constant(call) {
                *expr = value;
            }
        }
        Expr::Binary(binary) => {
            fold_calls(&mut binary.lhs);
            fold_calls(&mut binary.rhs);
        }
        Expr::Paren(inner) => fold_calls(inner),
        _ => {}
    }
}

/// The value of a mathematical call on literals.
fn constant(call: &Call) -> Option<Expr> {
    let function = MathFunction::parse(&call.name)?;
    if call.args.len() != function.arity() || !call.args.iter().all(Expr::is_literal) {
        return None;
    }
    let arguments: Vec<FieldValue> = call.args.iter().map(value).collect();
    Some(match function.apply(&arguments) {
        FieldValue::Float(n) => Expr::Number(n),
        FieldValue::Integer(n) => Expr::Integer(n),
        _ => Expr::Nil,
    })
}

fn value(literal: &Expr) -> FieldValue {
    match literal {
        Expr::Number(n) => FieldValue::Float(*n),
        Expr::Integer(n) => FieldValue::Integer(*n),
        Expr::Unsigned(n) => FieldValue::Unsigned(*n),
        _ => FieldValue::Null,
    }
}
