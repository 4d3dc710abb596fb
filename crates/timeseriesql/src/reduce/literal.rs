//! Operations on two literals. None where the operation is not defined for them.

use jiff::tz::TimeZone;

use crate::{
    ast::{BinaryOp, Expr},
    time::{is_time_literal, parse_time_literal},
};

pub(super) fn fold(op: BinaryOp, lhs: &Expr, rhs: &Expr, zone: &TimeZone) -> Option<Expr> {
    match (lhs, rhs) {
        (Expr::Nil | Expr::String(_), Expr::Nil) | (Expr::Nil, _) => {
            matches!(op, BinaryOp::Eq | BinaryOp::NotEq).then_some(Expr::Boolean(false))
        }
        (
            Expr::Boolean(_) | Expr::Duration(_) | Expr::Integer(_) | Expr::Number(_) | Expr::Time(_),
            Expr::Nil,
        ) => Some(Expr::Boolean(false)),
        (Expr::Boolean(a), Expr::Boolean(b)) => booleans(op, *a, *b),
        (Expr::Number(a), Expr::Number(b)) => numbers(op, *a, *b),
        (Expr::Number(a), Expr::Integer(b)) => numbers(op, *a, *b as f64),
        (Expr::Number(a), Expr::Unsigned(b)) => numbers(op, *a, *b as f64),
        (Expr::Integer(a), Expr::Number(b)) => numbers(op, *a as f64, *b),
        (Expr::Unsigned(a), Expr::Number(b)) => numbers(op, *a as f64, *b),
        (Expr::Integer(a), Expr::Integer(b)) => integers(op, *a, *b),
        (Expr::Integer(a), Expr::Unsigned(b)) if *a < 0 => {
            ordered_as(op, true).or_else(|| unsigned(op, *a as u64, *b))
        }
        (Expr::Integer(a), Expr::Unsigned(b)) => unsigned(op, *a as u64, *b),
        (Expr::Unsigned(a), Expr::Integer(b)) if *b < 0 => {
            ordered_as(op, false).or_else(|| unsigned(op, *a, *b as u64))
        }
        (Expr::Unsigned(a), Expr::Integer(b)) => unsigned(op, *a, *b as u64),
        (Expr::Unsigned(a), Expr::Unsigned(b)) => unsigned(op, *a, *b),
        (Expr::String(a), Expr::String(b)) => strings(op, a, b, zone),
        _ => fold_time(op, lhs, rhs, zone),
    }
}

/// Durations and times, with integers and strings in their roles.
fn fold_time(op: BinaryOp, lhs: &Expr, rhs: &Expr, zone: &TimeZone) -> Option<Expr> {
    match (lhs, rhs) {
        (Expr::Duration(a), Expr::Duration(b)) => durations(op, *a, *b),
        (Expr::Duration(a), Expr::Number(b)) => scale(op, *a, *b as i64),
        (Expr::Duration(a), Expr::Integer(b)) => scale(op, *a, *b),
        (Expr::Duration(a) | Expr::Integer(a), Expr::Time(b)) => {
            (op == BinaryOp::Add).then(|| Expr::Time(b + i128::from(*a)))
        }
        (Expr::Duration(_) | Expr::Integer(_) | Expr::Time(_), Expr::String(b)) => {
            let time = parse_time_literal(b, zone)?;
            fold_time(op, lhs, &Expr::Time(time), zone)
        }
        (Expr::Integer(a), Expr::Duration(b)) => shift(op, (*a).into(), *b),
        (Expr::Time(a), Expr::Duration(b) | Expr::Integer(b)) => shift(op, *a, *b),
        (Expr::Time(a), Expr::Time(b)) => times(op, *a, *b),
        (Expr::String(a), Expr::Duration(_) | Expr::Time(_) | Expr::Integer(_)) => {
            let time = parse_time_literal(a, zone)?;
            fold_time(op, &Expr::Time(time), rhs, zone)
        }
        _ => None,
    }
}

fn booleans(op: BinaryOp, a: bool, b: bool) -> Option<Expr> {
    Some(Expr::Boolean(match op {
        BinaryOp::Eq => a == b,
        BinaryOp::NotEq | BinaryOp::BitXor => a != b,
        BinaryOp::And | BinaryOp::BitAnd => a && b,
        BinaryOp::Or | BinaryOp::BitOr => a || b,
        _ => return None,
    }))
}

fn numbers(op: BinaryOp, a: f64, b: f64) -> Option<Expr> {
    Some(Expr::Number(match op {
        BinaryOp::Add => a + b,
        BinaryOp::Sub => a - b,
        BinaryOp::Mul => a * b,
        BinaryOp::Div if b == 0.0 => 0.0,
        BinaryOp::Div => a / b,
        BinaryOp::Mod => a % b,
        _ => return compare(op, a, b),
    }))
}

fn integers(op: BinaryOp, a: i64, b: i64) -> Option<Expr> {
    Some(Expr::Integer(match op {
        BinaryOp::Add => a.wrapping_add(b),
        BinaryOp::Sub => a.wrapping_sub(b),
        BinaryOp::Mul => a.wrapping_mul(b),
        BinaryOp::Div => return numbers(op, a as f64, b as f64),
        BinaryOp::Mod if b == 0 => 0,
        BinaryOp::Mod => a.wrapping_rem(b),
        BinaryOp::BitAnd => a & b,
        BinaryOp::BitOr => a | b,
        BinaryOp::BitXor => a ^ b,
        _ => return compare(op, a, b),
    }))
}

fn unsigned(op: BinaryOp, a: u64, b: u64) -> Option<Expr> {
    Some(Expr::Unsigned(match op {
        BinaryOp::Add => a.wrapping_add(b),
        BinaryOp::Sub => a.wrapping_sub(b),
        BinaryOp::Mul => a.wrapping_mul(b),
        BinaryOp::Div => a.checked_div(b).unwrap_or(0),
        BinaryOp::Mod => a.checked_rem(b).unwrap_or(0),
        _ => return compare(op, a, b),
    }))
}

/// An order comparison whose left side is known to be the less or the greater.
fn ordered_as(op: BinaryOp, less: bool) -> Option<Expr> {
    match op {
        BinaryOp::Lt | BinaryOp::LtEq => Some(Expr::Boolean(less)),
        BinaryOp::Gt | BinaryOp::GtEq => Some(Expr::Boolean(!less)),
        _ => None,
    }
}

fn strings(op: BinaryOp, a: &str, b: &str, zone: &TimeZone) -> Option<Expr> {
    match op {
        BinaryOp::Add => Some(Expr::String(format!("{a}{b}"))),
        BinaryOp::Eq | BinaryOp::NotEq => {
            let both = (is_time_literal(a) && is_time_literal(b))
                .then(|| Some((parse_time_literal(a, zone)?, parse_time_literal(b, zone)?)));
            match both.flatten() {
                Some((a, b)) => times(op, a, b),
                None => compare(op, a, b),
            }
        }
        _ => {
            let time = parse_time_literal(a, zone)?;
            fold_time(op, &Expr::Time(time), &Expr::String(b.to_owned()), zone)
        }
    }
}

fn durations(op: BinaryOp, a: i64, b: i64) -> Option<Expr> {
    match op {
        BinaryOp::Add => Some(Expr::Duration(a.wrapping_add(b))),
        BinaryOp::Sub => Some(Expr::Duration(a.wrapping_sub(b))),
        _ => compare(op, a, b),
    }
}

fn scale(op: BinaryOp, ns: i64, by: i64) -> Option<Expr> {
    match op {
        BinaryOp::Mul => Some(Expr::Duration(ns.wrapping_mul(by))),
        BinaryOp::Div if by == 0 => Some(Expr::Duration(0)),
        BinaryOp::Div => Some(Expr::Duration(ns.wrapping_div(by))),
        _ => None,
    }
}

fn shift(op: BinaryOp, time: i128, by: i64) -> Option<Expr> {
    match op {
        BinaryOp::Add => Some(Expr::Time(time + i128::from(by))),
        BinaryOp::Sub => Some(Expr::Time(time - i128::from(by))),
        _ => None,
    }
}

fn times(op: BinaryOp, a: i128, b: i128) -> Option<Expr> {
    match op {
        BinaryOp::Sub => {
            let between = (a - b).clamp(i64::MIN.into(), i64::MAX.into());
            Some(Expr::Duration(between as i64))
        }
        _ => compare(op, a, b),
    }
}

fn compare<T: PartialOrd>(op: BinaryOp, a: T, b: T) -> Option<Expr> {
    Some(Expr::Boolean(match op {
        BinaryOp::Eq => a == b,
        BinaryOp::NotEq => a != b,
        BinaryOp::Lt => a < b,
        BinaryOp::LtEq => a <= b,
        BinaryOp::Gt => a > b,
        BinaryOp::GtEq => a >= b,
        _ => return None,
    }))
}
