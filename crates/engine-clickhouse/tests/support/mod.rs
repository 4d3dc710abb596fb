//! What tests of the engine on real servers have in common.
#![allow(dead_code)]

#[path = "../../../engine-chdb/tests/common/rows.rs"]
pub mod rows;

use std::sync::Arc;
use std::time::{Duration, Instant};

use hyperbytedb_clickhouse_node::{CLUSTER, Nodes, PASSWORD, USER};
use hyperbytedb_domain::catalog::Table;
use hyperbytedb_domain::scan::{AggregateFunction, AggregateScan, RowScan, Scan};
use hyperbytedb_domain::{EngineError, FieldType, FieldValue, QueryContext};
use hyperbytedb_engine_clickhouse::{ClickHouseEngine, ClickHouseOptions};
use rows::{Row, aggregate, aggregates, i, row, run, s, table};

pub const LIMIT: Duration = Duration::from_secs(30);

pub fn options(nodes: &Nodes) -> ClickHouseOptions {
    ClickHouseOptions {
        urls: nodes.urls(),
        user: USER.to_owned(),
        password: PASSWORD.to_owned(),
        cluster: if nodes.len() > 1 { CLUSTER.to_owned() } else { String::new() },
        installation: "test".to_owned(),
        request_timeout: Duration::from_secs(5),
        ..ClickHouseOptions::default()
    }
}

pub fn open(nodes: &Nodes) -> ClickHouseEngine {
    ClickHouseEngine::open(options(nodes)).unwrap()
}

pub fn measurement() -> Arc<Table> {
    table(7, &["host"], &[("v", FieldType::Integer), ("text", FieldType::String)])
}

/// `count` points of ten hosts.
pub fn points(count: i64, value: i64) -> Vec<Row> {
    (0..count).map(|n| row(n, &[&format!("h{}", n % 10)], &[i(value), s("x")])).collect()
}

pub fn count(engine: &ClickHouseEngine, t: &Arc<Table>) -> FieldValue {
    try_count(engine, t).unwrap()
}

pub fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !holds() {
        assert!(Instant::now() < deadline, "not in {LIMIT:?}: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// As [`count`], of an engine that may not answer.
pub fn try_count(engine: &ClickHouseEngine, t: &Arc<Table>) -> Result<FieldValue, EngineError> {
    let output = AggregateScan {
        aggregates: vec![aggregate(AggregateFunction::Count, 0, false)],
        ..AggregateScan::default()
    };
    let rows = run(engine, &aggregates(t, output), &QueryContext::unbounded())?;
    Ok(rows.first().map_or(i(0), |row| row[1].clone()))
}

pub fn rows_of(t: &Arc<Table>) -> Scan {
    rows::rows(t, RowScan::default())
}
