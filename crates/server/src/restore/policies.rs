//! The statements that make a database and its policies on a server.
//!
//! Write limits refuse points by their age when they are written, so they come behind the points. Durations come first: a
//! point past its duration is not restored, whenever it passes it.

use std::error::Error;
use std::sync::Arc;

use hyperbytedb_application::statements::go_duration;
use hyperbytedb_backup::Client;
use hyperbytedb_domain::catalog::{Database, RetentionPolicy};
use hyperbytedb_timeseriesql::ast::{
    AlterRetentionPolicyStatement, CreateDatabaseStatement, CreateRetentionPolicyStatement,
    DatabaseRetentionPolicy,
};
use hyperbytedb_timeseriesql::quote::quote_ident;

/// Makes the database and its policies, without write limits.
pub fn create(database: &Database, target: &str) -> Vec<String> {
    let first = database.retention_policy("").map(|policy| DatabaseRetentionPolicy {
        name: Some(policy.name.clone()),
        duration_ns: Some(policy.duration),
        replication: Some(policy.replication),
        shard_duration_ns: Some(policy.shard_duration),
        ..DatabaseRetentionPolicy::default()
    });
    let create = CreateDatabaseStatement { name: target.to_owned(), retention_policy: first };
    let is_other = |policy: &&Arc<RetentionPolicy>| policy.name != database.default_retention_policy;
    let others = database.policies_in_order().into_iter().filter(is_other).map(|policy| {
        let create = CreateRetentionPolicyStatement {
            name: policy.name.clone(),
            database: target.to_owned(),
            duration_ns: policy.duration,
            replication: policy.replication,
            shard_duration_ns: Some(policy.shard_duration),
            ..CreateRetentionPolicyStatement::default()
        };
        create.to_string()
    });
    std::iter::once(create.to_string()).chain(others).collect()
}

/// Gives the policies their write limits.
pub fn set_limits(database: &Database, target: &str) -> Vec<String> {
    let has_limits =
        |policy: &&Arc<RetentionPolicy>| (policy.future_write_limit, policy.past_write_limit) != (0, 0);
    let policies = database.policies_in_order().into_iter().filter(has_limits);
    policies
        .map(|policy| limits(&policy.name, target, policy.future_write_limit, policy.past_write_limit))
        .collect()
}

fn limits(policy: &str, target: &str, future: i64, past: i64) -> String {
    let alter = AlterRetentionPolicyStatement {
        name: policy.to_owned(),
        database: target.to_owned(),
        future_write_limit_ns: Some(future),
        past_write_limit_ns: Some(past),
        ..AlterRetentionPolicyStatement::default()
    };
    alter.to_string()
}

/// Takes the write limits from the policies that a restore has left on the server. An error where they are other ones:
/// then it is another database.
pub async fn lift_limits(
    client: &Client,
    database: &Database,
    target: &str,
) -> Result<Vec<String>, Box<dyn Error>> {
    let answer = client.query(&format!("SHOW RETENTION POLICIES ON {}", quote_ident(target))).await?;
    let rows = answer["results"][0]["series"][0]["values"].as_array();
    let mut statements = Vec::new();
    for row in rows.into_iter().flatten() {
        let text = |column: usize| row[column].as_str().unwrap_or_default();
        let name = text(0);
        let durations = |policy: &RetentionPolicy| {
            [go_duration(policy.duration), go_duration(policy.shard_duration)] == [text(1), text(2)]
        };
        if !database.retention_policies.get(name).is_some_and(|policy| durations(policy)) {
            return Err(format!(
                "the database {target} on the server is not what a restore of this backup leaves there: its retention \
                 policy {name} is another; nothing was changed"
            )
            .into());
        }
        statements.push(limits(name, target, 0, 0));
    }
    Ok(statements)
}
