//! Applying commands: pure and deterministic, so that every node that applies the same commands has the same catalogue.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::command::{Command, RetentionPolicySpec, TableExtension};
use super::error::CatalogError;
use super::model::{
    Catalog, ContinuousQuery, Database, MaterializedView, Privilege, RetentionPolicy, ShardGroup,
    Subscription, Table, TableId, User,
};
use crate::cluster::{AgreedChange, AgreedEntry};
use crate::time::TimeRange;

const HOUR: i64 = 3_600_000_000_000;
const DAY: i64 = 24 * HOUR;
/// Nanoseconds from 0001-01-01 to 1970-01-01, modulo a shard duration, place the shard groups as InfluxDB does.
const ZERO_TIME_SECONDS: i128 = 62_135_596_800;
const MIN_RETENTION: i64 = HOUR;
const DEFAULT_POLICY: &str = "autogen";
const NAME_BYTES_MAX: usize = 255;

/// What else must happen because of a command.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Effects {
    /// Tables that are gone from the catalogue: memory, engine and series index must drop them.
    pub dropped_tables: Vec<Arc<Table>>,
    /// Tables with the shard groups that are gone, of which they may have partitions.
    pub dropped_shards: Vec<(Arc<Table>, Vec<ShardGroup>)>,
}

impl Catalog {
    /// Applies a command to this catalogue, or leaves it as it was and says why.
    pub fn apply(&mut self, command: &Command) -> Result<Effects, CatalogError> {
        match command {
            Command::CreateDatabase { name, policy } => self.create_database(name, policy.as_ref()),
            Command::DropDatabase { name } => Ok(self.drop_database(name)),
            Command::CreateRetentionPolicy { database, spec, default } => {
                self.create_policy(database, spec, *default)
            }
            Command::AlterRetentionPolicy { database, spec, default } => {
                self.alter_policy(database, spec, *default)
            }
            Command::DropRetentionPolicy { database, name } => Ok(self.drop_policy(database, name)),
            Command::ExtendSchema { database, retention_policy, tables, times } => {
                self.extend_schema(database, retention_policy, tables, times)
            }
            Command::DropMeasurement { database, name } => self.drop_measurement(database, name),
            Command::DropEmptyTable { table } => Ok(self.drop_table(*table)),
            Command::DeletePoints { .. } => Ok(Effects::default()),
            Command::DropShardGroups { ids } => Ok(self.drop_shard_groups(ids)),
            Command::CreateUser { name, password_hash, admin } => {
                self.create_user(name, password_hash, *admin)
            }
            Command::DropUser { name } => self.drop_user(name),
            Command::SetPassword { name, password_hash } => {
                self.change_user(name, |user| user.password_hash.clone_from(password_hash))
            }
            Command::SetAdmin { user, admin } => self.change_user(user, |u| u.admin = *admin),
            Command::SetPrivilege { user, database, privilege } => {
                self.set_privilege(user, database, *privilege)
            }
            Command::CreateContinuousQuery { database, name, query } => {
                self.create_continuous_query(database, name, query)
            }
            // Dropping what does not exist succeeds, as in InfluxDB.
            Command::DropContinuousQuery { database, .. } if !self.databases.contains_key(database) => {
                Ok(Effects::default())
            }
            Command::DropContinuousQuery { database, name } => {
                self.change_database(database, |db| db.continuous_queries.retain(|cq| &cq.name != name))
            }
            Command::SetContinuousQueryRun { database, name, at } => {
                let query = self.databases.get_mut(database).and_then(|database| {
                    Arc::make_mut(database).continuous_queries.iter_mut().find(|query| &query.name == name)
                });
                if let Some(query) = query {
                    query.last_run = Some(*at);
                }
                Ok(Effects::default())
            }
            Command::CreateSubscription { database, retention_policy, name, mode, destinations } => {
                let subscription = Subscription {
                    name: name.clone(),
                    mode: mode.clone(),
                    destinations: destinations.clone(),
                };
                self.create_subscription(database, retention_policy, subscription)
            }
            Command::DropSubscription { database, retention_policy, name } => {
                self.drop_subscription(database, retention_policy, name)
            }
            Command::CreateMaterializedView { database, name, query } => {
                if self.require(database)?.materialized_views.iter().any(|v| &v.name == name) {
                    return Err(CatalogError::MaterializedViewExists);
                }
                let view = MaterializedView { name: name.clone(), query: query.clone() };
                self.change_database(database, |db| db.materialized_views.push(view))
            }
            Command::DropMaterializedView { database, name } => {
                if !self.require(database)?.materialized_views.iter().any(|v| &v.name == name) {
                    return Err(CatalogError::MaterializedViewNotFound(name.clone()));
                }
                self.change_database(database, |db| db.materialized_views.retain(|v| &v.name != name))
            }
            Command::Backfill { .. } => Ok(Effects::default()),
        }
    }

    /// Applies what a cluster has agreed on. Of a command that is refused, its place stays: it was agreed on, too.
    pub fn agree(&mut self, entry: &AgreedEntry) -> Result<Effects, CatalogError> {
        let applied = match &entry.change {
            AgreedChange::Nothing => Ok(Effects::default()),
            AgreedChange::Command(command) => self.apply(command),
            AgreedChange::Membership(membership) => {
                self.cluster.membership = membership.clone();
                Ok(Effects::default())
            }
            AgreedChange::Catalog(catalog) => Ok(self.replace(catalog)),
        };
        self.cluster.applied = Some(entry.position);
        applied
    }

    /// Becomes another one, and says what is not part of it any more.
    fn replace(&mut self, other: &Self) -> Effects {
        let old = std::mem::replace(self, other.clone());
        let mut effects = Effects::default();
        for table in old.tables() {
            let (Some(now), Some(policy)) = (self.table_by_id(table.id), old.policy_of(table)) else {
                effects.dropped_tables.push(table.clone());
                continue;
            };
            let remains = |group: &ShardGroup| {
                let groups = self.policy_of(now).map(|policy| &policy.shard_groups);
                groups.is_some_and(|groups| groups.values().any(|other| other.id == group.id))
            };
            let gone: Vec<ShardGroup> =
                policy.shard_groups.values().copied().filter(|group| !remains(group)).collect();
            if !gone.is_empty() {
                effects.dropped_shards.push((now.clone(), gone));
            }
        }
        effects
    }

    fn require(&self, database: &str) -> Result<&Arc<Database>, CatalogError> {
        self.databases.get(database).ok_or_else(|| CatalogError::DatabaseNotFound(database.to_owned()))
    }

    fn database_mut(&mut self, name: &str) -> Result<&mut Database, CatalogError> {
        match self.databases.get_mut(name) {
            Some(database) => Ok(Arc::make_mut(database)),
            None => Err(CatalogError::DatabaseNotFound(name.to_owned())),
        }
    }

    fn policy_mut(&mut self, database: &str, name: &str) -> Result<&mut RetentionPolicy, CatalogError> {
        let db = self.database_mut(database)?;
        let name = if name.is_empty() { db.default_retention_policy.clone() } else { name.to_owned() };
        match db.retention_policies.get_mut(&name) {
            Some(policy) => Ok(Arc::make_mut(policy)),
            None => Err(CatalogError::RetentionPolicyNotFound(name)),
        }
    }

    fn change_database(
        &mut self,
        name: &str,
        change: impl FnOnce(&mut Database),
    ) -> Result<Effects, CatalogError> {
        change(self.database_mut(name)?);
        Ok(Effects::default())
    }

    fn create_database(
        &mut self,
        name: &str,
        spec: Option<&RetentionPolicySpec>,
    ) -> Result<Effects, CatalogError> {
        valid_name(name)?;
        let policy = new_policy(spec.unwrap_or(&RetentionPolicySpec::default()), 0)?;
        if let Some(existing) = self.databases.get(name) {
            return match spec {
                None => Ok(Effects::default()),
                Some(_) => match existing.retention_policies.get(&policy.name) {
                    Some(old) if same_policy(old, &policy) => {
                        if existing.default_retention_policy == policy.name {
                            Ok(Effects::default())
                        } else {
                            Err(CatalogError::RetentionPolicyConflict)
                        }
                    }
                    _ => Err(CatalogError::RetentionPolicyConflict),
                },
            };
        }
        let database = Database {
            name: name.to_owned(),
            default_retention_policy: policy.name.clone(),
            retention_policies: BTreeMap::from([(policy.name.clone(), Arc::new(policy))]),
            ordinal: after(self.databases.values().map(|db| db.ordinal)),
            ..Database::default()
        };
        self.databases.insert(name.to_owned(), Arc::new(database));
        Ok(Effects::default())
    }

    fn drop_database(&mut self, name: &str) -> Effects {
        let Some(database) = self.databases.remove(name) else { return Effects::default() };
        let dropped_tables =
            database.retention_policies.values().flat_map(|rp| rp.tables.values()).cloned().collect();
        for user in self.users.values_mut().filter(|user| user.privileges.contains_key(name)) {
            Arc::make_mut(user).privileges.remove(name);
        }
        Effects { dropped_tables, ..Effects::default() }
    }

    fn create_policy(
        &mut self,
        database: &str,
        spec: &RetentionPolicySpec,
        default: bool,
    ) -> Result<Effects, CatalogError> {
        let db = self.require(database)?;
        valid_name(spec.name.as_deref().unwrap_or_default())?;
        let ordinal = after(db.retention_policies.values().map(|rp| rp.ordinal));
        let policy = new_policy(spec, ordinal)?;
        if let Some(old) = db.retention_policies.get(&policy.name) {
            if !same_policy(old, &policy) {
                return Err(CatalogError::RetentionPolicyExists);
            }
            if default && db.default_retention_policy != policy.name {
                return Err(CatalogError::RetentionPolicyConflict);
            }
            return Ok(Effects::default());
        }
        self.change_database(database, |db| {
            if default {
                db.default_retention_policy.clone_from(&policy.name);
            }
            db.retention_policies.insert(policy.name.clone(), Arc::new(policy));
        })
    }

    fn alter_policy(
        &mut self,
        database: &str,
        spec: &RetentionPolicySpec,
        default: bool,
    ) -> Result<Effects, CatalogError> {
        let name = spec.name.clone().unwrap_or_default();
        let db = self.require(database)?;
        let old = db
            .retention_policies
            .get(&name)
            .ok_or_else(|| CatalogError::RetentionPolicyNotFound(name.clone()))?;
        let mut policy = RetentionPolicy::clone(old);
        if let Some(duration) = spec.duration {
            if duration != 0 && duration < MIN_RETENTION {
                return Err(CatalogError::RetentionPolicyDurationTooLow);
            }
            policy.duration = duration;
        }
        if let Some(shard_duration) = spec.shard_duration {
            policy.shard_duration = normalised_shard_duration(shard_duration, policy.duration);
        }
        if policy.duration != 0 && policy.duration < policy.shard_duration {
            return Err(CatalogError::IncompatibleDurations);
        }
        if let Some(replication) = spec.replication {
            policy.replication = replication;
        }
        policy.future_write_limit = spec.future_write_limit.unwrap_or(policy.future_write_limit);
        policy.past_write_limit = spec.past_write_limit.unwrap_or(policy.past_write_limit);
        self.change_database(database, |db| {
            if default {
                db.default_retention_policy.clone_from(&name);
            }
            db.retention_policies.insert(name, Arc::new(policy));
        })
    }

    fn drop_policy(&mut self, database: &str, name: &str) -> Effects {
        let Ok(db) = self.database_mut(database) else { return Effects::default() };
        let Some(policy) = db.retention_policies.remove(name) else { return Effects::default() };
        // As in InfluxDB the name of the default policy stays, and names nothing.
        Effects { dropped_tables: policy.tables.values().cloned().collect(), ..Effects::default() }
    }

    /// All of it or, when a field has another type already, nothing.
    fn extend_schema(
        &mut self,
        database: &str,
        retention_policy: &str,
        tables: &[TableExtension],
        times: &[i64],
    ) -> Result<Effects, CatalogError> {
        let (mut next_table, mut next_shard) = (self.next_table_id, self.next_shard_id);
        let policy = self.policy_mut(database, retention_policy)?;
        let mut extended = Vec::with_capacity(tables.len());
        for extension in tables {
            let mut table = match policy.tables.get(&extension.measurement) {
                Some(table) => Table::clone(table),
                None => {
                    next_table += 1;
                    new_table(TableId(next_table), database, policy, &extension.measurement)
                }
            };
            extend_table(&mut table, extension)?;
            extended.push(table);
        }
        for table in extended {
            policy.tables.insert(table.measurement.clone(), Arc::new(table));
        }
        for &time in times {
            if policy.shard_group_of(time).is_none() {
                next_shard += 1;
                let group = policy.new_shard_group(next_shard, time);
                policy.shard_groups.insert(group.start, group);
            }
        }
        (self.next_table_id, self.next_shard_id) = (next_table, next_shard);
        Ok(Effects::default())
    }

    fn drop_table(&mut self, id: TableId) -> Effects {
        let Some(table) = self.table_by_id(id).cloned() else { return Effects::default() };
        if let Ok(policy) = self.policy_mut(&table.database, &table.retention_policy) {
            policy.tables.remove(&table.measurement);
        }
        Effects { dropped_tables: vec![table], ..Effects::default() }
    }

    fn drop_measurement(&mut self, database: &str, name: &str) -> Result<Effects, CatalogError> {
        let mut dropped_tables = Vec::new();
        let db = self.database_mut(database)?;
        for policy in db.retention_policies.values_mut().filter(|rp| rp.tables.contains_key(name)) {
            dropped_tables.extend(Arc::make_mut(policy).tables.remove(name));
        }
        Ok(Effects { dropped_tables, ..Effects::default() })
    }

    fn drop_shard_groups(&mut self, ids: &[u64]) -> Effects {
        let mut effects = Effects::default();
        let is_dropped = |group: &ShardGroup| ids.contains(&group.id);
        let holds = |policy: &Arc<RetentionPolicy>| policy.shard_groups.values().any(is_dropped);
        for database in self.databases.values_mut() {
            if !database.retention_policies.values().any(holds) {
                continue;
            }
            for policy in Arc::make_mut(database).retention_policies.values_mut().filter(|p| holds(p)) {
                let policy = Arc::make_mut(policy);
                let dropped: Vec<ShardGroup> =
                    policy.shard_groups.values().copied().filter(is_dropped).collect();
                policy.shard_groups.retain(|_, group| !is_dropped(group));
                let tables = policy.tables.values();
                effects.dropped_shards.extend(tables.map(|table| (table.clone(), dropped.clone())));
            }
        }
        effects
    }

    fn create_user(&mut self, name: &str, password_hash: &str, admin: bool) -> Result<Effects, CatalogError> {
        if name.is_empty() {
            return Err(CatalogError::UsernameRequired);
        }
        if self.users.contains_key(name) {
            return Err(CatalogError::UserExists);
        }
        let user = User {
            name: name.to_owned(),
            password_hash: password_hash.to_owned(),
            admin,
            privileges: BTreeMap::new(),
            ordinal: after(self.users.values().map(|user| user.ordinal)),
        };
        self.users.insert(name.to_owned(), Arc::new(user));
        Ok(Effects::default())
    }

    fn drop_user(&mut self, name: &str) -> Result<Effects, CatalogError> {
        self.users.remove(name).ok_or(CatalogError::UserNotFound)?;
        Ok(Effects::default())
    }

    fn change_user(&mut self, name: &str, change: impl FnOnce(&mut User)) -> Result<Effects, CatalogError> {
        change(Arc::make_mut(self.users.get_mut(name).ok_or(CatalogError::UserNotFound)?));
        Ok(Effects::default())
    }

    fn set_privilege(
        &mut self,
        user: &str,
        database: &str,
        privilege: Privilege,
    ) -> Result<Effects, CatalogError> {
        if !self.users.contains_key(user) {
            return Err(CatalogError::UserNotFound);
        }
        self.require(database)?;
        self.change_user(user, |u| {
            u.privileges.insert(database.to_owned(), privilege);
        })
    }

    fn create_continuous_query(
        &mut self,
        database: &str,
        name: &str,
        query: &str,
    ) -> Result<Effects, CatalogError> {
        let db = self.require(database)?;
        if let Some(existing) = db.continuous_queries.iter().find(|cq| cq.name == name) {
            if existing.query.eq_ignore_ascii_case(query) {
                return Ok(Effects::default());
            }
            return Err(CatalogError::ContinuousQueryExists);
        }
        let query = ContinuousQuery { name: name.to_owned(), query: query.to_owned(), last_run: None };
        self.change_database(database, |db| db.continuous_queries.push(query))
    }

    fn create_subscription(
        &mut self,
        database: &str,
        retention_policy: &str,
        subscription: Subscription,
    ) -> Result<Effects, CatalogError> {
        let policy = self.policy_mut(database, retention_policy)?;
        if policy.subscriptions.iter().any(|s| s.name == subscription.name) {
            return Err(CatalogError::SubscriptionExists);
        }
        policy.subscriptions.push(subscription);
        Ok(Effects::default())
    }

    fn drop_subscription(
        &mut self,
        database: &str,
        retention_policy: &str,
        name: &str,
    ) -> Result<Effects, CatalogError> {
        let policy = self.policy_mut(database, retention_policy)?;
        let at = policy
            .subscriptions
            .iter()
            .position(|s| s.name == name)
            .ok_or(CatalogError::SubscriptionNotFound)?;
        policy.subscriptions.remove(at);
        Ok(Effects::default())
    }
}

fn new_table(id: TableId, database: &str, policy: &RetentionPolicy, measurement: &str) -> Table {
    Table {
        id,
        database: database.to_owned(),
        retention_policy: policy.name.clone(),
        measurement: measurement.to_owned(),
        version: 0,
        shard_duration: policy.shard_duration,
        tags: Vec::new(),
        fields: Vec::new(),
    }
}

fn extend_table(table: &mut Table, extension: &TableExtension) -> Result<(), CatalogError> {
    let before = (table.tags.len(), table.fields.len());
    for field in &extension.fields {
        match table.field(&field.name) {
            Some((_, existing)) if existing != field.field_type => {
                return Err(CatalogError::FieldTypeConflict {
                    measurement: table.measurement.clone(),
                    field: field.name.clone(),
                    input: field.field_type,
                    existing,
                });
            }
            Some(_) => {}
            None => table.fields.push(field.clone()),
        }
    }
    for tag in &extension.tags {
        if table.tag(tag).is_none() {
            table.tags.push(tag.clone());
        }
    }
    if before != (table.tags.len(), table.fields.len()) {
        table.version += 1;
    }
    Ok(())
}

impl RetentionPolicy {
    /// The group that would hold `time`: cut where it meets groups of another duration.
    pub fn new_shard_group(&self, id: u64, time: i64) -> ShardGroup {
        let (mut start, mut end) = shard_bounds(time, self.shard_duration);
        if let Some((_, before)) = self.shard_groups.range(..=time).next_back() {
            start = start.max(before.end);
        }
        if let Some((&after, _)) = self.shard_groups.range(time..).next() {
            end = end.min(after);
        }
        ShardGroup { id, start, end }
    }

    /// The earliest time of which points are shown and taken. Times are in nanoseconds since 1970.
    pub fn visible_from(&self, now: i64) -> i64 {
        if self.duration == 0 { i64::MIN } else { now.saturating_sub(self.duration) }
    }

    /// The shard groups whose points are all past the policy.
    pub fn expired(&self, now: i64) -> impl Iterator<Item = &ShardGroup> {
        let visible_from = self.visible_from(now);
        self.shard_groups.values().filter(move |group| group.end <= visible_from)
    }

    /// Numbers of the shard groups that overlap a range; `None` when there are some and all do.
    pub fn shards_in(&self, range: TimeRange) -> Option<Vec<u64>> {
        let inside: Vec<u64> =
            self.shard_groups.values().filter(|group| group.overlaps(range)).map(|group| group.id).collect();
        (inside.is_empty() || inside.len() < self.shard_groups.len()).then_some(inside)
    }

    /// The shard group that holds `time`, if it exists.
    pub fn shard_group_of(&self, time: i64) -> Option<&ShardGroup> {
        self.shard_groups.range(..=time).next_back().map(|(_, g)| g).filter(|g| time < g.end)
    }
}

/// The position behind all the others.
fn after(ordinals: impl Iterator<Item = u32>) -> u32 {
    ordinals.max().map_or(0, |last| last.saturating_add(1))
}

fn valid_name(name: &str) -> Result<(), CatalogError> {
    if name.len() > NAME_BYTES_MAX {
        return Err(CatalogError::NameTooLong);
    }
    if name.is_empty() || name == "." || name == ".." || name.contains(['/', '\\']) || !is_printable(name) {
        return Err(CatalogError::InvalidName);
    }
    Ok(())
}

/// Whether all characters are printable, as Go has it: of white space only the blank.
fn is_printable(name: &str) -> bool {
    // A combining character counts as printable behind another one.
    let escaped = |c: char| ['a', c].iter().collect::<String>().escape_debug().any(|e| e == '{');
    name.chars().all(|c| c == ' ' || c == '{' || !(c.is_whitespace() || c.is_control() || escaped(c)))
}

fn new_policy(spec: &RetentionPolicySpec, ordinal: u32) -> Result<RetentionPolicy, CatalogError> {
    let name = spec.name.clone().filter(|n| !n.is_empty()).unwrap_or_else(|| DEFAULT_POLICY.to_owned());
    valid_name(&name)?;
    let duration = spec.duration.unwrap_or(0);
    if duration != 0 && duration < MIN_RETENTION {
        return Err(CatalogError::RetentionPolicyDurationTooLow);
    }
    let replication = spec.replication.unwrap_or(1);
    if replication < 1 {
        return Err(CatalogError::ReplicationFactorTooLow);
    }
    let shard_duration = normalised_shard_duration(spec.shard_duration.unwrap_or(0), duration);
    if duration != 0 && duration < shard_duration {
        return Err(CatalogError::IncompatibleDurations);
    }
    Ok(RetentionPolicy {
        name,
        duration,
        shard_duration,
        replication,
        future_write_limit: spec.future_write_limit.unwrap_or(0),
        past_write_limit: spec.past_write_limit.unwrap_or(0),
        ordinal,
        ..RetentionPolicy::default()
    })
}

/// InfluxDB's default for a retention duration, and its floor of one hour for explicit ones.
fn normalised_shard_duration(requested: i64, duration: i64) -> i64 {
    match requested {
        0 if duration == 0 || duration >= 180 * DAY => 7 * DAY,
        0 if duration >= 2 * DAY => DAY,
        0 => HOUR,
        requested => requested.max(HOUR),
    }
}

fn same_policy(a: &RetentionPolicy, b: &RetentionPolicy) -> bool {
    (a.duration, a.shard_duration, a.replication) == (b.duration, b.shard_duration, b.replication)
        && (a.future_write_limit, a.past_write_limit) == (b.future_write_limit, b.past_write_limit)
}

/// The slice of `duration` that holds `time`, counted from year 1 as InfluxDB does.
fn shard_bounds(time: i64, duration: i64) -> (i64, i64) {
    let width = i128::from(duration.max(1));
    let shifted = i128::from(time) + ZERO_TIME_SECONDS * 1_000_000_000;
    let start = shifted.div_euclid(width) * width - ZERO_TIME_SECONDS * 1_000_000_000;
    let clamp =
        |t: i128| i64::try_from(t.clamp(i128::from(i64::MIN), i128::from(i64::MAX))).unwrap_or_default();
    (clamp(start), clamp(start + width))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::FieldDef;

    fn catalog() -> Catalog {
        let mut catalog = Catalog::default();
        catalog.apply(&Command::CreateDatabase { name: "db".into(), policy: None }).unwrap();
        catalog
    }

    fn extend(
        catalog: &mut Catalog,
        tags: &[&str],
        fields: &[(&str, FieldType)],
    ) -> Result<Effects, CatalogError> {
        let table = TableExtension {
            measurement: "m".into(),
            tags: tags.iter().map(|t| t.to_string()).collect(),
            fields: fields.iter().map(|(n, t)| FieldDef { name: n.to_string(), field_type: *t }).collect(),
        };
        catalog.apply(&schema(vec![table], Vec::new()))
    }

    fn schema(tables: Vec<TableExtension>, times: Vec<i64>) -> Command {
        Command::ExtendSchema { database: "db".into(), retention_policy: String::new(), tables, times }
    }

    use crate::field::FieldType;

    #[test]
    fn what_a_cluster_agreed_on_has_its_place_also_when_it_is_refused() {
        let mut catalog = catalog();
        let position = crate::cluster::LogPosition { term: 1, leader: 2, index: 7 };
        let change = AgreedChange::Command(Command::DropUser { name: "nobody".into() });
        assert_eq!(catalog.agree(&AgreedEntry { position, change }), Err(CatalogError::UserNotFound));
        assert_eq!(catalog.cluster.applied, Some(position));
    }

    #[test]
    fn a_catalogue_that_comes_as_a_whole_drops_what_it_lacks() {
        let mut old = catalog();
        extend(&mut old, &[], &[("v", FieldType::Float)]).unwrap();
        old.apply(&schema(Vec::new(), vec![0, 7 * DAY])).unwrap();
        let mut new = old.clone();
        let first =
            new.databases["db"].retention_policy("").unwrap().shard_groups.values().next().unwrap().id;
        new.apply(&Command::DropShardGroups { ids: vec![first] }).unwrap();
        let replaced = |old: &Catalog, new: &Catalog| {
            let change = AgreedChange::Catalog(Box::new(new.clone()));
            old.clone().agree(&AgreedEntry { position: Default::default(), change }).unwrap()
        };
        let effects = replaced(&old, &new);
        assert_eq!((effects.dropped_tables.len(), effects.dropped_shards.len()), (0, 1));
        assert_eq!(effects.dropped_shards[0].1[0].id, first);
        new.apply(&Command::DropMeasurement { database: "db".into(), name: "m".into() }).unwrap();
        assert_eq!(replaced(&old, &new).dropped_tables.len(), 1);
    }

    #[test]
    fn a_new_database_has_autogen() {
        let catalog = catalog();
        let policy = catalog.databases["db"].retention_policy("").unwrap();
        assert_eq!((policy.name.as_str(), policy.duration, policy.shard_duration), ("autogen", 0, 7 * DAY));
    }

    #[test]
    fn tables_grow_and_keep_positions() {
        let mut catalog = catalog();
        extend(&mut catalog, &["host"], &[("v", FieldType::Float)]).unwrap();
        extend(&mut catalog, &["dc", "host"], &[("w", FieldType::Integer), ("v", FieldType::Float)]).unwrap();
        let table = catalog.table("db", "", "m").unwrap();
        assert_eq!(table.tags, ["host", "dc"]);
        assert_eq!(table.field("w"), Some((FieldId(1), FieldType::Integer)));
        let error = extend(&mut catalog, &[], &[("v", FieldType::Integer)]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "field type conflict: input field \"v\" on measurement \"m\" is type integer, already exists as type float"
        );
    }

    use crate::scan::FieldId;

    #[test]
    fn a_recreated_measurement_is_another_table() {
        let mut catalog = catalog();
        extend(&mut catalog, &[], &[("v", FieldType::Float)]).unwrap();
        let first = catalog.table("db", "", "m").unwrap().id;
        let effects =
            catalog.apply(&Command::DropMeasurement { database: "db".into(), name: "m".into() }).unwrap();
        assert_eq!(effects.dropped_tables[0].id, first);
        extend(&mut catalog, &[], &[("v", FieldType::Integer)]).unwrap();
        assert_ne!(catalog.table("db", "", "m").unwrap().id, first);
    }

    #[test]
    fn shard_groups_start_on_mondays() {
        let mut catalog = catalog();
        catalog.apply(&schema(Vec::new(), vec![0, 1, -1, 7 * DAY])).unwrap();
        let groups: Vec<_> =
            catalog.databases["db"].retention_policy("").unwrap().shard_groups.values().collect();
        assert_eq!(groups.len(), 2);
        assert_eq!((groups[0].start, groups[0].end), (-3 * DAY, 4 * DAY));
    }

    #[test]
    fn shard_groups_of_another_duration_keep_off_the_others() {
        let mut catalog = catalog();
        let alter = |catalog: &mut Catalog, shard_duration| {
            let spec = RetentionPolicySpec {
                name: Some("autogen".into()),
                shard_duration: Some(shard_duration),
                ..RetentionPolicySpec::default()
            };
            let command = Command::AlterRetentionPolicy { database: "db".into(), spec, default: false };
            catalog.apply(&command).unwrap();
        };
        alter(&mut catalog, DAY);
        catalog.apply(&schema(Vec::new(), vec![0, 2 * DAY])).unwrap();
        alter(&mut catalog, 7 * DAY);
        catalog.apply(&schema(Vec::new(), vec![DAY, 3 * DAY, -DAY])).unwrap();
        let policy = catalog.databases["db"].retention_policy("").unwrap();
        let slices: Vec<_> = policy.shard_groups.values().map(|g| (g.start / DAY, g.end / DAY)).collect();
        assert_eq!(slices, [(-3, 0), (0, 1), (1, 2), (2, 3), (3, 4)]);
        assert_eq!(policy.shards_in(TimeRange { min: DAY, max: 2 * DAY }).unwrap().len(), 2);
        assert_eq!(policy.shards_in(TimeRange::ALL), None);
        assert_eq!(RetentionPolicy::default().shards_in(TimeRange::ALL), Some(Vec::new()));
    }

    #[test]
    fn names_are_printable() {
        for name in ["a b", "日本", "e\u{301}", "😀", "{x}", "'; DROP TABLE x; --", "`\"$"] {
            assert_eq!(valid_name(name), Ok(()), "{name:?}");
        }
        for name in ["", ".", "..", "a/b", "a\\b", "a\nb", "\u{200b}", "\u{a0}", "\u{7f}"] {
            assert_eq!(valid_name(name), Err(CatalogError::InvalidName), "{name:?}");
        }
        assert_eq!(valid_name(&"n".repeat(256)), Err(CatalogError::NameTooLong));
    }

    #[test]
    fn policies_are_validated() {
        let mut catalog = catalog();
        let mut create = |duration, shard| {
            catalog.apply(&Command::CreateRetentionPolicy {
                database: "db".into(),
                spec: RetentionPolicySpec {
                    name: Some("rp".into()),
                    duration: Some(duration),
                    shard_duration: Some(shard),
                    ..RetentionPolicySpec::default()
                },
                default: false,
            })
        };
        assert_eq!(create(HOUR / 2, 0), Err(CatalogError::RetentionPolicyDurationTooLow));
        assert_eq!(create(HOUR, 2 * HOUR), Err(CatalogError::IncompatibleDurations));
        assert!(create(DAY, 0).is_ok());
        assert!(create(DAY, HOUR).is_ok());
        assert_eq!(create(2 * DAY, 0), Err(CatalogError::RetentionPolicyExists));
    }
}
