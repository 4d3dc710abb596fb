//! Constant folding by InfluxQL's rules, and the time bounds of a condition.
//!
//! Pure functions: the clock and the time zone are arguments.

mod condition;
mod literal;

use jiff::tz::TimeZone;

pub use condition::{ConditionError, TimeRange, condition_expr};
use literal::fold;

use crate::ast::{BinaryExpr, BinaryOp, Call, Expr};

/// Folds what is constant in the expression; references stay.
///
/// `now()` becomes `now_ns`, nanoseconds since the Unix epoch, or stays where there is none. Times
/// in strings without an offset are in `zone`. Parentheses around the whole are taken off.
pub fn reduce(expr: Expr, now_ns: Option<i64>, zone: &TimeZone) -> Expr {
    match reduce_inner(expr, now_ns, zone) {
        Expr::Paren(inner) => *inner,
        other => other,
    }
}

fn reduce_inner(expr: Expr, now_ns: Option<i64>, zone: &TimeZone) -> Expr {
    match expr {
        Expr::Binary(binary) => reduce_chain(binary, now_ns, zone),
        Expr::Call(call) => reduce_call(call, now_ns, zone),
        Expr::Paren(inner) => match reduce_inner(*inner, now_ns, zone) {
            binary @ Expr::Binary(_) => Expr::Paren(Box::new(binary)),
            other => other,
        },
        other => other,
    }
}

/// Walks the left operands in a loop: chains of operators are long there.
fn reduce_chain(binary: BinaryExpr, now_ns: Option<i64>, zone: &TimeZone) -> Expr {
    let mut chain = Vec::new();
    let mut first = Expr::Binary(binary);
    while let Expr::Binary(BinaryExpr { op, lhs, rhs }) = first {
        chain.push((op, *rhs));
        first = *lhs;
    }
    let first = reduce_inner(first, now_ns, zone);
    chain
        .into_iter()
        .rev()
        .fold(first, |lhs, (op, rhs)| reduce_binary(op, lhs, reduce_inner(rhs, now_ns, zone), zone))
}

/// One operation over operands that are already reduced.
fn reduce_binary(op: BinaryOp, lhs: Expr, rhs: Expr, zone: &TimeZone) -> Expr {
    // The value that decides the outcome whatever the other side is; its opposite leaves that side.
    let deciding = match op {
        BinaryOp::And => Some(false),
        BinaryOp::Or => Some(true),
        _ => None,
    };
    if let Some(deciding) = deciding {
        match (&lhs, &rhs) {
            (Expr::Boolean(b), _) | (_, Expr::Boolean(b)) if *b == deciding => {
                return Expr::Boolean(deciding);
            }
            (Expr::Boolean(_), _) => return rhs,
            (_, Expr::Boolean(_)) => return lhs,
            _ => {}
        }
    }
    match fold(op, &lhs, &rhs, zone) {
        Some(folded) => folded,
        None => Expr::Binary(BinaryExpr::new(op, lhs, rhs)),
    }
}

fn reduce_call(call: Call, now_ns: Option<i64>, zone: &TimeZone) -> Expr {
    match now_ns {
        Some(now_ns) if call.name == "now" && call.args.is_empty() => Expr::Time(now_ns.into()),
        _ => {
            let args = call.args.into_iter().map(|arg| reduce_inner(arg, now_ns, zone)).collect();
            Expr::Call(Call { name: call.name, args })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parser::parse_expr;

    #[test]
    fn folds_as_influxdb_folds() {
        let now = parse_expr("'2000-01-01T00:00:00Z'").unwrap();
        let Expr::String(now) = now else { panic!("a string") };
        let now = crate::time::parse_time_literal(&now, &TimeZone::UTC).unwrap();
        let cases = [
            ("1 + 2", "3"),
            ("(foo*2) + ( (4/2) + (3 * 5) - 0.5 )", "(foo * 2) + 16.500"),
            ("foo(bar(2 + 3), 4)", "foo(bar(5), 4)"),
            ("4 / 0", "0.000"),
            ("1 / 2", "0.500"),
            ("2 % 3", "2"),
            ("5 % 0", "0"),
            ("2 | 5", "7"),
            ("7 & 2", "2"),
            ("4 = 4", "true"),
            ("4 <> 4", "false"),
            ("6 > 4", "true"),
            ("4 >= 4", "true"),
            ("4 < 6", "true"),
            ("4 <= 4", "true"),
            ("4 AND 5", "4 AND 5"),
            ("-1 * 3", "-3"),
            ("3 * -2", "-6"),
            ("9223372036854775807 + 1", "-9223372036854775808"),
            ("9223372036854775808 + 1", "9223372036854775809"),
            ("-1 < 9223372036854775808", "true"),
            ("true AND false", "false"),
            ("true OR false", "true"),
            ("true OR (foo = bar and 1 > 2)", "true"),
            ("(foo = bar and 1 > 2) OR true", "true"),
            ("false OR (foo = bar and 1 > 2)", "false"),
            ("(foo = bar and 1 > 2) OR false", "false"),
            ("true AND foo = 1", "foo = 1"),
            ("true = false", "false"),
            ("true <> false", "true"),
            ("true + false", "true + false"),
            ("'foo' + 'bar'", "'foobar'"),
            ("'foo' = 'bar'", "false"),
            ("'foo' <> 'bar'", "true"),
            ("now()", "'2000-01-01T00:00:00Z'"),
            ("now() + 1h", "'2000-01-01T01:00:00Z'"),
            ("now() - 1h", "'1999-12-31T23:00:00Z'"),
            ("now() - '2000-01-01'", "0s"),
            ("now() = now()", "true"),
            ("now() > '1999-01-01'", "true"),
            ("1h + 1m", "61m"),
            ("1h * 2", "2h"),
            ("1h / 0", "0s"),
            ("1h / 0.5", "0s"),
            ("1h + '2000-01-01'", "'2000-01-01T01:00:00Z'"),
            ("'2000-01-01T00:00:00Z' = '2000-01-01'", "true"),
            ("'2000-01-01' + 2h", "'2000-01-01T02:00:00Z'"),
            ("946684800000000000 + 2h", "'2000-01-01T02:00:00Z'"),
            ("time > now() - 1h", "time > '1999-12-31T23:00:00Z'"),
            ("1h & 2", "1h & 2"),
            ("'x' + 2h", "'x' + 2h"),
        ];
        for (text, expected) in cases {
            let reduced = reduce(parse_expr(text).unwrap(), Some(now as i64), &TimeZone::UTC);
            assert_eq!(reduced.to_string(), expected, "{text}");
        }
    }
}
