//! Bounds of a running SELECT: each acts, and says what it was.

#![allow(clippy::unwrap_used)] // a test may panic

#[allow(dead_code)]
mod common;

use std::time::{Duration, Instant};

use common::points::Store;
use common::{Request, run};
use hyperbytedb_domain::QueryContext;
use hyperbytedb_executor::ExecOptions;
use serde_json::Value;

const SECOND: i64 = 1_000_000_000;
const POINTS: i64 = 100;

fn store() -> Store {
    let mut store = Store::default();
    store.create_policy("db0", "autogen");
    for n in 0..POINTS {
        store.write("db0", "", &format!("m,host=h{n} v={n},s=\"text {n}\" {}", n * SECOND), 1);
    }
    store
}

fn within(statement: &str, max_buffered_points: usize, bounds: &QueryContext) -> Result<Vec<Value>, String> {
    let request = Request { database: "db0", retention_policy: "", epoch: "", now: POINTS * SECOND };
    let options = ExecOptions { pushdown: false, max_buffered_points, ..ExecOptions::default() };
    run(&store(), statement, &request, bounds, &options)
}

#[test]
fn what_functions_hold_counts_as_buffered_points() {
    let unbounded = QueryContext::unbounded();
    for call in [
        "mode(v)",
        "mode(s)",
        "distinct(v)",
        "count(distinct(s))",
        "median(v)",
        "percentile(v, 50)",
        "sample(v, 50)",
        "top(v, 50)",
        "bottom(v, host, 50)",
        "moving_average(v, 50)",
        "holt_winters(mean(v), 2, 4)",
        "median(v), mode(v)",
    ] {
        let windows = if call.starts_with("holt") { "GROUP BY time(1s) " } else { "" };
        let statement = format!("SELECT {call} FROM m WHERE time >= 0 AND time < 100s {windows}fill(none)");
        let error = within(&statement, 40, &unbounded).expect_err(call);
        assert_eq!(error, "query.max_buffered_points limit exceeded: (41/40)", "{call}");
        assert!(!within(&statement, 300, &unbounded).expect(call).is_empty(), "{call}");
    }
}

#[test]
fn the_calls_of_a_statement_share_their_bound() {
    let statement = "SELECT median(v), mode(v) FROM m";
    assert!(within(statement, 210, &QueryContext::unbounded()).is_ok());
    assert!(within(statement, 190, &QueryContext::unbounded()).is_err());
}

#[test]
fn what_is_given_back_is_no_longer_held() {
    let by_window = "SELECT median(v) FROM m WHERE time >= 0 AND time < 100s GROUP BY time(10s)";
    let nested = format!("SELECT mode(median) FROM ({by_window}) GROUP BY time(20s)");
    for statement in [by_window, &nested, "SELECT mode(v) FROM m GROUP BY host"] {
        assert!(within(statement, 30, &QueryContext::unbounded()).is_ok(), "{statement}");
    }
}

#[test]
fn groups_count_as_points() {
    let statement = "SELECT sum(max) FROM (SELECT max(v) FROM m GROUP BY host)";
    let error = within(statement, 40, &QueryContext::unbounded()).unwrap_err();
    assert_eq!(error, "query.max_buffered_points limit exceeded: (41/40)");
    let error = within("SELECT v FROM m GROUP BY host SLIMIT 1", 40, &QueryContext::unbounded()).unwrap_err();
    assert!(error.starts_with("query.max_buffered_points limit exceeded"), "{error}");
}

#[test]
fn operators_that_work_long_between_two_batches_see_the_deadline() {
    for statement in [
        // No window that is filled is within the limit.
        "SELECT mean(v) FROM m WHERE time >= 0 AND time < 100s GROUP BY time(1ns) fill(0) LIMIT 1",
        "SELECT holt_winters(mean(v), 2, 2000) FROM m WHERE time >= 0 AND time < 100s GROUP BY time(1ms) fill(0)",
    ] {
        let started = Instant::now();
        let mut bounds = QueryContext::unbounded();
        bounds.deadline = Some(started + Duration::from_millis(200));
        let error = within(statement, usize::MAX, &bounds).expect_err(statement);
        assert_eq!(error, "query-timeout limit exceeded", "{statement}");
        assert!(started.elapsed() < Duration::from_secs(10), "{statement}: {:?}", started.elapsed());
    }
}

#[test]
fn the_optimiser_of_a_long_season_is_bounded() {
    let statement = "SELECT holt_winters(mean(v), 2, 20000) FROM m WHERE time >= 0 AND time < 100s GROUP BY time(1ms) fill(0)";
    let error = within(statement, usize::MAX, &QueryContext::unbounded()).unwrap_err();
    assert!(error.contains("more than its limit of 16777216"), "{error}");
}
