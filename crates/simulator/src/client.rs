//! What clients do, and what they may be answered.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hyperbytedb_domain::CancelToken;
use hyperbytedb_domain::catalog::Table;
use hyperbytedb_domain::ports::WriteError;
use parking_lot::Mutex;

use crate::history::Operation;
use crate::life::LifeOperation;
use crate::model::{Carried, Outcome, Points, Shard, World};
use crate::observe::{counts, counts_of, is_aside, points_of, policy_of};
use crate::process::Process;
use crate::queries::{Attempt, Computed, DEFINITIONS};

/// An operation that a client is at.
pub type Slot = Arc<Mutex<Running>>;

pub struct Running {
    pub carried: Carried,
    pub read: Option<Result<Answer, String>>,
    /// At windows of continuous queries.
    pub attempts: Vec<Attempt>,
}

impl Running {
    pub fn begin(operation: &Operation) -> Self {
        Self { carried: Carried::begin(operation), read: None, attempts: Vec::new() }
    }
}

/// What a reader got.
pub enum Answer {
    Points(Points),
    /// By field.
    Counts(BTreeMap<String, i64>),
}

/// Carries out an operation as a client does, and says how it ended.
pub fn carry_out_alone(process: &Process, operation: &Operation) -> Outcome {
    carry_alone(process, operation).carried.outcome
}

pub(crate) fn carry_alone(process: &Process, operation: &Operation) -> Running {
    let running = Mutex::new(Running::begin(operation));
    carry(process, operation, &CancelToken::default(), &running);
    running.into_inner()
}

/// Carries out an operation as a client does.
pub fn carry(process: &Process, operation: &Operation, cancel: &CancelToken, running: &Mutex<Running>) {
    let outcome = match operation {
        Operation::Write { database, policy, points } => {
            let lines: Vec<String> = points.iter().map(|point| point.line()).collect();
            match process.write(database, policy, lines.join("\n"), None) {
                Ok(()) => Outcome::Done,
                Err(WriteError::DatabaseNotFound(_) | WriteError::RetentionPolicyNotFound(_)) => {
                    Outcome::Refused
                }
                Err(WriteError::Rejected(text)) => {
                    refused(&text).map_or(Outcome::Unknown(text), Outcome::Rejected)
                }
                Err(error) => Outcome::Unknown(error.to_string()),
            }
        }
        Operation::Read { database, policy, measurement, counts, .. } => {
            let schema = || process.catalog().table(database, policy, measurement).cloned();
            let before = schema();
            match process.query(database, &operation.to_string(), cancel) {
                Ok(blocks) => {
                    // A statement groups by the tags that were known when it began.
                    if schema() == before {
                        running.lock().read = Some(if *counts {
                            Ok(Answer::Counts(counts_of(&blocks)))
                        } else {
                            points_of(&blocks).map(Answer::Points)
                        });
                    }
                    Outcome::Done
                }
                Err(error) => Outcome::Unknown(error),
            }
        }
        Operation::DropShard { position } => drop_shard(process, *position, running),
        Operation::Seal => {
            process.press();
            Outcome::Done
        }
        Operation::Follow => outcome(process.follow().map_err(|error| error.to_string())),
        Operation::Compute => {
            compute(process, running);
            Outcome::Done
        }
        Operation::Life(LifeOperation::Expire) => expire(process, running),
        Operation::Life(LifeOperation::RunQueries) => {
            run_queries(process, running);
            Outcome::Done
        }
        Operation::Checkpoint => outcome(process.checkpoint().map_err(|error| error.to_string())),
        Operation::Merge => outcome(process.merge().map_err(|error| error.to_string())),
        Operation::Restart => Outcome::Refused,
        statement => {
            let database = statement.database();
            outcome(process.query(database, &statement.to_string(), cancel).map(drop))
        }
    };
    running.lock().carried.outcome = outcome;
}

fn outcome(answer: Result<(), String>) -> Outcome {
    answer.map_or_else(Outcome::Unknown, |()| Outcome::Done)
}

fn drop_shard(process: &Process, position: usize, running: &Mutex<Running>) -> Outcome {
    let catalog = process.catalog();
    let mut shards = Vec::new();
    for (database, entry) in catalog.databases.iter().filter(|(name, _)| !is_aside(name)) {
        for (policy, entry) in &entry.retention_policies {
            for group in entry.shard_groups.values() {
                let (database, policy) = (database.clone(), policy.clone());
                let shard = Shard { database, policy, start: group.start, end: group.end };
                shards.push((group.id, shard));
            }
        }
    }
    let Some((id, shard)) = shards.get(position % shards.len().max(1)) else { return Outcome::Refused };
    running.lock().carried.shards = vec![shard.clone()];
    outcome(process.query("", &format!("DROP SHARD {id}"), &CancelToken::default()).map(drop))
}

/// How many points of a write were refused.
fn refused(text: &str) -> Option<usize> {
    text.rsplit_once("dropped=")?.1.parse().ok()
}

/// What the retention job has to drop is known from the catalogue that it looks at.
fn expire(process: &Process, running: &Mutex<Running>) -> Outcome {
    let now = process.host.scheduler.clock();
    let (ids, shards): (Vec<u64>, Vec<Shard>) = expired(process, now).into_iter().unzip();
    running.lock().carried.shards = shards;
    if !process.expire(now) {
        return Outcome::Unknown("some shard groups stay".to_owned());
    }
    let catalog = process.catalog();
    let mut policies = catalog.databases.values().flat_map(|database| database.retention_policies.values());
    if policies.any(|policy| policy.shard_groups.values().any(|group| ids.contains(&group.id))) {
        running.lock().read = Some(Err("an expired shard group stays".to_owned()));
    }
    Outcome::Done
}

/// Shard groups all of whose points have expired.
pub fn expired(process: &Process, now: i64) -> Vec<(u64, Shard)> {
    let catalog = process.catalog();
    let mut shards = Vec::new();
    for (database, entry) in &catalog.databases {
        for (policy, entry) in &entry.retention_policies {
            let rule = policy_of(entry);
            for group in entry.shard_groups.values().filter(|group| rule.has_expired(now, group.end)) {
                let (database, policy) = (database.clone(), policy.clone());
                shards.push((group.id, Shard { database, policy, start: group.start, end: group.end }));
            }
        }
    }
    shards
}

/// Runs what is due, and notes each run when it begins.
fn run_queries(process: &Process, running: &Mutex<Running>) {
    let (last_runs, looked) = (process.last_runs(), process.host.scheduler.clock());
    for job in process.due_queries() {
        let name = job.key.1.clone();
        let (before, now) = (schema(process), process.host.scheduler.clock());
        let last_run = last_runs.get(&name).copied().flatten();
        let position = {
            let attempts = &mut running.lock().attempts;
            let computed = Computed::Run { last_run, looked, now, is_done: false };
            attempts.push(Attempt { name, computed, is_blurred: true });
            attempts.len() - 1
        };
        let is_done = process.run_query(&job);
        let attempt = &mut running.lock().attempts[position];
        attempt.computed = Computed::Run { last_run, looked, now, is_done };
        attempt.is_blurred = schema(process) != before;
    }
}

fn compute(process: &Process, running: &Mutex<Running>) {
    let before = schema(process);
    let late = DEFINITIONS.iter().filter(|definition| definition.late.is_some());
    let attempts = late.map(|definition| Attempt {
        name: definition.name.to_owned(),
        computed: Computed::Late,
        is_blurred: true,
    });
    running.lock().attempts.extend(attempts);
    process.compute();
    let is_blurred = schema(process) != before;
    running.lock().attempts.iter_mut().for_each(|attempt| attempt.is_blurred = is_blurred);
}

/// What the continuous queries read. Statements go by the tags and fields that are known when they begin.
pub fn schema(process: &Process) -> Vec<Arc<Table>> {
    let catalog = process.catalog();
    let tables = catalog.tables().filter(|table| !is_aside(&table.database));
    tables.cloned().collect()
}

/// What a reader saw beside other operations: each point as it was in some world on the way, and all that were there in
/// every one.
pub fn check_read(operation: &Operation, answer: &Answer, seen: &BTreeSet<World>) -> Result<(), String> {
    let Operation::Read { database, policy, measurement, time, .. } = operation else { return Ok(()) };
    let policy = if policy.is_empty() { "autogen" } else { policy };
    let place = ((*database).to_owned(), policy.to_owned(), (*measurement).to_owned());
    let is_asked = |at: i64| time.is_none_or(|(from, to)| (from..=to).contains(&at));
    let possible: Vec<Points> = seen.iter().map(|world| world.visible(&place)).collect();
    let points = match answer {
        Answer::Points(points) => points,
        Answer::Counts(counted) => {
            let asked = |points: &Points| {
                counts(points.iter().filter(|((_, at), _)| is_asked(*at)).map(|(_, fields)| fields))
            };
            return check_counts(counted, &possible.iter().map(asked).collect::<Vec<_>>())
                .map_err(|text| format!("count of {place:?}: {text}"));
        }
    };
    for (key, fields) in points {
        if !possible.iter().any(|world| world.get(key) == Some(fields)) {
            let series = key.0.series_key("");
            let expected: BTreeSet<_> = possible.iter().map(|world| world.get(key)).collect();
            return Err(format!(
                "read of {place:?}: the point {series} {} is {fields:?}, but can only be {expected:?}",
                key.1
            ));
        }
    }
    let Some(first) = possible.first() else { return Ok(()) };
    for key in first.keys().filter(|(_, at)| is_asked(*at)) {
        if possible.iter().all(|world| world.contains_key(key)) && !points.contains_key(key) {
            return Err(format!(
                "read of {place:?}: the point {} {} is missing",
                key.0.series_key(""),
                key.1
            ));
        }
    }
    Ok(())
}

/// Each count is between the least and the greatest that there can have been.
fn check_counts(counted: &BTreeMap<String, i64>, possible: &[BTreeMap<String, i64>]) -> Result<(), String> {
    for name in possible.iter().flat_map(BTreeMap::keys).chain(counted.keys()) {
        let count = |counts: &BTreeMap<String, i64>| counts.get(name).copied().unwrap_or(0);
        let (least, most) = (possible.iter().map(count).min(), possible.iter().map(count).max());
        let range = least.unwrap_or(0)..=most.unwrap_or(0);
        if !range.contains(&count(counted)) {
            return Err(format!("{} points have {name:?}, but it can only be {range:?}", count(counted)));
        }
    }
    Ok(())
}
