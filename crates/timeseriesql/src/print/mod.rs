//! Trees to text, as InfluxDB writes statements down.
//!
//! What is printed parses back to an equal tree, with two exceptions that InfluxDB has too: passwords
//! are hidden, and a name with a carriage return has no spelling. Where InfluxDB's own text would
//! parse to something else (small fractions, an operation as the right operand of another), ours
//! keeps the digits or adds parentheses.

mod admin;
mod expr;
mod select;
mod show;

use std::fmt::{self, Display, Formatter};

use crate::ast::{Query, Statement};

/// The number in decimal notation with the fewest digits that tell it apart.
pub(crate) fn format_float(n: f64) -> String {
    n.to_string()
}

/// Items separated by `, `.
fn list<T: Display>(f: &mut Formatter<'_>, items: &[T]) -> fmt::Result {
    separated(f, items, ", ")
}

fn separated<T: Display>(f: &mut Formatter<'_>, items: &[T], separator: &str) -> fmt::Result {
    for (i, item) in items.iter().enumerate() {
        if i > 0 {
            f.write_str(separator)?;
        }
        item.fmt(f)?;
    }
    Ok(())
}

/// `prefix` and the items, or nothing.
fn clause<T: Display>(f: &mut Formatter<'_>, prefix: &str, items: &[T]) -> fmt::Result {
    if items.is_empty() {
        return Ok(());
    }
    f.write_str(prefix)?;
    list(f, items)
}

/// `prefix` and the value, or nothing.
fn optional<T: Display>(f: &mut Formatter<'_>, prefix: &str, value: Option<T>) -> fmt::Result {
    match value {
        Some(value) => write!(f, "{prefix}{value}"),
        None => Ok(()),
    }
}

/// `prefix` and the count, or nothing for 0.
fn count(f: &mut Formatter<'_>, prefix: &str, n: u64) -> fmt::Result {
    optional(f, prefix, (n > 0).then_some(n))
}

impl Display for Query {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        separated(f, &self.statements, ";\n")
    }
}

impl Display for Statement {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Select(s) => s.fmt(f),
            Self::Explain(s) => s.fmt(f),
            Self::Delete(s) => s.fmt(f),
            Self::Backfill(s) => s.fmt(f),
            Self::AlterRetentionPolicy(s) => s.fmt(f),
            Self::CreateContinuousQuery(s) => s.fmt(f),
            Self::CreateDatabase(s) => s.fmt(f),
            Self::CreateMaterializedView(s) => s.fmt(f),
            Self::CreateRetentionPolicy(s) => s.fmt(f),
            Self::CreateSubscription(s) => s.fmt(f),
            Self::CreateUser(s) => s.fmt(f),
            Self::DropContinuousQuery(s) => s.fmt(f),
            Self::DropDatabase(s) => s.fmt(f),
            Self::DropMaterializedView(s) => s.fmt(f),
            Self::DropMeasurement(s) => s.fmt(f),
            Self::DropRetentionPolicy(s) => s.fmt(f),
            Self::DropSeries(s) => s.fmt(f),
            Self::DropShard(s) => s.fmt(f),
            Self::DropSubscription(s) => s.fmt(f),
            Self::DropUser(s) => s.fmt(f),
            Self::Grant(s) => s.fmt(f),
            Self::GrantAdmin(s) => s.fmt(f),
            Self::KillQuery(s) => s.fmt(f),
            Self::Revoke(s) => s.fmt(f),
            Self::RevokeAdmin(s) => s.fmt(f),
            Self::SetPassword(s) => s.fmt(f),
            Self::ShowCardinality(s) => s.fmt(f),
            Self::ShowContinuousQueries => f.write_str("SHOW CONTINUOUS QUERIES"),
            Self::ShowDatabases => f.write_str("SHOW DATABASES"),
            Self::ShowDiagnostics(s) => s.fmt(f),
            Self::ShowFieldKeys(s) => s.fmt(f),
            Self::ShowGrants(s) => s.fmt(f),
            Self::ShowMaterializedViews => f.write_str("SHOW MATERIALIZED VIEWS"),
            Self::ShowMeasurements(s) => s.fmt(f),
            Self::ShowQueries => f.write_str("SHOW QUERIES"),
            Self::ShowRetentionPolicies(s) => s.fmt(f),
            Self::ShowSeries(s) => s.fmt(f),
            Self::ShowServers => f.write_str("SHOW SERVERS"),
            Self::ShowShardGroups => f.write_str("SHOW SHARD GROUPS"),
            Self::ShowShards => f.write_str("SHOW SHARDS"),
            Self::ShowStats(s) => s.fmt(f),
            Self::ShowSubscriptions => f.write_str("SHOW SUBSCRIPTIONS"),
            Self::ShowTagKeys(s) => s.fmt(f),
            Self::ShowTagValues(s) => s.fmt(f),
            Self::ShowUsers => f.write_str("SHOW USERS"),
        }
    }
}
