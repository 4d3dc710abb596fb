//! SHOW statements. They answer from the catalogue and the series index; only a time range that leaves out a shard makes
//! them ask the engine which series have points there.

pub mod cardinality;
pub mod catalog;
pub mod cluster;
pub mod index;
mod lookup;
mod measurement_filter;
pub mod server;
pub mod stats;
pub mod views;
mod watched;

use std::collections::BTreeMap;
use std::sync::Arc;

use hyperbytedb_domain::TimeRange;
use hyperbytedb_domain::catalog::{Catalog, CatalogError, Database, RetentionPolicy, Table};
use hyperbytedb_timeseriesql::ast::{BinaryExpr, BinaryOp, Expr, Measurement, MeasurementName, Source};
use hyperbytedb_timeseriesql::reduce::condition_expr;
use hyperbytedb_timeseriesql::walk::any_expr;
use jiff::tz::TimeZone;

use super::StatementError;
pub use lookup::Lookup;
pub use measurement_filter::instead_of_system_name;
pub use watched::WatchedIndex;

/// The tables of the measurements a statement is about, by measurement.
pub type Measurements = BTreeMap<String, Vec<Arc<Table>>>;

/// The measurements that FROM names, in all retention policies or the one it names; all of them without FROM.
pub fn measurements(database: &Database, sources: &[Source]) -> Measurements {
    let mut found = Measurements::new();
    for policy in database.retention_policies.values() {
        let named = |name: &str| {
            sources.is_empty()
                || sources.iter().any(|source| match source {
                    Source::Measurement(m) => {
                        m.retention_policy.as_ref().is_none_or(|rp| rp == &policy.name) && is_named(m, name)
                    }
                    Source::Subquery(_) => false,
                })
        };
        add_tables(&mut found, policy, named);
    }
    found
}

/// The measurements that FROM names, each in the database and retention policy it names or the given ones; all of the
/// given policy without FROM. No policy (`None` or empty) is the database's default one.
pub fn resolved_measurements(
    catalog: &Catalog,
    database: &str,
    policy: Option<&str>,
    sources: &[Source],
) -> Result<Measurements, StatementError> {
    let mut found = Measurements::new();
    if sources.is_empty() {
        add_tables(&mut found, policy_of(catalog, database, policy)?, |_| true);
    }
    for source in sources {
        let Source::Measurement(m) = source else { continue };
        let database = m.database.as_deref().unwrap_or(database);
        let policy = policy_of(catalog, database, m.retention_policy.as_deref().or(policy))?;
        add_tables(&mut found, policy, |name| is_named(m, name));
    }
    Ok(found)
}

fn policy_of<'a>(
    catalog: &'a Catalog,
    database: &str,
    policy: Option<&str>,
) -> Result<&'a RetentionPolicy, StatementError> {
    if database.is_empty() {
        return Err(StatementError::DatabaseRequired);
    }
    let db = catalog.database(database).ok_or_else(|| StatementError::database_not_found(database))?;
    let name = policy.filter(|name| !name.is_empty()).unwrap_or(&db.default_retention_policy);
    let missing = || CatalogError::RetentionPolicyNotFound(name.to_owned()).into();
    db.retention_policies.get(name).map(|rp| &**rp).ok_or_else(missing)
}

fn add_tables(found: &mut Measurements, policy: &RetentionPolicy, wanted: impl Fn(&str) -> bool) {
    for (name, table) in policy.tables.iter().filter(|(name, _)| wanted(name)) {
        let tables = found.entry(name.clone()).or_default();
        if !tables.iter().any(|known| known.id == table.id) {
            tables.push(table.clone());
        }
    }
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
    let now = crate::waiting::now_ns();
    let (rest, range) = condition_expr(Some(condition.clone()), Some(now), &TimeZone::UTC)?;
    let time = TimeRange {
        min: range.min.unwrap_or(TimeRange::ALL.min),
        max: range.max.unwrap_or(TimeRange::ALL.max),
    };
    Ok(Condition { time, rest })
}

/// For statements that cannot be about a time range.
pub fn without_time(statement: &'static str, condition: Option<&Expr>) -> Result<(), StatementError> {
    let is_time = |e: &Expr| matches!(e, Expr::VarRef(r) if r.name.eq_ignore_ascii_case("time"));
    let compares_time = |e: &Expr| matches!(e, Expr::Binary(b) if is_time(&b.lhs) || is_time(&b.rhs));
    match condition {
        Some(condition) if any_expr(condition, compares_time) => {
            Err(StatementError::TimeInCondition { statement })
        }
        _ => Ok(()),
    }
}

/// A condition without the equality and regex comparisons whose left side is not wanted; `None` when nothing is left.
pub fn keep_comparisons(condition: &Expr, wanted: &impl Fn(&Expr) -> bool) -> Option<Expr> {
    match condition {
        Expr::Paren(inner) => keep_comparisons(inner, wanted).map(|e| Expr::Paren(Box::new(e))),
        Expr::Binary(binary) if matches!(binary.op, BinaryOp::And | BinaryOp::Or) => {
            match (keep_comparisons(&binary.lhs, wanted), keep_comparisons(&binary.rhs, wanted)) {
                (Some(lhs), Some(rhs)) => Some(Expr::Binary(BinaryExpr::new(binary.op, lhs, rhs))),
                (one, other) => one.or(other),
            }
        }
        Expr::Binary(binary) if is_equality(binary.op) && !wanted(&binary.lhs) => None,
        other => Some(other.clone()),
    }
}

/// `=`, `!=`, `=~` and `!~`.
pub fn is_equality(op: BinaryOp) -> bool {
    matches!(op, BinaryOp::Eq | BinaryOp::NotEq | BinaryOp::EqRegex | BinaryOp::NotEqRegex)
}
