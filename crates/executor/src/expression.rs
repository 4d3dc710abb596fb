//! Expressions computed once a row.

use hyperbytedb_domain::FieldValue;
use hyperbytedb_functions::MathFunction;
use hyperbytedb_functions::value::{self, Clause};
use hyperbytedb_timeseriesql::ast::{BinaryOp, Call, Expr, VarRef};
use hyperbytedb_timeseriesql::regex::Regex;

use crate::error::ExecError;

/// An expression whose names are positions in a row.
#[derive(Debug, Clone)]
pub(crate) enum BoundExpr {
    Slot(usize),
    Literal(FieldValue),
    Binary { op: BinaryOp, left: Box<BoundExpr>, right: Box<BoundExpr>, clause: Clause },
    Matches { text: Box<BoundExpr>, regex: Regex, negated: bool },
    Math { function: MathFunction, arguments: Vec<BoundExpr> },
}

/// Where the names of an expression are found.
pub(crate) trait Slots {
    /// `None`: the name is null in every row.
    fn variable(&self, variable: &VarRef) -> Option<usize>;

    /// The result of a call that is no mathematical function; `None`: null in every row.
    fn call(&self, _call: &Call) -> Option<usize> {
        None
    }
}

impl BoundExpr {
    pub const NULL: Self = Self::Literal(FieldValue::Null);

    /// Binds a field to the slots of a row.
    pub fn field(expr: &Expr, slots: &dyn Slots) -> Result<Self, ExecError> {
        Self::bind(expr, slots, Clause::Field)
    }

    /// Binds a condition to the slots of a row.
    pub fn condition(expr: &Expr, slots: &dyn Slots) -> Result<Self, ExecError> {
        Self::bind(expr, slots, Clause::Condition)
    }

    /// The same for a condition on a subquery.
    pub fn subquery_condition(expr: &Expr, slots: &dyn Slots) -> Result<Self, ExecError> {
        Self::bind(expr, slots, Clause::SubqueryCondition)
    }

    fn bind(expr: &Expr, slots: &dyn Slots, clause: Clause) -> Result<Self, ExecError> {
        let bind = |expr| Self::bind(expr, slots, clause);
        Ok(match expr {
            Expr::Paren(inner) => bind(inner)?,
            Expr::VarRef(variable) => slots.variable(variable).map_or(Self::NULL, Self::Slot),
            Expr::Call(call) => match MathFunction::parse(&call.name) {
                Some(function) => {
                    let arguments = call.args.iter().map(bind).collect::<Result<_, _>>()?;
                    Self::Math { function, arguments }
                }
                None => slots.call(call).map_or(Self::NULL, Self::Slot),
            },
            Expr::Binary(binary) if binary.op.is_regex() => match binary.rhs.as_ref() {
                Expr::Regex(regex) => Self::Matches {
                    text: Box::new(bind(&binary.lhs)?),
                    regex: regex.clone(),
                    negated: binary.op == BinaryOp::NotEqRegex,
                },
                other => return Err(ExecError::Invalid(format!("{other:?} is no regular expression"))),
            },
            Expr::Binary(binary) => Self::Binary {
                op: binary.op,
                left: Box::new(bind(&binary.lhs)?),
                right: Box::new(bind(&binary.rhs)?),
                clause,
            },
            // Of anything else InfluxDB makes no value.
            other => literal(other).map_or(Self::NULL, Self::Literal),
        })
    }

    /// The value for a row.
    pub fn evaluate(&self, row: &[FieldValue]) -> FieldValue {
        match self {
            Self::Slot(i) => row.get(*i).cloned().unwrap_or_default(),
            Self::Literal(value) => value.clone(),
            Self::Binary { op, left, right, clause } => {
                value::evaluate(*op, &left.evaluate(row), &right.evaluate(row), *clause)
            }
            Self::Matches { text, regex, negated } => match text.evaluate(row) {
                FieldValue::String(text) => FieldValue::Boolean(regex.is_match(&text) != *negated),
                _ => FieldValue::Boolean(false),
            },
            Self::Math { function, arguments } => {
                let values: Vec<FieldValue> = arguments.iter().map(|a| a.evaluate(row)).collect();
                function.apply(&values)
            }
        }
    }

    /// The value as a condition.
    pub fn holds(&self, row: &[FieldValue]) -> bool {
        value::is_true(&self.evaluate(row))
    }
}

/// The value of a literal, `None` for anything else.
pub(crate) fn literal(expr: &Expr) -> Option<FieldValue> {
    Some(match expr {
        Expr::Number(n) => FieldValue::Float(*n),
        Expr::Integer(n) => FieldValue::Integer(*n),
        Expr::Unsigned(n) => FieldValue::Unsigned(*n),
        Expr::String(s) => FieldValue::String(s.as_str().into()),
        Expr::Boolean(b) => FieldValue::Boolean(*b),
        Expr::Nil => FieldValue::Null,
        _ => return None,
    })
}
