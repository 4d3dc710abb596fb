//! Continuous queries: their definitions, and what their targets may have.
//!
//! Of each value of a target a set is kept of what it may be. A run that has succeeded leaves in the windows that it was due
//! for what its statement answers in one of the states that there were meanwhile; one that failed, or had no answer, may
//! have left it. What is then read leaves one value of each.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Range;

use hyperbytedb_domain::Tags;

use crate::history::{HOUR, Operation};
use crate::model::{Carried, Fields, Outcome, Place, Points, World};

/// The database of the continuous queries and their targets.
pub const QUERIES: &str = "computed";
/// Where they read.
const SOURCE: (&str, &str) = ("d0", "autogen");
const MINUTE: i64 = HOUR / 60;
const EXPIRY_MARGIN: i64 = 5 * MINUTE;

/// A continuous query.
pub struct Definition {
    pub name: &'static str,
    every: Option<i64>,
    span: Option<i64>,
    pub late: Option<i64>,
    interval: i64,
    offset: i64,
    by_tags: bool,
    /// All measurements, each with its own target.
    all: bool,
    /// Function and field, which is also its name in the target.
    values: &'static [(Function, &'static str)],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Function {
    Max,
    Sum,
    Count,
    Last,
}

const PLAIN: Definition = Definition {
    name: "plain",
    every: None,
    span: None,
    late: None,
    interval: HOUR,
    offset: 0,
    by_tags: true,
    all: false,
    values: &[(Function::Max, "f"), (Function::Max, "i"), (Function::Last, "s")],
};

pub static DEFINITIONS: [Definition; 4] = [
    PLAIN,
    Definition {
        name: "resampled",
        every: Some(30 * MINUTE),
        span: Some(3 * HOUR),
        by_tags: false,
        values: &[(Function::Sum, "i"), (Function::Max, "f")],
        ..PLAIN
    },
    Definition {
        name: "late",
        span: Some(2 * HOUR),
        late: Some(6 * HOUR),
        interval: 30 * MINUTE,
        offset: 10 * MINUTE,
        values: &[(Function::Count, "i")],
        ..PLAIN
    },
    Definition {
        name: "seldom",
        every: Some(2 * HOUR),
        all: true,
        values: &[(Function::Max, "i"), (Function::Last, "b")],
        ..PLAIN
    },
];

impl Definition {
    pub fn of(name: &str) -> Option<&'static Self> {
        DEFINITIONS.iter().find(|definition| definition.name == name)
    }

    fn period(&self) -> i64 {
        self.every.unwrap_or(self.interval)
    }

    /// When it is due after a run.
    fn due(&self, last_run: i64) -> i64 {
        last_run + self.period()
    }

    /// What a run at this time counts as.
    fn run_time(&self, now: i64) -> i64 {
        now - (now - self.offset).rem_euclid(self.period())
    }

    pub fn window(&self, time: i64) -> Range<i64> {
        let start = time - (time - self.offset).rem_euclid(self.interval);
        start..start + self.interval
    }

    /// The windows of a run: from FOR before it was due, or all since the last one, to the last that has ended. One that runs
    /// more often than windows end takes the one at work, too.
    fn windows(&self, due: i64, now: i64) -> Range<i64> {
        let span = self.span.unwrap_or(self.interval.max(self.period()));
        let from = self.window(due - span + self.interval - 1).start;
        let ahead = self.interval - self.period().min(self.interval);
        from..self.window(now + ahead).start.max(from)
    }

    /// Windows before this are not those of the next run.
    fn left_alone(&self, last_run: Option<i64>, now: i64) -> i64 {
        let due = last_run.map_or(now, |last| self.due(last));
        let next = self.windows(due, now.max(due)).start;
        self.window(next.min(now)).start
    }

    fn reads(&self, place: &Place) -> bool {
        (place.0.as_str(), place.1.as_str()) == SOURCE && (self.all || place.2 == "m0")
    }

    /// What its statement answers for these windows.
    fn answer(&self, world: &World, windows: &Range<i64>) -> Answer {
        let mut answer = Answer::new();
        for (place, _) in world.tables.iter().filter(|(place, _)| self.reads(place)) {
            let target: &str = if self.all { &place.2 } else { self.name };
            self.add(target, &world.visible(place), windows, &mut answer);
        }
        answer
    }

    fn add(&self, target: &str, points: &Points, windows: &Range<i64>, answer: &mut Answer) {
        let mut groups: BTreeMap<(Tags, i64), Vec<(i64, &Fields)>> = BTreeMap::new();
        for ((tags, time), fields) in points.iter().filter(|((_, time), _)| windows.contains(time)) {
            let tags = if self.by_tags { tags.clone() } else { Tags::default() };
            groups.entry((tags, self.window(*time).start)).or_default().push((*time, fields));
        }
        for ((tags, window), points) in groups {
            for (function, field) in self.values {
                let values = points.iter().filter_map(|(time, fields)| Some((*time, fields.get(*field)?)));
                if let Some(value) = function.of(values.collect()) {
                    let cell = Cell {
                        target: target.to_owned(),
                        tags: tags.clone(),
                        window,
                        field: (*field).to_owned(),
                    };
                    answer.insert(cell, value);
                }
            }
        }
    }
}

impl Function {
    /// Values, and the result, as line protocol has them.
    fn of(self, values: Vec<(i64, &String)>) -> Option<String> {
        let integer = |text: &str| text.trim_end_matches('i').parse::<i64>().unwrap_or_default();
        let float = |text: &str| text.trim_end_matches('i').parse::<f64>().unwrap_or_default();
        match self {
            _ if values.is_empty() => None,
            Self::Count => Some(format!("{}i", values.len())),
            Self::Sum => Some(format!("{}i", values.iter().map(|(_, text)| integer(text)).sum::<i64>())),
            Self::Last => values.into_iter().max_by_key(|(time, _)| *time).map(|(_, text)| text.clone()),
            Self::Max => {
                values.into_iter().map(|(_, text)| text).max_by(|a, b| float(a).total_cmp(&float(b))).cloned()
            }
        }
    }
}

impl fmt::Display for Definition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let minutes = |ns: i64| ns / MINUTE;
        write!(f, "CREATE CONTINUOUS QUERY {} ON {QUERIES} ", self.name)?;
        let resample = [("EVERY", self.every), ("FOR", self.span), ("LATE", self.late)];
        if resample.iter().any(|(_, ns)| ns.is_some()) {
            write!(f, "RESAMPLE ")?;
        }
        for (word, ns) in resample {
            if let Some(ns) = ns {
                write!(f, "{word} {}m ", minutes(ns))?;
            }
        }
        let values = self.values.iter().map(|(function, field)| format!("{function:?}({field}) AS {field}"));
        let values = values.collect::<Vec<_>>().join(", ").to_lowercase().replace(" as ", " AS ");
        let (database, policy) = SOURCE;
        let target = if self.all { ":MEASUREMENT" } else { self.name };
        let source = if self.all { "/^m/" } else { "m0" };
        write!(
            f,
            "BEGIN SELECT {values} INTO {QUERIES}.autogen.{target} FROM {database}.{policy}.{source} \
             GROUP BY time({}m, {}m){} fill(none) END",
            minutes(self.interval),
            minutes(self.offset),
            if self.by_tags { ", *" } else { "" },
        )
    }
}

/// A value of a target.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cell {
    pub target: String,
    pub tags: Tags,
    pub window: i64,
    pub field: String,
}

type Answer = BTreeMap<Cell, String>;
/// `None`: it is not there.
type Possible = BTreeMap<Cell, BTreeSet<Option<String>>>;

/// Something that computed windows of a continuous query.
#[derive(Debug, Clone)]
pub struct Attempt {
    pub name: String,
    pub computed: Computed,
    /// The schema of what it reads changed meanwhile: statements go by the one that was known when they began.
    pub is_blurred: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Computed {
    /// A run at this time, after what was stored as the last one when it was looked for what is due.
    Run { last_run: Option<i64>, looked: i64, now: i64, is_done: bool },
    /// Some windows that got late points.
    Late,
}

impl Computed {
    pub fn is_done(&self) -> bool {
        !matches!(self, Self::Run { is_done: false, .. })
    }
}

/// When each query has run last, as it is stored.
pub type LastRuns = BTreeMap<String, Option<i64>>;

/// What is known of the continuous queries and their targets.
#[derive(Default)]
pub struct Targets {
    cells: Possible,
    last_runs: LastRuns,
    /// Windows in which anything may be.
    blurred: Vec<(&'static Definition, Range<i64>)>,
    /// Windows that were to be computed again since, and what came of it if it happened.
    late: BTreeMap<i64, Late>,
}

/// A window that got late points.
#[derive(Default)]
struct Late {
    was_computed: bool,
    cells: Possible,
}

impl Late {
    /// It may have been computed, with these values.
    fn note(&mut self, answers: &Possible, window: i64) {
        let gone = self.cells.iter_mut().filter(|(cell, _)| !answers.contains_key(cell));
        gone.for_each(|(_, values)| values.extend([None]));
        for (cell, values) in answers.iter().filter(|(cell, _)| cell.window == window) {
            let absent = self.was_computed && !self.cells.contains_key(cell);
            let known = self.cells.entry(cell.clone()).or_default();
            known.extend(values.iter().cloned().chain(absent.then_some(None)));
        }
        self.was_computed = true;
    }
}

impl Targets {
    /// Takes in what has happened in a round. `seen`: all states on the way; `stored`: the last runs as they are known now;
    /// `is_changed`: queries were created or dropped.
    pub fn note(
        &mut self,
        attempts: &[Attempt],
        seen: &BTreeSet<World>,
        stored: LastRuns,
        is_changed: bool,
    ) -> Result<(), String> {
        let mut possible: BTreeMap<String, BTreeSet<Option<i64>>> = BTreeMap::new();
        for name in self.last_runs.keys().chain(stored.keys()) {
            let known = self.last_runs.get(name).copied();
            let possible = possible.entry(name.clone()).or_default();
            possible.extend(known);
            if is_changed || known.is_none() {
                possible.insert(None);
            }
        }
        for attempt in attempts {
            let Some(definition) = Definition::of(&attempt.name) else { continue };
            match attempt.computed {
                Computed::Late => self.compute(definition, seen, attempt.is_blurred),
                Computed::Run { last_run, looked, now, is_done } => {
                    let possible = possible.entry(attempt.name.clone()).or_default();
                    if !possible.contains(&last_run) && !is_changed {
                        return Err(format!("{} ran after {last_run:?}, not {possible:?}", attempt.name));
                    }
                    let due = last_run.map_or(looked, |last| definition.due(last));
                    if due > now {
                        return Err(format!("{} ran at {now}, too soon after {last_run:?}", attempt.name));
                    }
                    let at = Some(definition.run_time(now));
                    possible.insert(at);
                    let is_done = is_done || (at != last_run && stored.get(&attempt.name) == Some(&at));
                    let windows = definition.windows(due, now);
                    self.run(definition, &windows, seen, is_done);
                    if attempt.is_blurred {
                        self.blurred.push((definition, windows));
                    }
                }
            }
        }
        for (name, last_run) in &stored {
            if !possible.get(name).is_some_and(|possible| possible.contains(last_run)) {
                return Err(format!("the last run of {name} is {last_run:?}, not one of {possible:?}"));
            }
        }
        if is_changed {
            self.late.clear();
        }
        self.last_runs = stored;
        Ok(())
    }

    fn run(&mut self, definition: &Definition, windows: &Range<i64>, seen: &BTreeSet<World>, is_done: bool) {
        let answers = answers(definition, windows, seen);
        if definition.late.is_some() {
            let late = self.late.iter_mut().filter(|(window, _)| windows.contains(window));
            late.for_each(|(window, late)| late.note(&answers, *window));
        }
        for (cell, values) in answers {
            let known = self.cells.entry(cell).or_insert_with(|| BTreeSet::from([None]));
            // Where there is nothing to write, what is there stays.
            if is_done && !values.contains(&None) {
                known.clear();
            }
            known.extend(values.into_iter().filter(Option::is_some));
        }
    }

    /// Any windows may have been computed.
    fn compute(&mut self, definition: &'static Definition, seen: &BTreeSet<World>, is_blurred: bool) {
        let all = i64::MIN..i64::MAX;
        if definition.late.is_some() {
            let kept_from = kept_from(seen);
            self.late.retain(|window, _| *window >= kept_from);
            self.run(definition, &all, seen, false);
            if is_blurred {
                self.blurred.push((definition, all));
            }
        }
    }

    /// Points were acknowledged, in this time: windows that had ended before, not too long ago, are computed again.
    pub fn note_points(&mut self, carried: &[Carried], seen: &BTreeSet<World>, times: &Range<i64>) {
        let kept_from = kept_from(seen);
        for carried in carried.iter().filter(|carried| carried.outcome == Outcome::Done) {
            let Operation::Write { database, policy, points } = &carried.operation else { continue };
            let policy = if policy.is_empty() { SOURCE.1 } else { policy };
            for point in points {
                let place = ((*database).to_owned(), policy.to_owned(), point.measurement.to_owned());
                self.note_point(&place, point.time, times, kept_from);
            }
        }
    }

    fn note_point(&mut self, place: &Place, time: i64, times: &Range<i64>, kept_from: i64) {
        for definition in DEFINITIONS.iter().filter(|definition| self.last_runs.contains_key(definition.name))
        {
            let Some(late) = definition.late.filter(|_| definition.reads(place)) else { continue };
            let window = definition.window(time);
            if window.end <= times.start && window.end > times.end - late && window.start >= kept_from {
                self.late.insert(window.start, Late::default());
            }
        }
    }

    /// All windows that got late points have been computed, after this time: what was there before is there no more.
    pub fn late_is_done(&mut self, worlds: &BTreeSet<World>, now: i64) {
        for definition in DEFINITIONS.iter() {
            let Some(&last_run) = self.last_runs.get(definition.name) else { continue };
            if definition.late.is_none() {
                continue;
            }
            self.compute(definition, worlds, false);
            let until = definition.left_alone(last_run, now);
            for (window, late) in std::mem::take(&mut self.late) {
                if window + definition.interval > until {
                    continue;
                }
                for (cell, values) in late.cells.into_iter().filter(|(_, values)| !values.contains(&None)) {
                    self.cells.insert(cell, values);
                }
            }
        }
    }

    /// Whether every query has run as late as it can have.
    pub fn all_have_run(&self, now: i64) -> Result<(), String> {
        for (name, last_run) in &self.last_runs {
            let Some(definition) = Definition::of(name) else { continue };
            let expected = Some(definition.run_time(now));
            if *last_run != expected {
                return Err(format!("{name} ran last at {last_run:?}, not at {expected:?}"));
            }
        }
        Ok(())
    }

    /// Compares with what the targets have, by measurement.
    pub fn agree(&mut self, observed: &BTreeMap<String, Points>) -> Result<(), String> {
        let mut found = Answer::new();
        for (target, points) in observed {
            for ((tags, window), fields) in points {
                for (field, value) in fields {
                    let (target, tags, field) = (target.clone(), tags.clone(), field.clone());
                    found.insert(Cell { target, tags, window: *window, field }, value.clone());
                }
            }
        }
        let nothing = BTreeSet::from([None]);
        for cell in self.cells.keys().chain(found.keys()).collect::<BTreeSet<_>>() {
            let (possible, value) = (self.cells.get(cell).unwrap_or(&nothing), found.get(cell).cloned());
            if !possible.contains(&value) && !self.is_blurred(cell) {
                let Cell { target, tags, window, field } = cell;
                return Err(format!(
                    "{target}: {field} of {} at {window} is {value:?}, but can only be {possible:?}",
                    tags.series_key("")
                ));
            }
        }
        self.blurred.clear();
        self.cells = found.into_iter().map(|(cell, value)| (cell, BTreeSet::from([Some(value)]))).collect();
        Ok(())
    }

    fn is_blurred(&self, cell: &Cell) -> bool {
        self.blurred.iter().any(|(definition, windows)| {
            (definition.all || definition.name == cell.target) && windows.contains(&cell.window)
        })
    }
}

/// Windows that begin before this may be left as they are: some of what they are computed from is about to expire.
fn kept_from(seen: &BTreeSet<World>) -> i64 {
    let visible = seen.iter().map(|world| world.visible_from(SOURCE.0, SOURCE.1));
    visible.max().unwrap_or(i64::MIN).saturating_add(EXPIRY_MARGIN)
}

/// What the statement may have answered.
fn answers(definition: &Definition, windows: &Range<i64>, seen: &BTreeSet<World>) -> Possible {
    let answers: BTreeSet<Answer> = seen.iter().map(|world| definition.answer(world, windows)).collect();
    let cells: BTreeSet<&Cell> = answers.iter().flat_map(BTreeMap::keys).collect();
    let values = |cell: &Cell| -> BTreeSet<Option<String>> {
        answers.iter().map(|answer| answer.get(cell).cloned()).collect()
    };
    cells.into_iter().map(|cell| (cell.clone(), values(cell))).collect()
}
