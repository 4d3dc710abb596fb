//! SHOW statements. They answer from the catalogue and the series index, never from the engine.

pub mod cardinality;
pub mod catalog;
pub mod index;
pub mod server;

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use hyperbytedb_domain::catalog::{Database, Table};
use hyperbytedb_domain::ports::SeriesIndexPort;
use hyperbytedb_domain::{Tags, TimeRange};
use hyperbytedb_timeseriesql::ast::{BinaryOp, Expr, Measurement, MeasurementName, Source, TagKeyFilter};
use hyperbytedb_timeseriesql::reduce::condition_expr;
use jiff::tz::TimeZone;

use super::StatementError;
use super::tag_filter::TagFilter;

/// The tables of the measurements a statement is about, by measurement; one table a retention policy.
pub type Measurements = BTreeMap<String, Vec<Arc<Table>>>;

/// The measurements that FROM names; all of them without FROM.
pub fn measurements(database: &Database, sources: &[Source]) -> Measurements {
    let mut found = Measurements::new();
    for policy in database.retention_policies.values() {
        for (name, table) in &policy.tables {
            let named = |source: &Source| match source {
                Source::Measurement(m) => {
                    m.retention_policy.as_ref().is_none_or(|rp| rp == &policy.name) && is_named(m, name)
                }
                Source::Subquery(_) => false,
            };
            if sources.is_empty() || sources.iter().any(named) {
                found.entry(name.clone()).or_default().push(table.clone());
            }
        }
    }
    found
}

pub fn is_named(measurement: &Measurement, name: &str) -> bool {
    match &measurement.name {
        MeasurementName::Name(own) => own == name,
        MeasurementName::Regex(pattern) => pattern.is_match(name),
    }
}

/// A WHERE clause split into its time bounds and what is left.
pub struct Condition {
    pub time: TimeRange,
    pub rest: Option<Expr>,
}

pub fn split_condition(condition: Option<&Expr>) -> Result<Condition, StatementError> {
    let Some(condition) = condition else { return Ok(Condition { time: TimeRange::ALL, rest: None }) };
    let now = crate::ingestion::now_ns();
    let (rest, range) = condition_expr(Some(condition.clone()), Some(now), &TimeZone::UTC)
        .map_err(|e| StatementError::Text(e.to_string()))?;
    let time = TimeRange {
        min: range.min.unwrap_or(TimeRange::ALL.min),
        max: range.max.unwrap_or(TimeRange::ALL.max),
    };
    Ok(Condition { time, rest })
}

/// Whether the table's policy has a shard that overlaps the range: InfluxDB looks for series in those only.
pub fn in_range(database: &Database, table: &Table, time: TimeRange) -> bool {
    time.is_all()
        || database.retention_policies.get(&table.retention_policy).is_some_and(|rp| {
            rp.shard_groups.values().any(|group| group.start <= time.max && time.min < group.end)
        })
}

/// Calls `visit` for the series of a table that match, in the order of the index.
pub fn matching_series(
    index: &dyn SeriesIndexPort,
    table: &Table,
    filter: Option<&TagFilter>,
    visit: &mut dyn FnMut(&Tags) -> ControlFlow<()>,
) -> Result<(), StatementError> {
    let mut checked = |_, tags: &Tags| match filter {
        Some(filter) if !filter.matches(tags) => ControlFlow::Continue(()),
        _ => visit(tags),
    };
    match filter.and_then(TagFilter::required_value) {
        Some((key, value)) => index.for_each_series_with_tag(table.id, key, value, &mut checked)?,
        None => index.for_each_series(table.id, &mut checked)?,
    }
    Ok(())
}

/// Whether WITH KEY asks for this key.
pub fn key_matches(filter: &TagKeyFilter, key: &str) -> bool {
    match (filter.op, &filter.value) {
        (BinaryOp::Eq, Expr::String(wanted)) => wanted == key,
        (BinaryOp::NotEq, Expr::String(unwanted)) => unwanted != key,
        (BinaryOp::In, Expr::List(keys)) => keys.iter().any(|k| k == key),
        (BinaryOp::EqRegex, Expr::Regex(pattern)) => pattern.is_match(key),
        (BinaryOp::NotEqRegex, Expr::Regex(pattern)) => !pattern.is_match(key),
        _ => false,
    }
}
