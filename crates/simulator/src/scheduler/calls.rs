//! What becomes of a call of a port: it may fail, hang, or be the last of its process.

use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hyperbytedb_domain::QueryContext;
use hyperbytedb_memory_ports::{Call, Controller, Verdict};
use parking_lot::MutexGuard;

use super::state::{State, Status};
use super::{DRIVER, Ended, Scheduler};

/// Calls in one round: more than any should take.
const CALLS_MAX: u64 = 200_000;
/// Where time is simulated: what a call takes, and how long one may hang.
const CALL_TIME: Duration = Duration::from_micros(20);
const STALL_MS_MAX: usize = 2000;

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

impl Scheduler {
    /// Whether the services hold no lock during such a call, so that another task may go on meanwhile.
    fn may_yield(state: &State, host: usize, call: Call) -> bool {
        let is_free = || state.hosts[host].is_applying.as_ref().is_some_and(|is_applying| !is_applying());
        may_yield(call) || (is_sometimes_locked(call) && is_free())
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
            state.find("the round never ends".to_owned());
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
                state.hosts[host].ended = true;
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
            state.hosts[host].ended = true;
            drop(state);
            resume_unwind(Box::new(Ended));
        }
        if state.busy && Self::may_yield(&state, host, call) {
            self.pass_turn(&mut state, task);
        }
    }
}

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
