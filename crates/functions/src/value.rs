//! Operators on single values.

use std::cmp::Ordering;

use hyperbytedb_domain::FieldValue;
use hyperbytedb_timeseriesql::ast::BinaryOp;

use FieldValue::{Boolean, Float, Integer, Null, Unsigned};

/// Where an expression stands, for that decides what an operator does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clause {
    /// A field of a SELECT: dividing integers gives a float; beside a boolean `Null` counts as false.
    Field,
    /// A condition on a subquery: integers divide towards zero; beside a boolean `Null` counts as false.
    SubqueryCondition,
    /// A condition on stored points: integers divide towards zero; nothing equals `Null`.
    Condition,
}

/// `left op right` for every operator but those on regular expressions.
///
/// Comparisons and `AND`/`OR` give a boolean. Where the types do not fit, comparisons give false and the
/// others `Null`. An integer and a float compute as floats, an
/// integer and an unsigned one as unsigned. Integers wrap around; dividing by zero gives zero.
pub fn evaluate(op: BinaryOp, left: &FieldValue, right: &FieldValue, clause: Clause) -> FieldValue {
    let no = Boolean(false);
    let (left, right) = match (left, right) {
        (Null, Boolean(_)) if clause != Clause::Condition => (&no, right),
        (Boolean(_), Null) if clause != Clause::Condition => (left, &no),
        _ => (left, right),
    };
    let result = match (left, right) {
        (Boolean(l), _) => booleans(op, *l, right),
        (FieldValue::String(l), FieldValue::String(r)) => match op {
            BinaryOp::Eq => Some(Boolean(l == r)),
            BinaryOp::NotEq => Some(Boolean(l != r)),
            _ => None,
        },
        (Integer(l), Integer(r)) => integers(op, *l, *r, clause),
        (Integer(l), Unsigned(r)) => compare_mixed(op, *l, *r).or_else(|| unsigned(op, *l as u64, *r)),
        (Unsigned(l), Integer(r)) => {
            compare_mixed(mirrored(op), *r, *l).or_else(|| unsigned(op, *l, *r as u64))
        }
        (Unsigned(l), Unsigned(r)) => compared(op, l.cmp(r)).or_else(|| unsigned(op, *l, *r)),
        _ => match (as_float(left), as_float(right)) {
            (Some(l), Some(r)) => floats(op, l, r),
            _ => None,
        },
    };
    result.unwrap_or(if op.is_comparison() { Boolean(false) } else { Null })
}

/// Is a condition's value true? Anything but the boolean is not.
pub fn is_true(value: &FieldValue) -> bool {
    matches!(value, Boolean(true))
}

fn as_float(value: &FieldValue) -> Option<f64> {
    match value {
        Float(x) => Some(*x),
        Integer(n) => Some(*n as f64),
        Unsigned(n) => Some(*n as f64),
        _ => None,
    }
}

/// A boolean operator with something else beside it is false.
fn booleans(op: BinaryOp, left: bool, right: &FieldValue) -> Option<FieldValue> {
    let apply = |f: fn(bool, bool) -> bool| match right {
        Boolean(right) => Some(Boolean(f(left, *right))),
        _ => Some(Boolean(false)),
    };
    match op {
        BinaryOp::And | BinaryOp::BitAnd => apply(|l, r| l && r),
        BinaryOp::Or | BinaryOp::BitOr => apply(|l, r| l || r),
        BinaryOp::BitXor | BinaryOp::NotEq => apply(|l, r| l != r),
        BinaryOp::Eq => apply(|l, r| l == r),
        _ => None,
    }
}

fn floats(op: BinaryOp, l: f64, r: f64) -> Option<FieldValue> {
    Some(match op {
        BinaryOp::Add => Float(l + r),
        BinaryOp::Sub => Float(l - r),
        BinaryOp::Mul => Float(l * r),
        BinaryOp::Div => Float(if r == 0.0 { 0.0 } else { l / r }),
        BinaryOp::Mod => Float(l % r),
        BinaryOp::NotEq => Boolean(l != r),
        _ => return l.partial_cmp(&r).and_then(|order| compared(op, order)),
    })
}

fn integers(op: BinaryOp, l: i64, r: i64, clause: Clause) -> Option<FieldValue> {
    Some(match op {
        BinaryOp::Add => Integer(l.wrapping_add(r)),
        BinaryOp::Sub => Integer(l.wrapping_sub(r)),
        BinaryOp::Mul => Integer(l.wrapping_mul(r)),
        BinaryOp::Div if clause == Clause::Field => Float(if r == 0 { 0.0 } else { l as f64 / r as f64 }),
        BinaryOp::Div => Integer(if r == 0 { 0 } else { l.wrapping_div(r) }),
        BinaryOp::Mod => Integer(if r == 0 { 0 } else { l.wrapping_rem(r) }),
        BinaryOp::BitAnd => Integer(l & r),
        BinaryOp::BitOr => Integer(l | r),
        BinaryOp::BitXor => Integer(l ^ r),
        _ => return compared(op, l.cmp(&r)),
    })
}

fn unsigned(op: BinaryOp, l: u64, r: u64) -> Option<FieldValue> {
    Some(Unsigned(match op {
        BinaryOp::Add => l.wrapping_add(r),
        BinaryOp::Sub => l.wrapping_sub(r),
        BinaryOp::Mul => l.wrapping_mul(r),
        BinaryOp::Div => l.checked_div(r).unwrap_or(0),
        BinaryOp::Mod => l.checked_rem(r).unwrap_or(0),
        BinaryOp::BitAnd => l & r,
        BinaryOp::BitOr => l | r,
        BinaryOp::BitXor => l ^ r,
        _ => return None,
    }))
}

fn compared(op: BinaryOp, order: Ordering) -> Option<FieldValue> {
    Some(Boolean(match op {
        BinaryOp::Eq => order.is_eq(),
        BinaryOp::NotEq => order.is_ne(),
        BinaryOp::Lt => order.is_lt(),
        BinaryOp::LtEq => order.is_le(),
        BinaryOp::Gt => order.is_gt(),
        BinaryOp::GtEq => order.is_ge(),
        _ => return None,
    }))
}

/// A negative integer is less than every unsigned one, yet *equals* the one with its bits.
fn compare_mixed(op: BinaryOp, l: i64, r: u64) -> Option<FieldValue> {
    let order = (l as u64).cmp(&r);
    match op {
        BinaryOp::Eq | BinaryOp::NotEq => compared(op, order),
        _ => compared(op, if l < 0 { Ordering::Less } else { order }),
    }
}

/// `a op b` as `b mirrored(op) a`.
fn mirrored(op: BinaryOp) -> BinaryOp {
    match op {
        BinaryOp::Lt => BinaryOp::Gt,
        BinaryOp::LtEq => BinaryOp::GtEq,
        BinaryOp::Gt => BinaryOp::Lt,
        BinaryOp::GtEq => BinaryOp::LtEq,
        other => other,
    }
}
