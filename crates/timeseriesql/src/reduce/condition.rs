//! A condition apart from its time bounds.

use jiff::tz::TimeZone;

use super::{reduce, reduce_binary, reduce_inner};
use crate::{
    ast::{BinaryExpr, BinaryOp, Expr},
    time::{MAX_TIME, MIN_TIME, format_seconds, is_time_literal, parse_time_literal},
};

/// Bounds in nanoseconds since the Unix epoch, both inclusive; None where there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TimeRange {
    pub min: Option<i64>,
    pub max: Option<i64>,
}

impl TimeRange {
    /// The times in both ranges.
    pub fn intersect(self, other: Self) -> Self {
        let tighter = |a: Option<i64>, b: Option<i64>, pick: fn(i64, i64) -> i64| match (a, b) {
            (Some(a), Some(b)) => Some(pick(a, b)),
            (a, b) => a.or(b),
        };
        Self { min: tighter(self.min, other.min, i64::max), max: tighter(self.max, other.max, i64::min) }
    }

    /// The lower bound, or the earliest time there is.
    pub fn min_ns(self) -> i64 {
        self.min.unwrap_or(MIN_TIME)
    }

    /// The upper bound, or the latest time there is.
    pub fn max_ns(self) -> i64 {
        self.max.unwrap_or(MAX_TIME)
    }
}

/// Why a condition is refused, in InfluxDB's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConditionError {
    #[error("invalid timestamp string")]
    Timestamp,
    #[error("time {0} overflows time literal")]
    Overflow(String),
    #[error("time {0} underflows time literal")]
    Underflow(String),
    #[error("invalid operation: time and {0} are not compatible")]
    Incompatible(&'static str),
    #[error("invalid time comparison operator: {0}")]
    Operator(BinaryOp),
    #[error("invalid condition expression: {0}")]
    Expression(String),
}

/// Takes the time bounds out of a condition and folds the rest.
///
/// Bounds are intersected wherever they stand, below `OR` too. `now()` is `now_ns`; times without
/// an offset are in `zone`. None for a condition that is always true.
pub fn condition_expr(
    condition: Option<Expr>,
    now_ns: Option<i64>,
    zone: &TimeZone,
) -> Result<(Option<Expr>, TimeRange), ConditionError> {
    let Some(condition) = condition else {
        return Ok((None, TimeRange::default()));
    };
    let (expr, range) = split(condition, now_ns, zone)?;
    let expr = match expr {
        Some(Expr::Paren(inner)) => Some(*inner),
        other => other,
    };
    Ok((expr.filter(|expr| *expr != Expr::Boolean(true)), range))
}

type Split = (Option<Expr>, TimeRange);

fn split(condition: Expr, now_ns: Option<i64>, zone: &TimeZone) -> Result<Split, ConditionError> {
    match condition {
        Expr::Binary(binary) if binary.op.is_logical() => split_chain(binary, now_ns, zone),
        Expr::Binary(binary) => split_comparison(binary, now_ns, zone),
        Expr::Paren(inner) => {
            let (expr, range) = split(*inner, now_ns, zone)?;
            let expr = expr.map(|expr| reduce_inner(Expr::Paren(Box::new(expr)), None, &TimeZone::UTC));
            Ok((expr, range))
        }
        Expr::Boolean(_) => Ok((Some(condition), TimeRange::default())),
        other => Err(ConditionError::Expression(other.to_string())),
    }
}

/// Walks the left operands of `AND` and `OR` in a loop: the chains are long there.
fn split_chain(binary: BinaryExpr, now_ns: Option<i64>, zone: &TimeZone) -> Result<Split, ConditionError> {
    let mut chain = Vec::new();
    let mut first = Expr::Binary(binary);
    while let Expr::Binary(binary) = first {
        if !binary.op.is_logical() {
            first = Expr::Binary(binary);
            break;
        }
        chain.push((binary.op, *binary.rhs));
        first = *binary.lhs;
    }
    let (mut expr, mut range) = split(first, now_ns, zone)?;
    for (op, rhs) in chain.into_iter().rev() {
        let (rhs, rhs_range) = split(rhs, now_ns, zone)?;
        range = range.intersect(rhs_range);
        expr = match (expr, rhs) {
            (Some(lhs), Some(rhs)) => Some(reduce_binary(op, lhs, rhs, &TimeZone::UTC)),
            (lhs, rhs) => lhs.or(rhs),
        };
    }
    Ok((expr, range))
}

fn split_comparison(
    binary: BinaryExpr,
    now_ns: Option<i64>,
    zone: &TimeZone,
) -> Result<Split, ConditionError> {
    if binary.lhs.is_time_ref() {
        let range = time_range(binary.op, *binary.rhs, now_ns, zone)?;
        return Ok((None, range));
    }
    if binary.rhs.is_time_ref() {
        let range = time_range(mirrored(binary.op), *binary.lhs, now_ns, zone)?;
        return Ok((None, range));
    }
    Ok((Some(reduce_inner(Expr::Binary(binary), now_ns, zone)), TimeRange::default()))
}

/// The operator that says the same with its sides exchanged.
fn mirrored(op: BinaryOp) -> BinaryOp {
    match op {
        BinaryOp::Gt => BinaryOp::Lt,
        BinaryOp::Lt => BinaryOp::Gt,
        BinaryOp::GtEq => BinaryOp::LtEq,
        BinaryOp::LtEq => BinaryOp::GtEq,
        other => other,
    }
}

/// The range that `time op value` leaves.
fn time_range(
    op: BinaryOp,
    value: Expr,
    now_ns: Option<i64>,
    zone: &TimeZone,
) -> Result<TimeRange, ConditionError> {
    let value = match value {
        Expr::String(text) if is_time_literal(&text) => {
            Expr::Time(parse_time_literal(&text, zone).ok_or(ConditionError::Timestamp)?)
        }
        other => other,
    };
    let ns = match reduce(value, now_ns, zone) {
        Expr::Time(ns) if ns > MAX_TIME.into() => {
            return Err(ConditionError::Overflow(format_seconds(ns, zone)));
        }
        Expr::Time(ns) if ns <= MIN_TIME.into() => {
            return Err(ConditionError::Underflow(format_seconds(ns, zone)));
        }
        Expr::Time(ns) => ns as i64,
        Expr::Duration(ns) | Expr::Integer(ns) => ns,
        Expr::Number(n) => n as i64,
        other => return Err(ConditionError::Incompatible(other.go_type())),
    };
    let (min, max) = match op {
        BinaryOp::Gt => (Some(ns.saturating_add(1)), None),
        BinaryOp::GtEq => (Some(ns), None),
        BinaryOp::Lt => (None, Some(ns.saturating_sub(1))),
        BinaryOp::LtEq => (None, Some(ns)),
        BinaryOp::Eq => (Some(ns), Some(ns)),
        op => return Err(ConditionError::Operator(op)),
    };
    Ok(TimeRange { min, max })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parser::parse_expr;

    const NOW: i64 = 946_684_800_000_000_000;
    const DAY: i64 = 86_400_000_000_000;

    fn check(text: &str, zone: &TimeZone) -> Result<(String, Option<i64>, Option<i64>), String> {
        let condition = parse_expr(text).unwrap();
        let (expr, range) =
            condition_expr(Some(condition), Some(NOW), zone).map_err(|error| error.to_string())?;
        let expr = expr.map(|expr| expr.to_string()).unwrap_or_default();
        Ok((expr, range.min, range.max))
    }

    #[test]
    fn splits_time_bounds_from_the_rest() {
        let cases: &[(&str, &str, Option<i64>, Option<i64>)] = &[
            ("host = 'a'", "host = 'a'", None, None),
            ("time >= now()", "", Some(NOW), None),
            ("time > now() - 1d", "", Some(NOW - DAY + 1), None),
            ("time < '2000-01-01'", "", None, Some(NOW - 1)),
            ("time <= '2000-01-01 00:00:00'", "", None, Some(NOW)),
            ("'2000-01-01T00:00:00Z' <= time", "", Some(NOW), None),
            ("TIME = 5", "", Some(5), Some(5)),
            ("time > 5.9", "", Some(6), None),
            (
                "time > 1s AND host = 'a' AND time < 2s",
                "host = 'a'",
                Some(1_000_000_001),
                Some(1_999_999_999),
            ),
            ("time > 1 OR host = 'a'", "host = 'a'", Some(2), None),
            ("time < 1 OR time > 9", "", Some(10), Some(0)),
            ("(time > 1) AND (host = 'a' OR host = 'b')", "host = 'a' OR host = 'b'", Some(2), None),
            ("(host = 'a' OR host = 'b') AND x = 1", "(host = 'a' OR host = 'b') AND x = 1", None, None),
            ("time > 1 AND time > 5", "", Some(6), None),
            ("true", "", None, None),
            ("1 = 2", "false", None, None),
            ("x = 1 AND 1 = 1", "x = 1", None, None),
        ];
        for (text, expr, min, max) in cases {
            let got = check(text, &TimeZone::UTC);
            assert_eq!(got, Ok(((*expr).to_owned(), *min, *max)), "{text}");
        }
    }

    #[test]
    fn refuses_in_influxdb_words() {
        let cases = [
            ("time != 5", "invalid time comparison operator: !="),
            ("time =~ /x/", "invalid operation: time and *influxql.RegexLiteral are not compatible"),
            ("time > host", "invalid operation: time and *influxql.VarRef are not compatible"),
            ("time > 'x'", "invalid operation: time and *influxql.StringLiteral are not compatible"),
            ("time > '2000-13-01'", "invalid timestamp string"),
            ("time > '2000-01-01 x'", "invalid timestamp string"),
            ("time > '2300-01-01'", "time 2300-01-01T00:00:00Z overflows time literal"),
            ("time > '1500-01-01'", "time 1500-01-01T00:00:00Z underflows time literal"),
            ("host", "invalid condition expression: host"),
        ];
        for (text, expected) in cases {
            assert_eq!(check(text, &TimeZone::UTC), Err(expected.to_owned()), "{text}");
        }
    }

    #[test]
    fn times_without_offset_are_in_the_zone() {
        let berlin = TimeZone::get("Europe/Berlin").unwrap();
        let hour = DAY / 24;
        for (text, min) in [
            ("time >= '2000-01-01'", NOW - hour),
            ("time >= '2000-01-01 00:00:00.5'", NOW - hour + 500_000_000),
            ("time >= '2000-01-01T00:00:00Z'", NOW),
            ("time >= '2000-01-01T00:00:00-01:00'", NOW + hour),
        ] {
            assert_eq!(check(text, &berlin), Ok((String::new(), Some(min), None)), "{text}");
        }
    }
}
