//! Databases, retention policies, users and continuous queries: the statements that make them on the server.
//!
//! All of it is compared with what the server has before anything is changed. Continuous queries and users come last,
//! behind the points.

use std::collections::HashMap;

use hyperbytedb_influx_files::meta::{Database, Policy, User};
use hyperbytedb_timeseriesql::quote::quote_string;
use serde_json::Value;

use super::plan::Plan;
use crate::client::{Series, Server, quote};
use crate::error::Error;
use crate::write::Report;

const SECOND: i64 = 1_000_000_000;

/// What is to be made.
pub struct Schema {
    before: Vec<String>,
    after: Vec<String>,
    notes: Vec<String>,
}

impl Schema {
    /// Compares the plan with what the server has. A policy that is there with other durations is an error.
    pub fn check(server: &Server, plan: &Plan) -> Result<Self, Error> {
        let mut schema = Self { before: Vec::new(), after: Vec::new(), notes: Vec::new() };
        let existing = names(&server.query("", "SHOW DATABASES")?);
        for database in &plan.databases {
            if existing.contains(&database.name) {
                schema.complete(server, database)?;
            } else {
                schema.create_database(database);
            }
            for query in &database.continuous_queries {
                schema.after.push(query.query.clone());
            }
            for subscription in database.policies.iter().flat_map(|policy| &policy.subscriptions) {
                let text = format!("subscription {:?} on {:?} is left out", subscription.name, database.name);
                schema.notes.push(text);
            }
        }
        schema.users(server, plan)?;
        Ok(schema)
    }

    fn create_database(&mut self, database: &Database) {
        let is_default = |policy: &&Policy| policy.name == database.default_policy;
        let mut statement = format!("CREATE DATABASE {}", quote(&database.name));
        if let Some(policy) = database.policies.iter().find(is_default) {
            statement += &format!(" WITH {} NAME {}", durations(policy), quote(&policy.name));
        }
        self.before.push(statement);
        for policy in database.policies.iter().filter(|policy| !is_default(policy)) {
            self.before.push(create_policy(database, policy));
        }
    }

    /// Adds the policies that an existing database does not have.
    fn complete(&mut self, server: &Server, database: &Database) -> Result<(), Error> {
        let statement = format!("SHOW RETENTION POLICIES ON {}", quote(&database.name));
        let answer = server.query("", &statement)?;
        let (existing, limited) = (policies(&answer), with_write_limits(&answer));
        for policy in &database.policies {
            if limited.contains(&policy.name) {
                return Err(Error::usage(format!(
                    "retention policy {0} on {1} has a PAST LIMIT or FUTURE LIMIT, by which old points are refused: nothing was \
                     changed; import after ALTER RETENTION POLICY {0} ON {1} FUTURE LIMIT 0s PAST LIMIT 0s",
                    quote(&policy.name),
                    quote(&database.name)
                )));
            }
            let wanted = [go_duration(policy.duration), go_duration(policy.shard_group_duration)];
            match existing.get(&policy.name) {
                None => self.before.push(create_policy(database, policy)),
                Some(found) if *found == wanted => {}
                Some(found) => {
                    let (found, wanted) =
                        (found.join(", shard groups of "), wanted.join(", shard groups of "));
                    return Err(Error::usage(format!(
                        "retention policy {} on {} exists with a duration of {found}, not of {wanted}: nothing was \
                         changed; alter it, or import into another server",
                        policy.name, database.name
                    )));
                }
            }
        }
        Ok(())
    }

    fn users(&mut self, server: &Server, plan: &Plan) -> Result<(), Error> {
        if plan.users.is_empty() {
            return Ok(());
        }
        let existing = names(&server.query("", "SHOW USERS")?);
        for user in &plan.users {
            if existing.contains(&user.name) {
                self.notes.push(format!("user {:?} exists and is left as it is", user.name));
                continue;
            }
            self.create_user(user, plan);
        }
        Ok(())
    }

    fn create_user(&mut self, user: &User, plan: &Plan) {
        let name = quote(&user.name);
        let hash = quote_string(&user.hash);
        let rights = if user.admin { " WITH ALL PRIVILEGES" } else { "" };
        self.after.push(format!("CREATE USER {name} WITH PASSWORD HASH {hash}{rights}"));
        for granted in &user.privileges {
            let right = match granted.privilege {
                1 => "READ",
                2 => "WRITE",
                3 => "ALL",
                _ => continue,
            };
            if plan.databases.iter().any(|database| database.name == granted.database) {
                self.after.push(format!("GRANT {right} ON {} TO {name}", quote(&granted.database)));
            }
        }
    }

    /// Makes databases and policies.
    pub fn create(&self, server: &Server) -> Result<(), Error> {
        self.before.iter().try_for_each(|statement| server.query("", statement).map(drop))
    }

    /// Makes continuous queries and users; what the server refuses of them is counted and shown.
    pub fn finish(&self, server: &Server, report: &Report) -> Result<(), Error> {
        for statement in &self.after {
            match server.query("", statement) {
                Ok(_) => {}
                Err(Error::Statement { text, .. }) => {
                    // Hashes are not for everybody's eyes.
                    let shown = statement.split(" WITH PASSWORD ").next().unwrap_or(statement);
                    report.refuse_line(None, shown.as_bytes(), &text);
                }
                Err(error) => return Err(error),
            }
        }
        for note in &self.notes {
            eprintln!("note: {note}");
        }
        if report.skipped_values() > 0 {
            eprintln!("note: {} infinite floats were left out", report.skipped_values());
        }
        Ok(())
    }
}

fn create_policy(database: &Database, policy: &Policy) -> String {
    let default = if policy.name == database.default_policy { " DEFAULT" } else { "" };
    format!(
        "CREATE RETENTION POLICY {} ON {} {}{default}",
        quote(&policy.name),
        quote(&database.name),
        durations(policy)
    )
}

fn durations(policy: &Policy) -> String {
    let duration = if policy.duration == 0 { "INF".to_owned() } else { duration(policy.duration) };
    let groups = duration_of_groups(policy);
    format!("DURATION {duration} REPLICATION {}{groups}", policy.replication.max(1))
}

fn duration_of_groups(policy: &Policy) -> String {
    match policy.shard_group_duration {
        0 => String::new(),
        groups => format!(" SHARD DURATION {}", duration(groups)),
    }
}

fn duration(nanoseconds: i64) -> String {
    match nanoseconds % SECOND {
        0 => format!("{}s", nanoseconds / SECOND),
        _ => format!("{nanoseconds}ns"),
    }
}

/// As Go prints durations of whole seconds.
fn go_duration(nanoseconds: i64) -> String {
    let seconds = nanoseconds / SECOND;
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds}s"),
        (0, minutes, seconds) => format!("{minutes}m{seconds}s"),
        (hours, minutes, seconds) => format!("{hours}h{minutes}m{seconds}s"),
    }
}

/// The first column of an answer.
fn names(answer: &[Series]) -> Vec<String> {
    let rows = answer.iter().flat_map(|series| &series.values);
    rows.filter_map(|row| Some(row.first()?.as_str()?.to_owned())).collect()
}

/// Durations of policies and of their shard groups, by name.
fn policies(answer: &[Series]) -> HashMap<String, [String; 2]> {
    let text = |row: &[Value], at: usize| Some(row.get(at)?.as_str()?.to_owned());
    let rows = answer.iter().flat_map(|series| &series.values);
    rows.filter_map(|row| Some((text(row, 0)?, [text(row, 1)?, text(row, 2)?]))).collect()
}

/// The policies that refuse points by their age when they are written. InfluxDB 1.8 and before have none.
fn with_write_limits(answer: &[Series]) -> Vec<String> {
    let mut found = Vec::new();
    for series in answer {
        let column = |name| series.columns.iter().position(|column| column == name);
        let limits: Vec<usize> =
            ["futureWriteLimit", "pastWriteLimit"].into_iter().filter_map(column).collect();
        for row in &series.values {
            let text = |at: usize| row.get(at).and_then(Value::as_str).unwrap_or_default();
            if limits.iter().any(|at| !matches!(text(*at), "0s" | "")) {
                found.push(text(0).to_owned());
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_printed() {
        assert_eq!(go_duration(0), "0s");
        assert_eq!(go_duration(168 * 3600 * SECOND), "168h0m0s");
        assert_eq!(go_duration(90 * SECOND), "1m30s");
        let policy =
            Policy { duration: 3600 * SECOND, shard_group_duration: 1800 * SECOND, ..Policy::default() };
        assert_eq!(durations(&policy), "DURATION 3600s REPLICATION 1 SHARD DURATION 1800s");
    }
}
