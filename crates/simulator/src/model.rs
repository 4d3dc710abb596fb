//! What the answers may be.
//!
//! A [`World`] is a state that the server may be in. Operations that overlap may have taken effect in any order, and those
//! that failed, or had no answer, may have taken effect or not: each possibility is a world. What is then read leaves
//! those that agree with it; when there is none, the server has broken a promise.

use std::collections::{BTreeMap, BTreeSet};

use hyperbytedb_domain::Tags;

use crate::history::{HOUR, MEASUREMENTS, Operation, Point, SHORT};
use crate::life::{LifeOperation, Rule};

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
    /// In nanoseconds since 1970.
    pub now: i64,
    /// Retention policies by database.
    pub databases: BTreeMap<String, Policies>,
    pub tables: BTreeMap<Place, Table>,
}

pub type Policies = BTreeMap<String, Policy>;

/// How long points are kept, and which are taken; in nanoseconds, 0 for no end and no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Policy {
    pub duration: i64,
    pub past_limit: i64,
    pub future_limit: i64,
}

impl Policy {
    fn shows(&self, now: i64, time: i64) -> bool {
        self.duration == 0 || time >= now - self.duration
    }

    fn takes(&self, now: i64, time: i64) -> bool {
        self.shows(now, time)
            && (self.past_limit == 0 || time >= now - self.past_limit)
            && (self.future_limit == 0 || time <= now + self.future_limit)
    }

    /// Whether all points before this time have expired.
    pub fn has_expired(&self, now: i64, end: i64) -> bool {
        !self.shows(now, end - 1)
    }

    fn alter(&mut self, rule: &Rule) {
        self.duration = rule.duration * HOUR;
        self.past_limit = rule.past_limit.map_or(self.past_limit, |hours| hours * HOUR);
        self.future_limit = rule.future_limit.map_or(self.future_limit, |hours| hours * HOUR);
    }
}

#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Table {
    /// Those that have expired too, until their shard group is dropped: a longer policy shows them again.
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
    /// So many points of a write were refused, the others have taken effect.
    Rejected(usize),
    /// It failed, or there was no answer: it may have taken effect, or will, when the process starts again.
    Unknown(String),
}

/// An operation as it was carried out.
#[derive(Debug, Clone)]
pub struct Carried {
    pub operation: Operation,
    pub outcome: Outcome,
    /// What DROP SHARD named, or had expired when the retention job looked.
    pub shards: Vec<Shard>,
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
        .flat_map(Carried::parts)
        .collect();
    let (after, seen) = orders(worlds, &changes);
    let alters =
        |carried: &Carried| matches!(carried.operation, Operation::Life(LifeOperation::Retain { .. }));
    if !changes.iter().any(alters) {
        return (after, seen);
    }
    // What is refused by a policy that became shorter was prepared under the longer one.
    let left = changes.iter().filter(|carried| matches!(carried.outcome, Outcome::Rejected(_)));
    let left = |world: World| left.clone().fold(world, |world, write| world.without(write));
    (after.into_iter().map(left).collect(), seen)
}

/// The worlds behind all orders of these changes, and all on the way.
fn orders(worlds: &BTreeSet<World>, changes: &[Carried]) -> (BTreeSet<World>, BTreeSet<World>) {
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
    /// Of an operation that has no answer yet.
    pub fn begin(operation: &Operation) -> Self {
        let outcome = Outcome::Unknown("no answer".to_owned());
        Self { operation: operation.clone(), outcome, shards: Vec::new() }
    }

    /// Time that has passed.
    pub fn passing(ns: i64) -> Self {
        let operation = Operation::Life(LifeOperation::Pass { ns });
        Self { operation, outcome: Outcome::Done, shards: Vec::new() }
    }

    /// What takes effect at one time. A DELETE from all measurements takes those that there were when it was read: it is one
    /// for each. The retention job drops the shard groups of one policy after those of another.
    fn parts(&self) -> Vec<Self> {
        if let Operation::Life(LifeOperation::Expire) = self.operation {
            let policies: BTreeSet<_> = self.shards.iter().map(|s| (&s.database, &s.policy)).collect();
            let of = |policy| {
                let shards = self.shards.iter().filter(|s| (&s.database, &s.policy) == policy);
                Self { shards: shards.cloned().collect(), ..self.clone() }
            };
            return policies.into_iter().map(of).collect();
        }
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
                let (name, policy) = self.policy(database, policy)?;
                let taken = points.iter().filter(|point| policy.takes(self.now, point.time));
                let taken: Vec<&Point> = taken.collect();
                let refused = points.len() - taken.len();
                match carried.outcome {
                    Outcome::Done if refused > 0 => return None,
                    Outcome::Rejected(count) if count != refused => return None,
                    _ => {}
                }
                for point in taken {
                    world.table_mut(database, &name, point).insert(point);
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
            Operation::DropShard { .. } | Operation::Life(LifeOperation::Expire) => {
                carried.shards.iter().for_each(|shard| world.drop_shard(shard));
            }
            Operation::Life(LifeOperation::Pass { ns }) => world.now += ns,
            Operation::Life(LifeOperation::Retain { database, policy, rule }) => {
                world.databases.get_mut(*database)?.get_mut(*policy)?.alter(rule);
            }
            Operation::CreateDatabase { database } => {
                let policies = || Policies::from([(DEFAULT_POLICY.to_owned(), Policy::default())]);
                world.databases.entry((*database).to_owned()).or_insert_with(policies);
            }
            Operation::DropDatabase { database } => {
                world.databases.remove(*database);
                world.tables.retain(|place, _| place.0 != *database);
            }
            Operation::CreatePolicy { database, policy, .. } => {
                world.databases.get_mut(*database)?.entry((*policy).to_owned()).or_default();
            }
            Operation::CreateShortPolicy { database } => {
                let short = Policy { duration: HOUR, ..Policy::default() };
                world.databases.get_mut(*database)?.entry(SHORT.to_owned()).or_insert(short);
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
            && let Some((policy, _)) = self.policy(database, policy)
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

    fn policy(&self, database: &str, policy: &str) -> Option<(String, Policy)> {
        let name = if policy.is_empty() { DEFAULT_POLICY } else { policy };
        Some((name.to_owned(), *self.databases.get(database)?.get(name)?))
    }

    /// The points of a measurement that have not expired.
    pub fn visible(&self, place: &Place) -> Points {
        let Some(table) = self.tables.get(place) else { return Points::new() };
        let policy = self.policy(&place.0, &place.1).map(|(_, policy)| policy).unwrap_or_default();
        if policy.duration == 0 {
            return table.points.clone();
        }
        let points = table.points.iter().filter(|((_, time), _)| policy.shows(self.now, *time));
        points.map(|(key, fields)| (key.clone(), fields.clone())).collect()
    }

    /// The first time of which no point has expired.
    pub fn visible_from(&self, database: &str, policy: &str) -> i64 {
        let policy = self.policy(database, policy).map(|(_, policy)| policy).unwrap_or_default();
        if policy.duration == 0 { i64::MIN } else { self.now - policy.duration }
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
