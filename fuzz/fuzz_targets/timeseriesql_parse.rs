//! Any text: it parses or it does not; what parses prints to a text that parses and prints the same,
//! and its conditions fold without a panic.

#![no_main]

use hyperbytedb_timeseriesql::{
    ast::{Expr, Statement},
    parse_expr, parse_query,
    reduce::{condition_expr, reduce},
};
use jiff::tz::TimeZone;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(query) = parse_query(text) {
        let printed = query.to_string();
        // Passwords are hidden.
        if !printed.contains("[REDACTED]") {
            let again = parse_query(&printed).map(|query| query.to_string());
            assert_eq!(again.as_ref(), Ok(&printed));
        }
        for statement in query.statements {
            if let Statement::Select(select) = statement {
                fold(select.condition);
            }
        }
    }
    fold(parse_expr(text).ok());
});

fn fold(expr: Option<Expr>) {
    let zone = TimeZone::UTC;
    if let Some(expr) = &expr {
        let _ = reduce(expr.clone(), Some(0), &zone).to_string();
    }
    let _ = condition_expr(expr, Some(i64::MAX), &zone);
}
