//! Running a history.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use hyperbytedb_domain::{CancelToken, EngineError};
use hyperbytedb_memory_ports::{Disk, Random, WalDisk};
use parking_lot::Mutex;

pub use crate::client::carry_out_alone;
use crate::client::{Running, Slot, carry, check_read, schema};
use crate::history::{History, Operation, Round, VIEWS, view_statements};
use crate::model::{Carried, Outcome, World, carry_out};
use crate::observe::{check_view, observe, targets};
use crate::process::Process;
use crate::queries::{Attempt, QUERIES, Targets};
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

pub(crate) struct Simulation {
    disk: Disk,
    scheduler: Arc<Scheduler>,
    pub(crate) process: Arc<Process>,
    /// What the last orderly stop kept of the heads.
    head_file: Option<Vec<u8>>,
    pub(crate) worlds: BTreeSet<World>,
    /// The time of day, in nanoseconds since 1970.
    pub(crate) now: i64,
    /// Where continuous queries run.
    pub(crate) targets: Option<Targets>,
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

impl Simulation {
    fn start(history: &History) -> Result<Self, String> {
        let seed = history.seed;
        let disk = Disk { wal: Arc::new(WalDisk::new(history.power_failures)), ..Disk::default() };
        let scheduler = Scheduler::new(seed);
        scheduler.set_clock(history.now);
        let is_living = history.has_life();
        let has_views = history.has_views() || is_living;
        let process = Process::open(&disk, scheduler.host(), head_bytes(seed), has_views, None);
        let process = Arc::new(process.map_err(|error| error.to_string())?);
        process.replay(None)?;
        let aside = [(VIEWS, has_views), (QUERIES, is_living)];
        for (database, _) in aside.into_iter().filter(|(_, is_needed)| *is_needed) {
            process.query("", &format!("CREATE DATABASE {database}"), &CancelToken::default())?;
        }
        let worlds = BTreeSet::from([World { now: history.now, ..World::default() }]);
        let random = Random::new(seed);
        let (power_failures, summary) = (history.power_failures, Summary::default());
        Ok(Self {
            disk,
            scheduler,
            process,
            head_file: None,
            worlds,
            now: history.now,
            targets: is_living.then(Targets::default),
            unfinished: false,
            random,
            power_failures,
            has_views,
            summary,
        })
    }

    fn round(&mut self, round: &Round) -> Result<(), String> {
        let (before, meanwhile) = match round.passing {
            Some(passing) if passing.calls > 0 => (0, Some(passing)),
            passing => (passing.map_or(0, |passing| passing.ns), None),
        };
        self.pass(before);
        if round.operations == [Operation::Restart] {
            let heads = retried(|| self.process.stop());
            self.head_file = Some(heads.map_err(|error| format!("the stop failed: {error}"))?);
            self.end(false)?;
            self.open(round.schedule, round.replay_faults)?;
            self.note_queries(&[], &BTreeSet::new(), false)?;
            return self.check();
        }
        self.begin(round.schedule, round.faults);
        let (began, schema_before) = (self.now, schema(&self.process));
        if let Some(passing) = meanwhile {
            self.scheduler.pass_time(passing);
            self.now += passing.ns;
        }
        let running: Vec<Slot> = round.operations.iter().map(|operation| self.spawn(operation)).collect();
        self.scheduler.run_clients();
        self.look_for_finding()?;
        let same_schema = schema(&self.process) == schema_before;
        let crashed = self.process.host.has_ended();
        if crashed {
            self.end(round.faults.crash.is_some_and(|crash| crash.power))?;
        }
        let mut carried: Vec<Carried> = running.iter().map(|slot| slot.lock().carried.clone()).collect();
        self.summary.operations += carried.len() as u64;
        self.summary.done += carried.iter().filter(|c| c.outcome == Outcome::Done).count() as u64;
        if PRINT_CALLS.load(Ordering::Relaxed) {
            println!("{carried:#?}");
        }
        carried.extend(meanwhile.map(|passing| Carried::passing(passing.ns)));
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
        let mut attempts: Vec<Attempt> =
            running.iter().flat_map(|slot| std::mem::take(&mut slot.lock().attempts)).collect();
        attempts.iter_mut().for_each(|attempt| attempt.is_blurred &= !same_schema);
        if let Some(targets) = &mut self.targets {
            targets.note_points(&carried, &seen, &(began..self.now));
        }
        let is_changed = carried.iter().any(|carried| carried.operation.is_of_queries());
        self.note_queries(&attempts, &seen, is_changed)?;
        if round.checked || self.worlds.len() > WORLDS_UNCHECKED { self.check() } else { Ok(()) }
    }

    /// Time passes while nobody is at work.
    pub(crate) fn pass(&mut self, ns: i64) {
        if ns > 0 {
            self.now += ns;
            self.scheduler.set_clock(self.now);
            let worlds = std::mem::take(&mut self.worlds).into_iter();
            self.worlds = worlds.map(|world| World { now: world.now + ns, ..world }).collect();
        }
    }

    pub(crate) fn note_queries(
        &mut self,
        attempts: &[Attempt],
        seen: &BTreeSet<World>,
        is_changed: bool,
    ) -> Result<(), String> {
        let last_runs = self.process.last_runs();
        self.targets.as_mut().map_or(Ok(()), |targets| targets.note(attempts, seen, last_runs, is_changed))
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
            self.scheduler.set_clock(self.now);
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
        let slot = Arc::new(Mutex::new(Running::begin(operation)));
        let (process, running, operation) = (self.process.clone(), slot.clone(), operation.clone());
        let name = if let Operation::Write { .. } = operation { WRITER } else { "client" };
        let cancel = CancelToken::default();
        let token = cancel.clone();
        self.process.host.spawn(name, Some(token), move || carry(&process, &operation, &cancel, &running));
        slot
    }

    /// Reads everything, and keeps the worlds that agree.
    pub(crate) fn check(&mut self) -> Result<(), String> {
        self.scheduler.begin(self.random.number(), Faults::default(), false);
        let observation = observe(&self.process, &mut self.random, self.unfinished);
        let computed = self.targets.is_some().then(|| targets(&self.process)).transpose();
        self.look_for_finding()?;
        let (observation, computed) = (observation?, computed?);
        if let Some((targets, computed)) = self.targets.as_mut().zip(computed) {
            targets.agree(&computed)?;
        }
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
        self.settle_life()?;
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
