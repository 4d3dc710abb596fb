//! What happens in a run: rounds of operations that overlap, with their faults. Made from a seed, and printed.

use std::collections::BTreeMap;

use hyperbytedb_domain::Tags;
use hyperbytedb_memory_ports::Random;

use crate::life::LifeOperation;
use crate::scheduler::{Crash, Faults};

pub(crate) const HOUR: i64 = 3_600_000_000_000;
const DAY: i64 = 24 * HOUR;
/// A Monday: 2020-01-06.
pub(crate) const FIRST_TIME: i64 = 1_578_268_800_000_000_000;

/// A run.
#[derive(Debug, Clone)]
pub struct History {
    pub seed: u64,
    /// Each record of the log is synced, and power can fail; else a process may only be killed.
    pub power_failures: bool,
    /// The time at which it begins, in nanoseconds since 1970.
    pub now: i64,
    pub rounds: Vec<Round>,
}

/// Operations at the same time.
#[derive(Debug, Clone, Default)]
pub struct Round {
    pub passing: Option<Passing>,
    pub operations: Vec<Operation>,
    pub faults: Faults,
    /// If the process ends, those of the replay behind it.
    pub replay_faults: Faults,
    /// Decides who goes on when.
    pub schedule: u64,
    /// Whether everything is read at its end. That has all memtables flushed, so not always.
    pub checked: bool,
}

/// Time that passes: before the operations, or when they have made so many calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Passing {
    pub calls: u64,
    pub ns: i64,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Operation {
    Write {
        database: &'static str,
        policy: &'static str,
        points: Vec<Point>,
    },
    /// DELETE; without a measurement of all.
    Delete {
        database: &'static str,
        measurement: Option<&'static str>,
        condition: Option<Condition>,
        time: Option<(i64, i64)>,
    },
    DropSeries {
        database: &'static str,
        measurement: Option<&'static str>,
        condition: Option<Condition>,
    },
    DropMeasurement {
        database: &'static str,
        measurement: &'static str,
    },
    /// The one at this position among those that exist, modulo their number.
    DropShard {
        position: usize,
    },
    CreateDatabase {
        database: &'static str,
    },
    DropDatabase {
        database: &'static str,
    },
    CreatePolicy {
        database: &'static str,
        policy: &'static str,
        shard_hours: i64,
    },
    /// The policy [`SHORT`], beyond which all points are.
    CreateShortPolicy {
        database: &'static str,
    },
    AlterPolicy {
        database: &'static str,
        policy: &'static str,
        shard_hours: i64,
    },
    DropPolicy {
        database: &'static str,
        policy: &'static str,
    },
    /// Reads the points of a measurement, or counts them.
    Read {
        database: &'static str,
        policy: &'static str,
        measurement: &'static str,
        time: Option<(i64, i64)>,
        counts: bool,
    },
    /// A view of all measurements of a database's default policy, with its target in [`VIEWS`].
    CreateView {
        database: &'static str,
    },
    DropView {
        database: &'static str,
    },
    /// Reads the log for the views.
    Follow,
    /// Computes dirty windows.
    Compute,
    Life(LifeOperation),
    Seal,
    Checkpoint,
    Merge,
    /// An orderly stop and a start. Alone in its round.
    Restart,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Point {
    pub measurement: &'static str,
    pub tags: Tags,
    pub time: i64,
    /// Values as line protocol has them.
    pub fields: BTreeMap<&'static str, String>,
}

/// A condition on a tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Condition {
    pub tag: &'static str,
    pub comparison: Comparison,
    pub value: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    Equal,
    NotEqual,
    /// The regular expression is the value as a whole.
    Matches,
    MatchesNot,
}

impl Condition {
    pub fn holds(&self, tags: &Tags) -> bool {
        let is_equal = tags.get(self.tag).unwrap_or_default() == self.value;
        is_equal == matches!(self.comparison, Comparison::Equal | Comparison::Matches)
    }
}

impl Operation {
    /// Whether it may change points or the catalogue.
    pub fn changes(&self) -> bool {
        if let Self::Life(operation) = self {
            return operation.changes();
        }
        !self.is_of_views()
            && !matches!(
                self,
                Self::Read { .. } | Self::Seal | Self::Checkpoint | Self::Merge | Self::Restart
            )
    }

    /// Whether it creates or drops a continuous query.
    pub fn is_of_queries(&self) -> bool {
        matches!(self, Self::Life(LifeOperation::CreateQuery { .. } | LifeOperation::DropQuery { .. }))
    }

    /// Whether it needs that views are kept.
    pub fn is_of_views(&self) -> bool {
        matches!(self, Self::CreateView { .. } | Self::DropView { .. } | Self::Follow | Self::Compute)
    }

    /// The database it is about; empty for those that are about none.
    pub fn database(&self) -> &'static str {
        match self {
            Self::Write { database, .. }
            | Self::Delete { database, .. }
            | Self::DropSeries { database, .. }
            | Self::DropMeasurement { database, .. }
            | Self::CreateDatabase { database }
            | Self::DropDatabase { database }
            | Self::CreatePolicy { database, .. }
            | Self::CreateShortPolicy { database }
            | Self::AlterPolicy { database, .. }
            | Self::DropPolicy { database, .. }
            | Self::Read { database, .. } => database,
            Self::CreateView { .. } | Self::DropView { .. } => VIEWS,
            Self::Life(operation) => operation.database(),
            Self::DropShard { .. }
            | Self::Follow
            | Self::Compute
            | Self::Seal
            | Self::Checkpoint
            | Self::Merge
            | Self::Restart => "",
        }
    }
}

const DATABASES: [&str; 2] = ["d0", "d1"];
pub const MEASUREMENTS: [&str; 3] = ["m0", "m1", "m2"];
/// The database of the views and their targets.
pub const VIEWS: &str = "views";
/// What a view has of a measurement.
pub(crate) const VIEW_FIELDS: &str = "max(f) AS f, max(i) AS i, last(s) AS s, count(b) AS b";
const POLICY: &str = "r1";
/// The first seeds, which always run, have no views.
const WITHOUT_VIEWS: u64 = 1000;
/// When histories begin in which no time passes: long after their points.
pub const LATER: i64 = FIRST_TIME + 3650 * DAY;
/// Name of a policy so short that all points are too old where no time passes.
pub const SHORT: &str = "short";
const TAGS: [(&str, [&str; 3]); 3] =
    [("host", ["a", "b", "c"]), ("region", ["", "x", "y"]), ("rack", ["", "", "1"])];
/// Tags that few points have, so that the schema changes now and then.
const RARE_TAGS: [&str; 5] = ["e0", "e1", "e2", "e3", "e4"];
const FIELDS: [&str; 4] = ["f", "i", "s", "b"];

/// How a run differs from others.
#[derive(Default)]
pub(crate) struct Style {
    databases: usize,
    measurements: usize,
    weeks: usize,
    /// Of a hundred rounds, so many with each kind of fault.
    errors: u32,
    stalls: u32,
    crashes: u32,
    /// Of a hundred operations, so many that remove.
    removals: u32,
    removes_shards: bool,
    views: bool,
    life: bool,
    /// Points fall on few series and times, so that they meet.
    narrow: bool,
}

impl Style {
    /// Of a cluster.
    pub(crate) fn of_cluster(random: &mut Random) -> Self {
        Self {
            databases: *random.pick(&[1, 1, 1, 2]),
            measurements: *random.pick(&[1, 1, 2]),
            weeks: *random.pick(&[1, 1, 2]),
            removals: *random.pick(&[0, 10, 25, 40]),
            removes_shards: true,
            narrow: random.chance(3, 4),
            ..Self::default()
        }
    }

    /// Where something is computed, which keeps what it has of a dropped shard. `keeps_all`: and of all else.
    pub(crate) fn computed(self, keeps_all: bool) -> Self {
        Self { removes_shards: false, removals: if keeps_all { 0 } else { self.removals }, ..self }
    }

    /// Of data that ages.
    pub(crate) fn of_life(random: &mut Random) -> Self {
        Self {
            databases: *random.pick(&[1, 1, 1, 2]),
            measurements: *random.pick(&[1, 1, 2]),
            weeks: 1,
            errors: *random.pick(&[0, 0, 10, 30]),
            stalls: *random.pick(&[0, 20]),
            crashes: *random.pick(&[0, 5, 15]),
            removals: *random.pick(&[0, 5, 15]),
            removes_shards: true,
            life: true,
            narrow: random.chance(1, 2),
            ..Self::default()
        }
    }
}

impl History {
    pub fn has_views(&self) -> bool {
        self.operations().any(Operation::is_of_views)
    }

    /// Whether it has to do with the age of points.
    pub fn has_life(&self) -> bool {
        self.operations().any(|operation| matches!(operation, Operation::Life(_)))
    }

    fn operations(&self) -> impl Iterator<Item = &Operation> {
        self.rounds.iter().flat_map(|round| &round.operations)
    }
}

/// What a view answers, and what its target has.
pub fn view_statements(database: &str) -> [String; 2] {
    [
        format!("SELECT {VIEW_FIELDS} FROM {database}.autogen./^m/ GROUP BY time(1h), * fill(none)"),
        format!("SELECT * FROM {VIEWS}.autogen./^m/ GROUP BY *"),
    ]
}

/// A continuous query that computes late points, too; what it answers before a time, and what its targets have.
pub fn query_statements(database: &str, name: &str, end: i64) -> [String; 3] {
    let (select, source) = (format!("SELECT {VIEW_FIELDS}"), "FROM d0.autogen./^m/");
    [
        format!(
            "CREATE CONTINUOUS QUERY {name} ON {database} RESAMPLE LATE 720h BEGIN {select} \
             INTO {database}.autogen.:MEASUREMENT {source} GROUP BY time(30m), * fill(none) END"
        ),
        format!("{select} {source} WHERE time < {end} GROUP BY time(30m), * fill(none)"),
        format!("SELECT * FROM {database}.autogen./^m/ GROUP BY *"),
    ]
}

/// The history of a seed.
pub fn generate(seed: u64) -> History {
    let mut random = Random::new(seed);
    let views = seed > WITHOUT_VIEWS && seed.is_multiple_of(4);
    let style = Style {
        databases: *random.pick(&[1, 1, 1, 2]),
        measurements: *random.pick(&[1, 2, 3]),
        weeks: *random.pick(&[1, 2, 5]),
        errors: *random.pick(&[0, 10, 30]),
        stalls: *random.pick(&[0, 20, 40]),
        crashes: *random.pick(&[0, 5, 15]),
        removals: *random.pick(&[0, 10, 25, 40]),
        removes_shards: !views,
        views,
        ..Style::default()
    };
    let (length, power_failures) = (5 + random.below(30), random.chance(4, 5));
    let mut generator = Generator::new(random, style);
    let create = Operation::CreateDatabase { database: DATABASES[0] };
    let mut rounds = vec![generator.round(vec![create], false)];
    rounds.extend((0..length).map(|_| {
        let operations = generator.operations();
        generator.round(operations, true)
    }));
    History { seed, power_failures, now: LATER, rounds }
}

pub(crate) struct Generator {
    pub(crate) random: Random,
    /// Where time passes.
    pub(crate) now: Option<i64>,
    style: Style,
    /// Each value is written once.
    values: u64,
    /// What the operations of this round have in common.
    focus: Option<Focus>,
}

/// One measurement and week, and a tag that few points have.
#[derive(Debug, Clone, Copy)]
struct Focus {
    database: &'static str,
    measurement: &'static str,
    tag: &'static str,
    week: usize,
}

impl Generator {
    pub(crate) fn new(random: Random, style: Style) -> Self {
        Self { random, now: None, style, values: 0, focus: None }
    }

    pub(crate) fn living(random: Random, style: Style, now: i64) -> Self {
        Self { now: Some(now), ..Self::new(random, style) }
    }

    pub(crate) fn round(&mut self, operations: Vec<Operation>, faulty: bool) -> Round {
        let faults = if faulty { self.faults(1) } else { Faults::default() };
        let replay_faults =
            if faulty && self.random.chance(1, 3) { self.faults(4) } else { Faults::default() };
        let checked = self.random.chance(3, 5);
        let schedule = self.random.number();
        Round { operations, faults, replay_faults, schedule, checked, passing: None }
    }

    fn faults(&mut self, often: u32) -> Faults {
        let random = &mut self.random;
        let calls_max = 2 << random.below(7);
        let crash = Crash {
            calls: 1 + random.below(calls_max) as u32,
            power: random.chance(1, 2),
            after: random.chance(1, 2),
        };
        Faults {
            errors: if random.chance(self.style.errors, 100) { *random.pick(&[30, 150, 400]) } else { 0 },
            stalls: if random.chance(self.style.stalls, 100) { *random.pick(&[30, 300]) } else { 0 },
            crash: random.chance(self.style.crashes * often, 100).then_some(crash),
        }
    }

    pub(crate) fn operations(&mut self) -> Vec<Operation> {
        if self.random.chance(1, 20) {
            return vec![Operation::Restart];
        }
        self.focus = None;
        let focus = Focus {
            database: self.database(),
            measurement: self.measurement(),
            tag: self.random.pick::<&str>(&RARE_TAGS),
            week: self.random.below(self.style.weeks),
        };
        self.focus = self.random.chance(1, 3).then_some(focus);
        let counts = if self.focus.is_some() { [2, 3, 3, 4, 4, 4] } else { [1, 1, 1, 2, 2, 3] };
        let count = *self.random.pick(&counts);
        let mut operations: Vec<Operation> = Vec::new();
        let mut changes = 0;
        while operations.len() < count {
            let operation = self.operation();
            // One checkpoint at a time; few changes, for all their orders are looked at.
            let alone = [
                Operation::Checkpoint,
                Operation::Follow,
                Operation::Life(LifeOperation::RunQueries),
                Operation::Life(LifeOperation::Expire),
            ];
            let is_second = alone.contains(&operation) && operations.contains(&operation);
            if is_second || (operation.changes() && changes == 3) {
                continue;
            }
            changes += usize::from(operation.changes());
            operations.push(operation);
        }
        operations
    }

    pub(crate) fn operation(&mut self) -> Operation {
        if self.random.chance(self.style.removals, 100) {
            return self.removal();
        }
        if self.style.views && self.random.chance(1, 3) {
            return match self.random.below(100) {
                // All views have one target.
                0..=14 => Operation::CreateView { database: DATABASES[0] },
                15..=17 => Operation::DropView { database: DATABASES[0] },
                18..=54 => Operation::Follow,
                _ => Operation::Compute,
            };
        }
        if self.style.life && self.random.chance(2, 5) {
            return self.life_operation();
        }
        match self.random.below(100) {
            0..=47 => self.write(),
            48..=64 => Operation::Read {
                database: self.database(),
                policy: self.policy(),
                measurement: self.measurement(),
                time: self.random.chance(1, 2).then(|| self.range()),
                counts: self.random.chance(1, 3),
            },
            65..=76 => Operation::Seal,
            77..=83 => Operation::Checkpoint,
            84..=93 => Operation::Merge,
            94..=95 => Operation::CreateDatabase { database: self.database() },
            96 => Operation::CreateShortPolicy { database: self.database() },
            97 => Operation::CreatePolicy {
                database: self.database(),
                policy: POLICY,
                shard_hours: *self.random.pick(&[1, 24, 168]),
            },
            _ => Operation::AlterPolicy {
                database: self.database(),
                policy: self.random.pick::<&str>(&["autogen", POLICY]),
                shard_hours: *self.random.pick(&[1, 24, 168]),
            },
        }
    }

    fn removal(&mut self) -> Operation {
        let database = self.database();
        let measurement = self.measurement();
        let some_measurement = self.random.chance(3, 4).then_some(measurement);
        match self.random.below(100) {
            0..=19 => Operation::Delete {
                database,
                measurement: some_measurement,
                condition: None,
                time: Some(self.range()),
            },
            20..=54 => Operation::Delete {
                database,
                measurement: some_measurement,
                condition: Some(self.condition()),
                time: self.random.chance(1, 2).then(|| self.range()),
            },
            55..=64 => Operation::DropSeries {
                database,
                measurement: Some(measurement),
                condition: self.random.chance(3, 4).then(|| self.condition()),
            },
            65..=79 => Operation::DropMeasurement { database, measurement },
            // A view keeps what it has of a shard that is dropped.
            80..=91 if !self.style.removes_shards => Operation::DropMeasurement { database, measurement },
            80..=91 => Operation::DropShard { position: self.random.below(8) },
            92..=95 => Operation::DropPolicy { database, policy: POLICY },
            _ => Operation::DropDatabase { database },
        }
    }

    pub(crate) fn database(&mut self) -> &'static str {
        self.focus.map_or_else(|| DATABASES[self.random.below(self.style.databases)], |focus| focus.database)
    }

    fn measurement(&mut self) -> &'static str {
        self.focus.map_or_else(
            || MEASUREMENTS[self.random.below(self.style.measurements)],
            |focus| focus.measurement,
        )
    }

    /// Empty: the default one.
    fn policy(&mut self) -> &'static str {
        if self.random.chance(1, 5) { POLICY } else { "" }
    }

    fn time(&mut self) -> i64 {
        if let Some(now) = self.now {
            return self.time_about(now);
        }
        let week = self.focus.map_or_else(|| self.random.below(self.style.weeks), |focus| focus.week) as i64;
        let times: &[i64] = if self.style.narrow { &[0, HOUR] } else { &[0, 1, HOUR, 25 * HOUR, 6 * DAY] };
        FIRST_TIME + week * 7 * DAY + self.random.pick(times)
    }

    /// Both ends included.
    fn range(&mut self) -> (i64, i64) {
        let week = FIRST_TIME + self.random.below(self.style.weeks) as i64 * 7 * DAY;
        if self.now.is_none() && self.random.chance(1, 3) {
            return (week, week + 7 * DAY - 1);
        }
        let (a, b) = (self.time(), self.time());
        (a.min(b), a.max(b))
    }

    fn condition(&mut self) -> Condition {
        let (tag, values) = if self.random.chance(1, 3) {
            (self.rare_tag(), ["", "1", ""])
        } else {
            *self.random.pick(&TAGS)
        };
        let comparisons =
            [Comparison::Equal, Comparison::NotEqual, Comparison::Matches, Comparison::MatchesNot];
        Condition {
            tag,
            comparison: *self.random.pick(&comparisons),
            value: self.random.pick::<&str>(&values),
        }
    }

    fn rare_tag(&mut self) -> &'static str {
        self.focus.map_or_else(|| *self.random.pick(&RARE_TAGS), |focus| focus.tag)
    }

    fn write(&mut self) -> Operation {
        let (database, mut policy) = (self.database(), self.policy());
        if self.random.chance(1, 30) {
            policy = SHORT;
        }
        let count = 1 + self.random.below(6);
        let measurement = self.measurement();
        let points = (0..count)
            .map(|_| {
                let other = self.random.chance(1, 4);
                let measurement = if other { self.measurement() } else { measurement };
                self.point(measurement)
            })
            .collect();
        Operation::Write { database, policy, points }
    }

    fn point(&mut self, measurement: &'static str) -> Point {
        let known = if self.style.narrow { &TAGS[..1] } else { &TAGS[..] };
        let mut tags: Vec<_> = known
            .iter()
            .map(|(tag, values)| ((*tag).to_owned(), (*self.random.pick(values)).to_owned()))
            .collect();
        if self.random.chance(if self.focus.is_some() { 4 } else { 1 }, 12) {
            tags.push((self.rare_tag().to_owned(), "1".to_owned()));
        }
        let mut fields = BTreeMap::new();
        for _ in 0..1 + self.random.below(2) {
            self.values += 1;
            let value = self.values;
            let field = *self.random.pick(&FIELDS);
            let text = match field {
                "f" => format!("{value}.5"),
                "i" => format!("{value}i"),
                "s" => format!("\"v{value}\""),
                _ => value.is_multiple_of(2).to_string(),
            };
            fields.insert(field, text);
        }
        Point { measurement, tags: Tags::new(tags), time: self.time(), fields }
    }
}

impl Point {
    pub fn line(&self) -> String {
        let fields: Vec<String> = self.fields.iter().map(|(name, value)| format!("{name}={value}")).collect();
        format!("{} {} {}", self.tags.series_key(self.measurement), fields.join(","), self.time)
    }
}

/// ` WHERE …`, or nothing.
pub fn where_clause(condition: Option<&Condition>, time: Option<(i64, i64)>) -> String {
    let time = time.map(|(from, to)| format!("time >= {from} AND time <= {to}"));
    let terms: Vec<String> = condition.map(Condition::to_string).into_iter().chain(time).collect();
    if terms.is_empty() { String::new() } else { format!(" WHERE {}", terms.join(" AND ")) }
}
