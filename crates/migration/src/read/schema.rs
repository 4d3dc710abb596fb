//! What a server says is in its databases.

use std::collections::BTreeMap;

use hyperbytedb_domain::FieldType;

use crate::client::{Series, Server, quote};
use crate::error::Error;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    pub name: String,
    /// As Go prints durations; `0s` keeps points for ever.
    pub duration: String,
    pub shard_group_duration: String,
    pub replication: u64,
    /// How far from now points may be when they are written; `None` for any. InfluxDB 1.8 and before have no such limits.
    pub future_limit: Option<String>,
    pub past_limit: Option<String>,
    pub is_default: bool,
}

/// A measurement of a retention policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Measurement {
    pub policy: String,
    pub name: String,
    /// By name. Of a field with several types, in different shards, the one that queries prefer.
    pub fields: BTreeMap<String, FieldType>,
    /// Whether there is such a field.
    pub has_mixed_types: bool,
}

impl Measurement {
    /// What stands behind FROM.
    pub fn source(&self) -> String {
        format!("{}.{}", quote(&self.policy), quote(&self.name))
    }
}

impl Policy {
    /// As a statement has them, with a space before each; empty where there are none.
    pub fn write_limits(&self) -> String {
        let limits = [("FUTURE", &self.future_limit), ("PAST", &self.past_limit)];
        let text =
            |(kind, limit): (&str, &Option<String>)| Some(format!(" {kind} LIMIT {}", limit.as_ref()?));
        limits.into_iter().filter_map(text).collect()
    }
}

pub fn databases(server: &Server) -> Result<Vec<String>, Error> {
    Ok(first_column(&server.query("", "SHOW DATABASES")?))
}

pub fn policies(server: &Server, database: &str) -> Result<Vec<Policy>, Error> {
    let answer = server.query("", &format!("SHOW RETENTION POLICIES ON {}", quote(database)))?;
    let mut found = Vec::new();
    for series in &answer {
        for row in &series.values {
            let value =
                |name| series.columns.iter().position(|column| column == name).and_then(|at| row.get(at));
            let text = |name| value(name).and_then(|value| value.as_str()).unwrap_or_default().to_owned();
            let limit = |name| Some(text(name)).filter(|limit| !matches!(limit.as_str(), "" | "0s"));
            found.push(Policy {
                replication: value("replicaN").and_then(serde_json::Value::as_u64).unwrap_or(1).max(1),
                future_limit: limit("futureWriteLimit"),
                past_limit: limit("pastWriteLimit"),
                name: text("name"),
                duration: text("duration"),
                shard_group_duration: text("shardGroupDuration"),
                is_default: value("default").and_then(serde_json::Value::as_bool).unwrap_or(false),
            });
        }
    }
    Ok(found)
}

/// The measurements of a retention policy that have fields there; `only` one where it is given.
pub fn measurements(
    server: &Server,
    database: &str,
    policy: &str,
    only: Option<&str>,
) -> Result<Vec<Measurement>, Error> {
    let names = match only {
        Some(name) => vec![name.to_owned()],
        None => first_column(&server.query("", &format!("SHOW MEASUREMENTS ON {}", quote(database)))?),
    };
    let mut found = Vec::new();
    for name in names {
        let mut measurement =
            Measurement { policy: policy.to_owned(), name, fields: BTreeMap::new(), has_mixed_types: false };
        let statement = format!("SHOW FIELD KEYS ON {} FROM {}", quote(database), measurement.source());
        let answer = server.query("", &statement)?;
        for row in answer.iter().flat_map(|series| &series.values) {
            let text = |at: usize| row.get(at).and_then(|value| value.as_str());
            let Some((key, kind)) = text(0).zip(text(1).and_then(FieldType::parse)) else {
                let text = "a field has a type that is not known".to_owned();
                return Err(Error::Statement { statement, text });
            };
            let first = *measurement.fields.entry(key.to_owned()).or_insert(kind);
            measurement.has_mixed_types |= first != kind;
            measurement.fields.insert(key.to_owned(), first.min(kind));
        }
        if !measurement.fields.is_empty() {
            found.push(measurement);
        }
    }
    Ok(found)
}

/// The tag keys of a measurement of any policy.
pub fn tag_keys(server: &Server, database: &str, measurement: &str) -> Result<Vec<String>, Error> {
    let statement = format!("SHOW TAG KEYS ON {} FROM {}", quote(database), quote(measurement));
    Ok(first_column(&server.query("", &statement)?))
}

/// Hands over the keys of the series of a measurement of any policy.
pub fn each_series(
    server: &Server,
    database: &str,
    measurement: &str,
    mut visit: impl FnMut(&str),
) -> Result<(), Error> {
    let statement = format!("SHOW SERIES ON {} FROM {}", quote(database), quote(measurement));
    server.each("", &statement, |series| {
        series.values.iter().filter_map(|row| row.first()?.as_str()).for_each(&mut visit);
    })
}

fn first_column(answer: &[Series]) -> Vec<String> {
    let rows = answer.iter().flat_map(|series| &series.values);
    rows.filter_map(|row| Some(row.first()?.as_str()?.to_owned())).collect()
}
