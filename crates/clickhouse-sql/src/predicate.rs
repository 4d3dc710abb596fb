//! Conditions on rows.
//!
//! A comparison with NULL is NULL in SQL. [`Predicate`] has no negation around conditions, so under AND and OR a
//! NULL acts as false does and WHERE drops the row: no guard is needed. A negated regex of NULL is NULL too.

use hyperbytedb_domain::FieldType;
use hyperbytedb_domain::catalog::Table;
use hyperbytedb_domain::field::FieldValue;
use hyperbytedb_domain::scan::{CompareOp, Operand, Predicate};

use crate::expr::{Expr, Literal};
use crate::schema;

/// Values that can be compared with each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Number,
    Text,
    Boolean,
}

/// The condition as an expression that is 0, 1 or NULL.
pub fn condition(table: &Table, predicate: &Predicate) -> Expr {
    match predicate {
        Predicate::Constant(value) => constant(*value),
        Predicate::And(parts) => Expr::all(parts.iter().map(|p| condition(table, p)).collect()),
        Predicate::Or(parts) => match same_text_operand(table, parts) {
            Some(membership) => membership,
            None => Expr::any(parts.iter().map(|p| condition(table, p)).collect()),
        },
        Predicate::Compare { left, op, right } => compare(table, left, *op, right),
        Predicate::Regex { operand, pattern, negated } => regex(table, operand, pattern, *negated),
    }
}

fn constant(value: bool) -> Expr {
    Expr::Literal(Literal::Bool(value))
}

fn kind(table: &Table, operand: &Operand) -> Option<Kind> {
    match operand {
        Operand::Tag(_) => Some(Kind::Text),
        Operand::Field(id) => table.field_type(*id).map(|field_type| match field_type {
            FieldType::Float | FieldType::Integer | FieldType::Unsigned => Kind::Number,
            FieldType::String => Kind::Text,
            FieldType::Boolean => Kind::Boolean,
        }),
        Operand::Literal(value) => match value {
            FieldValue::Null | FieldValue::Strings(_) => None,
            FieldValue::Float(_) | FieldValue::Integer(_) | FieldValue::Unsigned(_) | FieldValue::Time(_) => {
                Some(Kind::Number)
            }
            FieldValue::String(_) => Some(Kind::Text),
            FieldValue::Boolean(_) => Some(Kind::Boolean),
        },
    }
}

fn expr(operand: &Operand) -> Expr {
    match operand {
        Operand::Tag(id) => schema::tag(*id),
        Operand::Field(id) => schema::field(*id),
        Operand::Literal(value) => Expr::Literal(Literal::from(value)),
    }
}

fn compare(table: &Table, left: &Operand, op: CompareOp, right: &Operand) -> Expr {
    let comparable = match (kind(table, left), kind(table, right)) {
        // Booleans have no order.
        (Some(Kind::Boolean), Some(Kind::Boolean)) => matches!(op, CompareOp::Eq | CompareOp::Ne),
        (Some(a), Some(b)) => a == b,
        _ => false,
    };
    if !comparable {
        return constant(false);
    }
    let operator = match op {
        CompareOp::Eq => "=",
        CompareOp::Ne => "!=",
        CompareOp::Lt => "<",
        CompareOp::Le => "<=",
        CompareOp::Gt => ">",
        CompareOp::Ge => ">=",
    };
    expr(left).infix(operator, expr(right))
}

/// `(?-s)` because ClickHouse lets a dot match a newline and RE2 does not.
fn regex(table: &Table, operand: &Operand, pattern: &str, negated: bool) -> Expr {
    if kind(table, operand) != Some(Kind::Text) {
        return constant(false);
    }
    let found = Expr::call("match", [expr(operand), Expr::string(format!("(?-s){pattern}"))]);
    if negated { Expr::call("not", [found]) } else { found }
}

/// `x = 'a' OR x = 'b' OR …` as `x IN ('a', 'b', …)`.
fn same_text_operand(table: &Table, parts: &[Predicate]) -> Option<Expr> {
    let mut operand = None;
    let mut values = Vec::with_capacity(parts.len());
    for part in parts {
        let Predicate::Compare {
            left,
            op: CompareOp::Eq,
            right: Operand::Literal(FieldValue::String(value)),
        } = part
        else {
            return None;
        };
        if *operand.get_or_insert(left) != left {
            return None;
        }
        values.push(Literal::String(value.clone()));
    }
    let operand =
        operand.filter(|o| !matches!(o, Operand::Literal(_)) && kind(table, o) == Some(Kind::Text))?;
    (values.len() > 1).then(|| Expr::In { expr: Box::new(expr(operand)), values })
}
