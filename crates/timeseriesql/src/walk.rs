//! Visiting the nodes of a tree, without recursion.

use crate::ast::{Expr, Measurement, SelectStatement, Source};

/// Visits an expression and what it is made of, parents first and left to right.
///
/// Where `visit` returns false, what is below the node is left out.
pub fn walk_expr<'a>(expr: &'a Expr, visit: &mut impl FnMut(&'a Expr) -> bool) {
    let mut pending = vec![expr];
    while let Some(node) = pending.pop() {
        if !visit(node) {
            continue;
        }
        match node {
            Expr::Binary(binary) => pending.extend([&*binary.rhs, &*binary.lhs]),
            Expr::Call(call) => pending.extend(call.args.iter().rev()),
            Expr::Paren(inner) => pending.push(inner),
            _ => {}
        }
    }
}

/// Whether any node of the expression satisfies `is`.
pub fn any_expr(expr: &Expr, is: impl Fn(&Expr) -> bool) -> bool {
    let mut found = false;
    walk_expr(expr, &mut |node| {
        found |= is(node);
        !found
    });
    found
}

/// The measurements among the sources, those of subqueries included.
pub fn measurements(sources: &[Source]) -> Vec<&Measurement> {
    let mut found = Vec::new();
    for source in sources {
        match source {
            Source::Measurement(measurement) => found.push(measurement),
            Source::Subquery(statement) => found.extend(measurements(&statement.sources)),
        }
    }
    found
}

/// Calls `change` for every measurement among the statement's sources, those of subqueries included.
pub fn for_each_measurement_mut(statement: &mut SelectStatement, change: &mut impl FnMut(&mut Measurement)) {
    for source in &mut statement.sources {
        match source {
            Source::Measurement(measurement) => change(measurement),
            Source::Subquery(inner) => for_each_measurement_mut(inner, change),
        }
    }
}
