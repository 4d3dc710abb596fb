//! Histories, as they are printed, and operations, as clients send them.

use std::fmt;

use crate::history::{
    Comparison, Condition, History, Operation, Passing, Point, SHORT, VIEW_FIELDS, VIEWS, where_clause,
};
use crate::scheduler::{Crash, Faults};

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { tag, value, .. } = self;
        match self.comparison {
            Comparison::Equal => write!(f, "{tag} = '{value}'"),
            Comparison::NotEqual => write!(f, "{tag} != '{value}'"),
            Comparison::Matches => write!(f, "{tag} =~ /^{value}$/"),
            Comparison::MatchesNot => write!(f, "{tag} !~ /^{value}$/"),
        }
    }
}

/// As a client would send it.
impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let from = |measurement: &Option<&str>| measurement.map_or(String::new(), |m| format!(" FROM {m}"));
        match self {
            Self::Write { points, .. } => {
                let lines: Vec<String> = points.iter().map(Point::line).collect();
                f.write_str(&lines.join("\n"))
            }
            Self::Delete { measurement, condition, time, .. } => {
                write!(f, "DELETE{}{}", from(measurement), where_clause(condition.as_ref(), *time))
            }
            Self::DropSeries { measurement, condition, .. } => {
                write!(f, "DROP SERIES{}{}", from(measurement), where_clause(condition.as_ref(), None))
            }
            Self::DropMeasurement { measurement, .. } => write!(f, "DROP MEASUREMENT {measurement}"),
            Self::DropShard { position } => write!(f, "DROP SHARD (at {position})"),
            Self::CreateDatabase { database } => write!(f, "CREATE DATABASE {database}"),
            Self::DropDatabase { database } => write!(f, "DROP DATABASE {database}"),
            Self::CreatePolicy { database, policy, shard_hours } => write!(
                f,
                "CREATE RETENTION POLICY {policy} ON {database} DURATION INF REPLICATION 1 SHARD DURATION {shard_hours}h"
            ),
            Self::CreateShortPolicy { database } => {
                write!(f, "CREATE RETENTION POLICY {SHORT} ON {database} DURATION 1h REPLICATION 1")
            }
            Self::AlterPolicy { database, policy, shard_hours } => {
                write!(f, "ALTER RETENTION POLICY {policy} ON {database} SHARD DURATION {shard_hours}h")
            }
            Self::DropPolicy { database, policy } => {
                write!(f, "DROP RETENTION POLICY {policy} ON {database}")
            }
            Self::Read { database, policy, measurement, time, counts } => {
                let source = if policy.is_empty() {
                    format!("{database}..{measurement}")
                } else {
                    format!("{database}.{policy}.{measurement}")
                };
                let clause = where_clause(None, *time);
                if *counts {
                    write!(f, "SELECT count(*) FROM {source}{clause}")
                } else {
                    write!(f, "SELECT * FROM {source}{clause} GROUP BY *")
                }
            }
            Self::CreateView { database } => write!(
                f,
                "CREATE MATERIALIZED VIEW {database} ON {VIEWS} WITH BACKFILL AS SELECT {VIEW_FIELDS} \
                 INTO {VIEWS}.autogen.:MEASUREMENT FROM {database}.autogen./^m/ GROUP BY time(1h), *"
            ),
            Self::DropView { database } => write!(f, "DROP MATERIALIZED VIEW {database} ON {VIEWS}"),
            Self::Life(operation) => write!(f, "{operation}"),
            Self::Follow | Self::Compute | Self::Seal | Self::Checkpoint | Self::Merge | Self::Restart => {
                write!(f, "{self:?}")
            }
        }
    }
}

impl fmt::Display for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, round) in self.rounds.iter().enumerate() {
            write!(f, "round {number}")?;
            for (name, faults) in [("", &round.faults), ("replay ", &round.replay_faults)] {
                if *faults != Faults::default() {
                    write!(f, "  [{name}{faults}]")?;
                }
            }
            if let Some(Passing { calls, ns }) = round.passing {
                write!(
                    f,
                    "  [{} s pass{}]",
                    ns as f64 / 1e9,
                    if calls > 0 { format!(" after {calls} calls") } else { String::new() }
                )?;
            }
            writeln!(f, "{}", if round.checked { "" } else { "  (not checked)" })?;
            for operation in &round.operations {
                if let Operation::Write { database, policy, .. } = operation {
                    writeln!(f, "  write to {database} {policy}")?;
                }
                for line in operation.to_string().lines() {
                    writeln!(f, "    {line}")?;
                }
            }
        }
        Ok(())
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        if self.errors > 0 {
            parts.push(format!("errors {}/1000", self.errors));
        }
        if self.stalls > 0 {
            parts.push(format!("stalls {}/1000", self.stalls));
        }
        if let Some(Crash { calls, power, after }) = self.crash {
            let kind = if power { "power failure" } else { "kill" };
            let when = if after { "after" } else { "before" };
            parts.push(format!("{kind} {when} call {calls}"));
        }
        f.write_str(&parts.join(", "))
    }
}
