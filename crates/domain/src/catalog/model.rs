//! The catalogue's data.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::cluster::ClusterState;
use crate::field::FieldType;
use crate::scan::{FieldId, TagId};
use crate::time::{MAX_TIME, MIN_TIME, TimeRange};

/// Numbers tables for all time: a dropped and re-created measurement gets a new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, Default)]
pub struct TableId(pub u64);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
pub struct Catalog {
    pub databases: BTreeMap<String, Arc<Database>>,
    pub users: BTreeMap<String, Arc<User>>,
    pub next_table_id: u64,
    pub next_shard_id: u64,
    /// What a cluster agreed on beside all that.
    pub cluster: ClusterState,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
pub struct Database {
    pub name: String,
    pub default_retention_policy: String,
    pub retention_policies: BTreeMap<String, Arc<RetentionPolicy>>,
    /// In order of creation, as SHOW CONTINUOUS QUERIES prints them.
    pub continuous_queries: Vec<ContinuousQuery>,
    pub materialized_views: Vec<MaterializedView>,
    /// Position in SHOW DATABASES (order of creation).
    pub ordinal: u32,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
pub struct RetentionPolicy {
    pub name: String,
    /// Nanoseconds; 0 = for ever.
    pub duration: i64,
    /// Nanoseconds.
    pub shard_duration: i64,
    pub replication: u32,
    /// Nanoseconds; 0 = none.
    pub future_write_limit: i64,
    /// Nanoseconds; 0 = none.
    pub past_write_limit: i64,
    /// By measurement.
    pub tables: BTreeMap<String, Arc<Table>>,
    /// By start time.
    pub shard_groups: BTreeMap<i64, ShardGroup>,
    pub subscriptions: Vec<Subscription>,
    /// Position in SHOW RETENTION POLICIES (order of creation).
    pub ordinal: u32,
}

/// The storage of one measurement in one retention policy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
pub struct Table {
    pub id: TableId,
    pub database: String,
    pub retention_policy: String,
    pub measurement: String,
    /// Grows by one with each change of tags or fields.
    pub version: u32,
    /// The policy's shard duration when the table was made, in nanoseconds.
    pub shard_duration: i64,
    /// Tag keys in order of registration: a [`TagId`] is a position here. Only grows.
    pub tags: Vec<String>,
    /// Fields in order of registration: a [`FieldId`] is a position here. Only grows.
    pub fields: Vec<FieldDef>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldDef {
    pub name: String,
    pub field_type: FieldType,
}

impl Table {
    pub fn tag(&self, key: &str) -> Option<TagId> {
        self.tags.iter().position(|t| t == key).map(|i| TagId(i as u32))
    }

    pub fn field(&self, name: &str) -> Option<(FieldId, FieldType)> {
        let i = self.fields.iter().position(|f| f.name == name)?;
        Some((FieldId(i as u32), self.fields[i].field_type))
    }

    /// The type of a field; `None` where the table has none of this number.
    pub fn field_type(&self, field: FieldId) -> Option<FieldType> {
        self.fields.get(field.0 as usize).map(|field| field.field_type)
    }

    /// The tags that are not in `group_by`, by name: they decide the order of rows of one time.
    pub fn other_tags(&self, group_by: &[TagId]) -> Vec<TagId> {
        let mut others: Vec<(TagId, &String)> = (0u32..).map(TagId).zip(&self.tags).collect();
        others.retain(|(id, _)| !group_by.contains(id));
        others.sort_unstable_by(|a, b| a.1.cmp(b.1));
        others.into_iter().map(|(id, _)| id).collect()
    }
}

/// A time slice of a retention policy, as SHOW SHARDS prints it: one shard a group, and one partition of each of the
/// policy's tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardGroup {
    /// Numbers shard groups for all time.
    pub id: u64,
    /// Nanoseconds since 1970, included.
    pub start: i64,
    /// Nanoseconds since 1970, excluded.
    pub end: i64,
}

impl ShardGroup {
    pub const fn contains(&self, time: i64) -> bool {
        self.start <= time && time < self.end
    }

    pub const fn overlaps(&self, range: TimeRange) -> bool {
        self.start <= range.max && range.min < self.end
    }

    /// Whether the range leaves out no time that a point of the group can have.
    pub const fn is_within(&self, range: TimeRange) -> bool {
        (range.min <= self.start || range.min <= MIN_TIME)
            && (self.end - 1 <= range.max || range.max >= MAX_TIME)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContinuousQuery {
    pub name: String,
    /// The statement as InfluxDB prints it.
    pub query: String,
    /// When its last run was due, in nanoseconds since 1970.
    pub last_run: Option<i64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MaterializedView {
    pub name: String,
    pub query: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subscription {
    pub name: String,
    /// `ALL` or `ANY`.
    pub mode: String,
    pub destinations: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    pub name: String,
    /// Argon2id, PHC string.
    pub password_hash: String,
    pub admin: bool,
    /// By database.
    pub privileges: BTreeMap<String, Privilege>,
    /// Position in SHOW USERS (order of creation).
    pub ordinal: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Privilege {
    None,
    Read,
    Write,
    All,
}

impl Privilege {
    /// Whether who holds this one has the other.
    pub const fn covers(self, other: Self) -> bool {
        matches!(
            (self, other),
            (Self::All, _) | (_, Self::None) | (Self::Read, Self::Read) | (Self::Write, Self::Write)
        )
    }

    /// As SHOW GRANTS prints it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "NO PRIVILEGES",
            Self::Read => "READ",
            Self::Write => "WRITE",
            Self::All => "ALL PRIVILEGES",
        }
    }
}

impl User {
    /// Whether the user may do this on a database.
    pub fn may(&self, privilege: Privilege, database: &str) -> bool {
        self.admin || self.privileges.get(database).is_some_and(|held| held.covers(privilege))
    }
}

impl Catalog {
    pub fn has_admin(&self) -> bool {
        self.users.values().any(|user| user.admin)
    }

    pub fn database(&self, name: &str) -> Option<&Arc<Database>> {
        self.databases.get(name)
    }

    /// The table of a measurement; `retention_policy` empty means the default one.
    pub fn table(&self, database: &str, retention_policy: &str, measurement: &str) -> Option<&Arc<Table>> {
        self.database(database)?.retention_policy(retention_policy)?.tables.get(measurement)
    }

    /// In order of creation.
    pub fn databases_in_order(&self) -> Vec<&Arc<Database>> {
        let mut databases: Vec<_> = self.databases.values().collect();
        databases.sort_by_key(|db| db.ordinal);
        databases
    }

    /// In order of creation.
    pub fn users_in_order(&self) -> Vec<&Arc<User>> {
        let mut users: Vec<_> = self.users.values().collect();
        users.sort_by_key(|user| user.ordinal);
        users
    }

    /// The retention policy that a table is in.
    pub fn policy_of(&self, table: &Table) -> Option<&Arc<RetentionPolicy>> {
        self.database(&table.database)?.retention_policies.get(&table.retention_policy)
    }

    /// The table as it is now, if it is still the measurement's.
    pub fn current(&self, table: &Table) -> Option<&Arc<Table>> {
        self.policy_of(table)?.tables.get(&table.measurement).filter(|t| t.id == table.id)
    }

    /// A table by its number. Looks at all of them.
    pub fn table_by_id(&self, id: TableId) -> Option<&Arc<Table>> {
        self.tables().find(|table| table.id == id)
    }

    /// All tables, by database, policy and measurement.
    pub fn tables(&self) -> impl Iterator<Item = &Arc<Table>> {
        self.databases.values().flat_map(|d| d.retention_policies.values()).flat_map(|rp| rp.tables.values())
    }
}

impl Database {
    /// `name` empty means the default one.
    pub fn retention_policy(&self, name: &str) -> Option<&Arc<RetentionPolicy>> {
        let name = if name.is_empty() { &self.default_retention_policy } else { name };
        self.retention_policies.get(name)
    }

    /// In order of creation.
    pub fn policies_in_order(&self) -> Vec<&Arc<RetentionPolicy>> {
        let mut policies: Vec<_> = self.retention_policies.values().collect();
        policies.sort_by_key(|rp| rp.ordinal);
        policies
    }

    /// The tables of a measurement in all retention policies.
    pub fn measurement_tables<'a>(&'a self, measurement: &'a str) -> impl Iterator<Item = &'a Arc<Table>> {
        self.retention_policies.values().filter_map(move |rp| rp.tables.get(measurement))
    }

    /// Names of the measurements in any retention policy, sorted, each once.
    pub fn measurements(&self) -> Vec<&str> {
        let mut names: Vec<&str> =
            self.retention_policies.values().flat_map(|rp| rp.tables.keys()).map(String::as_str).collect();
        names.sort_unstable();
        names.dedup();
        names
    }
}
