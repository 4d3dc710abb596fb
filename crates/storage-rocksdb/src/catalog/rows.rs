//! The catalogue as rows: one for the counters, one a database, one a retention policy, one a table, one a user.
//!
//! Keys are a kind byte and names, so that reading them in order meets a database before its policies
//! and a policy before its tables.

use std::collections::BTreeMap;
use std::sync::Arc;

use hyperbytedb_domain::StorageError;
use hyperbytedb_domain::catalog::{
    Catalog, ContinuousQuery, Database as CatalogDatabase, MaterializedView, RetentionPolicy, ShardGroup,
    Subscription, Table, User,
};
use hyperbytedb_domain::wal::Sequence;
use rocksdb::WriteBatch;
use serde::{Deserialize, Serialize};

use super::CATALOG;
use crate::database::Database;
use crate::stored;

const COUNTERS: u8 = b'a';
const CLUSTER: u8 = b'c';
const DATABASE: u8 = b'd';
const POLICY: u8 = b'p';
const TABLE: u8 = b't';
const USER: u8 = b'u';
const END: u8 = b'z';

#[derive(Serialize, Deserialize)]
struct CountersRow {
    next_table_id: u64,
    next_shard_id: u64,
    /// The log record up to which commands are in the rows.
    applied: Sequence,
}

#[derive(PartialEq, Serialize, Deserialize)]
struct DatabaseRow {
    name: String,
    default_retention_policy: String,
    continuous_queries: Vec<ContinuousQuery>,
    materialized_views: Vec<MaterializedView>,
    ordinal: u32,
}

#[derive(PartialEq, Serialize, Deserialize)]
struct PolicyRow {
    database: String,
    name: String,
    duration: i64,
    shard_duration: i64,
    replication: u32,
    future_write_limit: i64,
    past_write_limit: i64,
    shard_groups: Vec<ShardGroup>,
    subscriptions: Vec<Subscription>,
    ordinal: u32,
}

impl DatabaseRow {
    fn of(database: &CatalogDatabase) -> Self {
        Self {
            name: database.name.clone(),
            default_retention_policy: database.default_retention_policy.clone(),
            continuous_queries: database.continuous_queries.clone(),
            materialized_views: database.materialized_views.clone(),
            ordinal: database.ordinal,
        }
    }

    fn into_database(self) -> CatalogDatabase {
        CatalogDatabase {
            name: self.name,
            default_retention_policy: self.default_retention_policy,
            retention_policies: BTreeMap::new(),
            continuous_queries: self.continuous_queries,
            materialized_views: self.materialized_views,
            ordinal: self.ordinal,
        }
    }
}

impl PolicyRow {
    fn of(database: &str, policy: &RetentionPolicy) -> Self {
        Self {
            database: database.to_owned(),
            name: policy.name.clone(),
            duration: policy.duration,
            shard_duration: policy.shard_duration,
            replication: policy.replication,
            future_write_limit: policy.future_write_limit,
            past_write_limit: policy.past_write_limit,
            shard_groups: policy.shard_groups.values().copied().collect(),
            subscriptions: policy.subscriptions.clone(),
            ordinal: policy.ordinal,
        }
    }

    fn into_policy(self) -> RetentionPolicy {
        RetentionPolicy {
            name: self.name,
            duration: self.duration,
            shard_duration: self.shard_duration,
            replication: self.replication,
            future_write_limit: self.future_write_limit,
            past_write_limit: self.past_write_limit,
            tables: BTreeMap::new(),
            shard_groups: self.shard_groups.into_iter().map(|group| (group.start, group)).collect(),
            subscriptions: self.subscriptions,
            ordinal: self.ordinal,
        }
    }
}

/// Reads the whole catalogue, and the log record up to which it goes; an empty one when the database is new.
pub(super) fn read_catalog(db: &Database) -> Result<(Catalog, Sequence), StorageError> {
    let (mut catalog, mut applied) = (Catalog::default(), 0);
    let mut policies: Vec<PolicyRow> = Vec::new();
    let mut tables: Vec<Table> = Vec::new();
    let mut databases: BTreeMap<String, CatalogDatabase> = BTreeMap::new();
    db.walk(db.family(CATALOG)?, &[], &[END], |key, value| {
        let place = || format!("{}, catalogue row {}", db.path().display(), key.escape_ascii());
        match key.first() {
            Some(&COUNTERS) => {
                let row: CountersRow = stored::decode(value, place)?;
                (catalog.next_table_id, catalog.next_shard_id) = (row.next_table_id, row.next_shard_id);
                applied = row.applied;
            }
            Some(&CLUSTER) => catalog.cluster = stored::decode(value, place)?,
            Some(&DATABASE) => {
                let row: DatabaseRow = stored::decode(value, place)?;
                databases.insert(row.name.clone(), row.into_database());
            }
            Some(&POLICY) => policies.push(stored::decode(value, place)?),
            Some(&TABLE) => tables.push(stored::decode(value, place)?),
            Some(&USER) => {
                let user: User = stored::decode(value, place)?;
                catalog.users.insert(user.name.clone(), Arc::new(user));
            }
            _ => return Err(StorageError::corrupt(place(), "unknown kind of row")),
        }
        Ok(true)
    })?;
    let orphan = |what: String| StorageError::corrupt(db.path().display().to_string(), what);
    let mut policies_of: BTreeMap<(String, String), RetentionPolicy> = policies
        .into_iter()
        .map(|row| ((row.database.clone(), row.name.clone()), row.into_policy()))
        .collect();
    for table in tables {
        let home = (table.database.clone(), table.retention_policy.clone());
        let policy = policies_of.get_mut(&home).ok_or_else(|| {
            orphan(format!("table {} is in retention policy {:?}, which is missing", table.id.0, home))
        })?;
        if table.id.0 > catalog.next_table_id {
            return Err(orphan(format!("table {} is beyond the counter", table.id.0)));
        }
        policy.tables.insert(table.measurement.clone(), Arc::new(table));
    }
    for ((database, name), policy) in policies_of {
        let home = databases.get_mut(&database).ok_or_else(|| {
            orphan(format!("retention policy {name:?} is in database {database:?}, which is missing"))
        })?;
        home.retention_policies.insert(name, Arc::new(policy));
    }
    catalog.databases = databases.into_iter().map(|(name, database)| (name, Arc::new(database))).collect();
    Ok((catalog, applied))
}

/// Adds to `batch` what turns the stored form of `old` into that of `new`. What both share is not looked at.
pub(super) fn write_difference(
    db: &Database,
    batch: &mut WriteBatch,
    old: &Catalog,
    new: &Catalog,
    applied: Sequence,
) -> Result<(), StorageError> {
    let mut rows = Rows { family: db.family(CATALOG)?, batch };
    let (next_table_id, next_shard_id) = (new.next_table_id, new.next_shard_id);
    rows.put(vec![COUNTERS], &CountersRow { next_table_id, next_shard_id, applied })?;
    if old.cluster != new.cluster {
        rows.put(vec![CLUSTER], &new.cluster)?;
    }
    for (name, (before, after)) in changes(&old.users, &new.users) {
        if before != after {
            rows.set(named_key(USER, &[name]), after)?;
        }
    }
    for (name, (before, after)) in changes(&old.databases, &new.databases) {
        let row = after.map(DatabaseRow::of);
        if before.map(DatabaseRow::of) != row {
            rows.set(named_key(DATABASE, &[name]), row.as_ref())?;
        }
        let none = BTreeMap::new();
        let policies_before = before.map_or(&none, |database| &database.retention_policies);
        let policies_after = after.map_or(&none, |database| &database.retention_policies);
        for (policy, (before, after)) in changes(policies_before, policies_after) {
            rows.write_policy_difference(name, policy, before, after)?;
        }
    }
    Ok(())
}

struct Rows<'a> {
    family: &'a rocksdb::ColumnFamily,
    batch: &'a mut WriteBatch,
}

impl Rows<'_> {
    fn write_policy_difference(
        &mut self,
        database: &str,
        name: &str,
        before: Option<&RetentionPolicy>,
        after: Option<&RetentionPolicy>,
    ) -> Result<(), StorageError> {
        let row = after.map(|policy| PolicyRow::of(database, policy));
        if before.map(|policy| PolicyRow::of(database, policy)) != row {
            self.set(named_key(POLICY, &[database, name]), row.as_ref())?;
        }
        let none = BTreeMap::new();
        let tables_before = before.map_or(&none, |policy| &policy.tables);
        let tables_after = after.map_or(&none, |policy| &policy.tables);
        for (_, (before, after)) in changes(tables_before, tables_after) {
            // A measurement can come back under another id.
            if let Some(gone) = before.filter(|table| after.is_none_or(|new| new.id != table.id)) {
                self.batch.delete_cf(self.family, table_key(gone));
            }
            if let Some(table) = after.filter(|_| before != after) {
                self.put(table_key(table), table)?;
            }
        }
        Ok(())
    }

    fn set<T: Serialize>(&mut self, key: Vec<u8>, value: Option<&T>) -> Result<(), StorageError> {
        match value {
            Some(value) => self.put(key, value),
            None => {
                self.batch.delete_cf(self.family, key);
                Ok(())
            }
        }
    }

    fn put<T: Serialize>(&mut self, key: Vec<u8>, value: &T) -> Result<(), StorageError> {
        self.batch.put_cf(self.family, key, stored::encode(value)?);
        Ok(())
    }
}

/// An entry before and after.
type Change<'a, T> = (&'a str, (Option<&'a T>, Option<&'a T>));

/// Entries that are not shared; they may still be equal.
fn changes<'a, T>(
    old: &'a BTreeMap<String, Arc<T>>,
    new: &'a BTreeMap<String, Arc<T>>,
) -> impl Iterator<Item = Change<'a, T>> {
    let gone = old
        .iter()
        .filter(|(name, _)| !new.contains_key(*name))
        .map(|(name, before)| (name.as_str(), (Some(&**before), None)));
    let changed = new.iter().filter_map(|(name, after)| {
        let before = old.get(name);
        let shared = before.is_some_and(|before| Arc::ptr_eq(before, after));
        (!shared).then(|| (name.as_str(), (before.map(|before| &**before), Some(&**after))))
    });
    gone.chain(changed)
}

fn table_key(table: &Table) -> Vec<u8> {
    [&[TABLE][..], &table.id.0.to_be_bytes()].concat()
}

/// The names with their lengths, so that no two lists of names make one key.
fn named_key(kind: u8, names: &[&str]) -> Vec<u8> {
    let mut key = vec![kind];
    for name in names {
        key.extend_from_slice(&(name.len() as u32).to_be_bytes());
        key.extend_from_slice(name.as_bytes());
    }
    key
}
