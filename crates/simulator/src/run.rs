//! Running a history.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use hyperbytedb_domain::ports::WriteError;
use hyperbytedb_domain::{CancelToken, EngineError};
use hyperbytedb_memory_ports::{Disk, Random, WalDisk};
use parking_lot::Mutex;

use crate::history::{History, Operation, Round, SHORT, VIEWS, view_statements};
use crate::model::{Carried, Outcome, Points, Shard, World, carry_out};
use crate::observe::{check_view, counts, counts_of, observe, points_of};
use crate::process::Process;
use crate::scheduler::{Faults, PRINT_CALLS, Scheduler, WRITER};

/// Worlds that are followed without looking which of them it is.
const WORLDS_UNCHECKED: usize = 64;
/// Starts of one process that may fail in a row.
const STARTS_MAX: u32 = 4;
/// More than a process has threads.
const ATTEMPTS: u32 = 6;

/// What a run without a finding came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Summary {
    pub operations: u64,
    pub done: u64,
    pub crashes: u64,
    /// A hash of all decisions.
    pub trace: u64,
}

/// A promise that was broken, and in which round.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub round: usize,
    pub text: String,
}

/// Runs a history to its end, or to the first finding.
pub fn run(history: &History) -> Result<Summary, Finding> {
    let mut simulation = Simulation::start(history).map_err(|text| Finding { round: 0, text })?;
    for (number, round) in history.rounds.iter().enumerate() {
        simulation.round(round).map_err(|text| Finding { round: number, text })?;
    }
    let last = history.rounds.len();
    let undisturbed =
        history.rounds.iter().all(|round| round.faults.errors == 0 && round.replay_faults.errors == 0);
    simulation.settle(undisturbed).map_err(|text| Finding { round: last, text })?;
    Ok(simulation.summary)
}

struct Simulation {
    disk: Disk,
    scheduler: Arc<Scheduler>,
    process: Arc<Process>,
    /// What the last orderly stop kept of the heads.
    head_file: Option<Vec<u8>>,
    worlds: BTreeSet<World>,
    /// An operation of this process had no answer: it may be at work still.
    unfinished: bool,
    random: Random,
    power_failures: bool,
    has_views: bool,
    summary: Summary,
}

/// Runs of dirty windows until there are none: more never end.
const COMPUTES_MAX: u32 = 10_000;

/// One process reads everything from the engine, one everything that it can from memory, one has room for a few points.
pub fn head_bytes(seed: u64) -> usize {
    [0, 1 << 30, 4 << 10][(seed % 3) as usize]
}

impl Drop for Simulation {
    fn drop(&mut self) {
        self.scheduler.end();
    }
}

/// An operation that a client is at.
type Slot = Arc<Mutex<Running>>;

struct Running {
    carried: Carried,
    read: Option<Result<Answer, String>>,
}

/// What a reader got.
enum Answer {
    Points(Points),
    /// By field.
    Counts(BTreeMap<String, i64>),
}

impl Simulation {
    fn start(history: &History) -> Result<Self, String> {
        let seed = history.seed;
        let disk = Disk { wal: Arc::new(WalDisk::new(history.power_failures)), ..Disk::default() };
        let scheduler = Scheduler::new(seed);
        let has_views = history.has_views();
        let process = Process::open(&disk, scheduler.host(), head_bytes(seed), has_views, None);
        let process = Arc::new(process.map_err(|error| error.to_string())?);
        process.replay(None)?;
        if has_views {
            process.query("", &format!("CREATE DATABASE {VIEWS}"), &CancelToken::default())?;
        }
        let worlds = BTreeSet::from([World::default()]);
        let random = Random::new(seed);
        let (power_failures, summary) = (history.power_failures, Summary::default());
        Ok(Self {
            disk,
            scheduler,
            process,
            head_file: None,
            worlds,
            unfinished: false,
            random,
            power_failures,
            has_views,
            summary,
        })
    }

    fn round(&mut self, round: &Round) -> Result<(), String> {
        if round.operations == [Operation::Restart] {
            let heads = retried(|| self.process.stop());
            self.head_file = Some(heads.map_err(|error| format!("the stop failed: {error}"))?);
            self.end(false)?;
            self.open(round.schedule, round.replay_faults)?;
            return self.check();
        }
        self.begin(round.schedule, round.faults);
        let running: Vec<Slot> = round.operations.iter().map(|operation| self.spawn(operation)).collect();
        self.scheduler.run_clients();
        self.look_for_finding()?;
        let crashed = self.process.host.has_ended();
        if crashed {
            self.end(round.faults.crash.is_some_and(|crash| crash.power))?;
        }
        let carried: Vec<Carried> = running.iter().map(|slot| slot.lock().carried.clone()).collect();
        self.summary.operations += carried.len() as u64;
        self.summary.done += carried.iter().filter(|c| c.outcome == Outcome::Done).count() as u64;
        if PRINT_CALLS.load(Ordering::Relaxed) {
            println!("{carried:#?}");
        }
        let (after, seen) = carry_out(&self.worlds, &carried);
        if after.is_empty() {
            return Err(format!("no order of the operations explains their outcomes: {carried:?}"));
        }
        for slot in &running {
            let running = slot.lock();
            if let Some(read) = &running.read {
                let answer = read.as_ref().map_err(Clone::clone)?;
                check_read(&running.carried.operation, answer, &seen)?;
            }
        }
        self.worlds = after;
        self.unfinished |= carried.iter().any(|c| matches!(c.outcome, Outcome::Unknown(_)));
        if crashed {
            self.open(round.schedule, round.replay_faults)?;
        }
        if round.checked || self.worlds.len() > WORLDS_UNCHECKED { self.check() } else { Ok(()) }
    }

    fn begin(&self, seed: u64, faults: Faults) {
        self.scheduler.begin(seed, faults, true);
        if let Some(crash) = faults.crash {
            self.process.host.crash(crash);
        }
    }

    fn look_for_finding(&self) -> Result<(), String> {
        self.scheduler.finding().map_or(Ok(()), Err)
    }

    fn end(&mut self, power: bool) -> Result<(), String> {
        self.scheduler.end();
        self.look_for_finding()?;
        self.summary.crashes += 1;
        self.summary.trace = self.summary.trace.wrapping_mul(31).wrapping_add(self.scheduler.trace());
        if power && self.power_failures {
            self.disk.fail_power(&mut self.random);
        }
        Ok(())
    }

    /// Starts a process, again when that fails; the faults count for the first attempt.
    fn open(&mut self, seed: u64, mut faults: Faults) -> Result<(), String> {
        for _ in 0..STARTS_MAX {
            self.scheduler = Scheduler::new(seed);
            let process =
                Process::open(&self.disk, self.scheduler.host(), head_bytes(seed), self.has_views, None)
                    .map_err(|error| error.to_string())?;
            self.process = Arc::new(process);
            self.unfinished = false;
            self.begin(seed, faults);
            let replayed = Arc::new(Mutex::new(None));
            let (process, answer) = (self.process.clone(), replayed.clone());
            let head_file = self.head_file.take();
            self.process.host.spawn("replay", Some(CancelToken::default()), move || {
                *answer.lock() = Some(process.replay(head_file))
            });
            if self.random.chance(1, 3) {
                let process = self.process.clone();
                self.process
                    .host
                    .spawn("checkpoint", Some(CancelToken::default()), move || drop(process.checkpoint()));
            }
            self.scheduler.run_clients();
            self.look_for_finding()?;
            match (self.process.host.has_ended(), replayed.lock().take()) {
                (false, Some(Ok(()))) => {
                    let process = self.process.clone();
                    self.process.host.spawn("warm", None, move || process.warm());
                    return Ok(());
                }
                (false, Some(Err(error))) if faults == Faults::default() => {
                    return Err(format!("the replay failed: {error}"));
                }
                _ => {}
            }
            self.end(faults.crash.is_some_and(|crash| crash.power))?;
            faults = Faults::default();
        }
        Err("the process does not start".to_owned())
    }

    fn spawn(&self, operation: &Operation) -> Slot {
        let carried = Carried {
            operation: operation.clone(),
            outcome: Outcome::Unknown("no answer".to_owned()),
            shard: None,
        };
        let slot = Arc::new(Mutex::new(Running { carried, read: None }));
        let (process, running, operation) = (self.process.clone(), slot.clone(), operation.clone());
        let name = if let Operation::Write { .. } = operation { WRITER } else { "client" };
        let cancel = CancelToken::default();
        let token = cancel.clone();
        self.process.host.spawn(name, Some(token), move || carry(&process, &operation, &cancel, &running));
        slot
    }

    /// Reads everything, and keeps the worlds that agree.
    fn check(&mut self) -> Result<(), String> {
        self.scheduler.begin(self.random.number(), Faults::default(), false);
        let observation = observe(&self.process, &mut self.random, self.unfinished);
        self.look_for_finding()?;
        let observation = observation?;
        let mut wrong = None;
        let worlds = std::mem::take(&mut self.worlds);
        for world in worlds {
            match world.agrees(&observation) {
                Ok(()) => drop(self.worlds.insert(world)),
                Err(other) => wrong = wrong.into_iter().chain([other]).min(),
            }
        }
        match wrong {
            Some(wrong) if self.worlds.is_empty() => Err(wrong.text),
            _ => Ok(()),
        }
    }

    /// Comes to rest: everything flushed, merged and checkpointed. Nothing may be left over, also after a restart.
    /// `undisturbed`: no call has failed.
    fn settle(&mut self, undisturbed: bool) -> Result<(), String> {
        for _ in 0..2 {
            self.rest().map_err(|error| format!("coming to rest failed: {error}"))?;
            self.worlds = std::mem::take(&mut self.worlds).into_iter().map(World::at_rest).collect();
            self.check()?;
            self.check_views()?;
            if self.process.log_bytes() > 0 {
                return Err(format!("the log keeps {} bytes that nobody needs", self.process.log_bytes()));
            }
            self.check_left_overs(undisturbed)?;
            self.end(true)?;
            self.open(self.random.clone().number(), Faults::default())?;
            self.check()?;
            // A start drops tables that lost their last series before.
            self.rest().map_err(|error| format!("coming to rest after a start failed: {error}"))?;
            self.check_left_overs(true)?;
        }
        self.summary.trace = self.summary.trace.wrapping_mul(31).wrapping_add(self.scheduler.trace());
        Ok(())
    }

    /// Targets must be what the statements of their views answer.
    fn check_views(&self) -> Result<(), String> {
        let catalog = self.process.catalog();
        let views = catalog.database(VIEWS).map(|database| &database.materialized_views);
        for view in views.into_iter().flatten() {
            check_view(&self.process, &view_statements(&view.name))?;
        }
        Ok(())
    }

    /// Has the views computed what is dirty; a view whose source does not exist stays behind.
    fn settle_views(&self) -> Result<(), EngineError> {
        retried(|| self.process.follow()).map_err(|error| EngineError::failed("follow the log", error))?;
        for _ in 0..COMPUTES_MAX {
            if !self.process.has_work() {
                return Ok(());
            }
            self.process.compute();
        }
        Err(EngineError::failed("views", "their windows stay dirty"))
    }

    fn rest(&self) -> Result<(), EngineError> {
        let process = &self.process;
        self.settle_views()?;
        // A delete that takes a table's last series has the table dropped behind it.
        for _ in 0..2 {
            retried(|| process.flush_all())?;
            retried(|| process.merge())?;
            retried(|| process.follow()).map_err(|error| EngineError::failed("follow the log", error))?;
            retried(|| process.checkpoint())?;
        }
        Ok(())
    }

    /// Engine, index and marks know nothing that the catalogue does not; `indexed`: look at the index, too.
    fn check_left_overs(&self, indexed: bool) -> Result<(), String> {
        let catalog = self.process.catalog();
        let tables: BTreeSet<_> = catalog.tables().map(|table| table.id).collect();
        let marked = self.process.flush.dirty().tables();
        let left = [
            ("the engine", self.disk.engine.tables()),
            ("the index", if indexed { self.disk.node.indexed_tables() } else { Vec::new() }),
            ("a mark", marked),
        ];
        for (place, known) in left {
            if let Some(table) = known.iter().find(|table| !tables.contains(table)) {
                return Err(format!("{place} still has the dropped table {}", table.0));
            }
        }
        for partition in self.disk.engine.partitions() {
            let table = catalog.table_by_id(partition.table);
            let policy = table.and_then(|table| catalog.policy_of(table));
            if policy.is_none_or(|policy| policy.shard_groups.values().all(|g| g.id != partition.shard)) {
                return Err(format!("the engine still has {partition:?} of a dropped shard group"));
            }
        }
        Ok(())
    }
}

/// Until it succeeds: a call of each of the process's threads may be about to fail.
pub fn retried<T, E>(run: impl Fn() -> Result<T, E>) -> Result<T, E> {
    (1..ATTEMPTS).fold(run(), |answer, _| answer.or_else(|_| run()))
}

/// Carries out an operation as a client does, and says how it ended.
pub fn carry_out_alone(process: &Process, operation: &Operation) -> Outcome {
    let (outcome, shard) = (Outcome::Unknown("no answer".to_owned()), None);
    let carried = Carried { operation: operation.clone(), outcome, shard };
    let running = Mutex::new(Running { carried, read: None });
    carry(process, operation, &CancelToken::default(), &running);
    running.into_inner().carried.outcome
}

/// Carries out an operation as a client does.
fn carry(process: &Process, operation: &Operation, cancel: &CancelToken, running: &Mutex<Running>) {
    let outcome = match operation {
        Operation::Write { database, policy, points } => {
            let lines: Vec<String> = points.iter().map(|point| point.line()).collect();
            match process.write(database, policy, lines.join("\n"), None) {
                Ok(()) => Outcome::Done,
                Err(WriteError::DatabaseNotFound(_) | WriteError::RetentionPolicyNotFound(_)) => {
                    Outcome::Refused
                }
                Err(WriteError::Rejected(_)) if *policy == SHORT => Outcome::Refused,
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
            process.compute();
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
    for (database, entry) in catalog.databases.iter().filter(|(name, _)| *name != VIEWS) {
        for (policy, entry) in &entry.retention_policies {
            for group in entry.shard_groups.values() {
                let (database, policy) = (database.clone(), policy.clone());
                let shard = Shard { database, policy, start: group.start, end: group.end };
                shards.push((group.id, shard));
            }
        }
    }
    let Some((id, shard)) = shards.get(position % shards.len().max(1)) else { return Outcome::Refused };
    running.lock().carried.shard = Some(shard.clone());
    outcome(process.query("", &format!("DROP SHARD {id}"), &CancelToken::default()).map(drop))
}

/// What a reader saw beside other operations: each point as it was in some world on the way, and all that were there in
/// every one.
fn check_read(operation: &Operation, answer: &Answer, seen: &BTreeSet<World>) -> Result<(), String> {
    let Operation::Read { database, policy, measurement, time, .. } = operation else { return Ok(()) };
    let policy = if policy.is_empty() { "autogen" } else { policy };
    let place = ((*database).to_owned(), policy.to_owned(), (*measurement).to_owned());
    let is_asked = |at: i64| time.is_none_or(|(from, to)| (from..=to).contains(&at));
    let nothing = Points::new();
    let possible: Vec<&Points> =
        seen.iter().map(|world| world.tables.get(&place).map_or(&nothing, |table| &table.points)).collect();
    let points = match answer {
        Answer::Points(points) => points,
        Answer::Counts(counted) => {
            let asked = |points: &&Points| {
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
