//! What the scheduler knows of tasks and processes.

use std::sync::Arc;
use std::time::Duration;

use hyperbytedb_domain::CancelToken;
use hyperbytedb_memory_ports::Random;

use super::calls::{Crash, Faults};
use super::{DRIVER, WRITER};
use crate::history::Passing;

/// How often tasks that wait look again although nothing seems to have happened, before it counts as a deadlock.
const SWEEPS_MAX: u32 = 4;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    Ready,
    /// It looks for something that another task must do.
    Waiting,
    /// A call that hangs.
    Stalled,
    Done,
}

pub(super) struct Task {
    pub(super) name: &'static str,
    pub(super) status: Status,
    /// A client, and what cancels its statement. The round ends when all have ended.
    pub(super) client: Option<CancelToken>,
    /// What cancels the call that hangs.
    pub(super) call: Option<CancelToken>,
    /// What it waits for cannot have happened before this much progress.
    pub(super) seen: u64,
    /// It seldom goes on while others can.
    pub(super) slow: bool,
    /// The process it is of.
    pub(super) host: usize,
    /// When it goes on in any case, in simulated time.
    pub(super) wakes: Option<Duration>,
    /// It goes on then alone.
    pub(super) sleeps: bool,
    /// It has made calls since it last waited, so it may have done what others wait for.
    pub(super) has_worked: bool,
}

/// A process.
#[derive(Default)]
pub(super) struct HostState {
    pub(super) ended: bool,
    pub(super) calls: u64,
    /// What its tasks that wait may wait for.
    pub(super) progress: u64,
    pub(super) crash: Option<Crash>,
    pub(super) crash_pending: bool,
    /// How far its time of day is from the right one, in nanoseconds.
    pub(super) skew: i64,
    /// Whether its services hold the lock under which records take effect.
    pub(super) is_applying: Option<IsApplying>,
}

pub(super) type IsApplying = Arc<dyn Fn() -> bool + Send + Sync>;

pub(super) struct State {
    pub(super) tasks: Vec<Task>,
    pub(super) hosts: Vec<HostState>,
    pub(super) current: usize,
    pub(super) random: Random,
    pub(super) faults: Faults,
    /// Whether each call passes the turn on, or only some.
    pub(super) busy: bool,
    pub(super) calls: u64,
    pub(super) sweeps: u32,
    /// What must not happen and did.
    pub(super) finding: Option<String>,
    /// A hash of all decisions, to compare two runs.
    pub(super) trace: u64,
    /// Simulated time, where there is one.
    pub(super) now: Option<Duration>,
    /// When the round must be over.
    pub(super) round_ends: Duration,
    /// The time of day at the beginning, in nanoseconds since 1970, and what is to pass of it; `None`: the machine's.
    pub(super) clock: Option<i64>,
    pub(super) passing: Option<Passing>,
}

impl State {
    pub(super) fn progress(&mut self, host: usize) {
        self.hosts[host].progress += 1;
        self.sweeps = 0;
    }

    pub(super) fn progress_of_all(&mut self) {
        self.hosts.iter_mut().for_each(|host| host.progress += 1);
        self.sweeps = 0;
    }

    pub(super) fn pass_time(&mut self) {
        if let Some(passing) = self.passing.take() {
            self.clock = self.clock.map(|clock| clock + passing.ns);
        }
    }

    /// The time of day where nothing is off.
    pub(super) fn time_of_day(&self) -> Option<i64> {
        let elapsed = self.now.unwrap_or_default().as_nanos() as i64;
        self.clock.map(|clock| clock + elapsed)
    }

    pub(super) fn has_clients(&self) -> bool {
        self.tasks.iter().any(|task| task.client.is_some() && task.status != Status::Done)
    }

    /// Whether a task must not go on any more. The driver does in any case when there is a finding.
    pub(super) fn has_ended(&self, task: usize) -> bool {
        self.finding.is_some() || (task != DRIVER && self.hosts[self.tasks[task].host].ended)
    }

    /// A task of a process that has ended.
    pub(super) fn ending(&self) -> Option<usize> {
        let is_ending = |task: &Task| task.status != Status::Done && self.hosts[task.host].ended;
        self.tasks.iter().skip(1).position(is_ending).map(|position| position + 1)
    }

    /// What must not happen and did: everything ends.
    pub(super) fn find(&mut self, finding: String) {
        self.finding.get_or_insert(finding);
    }

    pub(super) fn is_able(&self, id: usize) -> bool {
        let task = &self.tasks[id];
        match task.status {
            // While there are clients the driver waits for them.
            _ if id == DRIVER && self.has_clients() => false,
            Status::Ready => true,
            Status::Waiting if task.wakes.is_some() && task.wakes <= self.now => true,
            Status::Waiting => !task.sleeps && task.seen < self.hosts[task.host].progress,
            Status::Stalled | Status::Done => false,
        }
    }

    /// Nobody can go on: lets somebody, or says why there is none.
    pub(super) fn unblock(&mut self) -> Option<String> {
        let named = |status: Status| -> Vec<usize> {
            (0..self.tasks.len()).filter(|&id| self.tasks[id].status == status).collect()
        };
        let (stalled, waiting) = (named(Status::Stalled), named(Status::Waiting));
        if self.now.is_none() && self.sweeps < SWEEPS_MAX && !waiting.is_empty() {
            let sweeps = self.sweeps + 1;
            self.progress_of_all();
            self.sweeps = sweeps;
            return None;
        }
        if let Some(wakes) = waiting.iter().filter_map(|&id| self.tasks[id].wakes).min() {
            self.now = Some(wakes);
            let names = || waiting.iter().map(|&id| self.tasks[id].name).collect::<Vec<_>>();
            return (wakes > self.round_ends).then(|| format!("the round never ends: {:?} wait", names()));
        }
        if stalled.is_empty() {
            let names: Vec<&str> = waiting.iter().map(|&id| self.tasks[id].name).collect();
            return Some(format!("deadlock: {names:?} wait for each other"));
        }
        if waiting.iter().any(|&id| self.tasks[id].name == WRITER) {
            return Some("a writer waits for the engine".to_owned());
        }
        self.sweeps = 0;
        let patient: Vec<&CancelToken> =
            waiting.iter().filter_map(|&id| self.tasks[id].client.as_ref()).collect();
        let patient: Vec<&CancelToken> = patient.into_iter().filter(|token| !token.is_cancelled()).collect();
        if !patient.is_empty() && self.random.chance(1, 4) {
            self.random.pick(&patient).cancel();
            self.hosts.iter_mut().for_each(|host| host.progress += 1);
            return None;
        }
        let released = *self.random.pick(&stalled);
        let task = &mut self.tasks[released];
        task.status = Status::Ready;
        if let Some(call) = task.call.take().filter(|_| self.random.chance(1, 3)) {
            call.cancel();
        }
        None
    }

    pub(super) fn hangs(&mut self) -> bool {
        self.faults.stalls > 0 && self.random.chance(self.faults.stalls, 1000)
    }

    pub(super) fn fails(&mut self) -> bool {
        self.faults.errors > 0 && self.random.chance(self.faults.errors, 1000)
    }
}
