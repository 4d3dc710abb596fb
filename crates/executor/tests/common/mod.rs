//! Statements against points in memory.

pub mod engine;
pub mod influx;
pub mod json;
pub mod points;

use hyperbytedb_domain::QueryContext;
use hyperbytedb_domain::scan::SortBound;
use hyperbytedb_executor::{ExecOptions, execute};
use hyperbytedb_planner::prepare::{PrepareContext, PrepareLimits, prepare};
use hyperbytedb_timeseriesql::ast::Statement;
use serde_json::Value;

use points::Store;

/// How a statement is run.
#[derive(Debug, Clone, Copy)]
pub struct Mode {
    pub pushdown: bool,
    pub chunk_rows: usize,
    /// Rows that the engine sorts at one time; 0 = all.
    pub sort_rows: u64,
}

/// The answer of a SELECT as InfluxDB's JSON: the `series`, or the error.
pub fn answer(store: &Store, statement: &str, now: i64, mode: Mode) -> Result<Vec<Value>, String> {
    answer_in(store, statement, now, mode, "db0", "", "")
}

/// The same with the parameters `db`, `rp` and `epoch` of a request.
pub fn answer_in(
    store: &Store,
    statement: &str,
    now: i64,
    mode: Mode,
    database: &str,
    retention_policy: &str,
    epoch: &str,
) -> Result<Vec<Value>, String> {
    let options = ExecOptions {
        pushdown: mode.pushdown,
        chunk_rows: mode.chunk_rows,
        sort_bound: SortBound { rows: mode.sort_rows, bytes: 0 },
        ..ExecOptions::default()
    };
    let request = Request { database, retention_policy, epoch, now };
    run(store, statement, &request, &QueryContext::unbounded(), &options)
}

/// The parameters of a request.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    pub database: &'a str,
    pub retention_policy: &'a str,
    pub epoch: &'a str,
    pub now: i64,
}

/// The same within bounds.
pub fn run(
    store: &Store,
    statement: &str,
    request: &Request<'_>,
    bounds: &QueryContext,
    options: &ExecOptions,
) -> Result<Vec<Value>, String> {
    let query =
        hyperbytedb_timeseriesql::parse_query(statement).map_err(|e| format!("error parsing query: {e}"))?;
    let [Statement::Select(select)] = query.statements.as_slice() else {
        return Err(format!("not one SELECT: {statement}"));
    };
    let catalog = store.catalog();
    let context = PrepareContext {
        catalog: &catalog,
        database: request.database,
        retention_policy: request.retention_policy,
        now: request.now,
        limits: PrepareLimits::default(),
        query: bounds,
    };
    let plan = prepare(select, &context).map_err(|e| e.to_string())?;
    let engine = store.engine();
    let blocks = execute(&plan, &engine, bounds, options).map_err(|e| e.to_string())?;
    let mut series = json::SeriesWriter::new(request.epoch);
    for block in blocks {
        series.push(&block.map_err(|e| e.to_string())?);
    }
    Ok(series.finish())
}
