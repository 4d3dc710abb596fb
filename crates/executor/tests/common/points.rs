//! Points from line protocol into tables.

use std::collections::BTreeMap;
use std::sync::Arc;

use hyperbytedb_domain::FieldValue;
use hyperbytedb_domain::catalog::{Catalog, Database, FieldDef, RetentionPolicy, Table, TableId};
use hyperbytedb_domain::{FieldType, Tags};

use super::engine::{MemoryEngine, StoredRow};

type Key = (String, String, String);
type Fields = BTreeMap<String, FieldValue>;

/// Points by database, retention policy and measurement.
#[derive(Debug, Default)]
pub struct Store {
    databases: BTreeMap<String, Vec<String>>,
    tables: BTreeMap<Key, BTreeMap<(Tags, i64), Fields>>,
}

const HOUR: i64 = 3_600_000_000_000;

impl Store {
    /// The first policy of a database is its default one.
    pub fn create_policy(&mut self, database: &str, policy: &str) {
        self.databases.entry(database.to_owned()).or_default().push(policy.to_owned());
    }

    /// Adds a line; the policy empty means the default one.
    pub fn write(&mut self, database: &str, policy: &str, line: &str, unit: i64) {
        if line.trim().is_empty() || line.starts_with('#') {
            return;
        }
        let policies = self.databases.get(database);
        let default = policies.and_then(|p| p.first()).cloned().unwrap_or_default();
        let policy = if policy.is_empty() { default } else { policy.to_owned() };
        let (measurement, tags, fields, time) = parse(line);
        let key = (database.to_owned(), policy, measurement);
        let row = self.tables.entry(key).or_default().entry((tags, time * unit)).or_default();
        row.extend(fields);
    }

    fn table(&self, key: &Key, id: usize) -> Table {
        let rows = &self.tables[key];
        let mut tags: Vec<String> = Vec::new();
        let mut fields: Vec<FieldDef> = Vec::new();
        for ((row_tags, _), row) in rows {
            for (tag, _) in row_tags.iter() {
                if !tags.iter().any(|t| t == tag) {
                    tags.push(tag.to_owned());
                }
            }
            for (name, value) in row {
                if !fields.iter().any(|f| f.name == *name) {
                    fields.push(FieldDef { name: name.clone(), field_type: type_of(value) });
                }
            }
        }
        // As in a grown table, positions are not in the order of the names.
        tags.reverse();
        Table {
            id: TableId(id as u64),
            database: key.0.clone(),
            retention_policy: key.1.clone(),
            measurement: key.2.clone(),
            version: 0,
            shard_duration: 7 * 24 * HOUR,
            tags,
            fields,
        }
    }

    pub fn catalog(&self) -> Catalog {
        let mut catalog = Catalog::default();
        for (name, policies) in &self.databases {
            let mut database = Database {
                name: name.clone(),
                default_retention_policy: policies.first().cloned().unwrap_or_default(),
                ..Database::default()
            };
            for policy in policies {
                let mut entry = RetentionPolicy { name: policy.clone(), ..RetentionPolicy::default() };
                for (id, key) in self.tables.keys().enumerate() {
                    if key.0 == *name && key.1 == *policy {
                        entry.tables.insert(key.2.clone(), Arc::new(self.table(key, id)));
                    }
                }
                database.retention_policies.insert(policy.clone(), Arc::new(entry));
            }
            catalog.databases.insert(name.clone(), Arc::new(database));
        }
        catalog
    }

    pub fn engine(&self) -> MemoryEngine {
        let mut engine = MemoryEngine { batch_rows: 3, ..MemoryEngine::default() };
        for (id, (key, rows)) in self.tables.iter().enumerate() {
            let table = self.table(key, id);
            let stored = rows.iter().map(|((tags, time), fields)| StoredRow {
                time: *time,
                series: tags.series_id(),
                tags: table.tags.iter().map(|t| Arc::from(tags.get(t).unwrap_or(""))).collect(),
                fields: table
                    .fields
                    .iter()
                    .map(|f| fields.get(&f.name).cloned().unwrap_or_default())
                    .collect(),
            });
            engine.tables.insert(id as u64, stored.collect());
        }
        engine
    }
}

fn type_of(value: &FieldValue) -> FieldType {
    match value {
        FieldValue::Integer(_) => FieldType::Integer,
        FieldValue::Unsigned(_) => FieldType::Unsigned,
        FieldValue::String(_) => FieldType::String,
        FieldValue::Boolean(_) => FieldType::Boolean,
        _ => FieldType::Float,
    }
}

fn parse(line: &str) -> (String, Tags, Fields, i64) {
    let parts = split(line, ' ');
    let mut key = split(&parts[0], ',').into_iter();
    let measurement = unescape(&key.next().unwrap());
    let pair = |text: String| {
        let mut parts = split(&text, '=').into_iter();
        (unescape(&parts.next().unwrap()), parts.collect::<Vec<_>>().join("="))
    };
    let tags = key.map(pair).map(|(k, v)| (k, unescape(&v))).collect();
    let fields = split(&parts[1], ',').into_iter().map(pair).map(|(k, v)| (k, field_value(&v))).collect();
    let time = parts.get(2).map_or(0, |t| t.trim().parse().unwrap());
    (measurement, Tags::new(tags), fields, time)
}

/// Splits outside of quotes and escapes.
fn split(text: &str, separator: char) -> Vec<String> {
    let mut parts = vec![String::new()];
    let (mut quoted, mut escaped) = (false, false);
    for c in text.chars() {
        if c == separator && !quoted && !escaped {
            parts.push(String::new());
            continue;
        }
        quoted ^= c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        parts.last_mut().unwrap().push(c);
    }
    parts
}

fn unescape(text: &str) -> String {
    [',', ' ', '='].iter().fold(text.to_owned(), |text, c| text.replace(&format!("\\{c}"), &c.to_string()))
}

fn field_value(text: &str) -> FieldValue {
    match text {
        "t" | "T" | "true" | "True" | "TRUE" => FieldValue::Boolean(true),
        "f" | "F" | "false" | "False" | "FALSE" => FieldValue::Boolean(false),
        _ if text.starts_with('"') => {
            let inner = &text[1..text.len() - 1];
            FieldValue::String(inner.replace("\\\"", "\"").replace("\\\\", "\\").into())
        }
        _ if text.ends_with('i') => FieldValue::Integer(text[..text.len() - 1].parse().unwrap()),
        _ if text.ends_with('u') => FieldValue::Unsigned(text[..text.len() - 1].parse().unwrap()),
        _ => FieldValue::Float(text.parse().unwrap()),
    }
}
