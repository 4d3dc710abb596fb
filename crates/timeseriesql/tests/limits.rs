//! What is too much is an error, and what is just not too much fits an ordinary thread's stack.

#![allow(clippy::unwrap_used)] // a test may panic

use hyperbytedb_timeseriesql::{
    ast::{Expr, Statement},
    parse_expr, parse_query, parse_statement,
    parser::{MAX_EXPRESSION_DEPTH, MAX_NESTING},
    reduce::{condition_expr, reduce},
};
use jiff::tz::TimeZone;

/// The stack of a worker thread.
const STACK_BYTES: usize = 2 << 20;

fn on_small_stack(test: impl FnOnce() + Send + 'static) {
    let thread = std::thread::Builder::new().stack_size(STACK_BYTES).spawn(test).expect("a thread");
    thread.join().expect("no panic");
}

fn chain(terms: usize) -> String {
    vec!["host = 'a'"; terms].join(" OR ")
}

fn nested(levels: usize) -> String {
    format!("{}1{}", "(".repeat(levels), ")".repeat(levels))
}

#[test]
fn long_chains_of_operators_survive_everything() {
    on_small_stack(|| {
        let text = chain(MAX_EXPRESSION_DEPTH - 1);
        let expr = parse_expr(&text).expect("fits");
        assert_eq!(expr.to_string(), text);
        assert_eq!(expr.clone(), expr);
        let _ = format!("{expr:?}").len();
        assert_eq!(reduce(expr.clone(), None, &TimeZone::UTC), expr);
        let (condition, _) = condition_expr(Some(expr.clone()), None, &TimeZone::UTC).expect("fits");
        assert_eq!(condition, Some(expr));
    });
}

#[test]
fn longer_chains_are_refused() {
    on_small_stack(|| {
        for text in [chain(MAX_EXPRESSION_DEPTH + 1), chain(50_000)] {
            let error = parse_expr(&text).expect_err("too deep").to_string();
            assert_eq!(error, "expression nests deeper than 2048 levels");
        }
    });
}

#[test]
fn nesting_is_bounded() {
    on_small_stack(|| {
        let deepest = parse_expr(&nested(MAX_NESTING - 1)).expect("fits");
        assert!(matches!(deepest, Expr::Paren(_)));
        assert_eq!(reduce(deepest, None, &TimeZone::UTC), Expr::Integer(1));
        let calls = |levels| format!("{}1{}", "f(".repeat(levels), ")".repeat(levels));
        let signs = |levels| format!("{}1{}", "-(".repeat(levels), ")".repeat(levels));
        for text in [nested(MAX_NESTING), nested(100_000), calls(100_000), signs(100_000)] {
            let error = parse_expr(&text).expect_err("too deep").to_string();
            assert_eq!(error, "statement nests deeper than 128 levels");
        }
    });
}

#[test]
fn subqueries_are_bounded() {
    on_small_stack(|| {
        let subqueries = |levels: usize| {
            format!("{}SELECT v FROM m{}", "SELECT v FROM (".repeat(levels), ")".repeat(levels))
        };
        let text = subqueries(MAX_NESTING - 1);
        let statement = parse_statement(&text).expect("fits");
        assert_eq!(statement.to_string(), text);
        assert!(matches!(statement.clone(), Statement::Select(_)));
        let error = parse_statement(&subqueries(100_000)).expect_err("too deep").to_string();
        assert_eq!(error, "statement nests deeper than 128 levels");
    });
}

#[test]
fn large_texts_parse() {
    let value = "x".repeat(4 << 20);
    let query = parse_query(&format!("SELECT v FROM m WHERE s = '{value}'")).expect("parses");
    assert_eq!(query.statements.len(), 1);
    let many = "SHOW DATABASES;".repeat(50_000);
    assert_eq!(parse_query(&many).expect("parses").statements.len(), 50_000);
}
