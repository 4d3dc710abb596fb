//! Conditions: what the engine can filter by, and what is left for Rust.
//!
//! InfluxDB resolves comparisons of tags with strings once a series, where a missing tag is the empty string, and
//! everything else once a row, where it is null.

use hyperbytedb_domain::catalog::Table;
use hyperbytedb_domain::scan::{CompareOp, Operand, Predicate};
use hyperbytedb_domain::{FieldType, FieldValue};
use hyperbytedb_timeseriesql::ast::{BinaryOp, DataType, Expr, VarRef};

use crate::expression::literal;
use crate::inputs::value_type;

/// A condition on one table, cut in two; a row has to meet both.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Split {
    pub pushed: Option<Predicate>,
    pub residual: Option<Expr>,
}

/// Cuts a condition into the terms the engine evaluates exactly and the rest.
pub(crate) fn split(condition: &Expr, table: &Table) -> Split {
    let mut pushed = Vec::new();
    let mut residual: Option<Expr> = None;
    for term in conjuncts(condition) {
        match convert(term, table) {
            Some(predicate) => pushed.push(predicate),
            None => {
                residual = Some(match residual.take() {
                    None => term.clone(),
                    Some(left) => Expr::Binary(hyperbytedb_timeseriesql::ast::BinaryExpr::new(
                        BinaryOp::And,
                        left,
                        term.clone(),
                    )),
                });
            }
        }
    }
    let pushed = match pushed.len() {
        0 => None,
        1 => pushed.pop(),
        _ => Some(Predicate::And(pushed)),
    };
    Split { pushed, residual }
}

fn conjuncts(expr: &Expr) -> Vec<&Expr> {
    match expr {
        Expr::Paren(inner) => conjuncts(inner),
        Expr::Binary(b) if b.op == BinaryOp::And => [conjuncts(&b.lhs), conjuncts(&b.rhs)].concat(),
        other => vec![other],
    }
}

/// The part of a condition that InfluxDB resolves by series alone: a superset of the rows that meet it.
pub(crate) fn series_part(condition: &Expr, table: &Table) -> Option<Predicate> {
    let mut terms: Vec<Predicate> =
        conjuncts(condition).into_iter().filter_map(|term| convert(term, table)).filter(on_tags).collect();
    match terms.len() {
        0 | 1 => terms.pop(),
        _ => Some(Predicate::And(terms)),
    }
}

fn on_tags(predicate: &Predicate) -> bool {
    let is_field = |o: &Operand| matches!(o, Operand::Field(_));
    match predicate {
        Predicate::Constant(_) => true,
        Predicate::And(terms) | Predicate::Or(terms) => terms.iter().all(on_tags),
        Predicate::Compare { left, right, .. } => !is_field(left) && !is_field(right),
        Predicate::Regex { operand, .. } => !is_field(operand),
    }
}

/// `None` where the engine's answer might differ.
fn convert(expr: &Expr, table: &Table) -> Option<Predicate> {
    match expr {
        Expr::Paren(inner) => convert(inner, table),
        Expr::Boolean(value) => Some(Predicate::Constant(*value)),
        Expr::Binary(b) if b.op == BinaryOp::And => {
            Some(Predicate::And(vec![convert(&b.lhs, table)?, convert(&b.rhs, table)?]))
        }
        Expr::Binary(b) if b.op == BinaryOp::Or => {
            Some(Predicate::Or(vec![convert(&b.lhs, table)?, convert(&b.rhs, table)?]))
        }
        Expr::Binary(b) if b.op.is_regex() => regex(&b.lhs, b.op, &b.rhs, table),
        Expr::Binary(b) if b.op.is_comparison() => comparison(&b.lhs, compare_op(b.op)?, &b.rhs, table),
        _ => None,
    }
}

fn compare_op(op: BinaryOp) -> Option<CompareOp> {
    Some(match op {
        BinaryOp::Eq => CompareOp::Eq,
        BinaryOp::NotEq => CompareOp::Ne,
        BinaryOp::Lt => CompareOp::Lt,
        BinaryOp::LtEq => CompareOp::Le,
        BinaryOp::Gt => CompareOp::Gt,
        BinaryOp::GtEq => CompareOp::Ge,
        _ => return None,
    })
}

/// What a reference of a condition is in one table.
enum Term {
    Tag(Operand),
    /// A tag that no series has.
    NoTag,
    Field(Operand, FieldType),
    /// A field the table does not have, or not with this type.
    NoField,
}

fn column(variable: &VarRef, table: &Table) -> Term {
    let field = table.field(&variable.name);
    let wants_field = !matches!(variable.data_type, None | Some(DataType::Tag));
    match (variable.data_type, field) {
        (Some(DataType::Tag), _) | (None, None) => {
            table.tag(&variable.name).map_or(Term::NoTag, |tag| Term::Tag(Operand::Tag(tag)))
        }
        (None | Some(DataType::AnyField), Some((id, stored))) => Term::Field(Operand::Field(id), stored),
        (asked, Some((id, stored))) if value_type(asked) == Some(stored) => {
            Term::Field(Operand::Field(id), stored)
        }
        _ if wants_field => Term::NoField,
        _ => Term::NoTag,
    }
}

fn regex(lhs: &Expr, op: BinaryOp, rhs: &Expr, table: &Table) -> Option<Predicate> {
    let (Expr::VarRef(variable), Expr::Regex(regex)) = (unparen(lhs), rhs) else { return None };
    let negated = op == BinaryOp::NotEqRegex;
    match column(variable, table) {
        Term::Tag(operand) | Term::Field(operand, FieldType::String) => {
            Some(Predicate::Regex { operand, pattern: regex.pattern().to_owned(), negated })
        }
        Term::NoTag => Some(Predicate::Constant(regex.is_match("") != negated)),
        Term::Field(..) => Some(Predicate::Constant(false)),
        // The field may be stored as another type that a cast makes readable.
        Term::NoField => table.field(&variable.name).is_none().then_some(Predicate::Constant(false)),
    }
}

fn comparison(lhs: &Expr, op: CompareOp, rhs: &Expr, table: &Table) -> Option<Predicate> {
    match (unparen(lhs), unparen(rhs)) {
        (Expr::VarRef(left), Expr::VarRef(right)) => between(left, op, right, table),
        // A bound parameter puts it there. To InfluxDB all but `=~` is `!~`.
        (Expr::VarRef(variable), regular @ Expr::Regex(_)) => match column(variable, table) {
            Term::Tag(_) | Term::NoTag => regex(lhs, BinaryOp::NotEqRegex, regular, table),
            Term::Field(..) | Term::NoField => Some(Predicate::Constant(false)),
        },
        (Expr::VarRef(variable), value) => with_literal(variable, op, literal(value)?, table),
        (value, Expr::VarRef(variable)) => with_literal(variable, op.mirrored(), literal(value)?, table),
        _ => None,
    }
}

fn with_literal(variable: &VarRef, op: CompareOp, value: FieldValue, table: &Table) -> Option<Predicate> {
    match column(variable, table) {
        Term::Tag(operand) => match value {
            // InfluxDB knows equal and everything else for tags.
            FieldValue::String(_) => {
                let op = if op == CompareOp::Eq { op } else { CompareOp::Ne };
                Some(Predicate::Compare { left: operand, op, right: Operand::Literal(value) })
            }
            _ => Some(Predicate::Constant(false)),
        },
        Term::NoTag => match value {
            FieldValue::String(text) => Some(Predicate::Constant(text.is_empty() == (op == CompareOp::Eq))),
            _ => Some(Predicate::Constant(false)),
        },
        Term::Field(operand, stored) => {
            let comparable = match (&value, stored) {
                (FieldValue::String(_), FieldType::String) => true,
                (FieldValue::Boolean(_), FieldType::Boolean) => matches!(op, CompareOp::Eq | CompareOp::Ne),
                (
                    FieldValue::Float(_) | FieldValue::Integer(_) | FieldValue::Unsigned(_),
                    FieldType::Float | FieldType::Integer | FieldType::Unsigned,
                ) => true,
                _ => false,
            };
            // Strings have no order in InfluxQL.
            let ordered = !matches!(op, CompareOp::Eq | CompareOp::Ne);
            if !comparable || (ordered && stored == FieldType::String) {
                return Some(Predicate::Constant(false));
            }
            Some(Predicate::Compare { left: operand, op, right: Operand::Literal(value) })
        }
        Term::NoField => table.field(&variable.name).is_none().then_some(Predicate::Constant(false)),
    }
}

fn between(left: &VarRef, op: CompareOp, right: &VarRef, table: &Table) -> Option<Predicate> {
    match (column(left, table), column(right, table)) {
        (Term::Field(l, lt), Term::Field(r, rt)) => {
            let number = |t| matches!(t, FieldType::Float | FieldType::Integer | FieldType::Unsigned);
            let equality = matches!(op, CompareOp::Eq | CompareOp::Ne);
            if (number(lt) && number(rt)) || (lt == rt && equality) {
                Some(Predicate::Compare { left: l, op, right: r })
            } else {
                Some(Predicate::Constant(false))
            }
        }
        (Term::Tag(l), Term::Tag(r)) => between_tags(l, op, r),
        // No series has both tags.
        (Term::Tag(_) | Term::NoTag, Term::Tag(_) | Term::NoTag) => match op {
            CompareOp::Eq => Some(Predicate::Constant(false)),
            CompareOp::Ne => Some(Predicate::Constant(true)),
            _ => None,
        },
        _ => None,
    }
}

/// Tags are equal if both are there; else they are not.
fn between_tags(left: Operand, op: CompareOp, right: Operand) -> Option<Predicate> {
    let compare = |left: &Operand, op, right: &Operand| Predicate::Compare {
        left: left.clone(),
        op,
        right: right.clone(),
    };
    let none = Operand::Literal(FieldValue::String("".into()));
    match op {
        CompareOp::Eq => Some(Predicate::And(vec![
            compare(&left, CompareOp::Ne, &none),
            compare(&left, CompareOp::Eq, &right),
        ])),
        CompareOp::Ne => Some(Predicate::Or(vec![
            compare(&left, CompareOp::Eq, &none),
            compare(&left, CompareOp::Ne, &right),
        ])),
        _ => None,
    }
}

fn unparen(expr: &Expr) -> &Expr {
    match expr {
        Expr::Paren(inner) => unparen(inner),
        other => other,
    }
}
