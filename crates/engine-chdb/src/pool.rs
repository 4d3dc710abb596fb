//! A bounded set of connections, opened as they are needed and kept.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chdb_rust::connection::Connection;
use hyperbytedb_domain::{EngineError, QueryContext};
use hyperbytedb_metrics as metrics;
use parking_lot::{Condvar, Mutex};

use crate::demand::Demand;
use crate::spill::SpillArea;
use crate::worker::{SelectAnswer, SelectReceiver, Worker};

/// How often a waiting call looks whether it is still wanted.
pub(crate) const WATCH_INTERVAL: Duration = Duration::from_millis(50);

/// How long closing waits for running statements.
const CLOSE_WAIT: Duration = Duration::from_secs(30);

#[derive(Default)]
struct State {
    idle: Vec<Worker>,
    /// Threads with an open connection, idle or not.
    open: usize,
    phase: Phase,
}

#[derive(Default)]
enum Phase {
    /// The engine is being opened: whoever wants a connection waits.
    #[default]
    Opening,
    Open,
    Failed(EngineError),
    Closed,
}

pub(crate) struct Pool {
    state: Mutex<State>,
    changed: Condvar,
    demand: Arc<Demand>,
    spill: Arc<SpillArea>,
    arguments: Arc<[String]>,
    connections_max: usize,
    wait: Duration,
    /// Setting that bounds the pool, for the error text.
    setting: &'static str,
}

/// Opens a connection with these arguments.
pub(crate) fn connect(arguments: &[String]) -> Result<Connection, EngineError> {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    Connection::open(&arguments).map_err(|e| EngineError::failed("opening a connection", e))
}

impl Pool {
    pub(crate) fn new(
        arguments: Arc<[String]>,
        connections_max: usize,
        wait: Duration,
        setting: &'static str,
        spill: Arc<SpillArea>,
    ) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::default(),
            changed: Condvar::new(),
            demand: Arc::default(),
            spill,
            arguments,
            connections_max: connections_max.max(1),
            wait,
            setting,
        })
    }

    /// Tells that the engine is open, or could not be opened.
    pub(crate) fn set_opened(&self, outcome: Result<(), EngineError>) {
        let mut state = self.state.lock();
        if matches!(state.phase, Phase::Opening) {
            state.phase = outcome.map_or_else(Phase::Failed, |()| Phase::Open);
            self.changed.notify_all();
        }
    }

    pub(crate) fn is_open(&self) -> bool {
        matches!(self.state.lock().phase, Phase::Open)
    }

    /// Open connections, idle or not.
    pub(crate) fn connections(&self) -> usize {
        self.state.lock().open
    }

    /// Bytes on disk of answers that wait for their readers.
    pub(crate) fn spilled_bytes(&self) -> u64 {
        self.spill.used_bytes()
    }

    /// Returns when the engine is open, or cannot be opened.
    pub(crate) fn wait_until_open(&self) -> Result<(), EngineError> {
        let mut state = self.state.lock();
        loop {
            match &state.phase {
                Phase::Opening => self.changed.wait(&mut state),
                Phase::Failed(error) => return Err(error.clone()),
                Phase::Open | Phase::Closed => return Ok(()),
            }
        }
    }

    /// A free connection. Waits for one until the query's deadline, or the pool's own without one.
    pub(crate) fn take(self: &Arc<Self>, context: &QueryContext) -> Result<Worker, EngineError> {
        let mut give_up = context.deadline.unwrap_or_else(|| Instant::now() + self.wait);
        let (asked, mut waiting) = (Instant::now(), None);
        let mut state = self.state.lock();
        loop {
            let is_open = match &state.phase {
                Phase::Opening => {
                    // The pool's own patience is for connections that are in use.
                    give_up = context.deadline.unwrap_or_else(|| Instant::now() + self.wait);
                    false
                }
                Phase::Open => true,
                Phase::Failed(error) => return Err(error.clone()),
                Phase::Closed => {
                    return Err(EngineError::failed("taking a connection", "the engine is closed"));
                }
            };
            if let Some(worker) = state.idle.pop() {
                if waiting.is_some() {
                    metrics::ENGINE_CONNECTION_WAIT.record_duration(asked.elapsed());
                }
                return Ok(worker);
            }
            if is_open && state.open < self.connections_max {
                state.open += 1;
                drop(state);
                return self.open().inspect_err(|_| self.connection_closed());
            }
            if context.cancel.is_cancelled() {
                return Err(EngineError::Cancelled);
            }
            let now = Instant::now();
            if now >= give_up && is_open {
                return Err(EngineError::Busy { connections: self.connections_max, setting: self.setting });
            }
            waiting.get_or_insert_with(|| self.demand.wait());
            self.changed.wait_until(&mut state, give_up.min(now + WATCH_INTERVAL));
        }
    }

    /// Where the answer of a SELECT on one of these connections goes.
    pub(crate) fn select_answer(&self) -> (SelectAnswer, SelectReceiver) {
        SelectAnswer::channel(Arc::clone(&self.demand), Arc::clone(&self.spill))
    }

    fn open(self: &Arc<Self>) -> Result<Worker, EngineError> {
        let connection = connect(&self.arguments)?;
        let (recycling, closing) = (Arc::clone(self), Arc::clone(self));
        Worker::spawn(
            connection,
            move |worker| recycling.recycle(worker),
            move || closing.connection_closed(),
        )
        .map_err(|e| EngineError::failed("starting a thread", e))
    }

    fn recycle(&self, worker: Worker) {
        let mut state = self.state.lock();
        if matches!(state.phase, Phase::Open) {
            state.idle.push(worker);
        }
        drop(state);
        self.changed.notify_one();
    }

    fn connection_closed(&self) {
        self.state.lock().open -= 1;
        self.changed.notify_all();
    }

    /// Closes the connections: idle ones now, busy ones after their statement, for which it waits.
    pub(crate) fn close(&self) {
        let give_up = Instant::now() + CLOSE_WAIT;
        let mut state = self.state.lock();
        state.phase = Phase::Closed;
        state.idle.clear();
        self.changed.notify_all();
        while state.open > 0 {
            if self.changed.wait_until(&mut state, give_up).timed_out() {
                tracing::warn!(connections = state.open, "engine connections still busy at close");
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use crossbeam_channel::bounded;

    use super::*;
    use crate::options::ChdbOptions;
    use crate::worker::Task;

    #[test]
    fn a_panic_costs_its_statement_and_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let arguments = ChdbOptions::new(directory.path()).arguments(directory.path().to_str().unwrap());
        let spill = SpillArea::new(directory.path().into(), 0);
        let pool = Pool::new(arguments.into(), 1, Duration::from_secs(10), "test", spill);
        pool.set_opened(Ok(()));
        let context = QueryContext::unbounded();
        for _ in 0..3 {
            let (answer, result) = bounded(1);
            let finished = pool.take(&context).unwrap().assign(Task::Panic { answer });
            assert!(result.recv().is_err(), "an answer");
            // The only connection of the pool.
            let worker = pool.take(&context).unwrap();
            assert!(finished.load(Ordering::Acquire), "the killer would wait for it");
            let (answer, result) = bounded(1);
            worker.assign(Task::Execute { sql: "SELECT 1".to_owned(), answer });
            assert!(result.recv().unwrap().is_ok());
        }
        pool.close();
        assert_eq!(pool.state.lock().open, 0);
    }
}
