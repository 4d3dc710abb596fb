//! One thread at a time.
//!
//! Each thread of a simulated process is a task. A task runs until it makes a call of a port or would wait for another
//! one; then a seeded choice decides who goes on, and what becomes of the call. So a seed is a run, whatever the machine.
//!
//! Several processes can share a scheduler: each is a [`Host`], which ends alone. Then time is simulated as well: it passes a
//! little with each call, and where nobody can go on, up to the moment that somebody waits for.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use hyperbytedb_application::waiting::{self, Instead, Wait};
use hyperbytedb_domain::{CancelToken, QueryContext};
use hyperbytedb_memory_ports::{Call, Controller, Random, Verdict};
use parking_lot::{Condvar, Mutex, MutexGuard};

use crate::history::Passing;

/// The task that started the scheduler; it is not one of the process's threads.
const DRIVER: usize = 0;
/// How often tasks that wait look again although nothing seems to have happened, before it counts as a deadlock.
const SWEEPS_MAX: u32 = 4;
/// A task that has the turn so long, and makes no call, waits for what the scheduler does not see.
const STUCK: Duration = Duration::from_secs(60);
/// Calls in one round: more than any should take.
const CALLS_MAX: u64 = 200_000;
/// Where time is simulated: what a call takes, how long one may hang, and what a round may take at most.
const CALL_TIME: Duration = Duration::from_micros(20);
const STALL_MS_MAX: usize = 2000;
const IDLE_TIME: Duration = Duration::from_secs(1);
const ROUND_TIME_MAX: Duration = Duration::from_secs(600);

/// What may go wrong during a round.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Faults {
    /// Of a thousand calls, so many fail.
    pub errors: u32,
    /// Of a thousand calls of the engine, so many hang until nothing else can be done, or until they are cancelled.
    pub stalls: u32,
    pub crash: Option<Crash>,
}

/// The process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Crash {
    /// After so many calls.
    pub calls: u32,
    /// What was not synced is lost.
    pub power: bool,
    /// The last call has taken effect: wholly, or in part.
    pub after: bool,
}

/// Whether to print each call and what becomes of it.
pub static PRINT_CALLS: AtomicBool = AtomicBool::new(false);

/// The panic that ends the threads of a process.
struct Ended;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Status {
    Ready,
    /// It looks for something that another task must do.
    Waiting,
    /// A call that hangs.
    Stalled,
    Done,
}

struct Task {
    name: &'static str,
    status: Status,
    /// A client, and what cancels its statement. The round ends when all have ended.
    client: Option<CancelToken>,
    /// What cancels the call that hangs.
    call: Option<CancelToken>,
    /// What it waits for cannot have happened before this much progress.
    seen: u64,
    turn: Arc<Condvar>,
    /// It seldom goes on while others can.
    slow: bool,
    /// The process it is of.
    host: usize,
    /// When it goes on in any case, in simulated time.
    wakes: Option<Duration>,
    /// It goes on then alone.
    sleeps: bool,
    /// It has made calls since it last waited, so it may have done what others wait for.
    has_worked: bool,
}

/// A process.
#[derive(Default)]
struct HostState {
    ended: bool,
    calls: u64,
    /// What its tasks that wait may wait for.
    progress: u64,
    crash: Option<Crash>,
    crash_pending: bool,
    /// Whether its services hold the lock under which records take effect.
    is_applying: Option<IsApplying>,
}

type IsApplying = Arc<dyn Fn() -> bool + Send + Sync>;

struct State {
    tasks: Vec<Task>,
    hosts: Vec<HostState>,
    current: usize,
    random: Random,
    faults: Faults,
    /// Whether each call passes the turn on, or only some.
    busy: bool,
    calls: u64,
    sweeps: u32,
    /// What must not happen and did: everything ends.
    finding: Option<String>,
    /// A hash of all decisions, to compare two runs.
    trace: u64,
    /// Simulated time, where there is one.
    now: Option<Duration>,
    /// When the round must be over.
    round_ends: Duration,
    /// The time of day, in nanoseconds since 1970, and what is to pass of it; `None`: the machine's.
    clock: Option<i64>,
    passing: Option<Passing>,
}

/// Decides which task goes on.
pub struct Scheduler {
    state: Mutex<State>,
    /// With the processes they are of.
    handles: Mutex<Vec<(usize, JoinHandle<()>)>>,
    began: Instant,
}

/// A process among those of a scheduler.
#[derive(Clone)]
pub struct Host {
    pub scheduler: Arc<Scheduler>,
    number: usize,
}

impl Host {
    /// Starts a thread of the process; a client's with what cancels its statement.
    pub fn spawn(
        &self,
        name: &'static str,
        client: Option<CancelToken>,
        run: impl FnOnce() + Send + 'static,
    ) {
        self.scheduler.spawn(self.number, name, client, run);
    }

    /// How to see whether the services hold the lock under which records take effect.
    pub fn set_applying(&self, is_applying: impl Fn() -> bool + Send + Sync + 'static) {
        self.scheduler.state.lock().hosts[self.number].is_applying = Some(Arc::new(is_applying));
    }

    /// The end of the process from within: the calling thread ends too.
    pub fn on_failure(&self) -> impl Fn() + Send + Sync + 'static {
        let (scheduler, number) = (Arc::downgrade(&self.scheduler), self.number);
        move || {
            if let Some(scheduler) = scheduler.upgrade() {
                scheduler.end_host(&mut scheduler.state.lock(), number);
                resume_unwind(Box::new(Ended));
            }
        }
    }

    /// Ends the process from within: the calling thread ends too.
    pub fn fail(&self) {
        self.on_failure()();
    }

    /// Something has happened that its tasks may wait for.
    pub fn progress(&self) {
        self.scheduler.state.lock().progress(self.number);
    }

    pub fn has_ended(&self) -> bool {
        self.scheduler.state.lock().hosts[self.number].ended
    }

    /// Ends the process now, and waits for its threads.
    pub fn end(&self) {
        self.scheduler.end_host(&mut self.scheduler.state.lock(), self.number);
        self.scheduler.join(|host| host == self.number);
    }

    /// Has the process end in the round that begins.
    pub fn crash(&self, crash: Crash) {
        let host = &mut self.scheduler.state.lock().hosts[self.number];
        (host.calls, host.crash) = (0, Some(crash));
    }

    /// The driver makes its calls in this process from now on.
    pub fn enter(&self) {
        self.scheduler.state.lock().tasks[DRIVER].host = self.number;
    }
}

/// What a task does where it would wait.
struct Turn {
    scheduler: Weak<Scheduler>,
    task: usize,
    began: Instant,
}

impl Instead for Turn {
    fn wait(&self, wait: Wait) {
        if let Some(scheduler) = self.scheduler.upgrade() {
            let offset = |until: Instant| until.saturating_duration_since(self.began);
            match wait {
                Wait::ForOthers(until) => scheduler.wait(self.task, until.map(offset), false),
                Wait::Until(until) => scheduler.wait(self.task, Some(offset(until)), true),
            }
        }
    }

    fn now_ns(&self) -> Option<i64> {
        self.scheduler.upgrade().and_then(|scheduler| scheduler.state.lock().clock)
    }

    fn now(&self) -> Instant {
        let now = self.scheduler.upgrade().and_then(|scheduler| scheduler.state.lock().now);
        now.map_or_else(Instant::now, |now| self.began + now)
    }
}

impl Scheduler {
    /// The calling thread becomes the driver.
    pub fn new(seed: u64) -> Arc<Self> {
        Self::begin_at(seed, None)
    }

    /// As [`new`](Self::new), with a time of its own.
    pub fn timed(seed: u64) -> Arc<Self> {
        Self::begin_at(seed, Some(Duration::ZERO))
    }

    fn begin_at(seed: u64, now: Option<Duration>) -> Arc<Self> {
        let driver = Task {
            name: "driver",
            status: Status::Ready,
            client: None,
            call: None,
            seen: 0,
            turn: Arc::default(),
            slow: false,
            host: 0,
            wakes: None,
            sleeps: false,
            has_worked: false,
        };
        let scheduler = Arc::new(Self {
            state: Mutex::new(State {
                tasks: vec![driver],
                hosts: Vec::new(),
                current: DRIVER,
                random: Random::new(seed),
                faults: Faults::default(),
                busy: false,
                calls: 0,
                sweeps: 0,
                finding: None,
                trace: 0,
                now,
                round_ends: ROUND_TIME_MAX,
                clock: None,
                passing: None,
            }),
            handles: Mutex::default(),
            began: Instant::now(),
        });
        scheduler.replace_waiting(DRIVER);
        scheduler
    }

    fn replace_waiting(self: &Arc<Self>, task: usize) {
        let turn = Turn { scheduler: Arc::downgrade(self), task, began: self.began };
        waiting::replace_on_this_thread(turn);
    }

    /// A process without threads yet.
    pub fn host(self: &Arc<Self>) -> Host {
        let mut state = self.state.lock();
        state.hosts.push(HostState::default());
        Host { scheduler: self.clone(), number: state.hosts.len() - 1 }
    }

    fn spawn(
        self: &Arc<Self>,
        host: usize,
        name: &'static str,
        client: Option<CancelToken>,
        run: impl FnOnce() + Send + 'static,
    ) {
        let turn = Arc::new(Condvar::new());
        let id = {
            let mut state = self.state.lock();
            let task = Task {
                name,
                status: Status::Ready,
                client,
                call: None,
                seen: 0,
                turn: turn.clone(),
                slow: state.random.chance(1, 4),
                host,
                wakes: None,
                sleeps: false,
                has_worked: true,
            };
            let done = state.tasks.iter().position(|task| task.status == Status::Done);
            match done.filter(|_| state.now.is_some()) {
                Some(id) => {
                    state.tasks[id] = task;
                    id
                }
                None => {
                    state.tasks.push(task);
                    state.tasks.len() - 1
                }
            }
        };
        let scheduler = self.clone();
        let run = move || {
            scheduler.replace_waiting(id);
            let ended = catch_unwind(AssertUnwindSafe(|| {
                let mut state = scheduler.state.lock();
                scheduler.wait_for_turn(&mut state, id);
                drop(state);
                run();
            }));
            scheduler.end_task(id, ended);
        };
        match std::thread::Builder::new().name(name.to_owned()).spawn(run) {
            Ok(handle) => {
                let mut handles = self.handles.lock();
                handles.retain(|(_, handle)| !handle.is_finished());
                handles.push((host, handle));
            }
            Err(error) => panic!("no thread: {error}"),
        }
    }

    fn end_task(&self, id: usize, ended: Result<(), Box<dyn Any + Send>>) {
        let mut state = self.state.lock();
        state.tasks[id].status = Status::Done;
        let host = state.tasks[id].host;
        state.progress(host);
        if let Err(panic) = ended
            && !panic.is::<Ended>()
        {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            let name = state.tasks[id].name;
            self.find(&mut state, format!("{name} panicked: {}", text.unwrap_or_default()));
        }
        // Of a process that ends, the last thread lets the others go on.
        let is_others_turn = state.current != id
            && !(state.hosts[host].ended
                && state.current != DRIVER
                && state.tasks[state.current].host == host);
        let is_ending = state.hosts[host].ended && state.is_running(host);
        if state.finding.is_none() && !is_others_turn && !is_ending {
            let next = self.next(&mut state);
            self.hand_over(&mut state, next);
        }
    }

    /// Whether the services hold no lock during such a call, so that another task may go on meanwhile.
    fn may_yield(state: &State, host: usize, call: Call) -> bool {
        let is_free = || state.hosts[host].is_applying.as_ref().is_some_and(|is_applying| !is_applying());
        may_yield(call) || (is_sometimes_locked(call) && is_free())
    }

    /// Begins a round: clients that are spawned next run with these faults. `busy`: calls pass the turn on.
    pub fn begin(&self, seed: u64, faults: Faults, busy: bool) {
        let mut state = self.state.lock();
        state.random = Random::new(seed);
        state.faults = faults;
        state.busy = busy;
        state.calls = 0;
        state.sweeps = 0;
        state.round_ends = state.now.unwrap_or_default() + ROUND_TIME_MAX;
    }

    /// Sets the time of day.
    pub fn set_clock(&self, ns: i64) {
        self.state.lock().clock = Some(ns);
    }

    /// The time of day.
    pub fn clock(&self) -> i64 {
        self.state.lock().clock.unwrap_or_default()
    }

    /// Has time pass in the round that begins.
    pub fn pass_time(&self, passing: Passing) {
        self.state.lock().passing = Some(passing);
    }

    /// Returns when all clients have ended, or there is a finding.
    pub fn run_clients(&self) {
        let mut state = self.state.lock();
        while state.finding.is_none() && state.has_clients() {
            self.pass_turn(&mut state, DRIVER);
        }
        state.faults = Faults::default();
        state.hosts.iter_mut().for_each(|host| host.crash = None);
        state.pass_time();
        state.busy = false;
        state.tasks[DRIVER].status = Status::Ready;
    }

    /// What must not happen and did.
    pub fn finding(&self) -> Option<String> {
        self.state.lock().finding.clone()
    }

    /// Notes what must not happen and did. Everything ends.
    pub fn report(&self, finding: String) {
        self.find(&mut self.state.lock(), finding);
    }

    /// Ends all processes now, and waits for their threads.
    pub fn end(&self) {
        let mut state = self.state.lock();
        for host in 0..state.hosts.len() {
            self.end_host(&mut state, host);
        }
        drop(state);
        self.join(|_| true);
    }

    fn join(&self, is_wanted: impl Fn(usize) -> bool) {
        let wanted: Vec<_> = self.handles.lock().extract_if(.., |(host, _)| is_wanted(*host)).collect();
        for (_, handle) in wanted {
            // Its panic was noted.
            let _ = handle.join();
        }
    }

    /// Simulated time since the beginning.
    pub fn elapsed(&self) -> Duration {
        self.state.lock().now.unwrap_or_default()
    }

    /// The calling task waits until something holds, or the time is over; whether it holds.
    pub fn wait_for(&self, time: Duration, holds: impl Fn() -> bool) -> bool {
        let (until, task) = (self.elapsed() + time, self.current());
        while !holds() {
            if self.elapsed() >= until {
                return false;
            }
            self.wait(task, Some(until), false);
        }
        true
    }

    /// The calling task, which others may wait for, goes on later.
    pub fn sleep(&self, time: Duration) {
        let until = self.elapsed() + time;
        while self.elapsed() < until && self.finding().is_none() {
            self.wait(self.current(), Some(until), true);
        }
    }

    /// Something has happened that others may wait for.
    pub fn progress(&self) {
        self.state.lock().progress_of_all();
    }

    /// The calling task does something that others of its process may wait for, without a call.
    pub fn note_work(&self) {
        let mut state = self.state.lock();
        let current = state.current;
        state.tasks[current].has_worked = true;
    }

    pub fn trace(&self) -> u64 {
        self.state.lock().trace
    }

    fn find(&self, state: &mut State, finding: String) {
        state.finding.get_or_insert(finding);
        for task in &state.tasks {
            task.turn.notify_all();
        }
    }

    fn end_host(&self, state: &mut State, host: usize) {
        state.hosts[host].ended = true;
        for task in state.tasks.iter().filter(|task| task.host == host) {
            task.turn.notify_all();
        }
    }

    /// Where a thread would wait.
    fn wait(&self, id: usize, wakes: Option<Duration>, sleeps: bool) {
        let mut state = self.state.lock();
        let (host, is_timed) = (state.tasks[id].host, state.now.is_some());
        if is_timed && std::mem::take(&mut state.tasks[id].has_worked) {
            state.progress(host);
        }
        let seen = state.hosts[host].progress;
        let idle_wakes = state.now.map(|now| now + IDLE_TIME);
        let task = &mut state.tasks[id];
        (task.status, task.seen) = (Status::Waiting, seen);
        let wakes = wakes.filter(|_| is_timed);
        let wakes = if IDLE.contains(&task.name) { wakes.max(idle_wakes) } else { wakes };
        (task.wakes, task.sleeps) = (wakes, sleeps && is_timed);
        self.pass_turn(&mut state, id);
        let task = &mut state.tasks[id];
        (task.status, task.wakes, task.sleeps) = (Status::Ready, None, false);
    }

    fn pass_turn(&self, state: &mut MutexGuard<'_, State>, task: usize) {
        let next = self.next(state);
        if next != task {
            self.hand_over(state, next);
            self.wait_for_turn(state, task);
        }
        self.leave_if_ended(state, task);
    }

    fn hand_over(&self, state: &mut State, next: usize) {
        state.current = next;
        state.tasks[next].turn.notify_all();
    }

    fn wait_for_turn(&self, state: &mut MutexGuard<'_, State>, task: usize) {
        let turn = state.tasks[task].turn.clone();
        while state.current != task && !state.has_ended(task) {
            let (calls, current) = (state.calls, state.current);
            let is_late = turn.wait_for(state, STUCK).timed_out();
            if is_late && task == DRIVER && (state.calls, state.current) == (calls, current) {
                // Its threads cannot be ended, so the simulator cannot go on.
                let name = state.tasks[current].name;
                panic!("{name} waits for a lock that is held while a call is made");
            }
        }
        self.leave_if_ended(state, task);
    }

    /// Who goes on.
    fn next(&self, state: &mut State) -> usize {
        loop {
            let able: Vec<usize> = (0..state.tasks.len()).filter(|&id| state.is_able(id)).collect();
            if !able.is_empty() {
                let quick: Vec<usize> = able.iter().copied().filter(|&id| !state.tasks[id].slow).collect();
                let only_quick = !quick.is_empty() && state.random.chance(15, 16);
                let next = *state.random.pick(if only_quick { &quick } else { &able });
                state.trace = state.trace.wrapping_mul(31).wrapping_add(next as u64 + 1);
                return next;
            }
            if let Some(reason) = state.unblock() {
                self.find(state, reason);
                return DRIVER;
            }
        }
    }

    fn decide(&self, task: usize, call: Call, context: Option<&QueryContext>) -> Verdict {
        let mut state = self.state.lock();
        self.leave_if_ended(&mut state, task);
        let host = state.tasks[task].host;
        state.calls += 1;
        state.hosts[host].calls += 1;
        state.tasks[task].has_worked = true;
        state.progress(host);
        state.now = state.now.map(|now| now + CALL_TIME);
        if state.passing.is_some_and(|passing| state.calls >= passing.calls) {
            state.pass_time();
        }
        if state.calls > CALLS_MAX {
            self.find(&mut state, "the round never ends".to_owned());
            drop(state);
            resume_unwind(Box::new(Ended));
        }
        if Self::may_yield(&state, host, call) {
            if is_engine(call) && state.hangs() {
                state.tasks[task].call = context.map(|context| context.cancel.clone());
                self.hang(&mut state, task);
            } else if state.busy || state.random.chance(1, 8) {
                self.pass_turn(&mut state, task);
            }
        }
        let of_host = &state.hosts[host];
        let crash = of_host.crash.filter(|crash| of_host.calls >= u64::from(crash.calls));
        if let Some(crash) = crash.filter(|_| task != DRIVER) {
            if !crash.after {
                self.end_host(&mut state, host);
                drop(state);
                resume_unwind(Box::new(Ended));
            }
            state.hosts[host].crash_pending = true;
            return if state.random.chance(1, 2) {
                Verdict::Proceed
            } else {
                Verdict::FailPartly(state.random.number())
            };
        }
        if !state.fails() {
            Verdict::Proceed
        } else if state.random.chance(1, 2) {
            Verdict::Fail
        } else {
            Verdict::FailPartly(state.random.number())
        }
    }

    /// Where time is simulated, a call that hangs does so for a while.
    fn hang(&self, state: &mut MutexGuard<'_, State>, id: usize) {
        let Some(now) = state.now else {
            state.tasks[id].status = Status::Stalled;
            self.pass_turn(state, id);
            state.tasks[id].status = Status::Ready;
            return;
        };
        let time = Duration::from_millis(1 + state.random.below(STALL_MS_MAX) as u64);
        let task = &mut state.tasks[id];
        (task.status, task.wakes, task.sleeps) = (Status::Waiting, Some(now + time), true);
        self.pass_turn(state, id);
        let is_cancelled = state.random.chance(1, 3);
        let task = &mut state.tasks[id];
        (task.status, task.wakes, task.sleeps) = (Status::Ready, None, false);
        if let Some(call) = task.call.take().filter(|_| is_cancelled) {
            call.cancel();
        }
    }

    fn returned(&self, task: usize, call: Call) {
        let mut state = self.state.lock();
        self.leave_if_ended(&mut state, task);
        let host = state.tasks[task].host;
        state.progress(host);
        if state.hosts[host].crash_pending && task != DRIVER {
            self.end_host(&mut state, host);
            drop(state);
            resume_unwind(Box::new(Ended));
        }
        if state.busy && Self::may_yield(&state, host, call) {
            self.pass_turn(&mut state, task);
        }
    }

    fn leave_if_ended(&self, state: &mut MutexGuard<'_, State>, task: usize) {
        if task != DRIVER && state.has_ended(task) {
            MutexGuard::unlocked(state, || resume_unwind(Box::new(Ended)));
        }
    }

    fn current(&self) -> usize {
        self.state.lock().current
    }
}

impl State {
    fn progress(&mut self, host: usize) {
        self.hosts[host].progress += 1;
        self.sweeps = 0;
    }

    fn progress_of_all(&mut self) {
        self.hosts.iter_mut().for_each(|host| host.progress += 1);
        self.sweeps = 0;
    }

    fn pass_time(&mut self) {
        if let Some(passing) = self.passing.take() {
            self.clock = self.clock.map(|clock| clock + passing.ns);
        }
    }

    fn has_clients(&self) -> bool {
        self.tasks.iter().any(|task| task.client.is_some() && task.status != Status::Done)
    }

    /// Whether a task must not go on any more. The driver does in any case when there is a finding.
    fn has_ended(&self, task: usize) -> bool {
        self.finding.is_some() || (task != DRIVER && self.hosts[self.tasks[task].host].ended)
    }

    fn is_running(&self, host: usize) -> bool {
        self.tasks.iter().skip(1).any(|task| task.host == host && task.status != Status::Done)
    }

    fn is_able(&self, id: usize) -> bool {
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
    fn unblock(&mut self) -> Option<String> {
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

    fn hangs(&mut self) -> bool {
        self.faults.stalls > 0 && self.random.chance(self.faults.stalls, 1000)
    }

    fn fails(&mut self) -> bool {
        self.faults.errors > 0 && self.random.chance(self.faults.errors, 1000)
    }
}

/// Names of tasks that look now and then although others tell them when there is something to do: here, seldom.
const IDLE: [&str; 2] = [FLUSH, REMOVAL];
pub const FLUSH: &str = "flush";
pub const REMOVAL: &str = "removal";

/// Name of the tasks that must never wait for the engine.
pub const WRITER: &str = "write";

impl Controller for Scheduler {
    fn before(&self, call: Call, context: Option<&QueryContext>) -> Verdict {
        let task = self.current();
        let verdict = self.decide(task, call, context);
        if PRINT_CALLS.load(Ordering::Relaxed) {
            println!("    {task} {}: {call:?} {verdict:?}", self.state.lock().tasks[task].name);
        }
        verdict
    }

    fn after(&self, call: Call) {
        self.returned(self.current(), call);
    }
}

/// Calls during which the services never hold a lock.
fn may_yield(call: Call) -> bool {
    is_engine(call)
        || matches!(call, Call::WalRead | Call::WalTruncate | Call::WalSync | Call::NodeSync)
        || matches!(call, Call::RegisterSeries | Call::SettleSeries | Call::ReadSeries)
}

/// Calls during which the services may hold the lock under which records take effect.
fn is_sometimes_locked(call: Call) -> bool {
    matches!(call, Call::WalEncode | Call::RestoreSeries | Call::CountSeries | Call::RemoveSeries)
}

fn is_engine(call: Call) -> bool {
    matches!(
        call,
        Call::EnsureTable
            | Call::Insert
            | Call::DeleteRows
            | Call::UnfinishedDeletes
            | Call::DropTable
            | Call::DropPartitions
            | Call::Partitions
            | Call::MaxTimes
            | Call::MergePartition
            | Call::ExistingTables
            | Call::EngineSync
            | Call::Scan
            | Call::NextBatch
            | Call::DistinctSeries
    )
}
