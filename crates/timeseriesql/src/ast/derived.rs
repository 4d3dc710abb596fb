//! What follows from a statement's own text.

use super::*;
use crate::walk::{any_expr, walk_expr};

/// Nanoseconds from the first instant of year 1, where InfluxDB's truncation starts, to 1970.
const YEAR_ONE_NS: i128 = -62_135_596_800 * 1_000_000_000;

/// Why `GROUP BY time(…)` is not one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DimensionError {
    #[error("time dimension expected 1 or 2 arguments")]
    Arguments,
    #[error("time dimension must have duration argument")]
    Interval,
    #[error("invalid time dimension offset: {0}")]
    Offset(String),
}

impl SelectStatement {
    /// Whether no field calls a function. `DISTINCT name` counts as raw here.
    pub fn is_raw(&self) -> bool {
        let calls = |field: &Field| any_expr(&field.expr, |e| matches!(e, Expr::Call(_)));
        !self.fields.iter().any(calls)
    }

    /// Whether rows come in order of rising time.
    pub fn time_ascending(&self) -> bool {
        self.sort_fields.first().is_none_or(|field| field.ascending)
    }

    /// Whether a field is, or takes, a wildcard or a regex.
    pub fn has_field_wildcard(&self) -> bool {
        self.fields.iter().any(|field| any_expr(&field.expr, is_wildcard))
    }

    /// Whether a dimension is a wildcard or a regex.
    pub fn has_dimension_wildcard(&self) -> bool {
        self.dimensions.iter().any(is_wildcard)
    }

    /// The `time(…)` dimension.
    fn time_dimension(&self) -> Option<&Call> {
        self.dimensions.iter().find_map(|dimension| match dimension {
            Expr::Call(call) if call.name == "time" => Some(call),
            _ => None,
        })
    }

    /// The interval of `GROUP BY time(interval)`, in nanoseconds, as written: it may be 0 or negative.
    pub fn group_by_interval(&self) -> Result<Option<i64>, DimensionError> {
        let Some(call) = self.time_dimension() else {
            return Ok(None);
        };
        match call.args.as_slice() {
            [Expr::Duration(ns)] | [Expr::Duration(ns), _] => Ok(Some(*ns)),
            [_] | [_, _] => Err(DimensionError::Interval),
            _ => Err(DimensionError::Arguments),
        }
    }

    /// The offset of `GROUP BY time(interval, offset)`, in nanoseconds, less than the interval.
    ///
    /// `now()` must have been folded into a time before.
    pub fn group_by_offset(&self) -> Result<i64, DimensionError> {
        let Some(interval) = self.group_by_interval()?.filter(|&ns| ns != 0) else {
            return Ok(0);
        };
        match self.time_dimension().and_then(|call| call.args.get(1)) {
            None => Ok(0),
            Some(Expr::Duration(ns)) => Ok(ns.wrapping_rem(interval)),
            Some(Expr::Time(_)) if interval < 0 => Ok(0),
            Some(Expr::Time(ns)) => Ok((ns - YEAR_ONE_NS).rem_euclid(interval.into()) as i64),
            Some(other) => Err(DimensionError::Offset(other.to_string())),
        }
    }
}

impl Field {
    /// The column's name before conflicts are settled: the alias, the function's name, the
    /// reference's name, or the names in an operation joined by `_`; empty for the rest.
    pub fn name(&self) -> String {
        match &self.alias {
            Some(alias) => alias.clone(),
            None => expr_name(&self.expr),
        }
    }
}

fn expr_name(expr: &Expr) -> String {
    match expr {
        Expr::Call(call) => call.name.clone(),
        Expr::VarRef(reference) => reference.name.clone(),
        Expr::Paren(inner) => expr_name(inner),
        Expr::Binary(_) => operation_name(expr),
        _ => String::new(),
    }
}

fn operation_name(expr: &Expr) -> String {
    let mut names = Vec::new();
    walk_expr(expr, &mut |node| {
        match node {
            Expr::VarRef(reference) => names.push(reference.name.as_str()),
            Expr::Call(call) => names.push(call.name.as_str()),
            _ => {}
        }
        !matches!(node, Expr::Call(_))
    });
    names.join("_")
}

fn is_wildcard(expr: &Expr) -> bool {
    matches!(expr, Expr::Wildcard(_) | Expr::Regex(_))
}

impl Measurement {
    /// The name, unless it is a pattern.
    pub fn plain_name(&self) -> Option<&str> {
        match &self.name {
            MeasurementName::Name(name) => Some(name),
            MeasurementName::Regex(_) => None,
        }
    }
}

impl Expr {
    /// Whether this is a literal.
    pub fn is_literal(&self) -> bool {
        use Expr::*;
        !matches!(self, VarRef(_) | Call(_) | Binary(_) | Paren(_) | Distinct(_) | Wildcard(_))
    }

    /// Whether this is a reference to `time`, in any case.
    pub fn is_time_ref(&self) -> bool {
        matches!(self, Self::VarRef(reference) if reference.name.eq_ignore_ascii_case("time"))
    }

    /// What InfluxDB, written in Go, calls the kind of an expression in its errors.
    pub fn go_type(&self) -> &'static str {
        match self {
            Self::VarRef(_) => "*influxql.VarRef",
            Self::Call(_) => "*influxql.Call",
            Self::Binary(_) => "*influxql.BinaryExpr",
            Self::Paren(_) => "*influxql.ParenExpr",
            Self::Distinct(_) => "*influxql.Distinct",
            Self::Wildcard(_) => "*influxql.Wildcard",
            Self::Number(_) => "*influxql.NumberLiteral",
            Self::Integer(_) => "*influxql.IntegerLiteral",
            Self::Unsigned(_) => "*influxql.UnsignedLiteral",
            Self::String(_) => "*influxql.StringLiteral",
            Self::Boolean(_) => "*influxql.BooleanLiteral",
            Self::Duration(_) => "*influxql.DurationLiteral",
            Self::Time(_) => "*influxql.TimeLiteral",
            Self::Regex(_) => "*influxql.RegexLiteral",
            Self::Nil => "*influxql.NilLiteral",
        }
    }
}
