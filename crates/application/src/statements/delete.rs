//! DELETE and DROP SERIES: which rows of which measurements go.

use hyperbytedb_domain::TimeRange;
use hyperbytedb_domain::catalog::{Catalog, Command, Database, DeleteScope, RetentionPolicy, Table};
use hyperbytedb_domain::scan::PREDICATE_DEPTH_MAX;
use hyperbytedb_timeseriesql::ast::{Expr, Source};

use super::StatementError;
use super::show::{measurements, split_condition};
use super::tag_filter::TagFilter;

/// The command for `DELETE [FROM …] [WHERE …]`.
pub fn delete(
    catalog: &Catalog,
    database: &str,
    sources: &[Source],
    condition: Option<&Expr>,
) -> Result<Command, StatementError> {
    let db = catalog.database(database).ok_or_else(|| StatementError::database_not_found(database))?;
    let condition = split_condition(condition)?;
    command(db, sources, condition.time, condition.rest.as_ref())
}

/// The command for `DROP SERIES [FROM …] [WHERE …]`.
pub fn drop_series(
    catalog: &Catalog,
    database: &str,
    sources: &[Source],
    condition: Option<&Expr>,
) -> Result<Command, StatementError> {
    let db = catalog.database(database).ok_or_else(|| StatementError::database_not_found(database))?;
    let split = split_condition(condition)?;
    if !split.time.is_all() {
        return Err(StatementError::TimeInCondition { statement: "DROP SERIES" });
    }
    command(db, sources, TimeRange::ALL, split.rest.as_ref())
}

fn command(
    db: &Database,
    sources: &[Source],
    time: TimeRange,
    condition: Option<&Expr>,
) -> Result<Command, StatementError> {
    let mut scopes = Vec::new();
    for table in measurements(db, sources).into_values().flatten() {
        let filter = condition.map(|c| compile(db, &table, c)).transpose()?;
        let filter = filter.map(|f| f.predicate(&table));
        if filter.as_ref().is_some_and(|f| f.depth() > PREDICATE_DEPTH_MAX) {
            return Err(StatementError::ConditionTooDeep);
        }
        scopes.push(DeleteScope { table: table.id, version: table.version, time, filter });
    }
    Ok(Command::DeletePoints { scopes })
}

fn compile(db: &Database, table: &Table, condition: &Expr) -> Result<TagFilter, StatementError> {
    let filter = TagFilter::compile(condition, table);
    if filter.may_be_undecided() {
        let shard =
            db.retention_policies.get(&table.retention_policy).and_then(|rp| first_shard(rp)).unwrap_or(1);
        return Err(StatementError::FieldsInDeletion { shard });
    }
    Ok(filter)
}

fn first_shard(policy: &RetentionPolicy) -> Option<u64> {
    policy.shard_groups.values().map(|group| group.id).min()
}
