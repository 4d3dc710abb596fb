//! What the answers may be.
//!
//! A [`World`] is a state that the server may be in. Operations that overlap may have taken effect in any order, and those
//! that failed, or had no answer, may have taken effect or not: each possibility is a world. What is then read leaves
//! those that agree with it; when there is none, the server has broken a promise.

use std::collections::{BTreeMap, BTreeSet};

use hyperbytedb_domain::Tags;

use crate::history::{MEASUREMENTS, Operation, Point, SHORT};

/// Database, retention policy and measurement.
pub type Place = (String, String, String);
/// Values as line protocol has them, by field.
pub type Fields = BTreeMap<String, String>;
pub type Points = BTreeMap<(Tags, i64), Fields>;

const DEFAULT_POLICY: &str = "autogen";
/// Worlds that are followed from one to the next at most: past it a finding may be a false one.
const WORLDS_MAX: usize = 4096;

#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct World {
    /// Retention policies by database.
    pub databases: BTreeMap<String, BTreeSet<String>>,
    pub tables: BTreeMap<Place, Table>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Table {
    pub points: Points,
    /// Fields that must be there.
    pub fields: BTreeSet<String>,
    /// Fields and series that may be there without points.
    pub possible_fields: BTreeSet<String>,
    pub possible_series: BTreeSet<Tags>,
}

/// How an operation ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It has taken effect.
    Done,
    /// It has had no effect, for what it names does not exist.
    Refused,
    /// It failed, or there was no answer: it may have taken effect, or will, when the process starts again.
    Unknown(String),
}

/// An operation as it was carried out.
#[derive(Debug, Clone)]
pub struct Carried {
    pub operation: Operation,
    pub outcome: Outcome,
    /// What DROP SHARD named.
    pub shard: Option<Shard>,
}

/// A shard group that was dropped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shard {
    pub database: String,
    pub policy: String,
    pub start: i64,
    pub end: i64,
}

/// The worlds after these operations, which overlapped, and all that a reader may have seen on the way.
pub fn carry_out(worlds: &BTreeSet<World>, carried: &[Carried]) -> (BTreeSet<World>, BTreeSet<World>) {
    let changes: Vec<Carried> = carried
        .iter()
        .filter(|carried| carried.operation.changes() && carried.outcome != Outcome::Refused)
        .flat_map(Carried::by_measurement)
        .collect();
    let (mut after, mut seen) = (BTreeSet::new(), BTreeSet::new());
    // By the set of changes that have happened, one bit each.
    let mut reached = vec![BTreeSet::new(); 1 << changes.len()];
    reached[0].clone_from(worlds);
    for happened in 0..reached.len() {
        let here = std::mem::take(&mut reached[happened]);
        for (number, change) in changes.iter().enumerate().filter(|(number, _)| happened >> number & 1 == 0) {
            let next = &mut reached[happened | 1 << number];
            for world in here.iter().take(WORLDS_MAX) {
                next.extend(world.after(change));
                if let Outcome::Unknown(_) = change.outcome {
                    next.insert(world.without(change));
                }
            }
        }
        if happened + 1 == 1 << changes.len() {
            after.clone_from(&here);
        }
        seen.extend(here);
    }
    (after, seen)
}

impl Carried {
    /// A DELETE from all measurements takes those that there were when it was read: it is one for each.
    fn by_measurement(&self) -> Vec<Self> {
        if !matches!(self.operation, Operation::Delete { measurement: None, .. }) {
            return vec![self.clone()];
        }
        let of = |name| {
            let mut operation = self.operation.clone();
            if let Operation::Delete { measurement, .. } = &mut operation {
                *measurement = Some(name);
            }
            Self { operation, ..self.clone() }
        };
        MEASUREMENTS.into_iter().map(of).collect()
    }
}

impl World {
    /// The world behind an operation; `None` when it cannot have taken effect here.
    fn after(&self, carried: &Carried) -> Option<Self> {
        let mut world = self.clone();
        match &carried.operation {
            Operation::Write { database, policy, points } => {
                let policy = self.policy(database, policy)?;
                for point in points {
                    world.table_mut(database, &policy, point).insert(point);
                }
            }
            Operation::Delete { database, measurement, condition, time } => {
                self.databases.get(*database)?;
                let is_deleted = |(tags, at): &(Tags, i64)| {
                    condition.as_ref().is_none_or(|condition| condition.holds(tags))
                        && time.is_none_or(|(from, to)| (from..=to).contains(at))
                };
                world.remove(|place| is_in(place, database, *measurement), is_deleted);
            }
            Operation::DropSeries { database, measurement, condition } => {
                self.databases.get(*database)?;
                let is_deleted = |(tags, _): &(Tags, i64)| {
                    condition.as_ref().is_none_or(|condition| condition.holds(tags))
                };
                world.remove(|place| is_in(place, database, *measurement), is_deleted);
            }
            Operation::DropMeasurement { database, measurement } => {
                self.databases.get(*database)?;
                world.tables.retain(|place, _| !is_in(place, database, Some(measurement)));
            }
            Operation::DropShard { .. } => {
                let Some(shard) = &carried.shard else { return Some(world) };
                world.drop_shard(shard);
            }
            Operation::CreateDatabase { database } => {
                let policies = || BTreeSet::from([DEFAULT_POLICY.to_owned()]);
                world.databases.entry((*database).to_owned()).or_insert_with(policies);
            }
            Operation::DropDatabase { database } => {
                world.databases.remove(*database);
                world.tables.retain(|place, _| place.0 != *database);
            }
            Operation::CreatePolicy { database, policy, .. } => {
                world.databases.get_mut(*database)?.insert((*policy).to_owned());
            }
            Operation::CreateShortPolicy { database } => {
                world.databases.get_mut(*database)?.insert(SHORT.to_owned());
            }
            Operation::AlterPolicy { database, policy, .. } => {
                self.databases.get(*database)?.get(*policy)?;
            }
            Operation::DropPolicy { database, policy } => {
                world.databases.get_mut(*database).map(|policies| policies.remove(*policy));
                world.tables.retain(|place, _| place.0 != *database || place.1 != *policy);
            }
            _ => {}
        }
        Some(world)
    }

    /// The world if the operation has not taken effect: a write may have left its schema and its series.
    fn without(&self, carried: &Carried) -> Self {
        let mut world = self.clone();
        if let Operation::Write { database, policy, points } = &carried.operation
            && let Some(policy) = self.policy(database, policy)
        {
            for point in points {
                let table = world.table_mut(database, &policy, point);
                table.possible_fields.extend(point.fields.keys().map(|name| (*name).to_owned()));
                table.possible_series.insert(point.tags.clone());
            }
        }
        world
    }

    /// The world when all is at rest: what was not logged has left no series.
    pub fn at_rest(mut self) -> Self {
        self.tables.values_mut().for_each(|table| table.possible_series.clear());
        self
    }

    fn policy(&self, database: &str, policy: &str) -> Option<String> {
        let policy = if policy.is_empty() { DEFAULT_POLICY } else { policy };
        self.databases.get(database)?.get(policy).cloned()
    }

    fn table_mut(&mut self, database: &str, policy: &str, point: &Point) -> &mut Table {
        let place = (database.to_owned(), policy.to_owned(), point.measurement.to_owned());
        self.tables.entry(place).or_default()
    }

    fn remove(&mut self, is_place: impl Fn(&Place) -> bool, is_removed: impl Fn(&(Tags, i64)) -> bool) {
        for (_, table) in self.tables.iter_mut().filter(|(place, _)| is_place(place)) {
            table.points.retain(|key, _| !is_removed(key));
            table.forget_fields_if_empty();
        }
    }

    fn drop_shard(&mut self, shard: &Shard) {
        for (_, table) in self.tables.iter_mut().filter(|(place, _)| shard.holds(place)) {
            table.points.retain(|(_, time), _| !(shard.start..shard.end).contains(time));
            table.forget_fields_if_empty();
        }
    }
}

impl Table {
    fn insert(&mut self, point: &Point) {
        let fields = self.points.entry((point.tags.clone(), point.time)).or_default();
        for (name, value) in &point.fields {
            fields.insert((*name).to_owned(), value.clone());
            self.fields.insert((*name).to_owned());
        }
    }

    /// A measurement without points may go, or stay for series that have none.
    fn forget_fields_if_empty(&mut self) {
        if self.points.is_empty() {
            self.possible_fields.append(&mut self.fields);
        }
    }
}

impl Shard {
    fn holds(&self, place: &Place) -> bool {
        place.0 == self.database && place.1 == self.policy
    }
}

fn is_in(place: &Place, database: &str, measurement: Option<&str>) -> bool {
    place.0 == database && measurement.is_none_or(|measurement| place.2 == measurement)
}
