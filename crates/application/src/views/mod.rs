//! Materialized views: SELECT … INTO statements whose target is what they answer, whatever happens to their sources.
//!
//! Here is which statements can be kept so. Each window must follow from its own points: then one that became dirty can
//! be computed without the others. What computes them is in [`windows`](crate::windows).

mod cycles;
pub mod mirror;

use hyperbytedb_domain::catalog::Catalog;
use hyperbytedb_timeseriesql::ast::{
    CreateMaterializedViewStatement, Expr, Fill, SelectStatement, Source, StoredQueryKind,
};
use hyperbytedb_timeseriesql::walk::{any_expr, walk_expr};
use thiserror::Error;

use crate::windows::{QueryKey, StoredQueries, StoredQuery};

/// Why a statement cannot be kept as a view.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DefinitionError {
    #[error("a materialized view must have GROUP BY time(...)")]
    NoWindows,
    #[error("a materialized view must have no time in its WHERE clause: it is about all times")]
    TimeCondition,
    #[error("a materialized view must have no {0}: each window must follow from its own points")]
    Clause(&'static str),
    #[error("{0}() looks beyond a window: a materialized view cannot have it, a continuous query can")]
    BeyondWindow(String),
    #[error(
        "the windows of a subquery of a materialized view must divide those around it, and have fill(none)"
    )]
    SubqueryWindows,
    #[error("a subquery of a materialized view must have GROUP BY time(...) where it aggregates")]
    SubqueryAggregate,
    #[error("the materialized view {0} has this target already")]
    TargetTaken(String),
    #[error("the materialized view would read what it writes: {0}")]
    Cycle(String),
}

/// Functions whose value in a window depends on points outside of it.
const BEYOND_WINDOW: &[&str] = &[
    "integral",
    "derivative",
    "non_negative_derivative",
    "difference",
    "non_negative_difference",
    "elapsed",
    "cumulative_sum",
    "moving_average",
    "exponential_moving_average",
    "double_exponential_moving_average",
    "triple_exponential_moving_average",
    "triple_exponential_derivative",
    "relative_strength_index",
    "chande_momentum_oscillator",
    "kaufmans_efficiency_ratio",
    "kaufmans_adaptive_moving_average",
    "holt_winters",
    "holt_winters_with_fit",
];

/// Whether the view can be kept beside what the catalogue has. Its sources and its target must name their databases.
pub fn check_definition(
    statement: &CreateMaterializedViewStatement,
    catalog: &Catalog,
) -> Result<(), DefinitionError> {
    check_select(&statement.source)?;
    let key = QueryKey::new(StoredQueryKind::MaterializedView, &statement.database, &statement.name);
    let view = StoredQuery::new(key, "", statement.source.clone()).ok_or(DefinitionError::NoWindows)?;
    let mut others = StoredQueries::default();
    others.update(catalog);
    let shares_target = |other: &&StoredQuery| {
        other.key.is_view
            && other.key != view.key
            && other.targets.iter().any(|target| view.targets.iter().any(|own| own.meets(target)))
    };
    if let Some(other) = others.iter().map(|query| &**query).find(shares_target) {
        return Err(DefinitionError::TargetTaken(other.key.name.clone()));
    }
    cycles::check(&view, &others)
}

fn check_select(select: &SelectStatement) -> Result<(), DefinitionError> {
    match select.group_by_interval() {
        Ok(Some(every)) if every > 0 && !select.is_raw() => check_level(select, every, offset_of(select)?),
        _ => Err(DefinitionError::NoWindows),
    }
}

/// The offset, if it is a fixed one.
fn offset_of(select: &SelectStatement) -> Result<i64, DefinitionError> {
    select.group_by_offset().map_err(|_| DefinitionError::Clause("now() in GROUP BY time(...)"))
}

/// A statement within windows of this interval.
fn check_level(select: &SelectStatement, every: i64, offset: i64) -> Result<(), DefinitionError> {
    if select.condition.as_ref().is_some_and(|condition| any_expr(condition, Expr::is_time_ref)) {
        return Err(DefinitionError::TimeCondition);
    }
    let clauses = [
        (select.limit > 0, "LIMIT"),
        (select.offset > 0, "OFFSET"),
        (select.slimit > 0, "SLIMIT"),
        (select.soffset > 0, "SOFFSET"),
        (!matches!(select.fill, Fill::Null | Fill::None), "fill(...) but fill(none)"),
    ];
    if let Some((_, clause)) = clauses.into_iter().find(|(has, _)| *has) {
        return Err(DefinitionError::Clause(clause));
    }
    refuse_beyond_window(select)?;
    select.sources.iter().try_for_each(|source| match source {
        Source::Measurement(_) => Ok(()),
        Source::Subquery(inner) => check_subquery(inner, every, offset),
    })
}

fn refuse_beyond_window(select: &SelectStatement) -> Result<(), DefinitionError> {
    for field in &select.fields {
        let mut beyond = None;
        walk_expr(&field.expr, &mut |node| {
            if let Expr::Call(call) = node
                && BEYOND_WINDOW.contains(&call.name.as_str())
            {
                beyond = Some(call.name.clone());
            }
            true
        });
        if let Some(name) = beyond {
            return Err(DefinitionError::BeyondWindow(name));
        }
    }
    Ok(())
}

fn check_subquery(inner: &SelectStatement, every: i64, offset: i64) -> Result<(), DefinitionError> {
    refuse_beyond_window(inner)?;
    match inner.group_by_interval() {
        Ok(None) if inner.is_raw() && !has_distinct(inner) => check_level(inner, every, offset),
        Ok(None) => Err(DefinitionError::SubqueryAggregate),
        Ok(Some(own)) => {
            let own_offset = offset_of(inner)?;
            let divides = own > 0 && every % own == 0 && (offset - own_offset) % own == 0;
            if !divides || inner.fill != Fill::None {
                return Err(DefinitionError::SubqueryWindows);
            }
            check_level(inner, own, own_offset)
        }
        Err(_) => Err(DefinitionError::NoWindows),
    }
}

fn has_distinct(select: &SelectStatement) -> bool {
    select.fields.iter().any(|field| any_expr(&field.expr, |node| matches!(node, Expr::Distinct(_))))
}

#[cfg(test)]
mod tests {
    use hyperbytedb_timeseriesql::ast::Statement;
    use hyperbytedb_timeseriesql::parse_statement;

    use super::*;

    fn check(select: &str) -> Result<(), DefinitionError> {
        let text = format!("CREATE MATERIALIZED VIEW v ON d AS {select}");
        match parse_statement(&text) {
            Ok(Statement::CreateMaterializedView(view)) => check_definition(&view, &Catalog::default()),
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn windows_that_follow_from_their_points_can_be_kept() {
        for select in [
            "SELECT mean(v), max(w) INTO t FROM m, /^n/ WHERE host = 'a' GROUP BY time(1m, 10s), * fill(none)",
            "SELECT top(v, host, 2) INTO t FROM m GROUP BY time(1d) tz('Europe/Berlin')",
            "SELECT max(x) INTO t FROM (SELECT mean(v) AS x FROM m GROUP BY time(10s), host fill(none)) GROUP BY time(1m)",
            "SELECT max(x) INTO t FROM (SELECT v + w AS x FROM m) GROUP BY time(1m)",
        ] {
            assert_eq!(check(select), Ok(()), "{select}");
        }
    }

    #[test]
    fn what_looks_beyond_a_window_is_refused() {
        for (select, expected) in [
            ("SELECT mean(v) INTO t FROM m GROUP BY host", "GROUP BY time(...)"),
            ("SELECT v INTO t FROM m", "GROUP BY time(...)"),
            (
                "SELECT mean(v) INTO t FROM m WHERE time > now() - 1h GROUP BY time(1m)",
                "no time in its WHERE",
            ),
            ("SELECT mean(v) INTO t FROM m GROUP BY time(1m) LIMIT 3", "LIMIT"),
            ("SELECT mean(v) INTO t FROM m GROUP BY time(1m) fill(previous)", "fill"),
            ("SELECT mean(v) INTO t FROM m GROUP BY time(1m, now())", "now()"),
            ("SELECT derivative(mean(v)) INTO t FROM m GROUP BY time(1m)", "derivative()"),
            ("SELECT 2 * integral(v) INTO t FROM m GROUP BY time(1m)", "integral()"),
            (
                "SELECT max(x) INTO t FROM (SELECT mean(v) AS x FROM m) GROUP BY time(1m)",
                "where it aggregates",
            ),
            (
                "SELECT max(x) INTO t FROM (SELECT mean(v) AS x FROM m GROUP BY time(7s) fill(none)) GROUP BY time(1m)",
                "must divide",
            ),
            (
                "SELECT max(x) INTO t FROM (SELECT mean(v) AS x FROM m GROUP BY time(10s)) GROUP BY time(1m)",
                "fill(none)",
            ),
            (
                "SELECT max(x) INTO t FROM (SELECT difference(v) AS x FROM m) GROUP BY time(1m)",
                "difference()",
            ),
        ] {
            let error = check(select).expect_err(select).to_string();
            assert!(error.contains(expected), "{select}: {error}");
        }
    }
}
