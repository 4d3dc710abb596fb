//! One thread at a time.
//!
//! Each thread of a simulated process is a task. A task runs until it makes a call of a port or would wait for another
//! one; then a seeded choice decides who goes on, and what becomes of the call. So a seed is a run, whatever the machine.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;

use hyperbytedb_application::waiting;
use hyperbytedb_domain::{CancelToken, QueryContext};
use hyperbytedb_memory_ports::{Call, Controller, Random, Verdict};
use parking_lot::{Condvar, Mutex, MutexGuard};

/// The task that started the scheduler; it is not one of the process's threads.
const DRIVER: usize = 0;
/// How often tasks that wait look again although nothing seems to have happened, before it counts as a deadlock.
const SWEEPS_MAX: u32 = 4;
/// A task that has the turn so long, and makes no call, waits for what the scheduler does not see.
const STUCK: Duration = Duration::from_secs(60);
/// Calls in one round: more than any should take.
const CALLS_MAX: u64 = 200_000;

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
}

struct State {
    tasks: Vec<Task>,
    current: usize,
    random: Random,
    faults: Faults,
    /// Whether each call passes the turn on, or only some.
    busy: bool,
    calls: u64,
    progress: u64,
    sweeps: u32,
    /// The process has ended: why, if it should not have.
    ended: Option<Option<String>>,
    crash_pending: bool,
    /// A hash of all decisions, to compare two runs.
    trace: u64,
}

/// Decides which task goes on.
pub struct Scheduler {
    state: Mutex<State>,
    handles: Mutex<Vec<JoinHandle<()>>>,
    /// Whether the services hold the lock under which records take effect.
    is_applying: OnceLock<Box<dyn Fn() -> bool + Send + Sync>>,
}

impl Scheduler {
    /// The calling thread becomes the driver.
    pub fn new(seed: u64) -> Arc<Self> {
        let driver = Task {
            name: "driver",
            status: Status::Ready,
            client: None,
            call: None,
            seen: 0,
            turn: Arc::default(),
            slow: false,
        };
        let scheduler = Arc::new(Self {
            state: Mutex::new(State {
                tasks: vec![driver],
                current: DRIVER,
                random: Random::new(seed),
                faults: Faults::default(),
                busy: false,
                calls: 0,
                progress: 0,
                sweeps: 0,
                ended: None,
                crash_pending: false,
                trace: 0,
            }),
            handles: Mutex::default(),
            is_applying: OnceLock::new(),
        });
        scheduler.replace_waiting(DRIVER);
        scheduler
    }

    fn replace_waiting(self: &Arc<Self>, task: usize) {
        let scheduler = Arc::downgrade(self);
        waiting::replace_on_this_thread(move || {
            if let Some(scheduler) = scheduler.upgrade() {
                scheduler.wait(task);
            }
        });
    }

    /// Starts a thread of the process; a client's with what cancels its statement.
    pub fn spawn(
        self: &Arc<Self>,
        name: &'static str,
        client: Option<CancelToken>,
        run: impl FnOnce() + Send + 'static,
    ) {
        let turn = Arc::new(Condvar::new());
        let id = {
            let mut state = self.state.lock();
            let (status, turn, slow) = (Status::Ready, turn.clone(), state.random.chance(1, 4));
            state.tasks.push(Task { name, status, client, call: None, seen: 0, turn, slow });
            state.tasks.len() - 1
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
            Ok(handle) => self.handles.lock().push(handle),
            Err(error) => panic!("no thread: {error}"),
        }
    }

    fn end_task(&self, id: usize, ended: Result<(), Box<dyn Any + Send>>) {
        let mut state = self.state.lock();
        state.tasks[id].status = Status::Done;
        state.progress += 1;
        state.sweeps = 0;
        if let Err(panic) = ended
            && !panic.is::<Ended>()
        {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            let name = state.tasks[id].name;
            self.end(&mut state, Some(format!("{name} panicked: {}", text.unwrap_or_default())));
        }
        if state.ended.is_none() {
            let next = self.next(&mut state);
            self.hand_over(&mut state, next);
        }
    }

    /// How to see whether the services hold the lock under which records take effect. Set once.
    pub fn set_applying(&self, is_applying: impl Fn() -> bool + Send + Sync + 'static) {
        // Only the first one counts.
        let _ = self.is_applying.set(Box::new(is_applying));
    }

    /// Whether the services hold no lock during such a call, so that another task may go on meanwhile.
    fn may_yield(&self, call: Call) -> bool {
        let is_free = || self.is_applying.get().is_some_and(|is_applying| !is_applying());
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
    }

    /// Returns when all clients have ended, or the process has.
    pub fn run_clients(&self) {
        let mut state = self.state.lock();
        while state.ended.is_none() && state.has_clients() {
            self.pass_turn(&mut state, DRIVER);
        }
        state.faults = Faults::default();
        state.busy = false;
        state.tasks[DRIVER].status = Status::Ready;
    }

    /// Whether the process has ended; `Some` in it: why it should not have.
    pub fn ended(&self) -> Option<Option<String>> {
        self.state.lock().ended.clone()
    }

    /// Ends the process now, and waits for its threads.
    pub fn end_process(&self) {
        self.end(&mut self.state.lock(), None);
        for handle in self.handles.lock().drain(..) {
            // Its panic was noted.
            let _ = handle.join();
        }
    }

    /// Ends the process from within: the calling thread ends too.
    pub fn fail_process(&self) {
        self.end(&mut self.state.lock(), None);
        resume_unwind(Box::new(Ended));
    }

    pub fn trace(&self) -> u64 {
        self.state.lock().trace
    }

    fn end(&self, state: &mut State, reason: Option<String>) {
        if state.ended.is_none() {
            state.ended = Some(reason);
        }
        for task in &state.tasks {
            task.turn.notify_all();
        }
    }

    /// Where a thread would wait.
    fn wait(&self, task: usize) {
        let mut state = self.state.lock();
        state.tasks[task].status = Status::Waiting;
        state.tasks[task].seen = state.progress;
        self.pass_turn(&mut state, task);
        state.tasks[task].status = Status::Ready;
    }

    fn pass_turn(&self, state: &mut MutexGuard<'_, State>, task: usize) {
        let next = self.next(state);
        if next != task {
            self.hand_over(state, next);
            self.wait_for_turn(state, task);
        }
        if state.ended.is_some() && task != DRIVER {
            MutexGuard::unlocked(state, || resume_unwind(Box::new(Ended)));
        }
    }

    fn hand_over(&self, state: &mut State, next: usize) {
        state.current = next;
        state.tasks[next].turn.notify_all();
    }

    fn wait_for_turn(&self, state: &mut MutexGuard<'_, State>, task: usize) {
        let turn = state.tasks[task].turn.clone();
        while state.current != task && state.ended.is_none() {
            let (calls, current) = (state.calls, state.current);
            let is_late = turn.wait_for(state, STUCK).timed_out();
            if is_late && task == DRIVER && (state.calls, state.current) == (calls, current) {
                // Its threads cannot be ended, so the simulator cannot go on.
                let name = state.tasks[current].name;
                panic!("{name} waits for a lock that is held while a call is made");
            }
        }
        if state.ended.is_some() && task != DRIVER {
            MutexGuard::unlocked(state, || resume_unwind(Box::new(Ended)));
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
                self.end(state, Some(reason));
                return DRIVER;
            }
        }
    }

    fn decide(&self, task: usize, call: Call, context: Option<&QueryContext>) -> Verdict {
        let mut state = self.state.lock();
        self.leave_if_ended(&state, task);
        state.calls += 1;
        state.progress += 1;
        state.sweeps = 0;
        if state.calls > CALLS_MAX {
            self.end(&mut state, Some("the round never ends".to_owned()));
            drop(state);
            resume_unwind(Box::new(Ended));
        }
        if self.may_yield(call) {
            if is_engine(call) && state.hangs() {
                state.tasks[task].status = Status::Stalled;
                state.tasks[task].call = context.map(|context| context.cancel.clone());
                self.pass_turn(&mut state, task);
                state.tasks[task].status = Status::Ready;
            } else if state.busy || state.random.chance(1, 8) {
                self.pass_turn(&mut state, task);
            }
        }
        let crash = state.faults.crash.filter(|crash| state.calls >= u64::from(crash.calls));
        if let Some(crash) = crash {
            if !crash.after {
                self.end(&mut state, None);
                drop(state);
                resume_unwind(Box::new(Ended));
            }
            state.crash_pending = true;
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

    fn returned(&self, task: usize, call: Call) {
        let mut state = self.state.lock();
        self.leave_if_ended(&state, task);
        state.progress += 1;
        if state.crash_pending {
            self.end(&mut state, None);
            drop(state);
            resume_unwind(Box::new(Ended));
        }
        if state.busy && self.may_yield(call) {
            self.pass_turn(&mut state, task);
        }
    }

    fn leave_if_ended(&self, state: &State, task: usize) {
        if state.ended.is_some() && task != DRIVER {
            resume_unwind(Box::new(Ended));
        }
    }

    fn current(&self) -> usize {
        self.state.lock().current
    }
}

impl State {
    fn has_clients(&self) -> bool {
        self.tasks.iter().any(|task| task.client.is_some() && task.status != Status::Done)
    }

    fn is_able(&self, id: usize) -> bool {
        let task = &self.tasks[id];
        match task.status {
            // While there are clients the driver waits for them.
            _ if id == DRIVER && self.has_clients() => false,
            Status::Ready => true,
            Status::Waiting => task.seen < self.progress,
            Status::Stalled | Status::Done => false,
        }
    }

    /// Nobody can go on: lets somebody, or says why there is none.
    fn unblock(&mut self) -> Option<String> {
        let named = |status: Status| -> Vec<usize> {
            (0..self.tasks.len()).filter(|&id| self.tasks[id].status == status).collect()
        };
        let (stalled, waiting) = (named(Status::Stalled), named(Status::Waiting));
        if self.sweeps < SWEEPS_MAX && !waiting.is_empty() {
            self.sweeps += 1;
            self.progress += 1;
            return None;
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
            self.progress += 1;
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
        || matches!(
            call,
            Call::WalEncode | Call::WalRead | Call::WalTruncate | Call::WalSync | Call::NodeSync
        )
        || matches!(call, Call::RegisterSeries | Call::ReadSeries)
}

/// Calls during which the services may hold the lock under which records take effect.
fn is_sometimes_locked(call: Call) -> bool {
    matches!(call, Call::RestoreSeries | Call::CountSeries | Call::RemoveSeries)
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
