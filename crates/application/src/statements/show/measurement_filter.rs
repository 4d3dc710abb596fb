//! Conditions on whole measurements: WHERE of SHOW MEASUREMENTS, and the `_name` part of the others'.
//!
//! InfluxDB asks of each comparison by itself which measurements it holds for: `host = 'a' AND region = 'eu'` finds a
//! measurement that has both values, in whatever series, and `host != 'a'` one that has the tag but never this value.

use std::ops::ControlFlow;
use std::sync::Arc;

use hyperbytedb_domain::catalog::Table;
use hyperbytedb_timeseriesql::ast::{BinaryExpr, BinaryOp, Expr};
use hyperbytedb_timeseriesql::regex::Regex;

use super::super::StatementError;
use super::super::tag_filter::NAME_KEY;
use super::{WatchedIndex, is_equality};

/// The statement to use instead of a name that InfluxDB keeps for itself; `None`: it is no such name. Apart from `_name`,
/// no measurement matches a condition on them.
pub fn instead_of_system_name(name: &str) -> Option<&'static str> {
    Some(match name {
        "_fieldKeys" => "SHOW FIELD KEYS",
        "_measurements" => "SHOW MEASUREMENTS",
        "_series" => "SHOW SERIES",
        "_tagKeys" => "SHOW TAG KEYS",
        "_tags" => "SHOW TAG VALUES",
        "_tagKey" | NAME_KEY => "the appropriate meta command",
        _ => return None,
    })
}

pub fn is_system_name(name: &str) -> bool {
    instead_of_system_name(name).is_some()
}

#[derive(Debug)]
enum Text {
    Equals(String),
    Matches(Regex),
}

impl Text {
    fn is_match(&self, text: &str) -> bool {
        match self {
            Self::Equals(wanted) => wanted == text,
            Self::Matches(pattern) => pattern.is_match(text),
        }
    }
}

/// A condition compiled for evaluation against measurements.
#[derive(Debug)]
pub enum MeasurementFilter {
    Nothing,
    And(Box<MeasurementFilter>, Box<MeasurementFilter>),
    Or(Box<MeasurementFilter>, Box<MeasurementFilter>),
    Name { text: TextFilter },
    Tag { key: String, text: TextFilter },
}

#[derive(Debug)]
pub struct TextFilter {
    text: Text,
    negated: bool,
}

impl MeasurementFilter {
    pub fn compile(condition: &Expr) -> Result<Self, StatementError> {
        match condition {
            Expr::Paren(inner) => Self::compile(inner),
            Expr::Binary(binary) => Self::compile_binary(binary),
            other => Err(StatementError::NoComparison(go_syntax(other))),
        }
    }

    fn compile_binary(binary: &BinaryExpr) -> Result<Self, StatementError> {
        let both = || -> Result<_, StatementError> {
            Ok((Box::new(Self::compile(&binary.lhs)?), Box::new(Self::compile(&binary.rhs)?)))
        };
        match binary.op {
            BinaryOp::And => both().map(|(l, r)| Self::And(l, r)),
            BinaryOp::Or => both().map(|(l, r)| Self::Or(l, r)),
            op if is_equality(op) => Self::compile_comparison(binary),
            _ => Err(StatementError::TagOperator),
        }
    }

    fn compile_comparison(binary: &BinaryExpr) -> Result<Self, StatementError> {
        let op = binary.op;
        let Expr::VarRef(reference) = &*binary.lhs else {
            return Err(StatementError::NoTagKey(op));
        };
        let text = match (&*binary.rhs, op.is_regex()) {
            (Expr::Regex(pattern), true) => Text::Matches(pattern.clone()),
            (_, true) => return Err(StatementError::NoRegex(op)),
            (Expr::String(value), false) => Text::Equals(value.clone()),
            _ => return Err(StatementError::NoTagValue(op)),
        };
        let text = TextFilter { text, negated: matches!(op, BinaryOp::NotEq | BinaryOp::NotEqRegex) };
        Ok(match reference.name.as_str() {
            NAME_KEY => Self::Name { text },
            name if is_system_name(name) => Self::Nothing,
            name => Self::Tag { key: name.to_owned(), text },
        })
    }

    /// Whether the measurement with these tables matches.
    pub fn matches(
        &self,
        name: &str,
        tables: &[Arc<Table>],
        index: WatchedIndex<'_>,
    ) -> Result<bool, StatementError> {
        Ok(match self {
            Self::Nothing => false,
            Self::And(l, r) => l.matches(name, tables, index)? && r.matches(name, tables, index)?,
            Self::Or(l, r) => l.matches(name, tables, index)? || r.matches(name, tables, index)?,
            Self::Name { text } => text.text.is_match(name) != text.negated,
            Self::Tag { key, text } => match has_value(key, &text.text, tables, index)? {
                Some(found) => found != text.negated,
                None => false,
            },
        })
    }
}

/// Whether a tag has a matching value; `None`: no series has the tag.
fn has_value(
    key: &str,
    text: &Text,
    tables: &[Arc<Table>],
    index: WatchedIndex<'_>,
) -> Result<Option<bool>, StatementError> {
    let mut found = None;
    for table in tables {
        index.for_each_tag_value(table.id, key, &mut |value| {
            found = Some(text.is_match(value));
            if found == Some(true) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        if found == Some(true) {
            break;
        }
    }
    Ok(found)
}

/// InfluxDB's text for a condition that is no comparison is the node in Go syntax.
fn go_syntax(expr: &Expr) -> String {
    match expr {
        Expr::VarRef(reference) => format!("&influxql.VarRef{{Val:{:?}, Type:0}}", reference.name),
        Expr::Boolean(value) => format!("&influxql.BooleanLiteral{{Val:{value}}}"),
        Expr::String(value) => format!("&influxql.StringLiteral{{Val:{value:?}}}"),
        Expr::Integer(value) => format!("&influxql.IntegerLiteral{{Val:{value}}}"),
        Expr::Number(value) => format!("&influxql.NumberLiteral{{Val:{value}}}"),
        other => format!("invalid tag expression: {other}"),
    }
}
