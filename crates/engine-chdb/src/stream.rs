//! A running SELECT, watched by whoever reads it.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use arrow::array::RecordBatch;
use crossbeam_channel::RecvTimeoutError;
use hyperbytedb_clickhouse_sql::Select;
use hyperbytedb_domain::ports::BatchStream;
use hyperbytedb_domain::{EngineError, QueryContext};
use hyperbytedb_engine_common::{Exception, OutputType, bound, normalise};

use crate::killer::{Killer, StatementTag};
use crate::pool::{Pool, WATCH_INTERVAL};
use crate::spill::SpilledBatches;
use crate::worker::{SelectEnd, SelectReceiver, Task};

/// Batches of a SELECT. Its connection goes back to the pool when the statement has ended, which dropping the
/// stream brings about, or when the rest of its answer is on disk.
pub(crate) struct SelectStream {
    state: State,
    tag: StatementTag,
    finished: Arc<AtomicBool>,
    killer: Arc<Killer>,
    context: QueryContext,
}

enum State {
    Running(SelectReceiver),
    Spilled(SpilledBatches),
    Ended,
}

impl SelectStream {
    pub(crate) fn start(
        pool: &Arc<Pool>,
        killer: &Arc<Killer>,
        mut select: Select,
        context: &QueryContext,
    ) -> Result<Self, EngineError> {
        context.check()?;
        let worker = pool.take(context)?;
        let tag = StatementTag::next();
        select.settings.set("log_comment", tag.0.as_str());
        bound(&mut select.settings, context);
        let sql = select.to_string();
        tracing::debug!(target: "hyperbytedb::sql", %sql);
        let (answer, receiver) = pool.select_answer();
        let finished = worker.assign(Task::Select { sql, answer });
        let killer = Arc::clone(killer);
        Ok(Self { state: State::Running(receiver), tag, finished, killer, context: context.clone() })
    }

    /// The next batch as the engine made it.
    pub(crate) fn next_raw(&mut self) -> Result<Option<RecordBatch>, SelectError> {
        loop {
            if matches!(self.state, State::Ended) {
                return Ok(None);
            }
            self.context.check()?;
            match &mut self.state {
                State::Ended => return Ok(None),
                State::Spilled(batches) => {
                    let batch = batches.next_batch().map_err(Exception::from)?;
                    if batch.is_none() {
                        self.state = State::Ended;
                    }
                    return Ok(batch);
                }
                State::Running(receiver) => match receiver.batches.recv_timeout(WATCH_INTERVAL) {
                    Ok(batch) => return Ok(Some(batch)),
                    Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => {
                        let end = receiver.end.try_recv();
                        self.state = State::Ended;
                        match end {
                            Ok(SelectEnd::Complete) => {}
                            Ok(SelectEnd::Failed(exception)) => return Err(exception.into()),
                            Ok(SelectEnd::Spilled(batches)) => self.state = State::Spilled(batches),
                            Err(_) => {
                                return Err(EngineError::failed("reading", "the statement panicked").into());
                            }
                        }
                    }
                },
            }
        }
    }

    /// All rows, for statements with small results; none when there is no such table.
    pub(crate) fn collect(mut self) -> Result<Vec<RecordBatch>, EngineError> {
        let mut batches = Vec::new();
        loop {
            match self.next_raw() {
                Ok(Some(batch)) => batches.push(batch),
                Ok(None) => return Ok(batches),
                Err(SelectError::Exception(exception)) if exception.is_unknown_table() => {
                    return Ok(Vec::new());
                }
                Err(error) => return Err(error.into_engine_error("reading")),
            }
        }
    }
}

impl Drop for SelectStream {
    fn drop(&mut self) {
        if matches!(self.state, State::Running(_)) {
            self.killer.kill(self.tag.clone(), Arc::clone(&self.finished));
        }
    }
}

/// Why a SELECT ended early.
pub(crate) enum SelectError {
    Exception(Exception),
    Engine(EngineError),
}

impl From<Exception> for SelectError {
    fn from(exception: Exception) -> Self {
        Self::Exception(exception)
    }
}

impl From<EngineError> for SelectError {
    fn from(error: EngineError) -> Self {
        Self::Engine(error)
    }
}

impl SelectError {
    pub(crate) fn into_engine_error(self, context: &str) -> EngineError {
        match self {
            Self::Exception(exception) => exception.into_engine_error(context),
            Self::Engine(error) => error,
        }
    }
}

/// Batches of a scan, in the types the port promises.
pub(crate) struct ScanStream {
    select: SelectStream,
    types: Vec<OutputType>,
}

impl ScanStream {
    pub(crate) fn new(select: SelectStream, types: Vec<OutputType>) -> Self {
        Self { select, types }
    }
}

impl BatchStream for ScanStream {
    fn next_batch(&mut self) -> Result<Option<RecordBatch>, EngineError> {
        match self.select.next_raw() {
            Ok(Some(batch)) => normalise(batch, &self.types).map(Some),
            Ok(None) => Ok(None),
            // Dropped since the scan was planned.
            Err(SelectError::Exception(exception)) if exception.is_unknown_table() => Ok(None),
            Err(error) => Err(error.into_engine_error("scan")),
        }
    }
}
