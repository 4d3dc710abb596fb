//! The rules of WHERE.

use hyperbytedb_functions::MathFunction;
use hyperbytedb_timeseriesql::ast::{Expr, SelectStatement};
use hyperbytedb_timeseriesql::reduce::{self, condition_expr};
use hyperbytedb_timeseriesql::walk::walk_expr;
use jiff::tz::TimeZone;

use super::PrepareError;
use super::error::refuse;

/// Splits WHERE into its time bounds and the rest, constants folded.
pub(super) fn split(
    statement: &SelectStatement,
    now: i64,
    zone: &TimeZone,
) -> Result<(Option<Expr>, reduce::TimeRange), PrepareError> {
    let split = condition_expr(statement.condition.clone(), Some(now), zone);
    let (condition, bounds) = split.map_err(|error| PrepareError::Invalid(error.to_string()))?;
    if let Some(condition) = &condition {
        check_calls(condition)?;
    }
    Ok((condition, bounds))
}

/// Only mathematics may be called in a condition. Calls in parentheses are not looked at, as in InfluxDB.
fn check_calls(condition: &Expr) -> Result<(), PrepareError> {
    match condition {
        Expr::Binary(binary) => {
            check_calls(&binary.lhs)?;
            check_calls(&binary.rhs)
        }
        Expr::Call(call) => {
            // Only here does InfluxDB expect a single argument of log().
            let arity = match MathFunction::parse(&call.name) {
                Some(MathFunction::Log) => 1,
                Some(function) => function.arity(),
                None => refuse!("invalid function call in condition: {call}"),
            };
            let got = call.args.len();
            if got != arity {
                refuse!("invalid number of arguments for {}, expected {arity}, got {got}", call.name);
            }
            call.args.iter().try_for_each(check_calls)
        }
        _ => Ok(()),
    }
}

/// The right side of `=~` and `!~` must be a regex. InfluxDB notices late, and says so as it can.
pub(super) fn check_regexes(condition: &Expr) -> Result<(), PrepareError> {
    let mut offender = None;
    walk_expr(condition, &mut |expr| {
        if let Expr::Binary(binary) = expr
            && binary.op.is_regex()
            && !matches!(*binary.rhs, Expr::Regex(_))
        {
            offender.get_or_insert(&*binary.rhs);
        }
        offender.is_none()
    });
    match offender {
        None => Ok(()),
        Some(expr) => refuse!(
            "likely malformed statement, unable to rewrite: interface conversion: influxql.Expr is {}, not *influxql.RegexLiteral",
            expr.go_type()
        ),
    }
}
