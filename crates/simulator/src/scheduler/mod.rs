//! One thread at a time.
//!
//! Each thread of a simulated process is a task, and all tasks are coroutines of one thread. A task runs until it makes a call
//! of a port or would wait for another one; then a seeded choice decides who goes on, and what becomes of the call. So a seed
//! is a run, whatever the machine.
//!
//! Several processes can share a scheduler: each is a [`Host`], which ends alone. Then time is simulated as well: it passes a
//! little with each call, and where nobody can go on, up to the moment that somebody waits for.

mod calls;
mod coroutines;
mod host;
mod state;
mod watch;

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyperbytedb_application::waiting;
use hyperbytedb_domain::CancelToken;
use hyperbytedb_memory_ports::Random;
use parking_lot::{Mutex, MutexGuard};

pub use self::calls::{Crash, Faults, PRINT_CALLS};
use self::coroutines::Coroutines;
pub use self::host::Host;
use self::host::Turn;
use self::state::{HostState, State, Status, Task};
use crate::history::Passing;

/// The task that started the scheduler; it is not one of the process's threads.
const DRIVER: usize = 0;
/// Where time is simulated: how long an idle task sleeps, and what a round may take at most.
const IDLE_TIME: Duration = Duration::from_secs(1);
const ROUND_TIME_MAX: Duration = Duration::from_secs(600);

/// Names of tasks that look now and then although others tell them when there is something to do: here, seldom.
const IDLE: [&str; 2] = [FLUSH, REMOVAL];
pub const FLUSH: &str = "flush";
pub const REMOVAL: &str = "removal";

/// Name of the tasks that must never wait for the engine.
pub const WRITER: &str = "write";

/// The panic that ends the threads of a process.
struct Ended;

/// Decides which task goes on.
pub struct Scheduler {
    state: Mutex<State>,
    coroutines: Coroutines,
    began: Instant,
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
            coroutines: Coroutines::default(),
            began: Instant::now(),
        });
        waiting::replace_on_this_thread(Turn {
            scheduler: Arc::downgrade(&scheduler),
            began: scheduler.began,
        });
        watch::watch(&scheduler);
        scheduler
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
        let id = {
            let mut state = self.state.lock();
            let task = Task {
                name,
                status: Status::Ready,
                client,
                call: None,
                seen: 0,
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
        self.coroutines.add(id, move || {
            let ended = catch_unwind(AssertUnwindSafe(|| {
                scheduler.leave_if_ended(&mut scheduler.state.lock(), id);
                run();
            }));
            scheduler.end_task(id, ended);
        });
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
            state.find(format!("{name} panicked: {}", text.unwrap_or_default()));
        }
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

    /// Sets the time of day; where time is simulated, that at the beginning.
    pub fn set_clock(&self, ns: i64) {
        self.state.lock().clock = Some(ns);
    }

    /// Has time of day pass at once.
    pub fn pass_clock(&self, ns: i64) {
        let mut state = self.state.lock();
        state.clock = state.clock.map(|clock| clock + ns);
    }

    /// The time of day.
    pub fn clock(&self) -> i64 {
        self.state.lock().time_of_day().unwrap_or_default()
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
        self.state.lock().find(finding);
    }

    /// Ends all processes now, with all tasks.
    pub fn end(&self) {
        self.state.lock().hosts.iter_mut().for_each(|host| host.ended = true);
        self.end_tasks();
    }

    /// Of processes that have ended.
    fn end_tasks(&self) {
        loop {
            let ending = self.state.lock().ending();
            match ending {
                Some(task) => self.coroutines.resume(task),
                None => return,
            }
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
            state.current = next;
            MutexGuard::unlocked(state, || match task {
                DRIVER => self.run_others(),
                _ => coroutines::suspend(),
            });
        }
        self.leave_if_ended(state, task);
    }

    /// Of the driver: the others go on, until it is its turn or there is a finding.
    fn run_others(&self) {
        loop {
            self.end_tasks();
            let mut state = self.state.lock();
            if state.finding.is_none() && state.tasks[state.current].status == Status::Done {
                state.current = self.next(&mut state);
            }
            if state.finding.is_some() || state.current == DRIVER {
                return;
            }
            let current = state.current;
            drop(state);
            self.coroutines.resume(current);
        }
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
                state.find(reason);
                return DRIVER;
            }
        }
    }

    fn leave_if_ended(&self, state: &mut MutexGuard<'_, State>, task: usize) {
        if task != DRIVER && state.has_ended(task) {
            MutexGuard::unlocked(state, || resume_unwind(Box::new(Ended)));
        }
    }

    pub fn current(&self) -> usize {
        self.state.lock().current
    }
}
