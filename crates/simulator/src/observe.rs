//! Reading everything, and whether it agrees with itself and with a world.

use std::collections::{BTreeMap, BTreeSet};

use hyperbytedb_domain::catalog::RetentionPolicy;
use hyperbytedb_domain::result::SeriesBlock;
use hyperbytedb_domain::{CancelToken, FieldValue, QueryContext, Tags};
use hyperbytedb_memory_ports::Random;

use crate::history::{VIEWS, where_clause};
use crate::model::{Fields, Place, Points, Policies, Policy, World};
use crate::process::Process;
use crate::queries::QUERIES;
use crate::run::retried;

/// What the server answers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Observation {
    pub databases: BTreeMap<String, Policies>,
    pub tables: BTreeMap<Place, Observed>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Observed {
    pub points: Points,
    pub fields: BTreeSet<String>,
    pub series: BTreeSet<Tags>,
}

/// Reads all points, fields and series; an error says what cannot be. `unfinished`: a removal that had no answer may be at
/// work.
pub fn observe(process: &Process, random: &mut Random, unfinished: bool) -> Result<Observation, String> {
    let mut observation = Observation::default();
    let catalog = process.catalog();
    for (database, entry) in catalog.databases.iter().filter(|(name, _)| !is_aside(name)) {
        let policies = entry.retention_policies.iter();
        let policies = policies.map(|(name, policy)| (name.clone(), policy_of(policy))).collect();
        observation.databases.insert(database.clone(), policies);
        let shown = shown_measurements(process, database)?;
        for (policy, entry) in &entry.retention_policies {
            for measurement in entry.tables.keys() {
                let place = (database.clone(), policy.clone(), measurement.clone());
                if unfinished {
                    finish_removals(process, &place)?;
                }
                let observed = observe_table(process, &place, random)?;
                if !observed.points.is_empty() && !shown.contains(measurement) {
                    return Err(format!("SHOW MEASUREMENTS leaves out {place:?}"));
                }
                observation.tables.insert(place, observed);
            }
        }
    }
    Ok(observation)
}

/// Databases that the model does not know.
pub fn is_aside(database: &str) -> bool {
    database == VIEWS || database == QUERIES
}

pub fn policy_of(policy: &RetentionPolicy) -> Policy {
    Policy {
        duration: policy.duration,
        past_limit: policy.past_write_limit,
        future_limit: policy.future_write_limit,
    }
}

/// What the continuous queries have written, by measurement.
pub fn targets(process: &Process) -> Result<BTreeMap<String, Points>, String> {
    by_measurement(ask(process, QUERIES, &format!("SELECT * FROM {QUERIES}.autogen./.*/ GROUP BY *"))?)
}

/// The target of a view must have what its statement answers. A source that does not exist has no answer.
pub fn check_view(process: &Process, [direct, target]: &[String; 2]) -> Result<(), String> {
    let Ok(direct) = ask(process, VIEWS, direct) else { return Ok(()) };
    let target = ask(process, VIEWS, target)?;
    let (direct, target) = (by_measurement(direct)?, by_measurement(target)?);
    let nothing = Points::new();
    for name in direct.keys().chain(target.keys()) {
        let of = |side: &BTreeMap<String, Points>| side.get(name).unwrap_or(&nothing).clone();
        if of(&direct) != of(&target) {
            return Err(format!("the view of {name}: {}", difference(&of(&direct), &of(&target))));
        }
    }
    Ok(())
}

fn by_measurement(blocks: Vec<SeriesBlock>) -> Result<BTreeMap<String, Points>, String> {
    let mut names: BTreeMap<String, Vec<SeriesBlock>> = BTreeMap::new();
    for block in blocks {
        names.entry(block.name.to_string()).or_default().push(block);
    }
    names.into_iter().map(|(name, blocks)| Ok((name, points_of(&blocks)?))).collect()
}

/// The head forgets deleted points at once, the index their series when the engine has deleted them.
fn finish_removals(process: &Process, place: &Place) -> Result<(), String> {
    let table = process.catalog().table(&place.0, &place.1, &place.2).map(|table| table.id);
    let Some(table) = table.filter(|&table| process.flush.is_removing(table)) else { return Ok(()) };
    let flush = || process.flush.flush_tables(&[table], &QueryContext::unbounded());
    retried(flush).map_err(|error| format!("a removal fails: {error}"))
}

fn observe_table(process: &Process, place: &Place, random: &mut Random) -> Result<Observed, String> {
    let source = source(place);
    let points = select(process, &place.0, &format!("SELECT * FROM {source} GROUP BY *"))?;
    let (fields, series) = (shown_fields(process, place)?, shown_series(process, place)?);
    count(process, place, &points, None)?;
    let times: Vec<i64> = points.keys().map(|(_, time)| *time).collect();
    if !times.is_empty() {
        let (a, b) = (*random.pick(&times), *random.pick(&times));
        let range = (a.min(b), a.max(b));
        let inside: Points = points
            .iter()
            .filter(|((_, time), _)| (range.0..=range.1).contains(time))
            .map(|(key, fields)| (key.clone(), fields.clone()))
            .collect();
        let clause = where_clause(None, Some(range));
        let ranged = select(process, &place.0, &format!("SELECT * FROM {source}{clause} GROUP BY *"))?;
        if ranged != inside {
            return Err(format!("{place:?}{clause}: {}", difference(&inside, &ranged)));
        }
        count(process, place, &inside, Some(range))?;
    }
    Ok(Observed { points, fields, series })
}

/// Counts must be those of the points.
fn count(process: &Process, place: &Place, points: &Points, range: Option<(i64, i64)>) -> Result<(), String> {
    let expected = counts(points.values());
    let text = format!("SELECT count(*) FROM {}{}", source(place), where_clause(None, range));
    let counted = counts_of(&ask(process, &place.0, &text)?);
    if counted != expected {
        return Err(format!("{text} on {place:?}: {counted:?}, but there are {expected:?}"));
    }
    Ok(())
}

/// How many points have each field.
pub fn counts<'a>(points: impl Iterator<Item = &'a Fields>) -> BTreeMap<String, i64> {
    let mut counts = BTreeMap::new();
    for name in points.flat_map(BTreeMap::keys) {
        *counts.entry(name.clone()).or_default() += 1;
    }
    counts
}

/// The answer of `count(*)`.
pub fn counts_of(blocks: &[SeriesBlock]) -> BTreeMap<String, i64> {
    let mut counts = BTreeMap::new();
    for block in blocks {
        for (column, value) in block.rows().flat_map(|row| block.columns.iter().zip(row)) {
            if let (Some(name), &FieldValue::Integer(value)) = (column.strip_prefix("count_"), value)
                && value != 0
            {
                counts.insert(name.to_owned(), value);
            }
        }
    }
    counts
}

/// The points of a SELECT that groups by all tags, each once.
fn select(process: &Process, database: &str, text: &str) -> Result<Points, String> {
    points_of(&ask(process, database, text)?)
}

fn ask(process: &Process, database: &str, text: &str) -> Result<Vec<SeriesBlock>, String> {
    retried(|| process.query(database, text, &CancelToken::default()))
}

pub fn points_of(blocks: &[SeriesBlock]) -> Result<Points, String> {
    let mut points = Points::new();
    for block in blocks {
        let tags = block.tags.iter().flat_map(|tags| tags.iter()).cloned().collect();
        let tags = Tags::new(tags);
        for row in block.rows() {
            let mut time = None;
            let mut fields = Fields::new();
            for (column, value) in block.columns.iter().zip(row) {
                match value {
                    FieldValue::Time(at) => time = Some(*at),
                    FieldValue::Null => {}
                    value => drop(fields.insert(column.clone(), printed(value))),
                }
            }
            let key = (tags.clone(), time.ok_or("a row without a time")?);
            let text = format!("{} {:?} is answered twice", key.0.series_key(&block.name), key.1);
            if points.insert(key, fields).is_some() {
                return Err(text);
            }
        }
    }
    Ok(points)
}

fn printed(value: &FieldValue) -> String {
    match value {
        FieldValue::Float(value) => value.to_string(),
        FieldValue::Integer(value) => format!("{value}i"),
        FieldValue::Boolean(value) => value.to_string(),
        FieldValue::String(value) => format!("\"{value}\""),
        other => format!("{other:?}"),
    }
}

fn source((database, policy, measurement): &Place) -> String {
    format!("{database}.{policy}.{measurement}")
}

fn texts(blocks: &[SeriesBlock]) -> impl Iterator<Item = String> {
    blocks.iter().flat_map(SeriesBlock::rows).filter_map(|row| match row.first() {
        Some(FieldValue::String(text)) => Some(text.to_string()),
        _ => None,
    })
}

fn shown_measurements(process: &Process, database: &str) -> Result<BTreeSet<String>, String> {
    let blocks = ask(process, database, "SHOW MEASUREMENTS")?;
    Ok(texts(&blocks).collect())
}

fn shown_fields(process: &Process, place: &Place) -> Result<BTreeSet<String>, String> {
    let text = format!("SHOW FIELD KEYS FROM {}", source(place));
    Ok(texts(&ask(process, &place.0, &text)?).collect())
}

fn shown_series(process: &Process, place: &Place) -> Result<BTreeSet<Tags>, String> {
    let text = format!("SHOW SERIES FROM {}", source(place));
    let blocks = ask(process, &place.0, &text)?;
    let tags = |key: String| {
        let pairs = key.split(',').skip(1).filter_map(|pair| pair.split_once('='));
        Tags::new(pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect())
    };
    Ok(texts(&blocks).map(tags).collect())
}

/// How a world differs from what was observed; that of the nearest world says most.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Disagreement {
    /// Points that differ.
    points: usize,
    pub text: String,
}

impl World {
    /// Whether this can be what was observed.
    pub fn agrees(&self, observation: &Observation) -> Result<(), Disagreement> {
        self.compare(observation)
            .map_err(|text| Disagreement { points: self.points_apart(observation), text })
    }

    fn points_apart(&self, observation: &Observation) -> usize {
        let points = |tables: &mut dyn Iterator<Item = (&Place, &Points)>| -> BTreeSet<String> {
            tables
                .flat_map(|(place, points)| points.iter().map(move |point| format!("{place:?} {point:?}")))
                .collect()
        };
        let visible: BTreeMap<&Place, Points> =
            self.tables.keys().map(|place| (place, self.visible(place))).collect();
        let here = points(&mut visible.iter().map(|(place, points)| (*place, points)));
        let there = points(&mut observation.tables.iter().map(|(place, table)| (place, &table.points)));
        here.symmetric_difference(&there).count()
    }

    fn compare(&self, observation: &Observation) -> Result<(), String> {
        if self.databases != observation.databases {
            return Err(format!("databases are {:?}, not {:?}", observation.databases, self.databases));
        }
        let nothing = Observed::default();
        let no_table = crate::model::Table::default();
        let places: BTreeSet<&Place> = self.tables.keys().chain(observation.tables.keys()).collect();
        for place in places {
            let observed = observation.tables.get(place).unwrap_or(&nothing);
            let table = self.tables.get(place).unwrap_or(&no_table);
            let visible = self.visible(place);
            if visible != observed.points {
                return Err(format!("{place:?}: {}", difference(&visible, &observed.points)));
            }
            check_names(place, "field", &table.fields, &table.possible_fields, &observed.fields)?;
            let series =
                |points: &Points| -> BTreeSet<Tags> { points.keys().map(|(tags, _)| tags.clone()).collect() };
            let mut possible = series(&table.points);
            possible.extend(table.possible_series.iter().cloned());
            check_names(place, "series", &series(&visible), &possible, &observed.series)?;
        }
        Ok(())
    }
}

/// All that must be there are shown, and none that cannot.
fn check_names<T: Ord + std::fmt::Debug>(
    place: &Place,
    what: &str,
    certain: &BTreeSet<T>,
    possible: &BTreeSet<T>,
    shown: &BTreeSet<T>,
) -> Result<(), String> {
    if let Some(missing) = certain.iter().find(|name| !shown.contains(name)) {
        return Err(format!("{place:?}: {what} {missing:?} is not shown"));
    }
    match shown.iter().find(|name| !certain.contains(name) && !possible.contains(name)) {
        Some(stray) => Err(format!("{place:?}: {what} {stray:?} is shown, but has no point")),
        None => Ok(()),
    }
}

/// The first difference of two sets of points, in words.
pub fn difference(expected: &Points, found: &Points) -> String {
    for (key, fields) in expected {
        match found.get(key) {
            None => return format!("the point {} {} {fields:?} is missing", key.0.series_key(""), key.1),
            Some(other) if other != fields => {
                return format!(
                    "the point {} {} is {other:?} instead of {fields:?}",
                    key.0.series_key(""),
                    key.1
                );
            }
            Some(_) => {}
        }
    }
    match found.iter().find(|(key, _)| !expected.contains_key(key)) {
        Some((key, fields)) => {
            format!("the point {} {} {fields:?} should not be there", key.0.series_key(""), key.1)
        }
        None => "no difference".to_owned(),
    }
}
