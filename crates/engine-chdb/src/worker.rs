//! A thread that owns one connection.
//!
//! A connection runs one statement at a time, and reading a batch can block for as long as the engine works on it.
//! On a thread of its own it may: whoever waits for the batch watches its deadline meanwhile. ClickHouse's
//! recursive analysis also gets the stack it expects.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use arrow::array::RecordBatch;
use chdb_rust::arrow_insert::insert_record_batch_direct;
use chdb_rust::arrow_query_stream::ArrowQueryStream;
use chdb_rust::connection::Connection;
use chdb_rust::format::OutputFormat;
use chdb_rust::{ArrowOptions, InsertOptions};
use crossbeam_channel::{Receiver, SendTimeoutError, Sender, bounded};
use hyperbytedb_engine_common::Exception;

use crate::demand::Demand;
use crate::error::exception;
use crate::spill::{SpillArea, SpillWriter, SpilledBatches};

pub(crate) const STACK_BYTES: usize = 16 << 20;

/// Batches read ahead of the consumer.
const BATCHES_AHEAD: usize = 2;

/// How long a reader may leave its next batch untouched before its connection may go to somebody else.
const READER_PATIENCE: Duration = Duration::from_millis(100);

/// What a connection is asked to do.
pub(crate) enum Task {
    /// Answers with one message.
    Execute { sql: String, answer: Sender<Result<(), Exception>> },
    /// Answers with one message. `table` is quoted.
    Insert { table: String, batch: RecordBatch, answer: Sender<Result<(), Exception>> },
    /// Sends the batches, then how it ended. Stops as soon as nobody receives.
    Select { sql: String, answer: SelectAnswer },
    #[cfg(test)]
    Panic { answer: Sender<Result<(), Exception>> },
}

/// Where the batches of a SELECT go.
pub(crate) struct SelectAnswer {
    batches: Sender<RecordBatch>,
    /// Takes one message without waiting.
    end: Sender<SelectEnd>,
    demand: Arc<Demand>,
    spill: Arc<SpillArea>,
}

/// How the batches that were sent end.
pub(crate) enum SelectEnd {
    Complete,
    Failed(Exception),
    /// The others are on disk.
    Spilled(SpilledBatches),
}

/// What the reader of a SELECT holds. When the batches hang up, the end tells why.
pub(crate) struct SelectReceiver {
    pub(crate) batches: Receiver<RecordBatch>,
    pub(crate) end: Receiver<SelectEnd>,
}

impl SelectAnswer {
    pub(crate) fn channel(demand: Arc<Demand>, spill: Arc<SpillArea>) -> (Self, SelectReceiver) {
        let (batches, batches_received) = bounded(BATCHES_AHEAD);
        let (end, end_received) = bounded(1);
        let receiver = SelectReceiver { batches: batches_received, end: end_received };
        (Self { batches, end, demand, spill }, receiver)
    }
}

/// A task and what tells that the connection is done with it.
struct Assignment {
    task: Task,
    finished: Finished,
    /// Returned to its pool afterwards.
    worker: Worker,
}

/// Sets the flag when it goes, also if the task panics.
struct Finished(Arc<AtomicBool>);

impl Drop for Finished {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// The handle of the thread. The thread ends when its handle is dropped.
pub(crate) struct Worker {
    assignments: Sender<Assignment>,
}

impl Worker {
    /// `recycle` takes the handle back after each task; `closed` runs once the connection is closed.
    pub(crate) fn spawn(
        connection: Connection,
        recycle: impl Fn(Self) + Send + 'static,
        closed: impl FnOnce() + Send + 'static,
    ) -> std::io::Result<Self> {
        let (assignments, inbox) = bounded::<Assignment>(1);
        thread::Builder::new().name("chdb".into()).stack_size(STACK_BYTES).spawn(move || {
            // A panic drops the connection, whose state nobody knows, and the task, whose channel then hangs up.
            if catch_unwind(AssertUnwindSafe(|| serve(connection, &inbox, recycle))).is_err() {
                tracing::error!("a statement panicked; its connection is closed");
            }
            closed();
        })?;
        Ok(Self { assignments })
    }

    /// Hands the task over; the flag is set when the connection is free again.
    pub(crate) fn assign(self, task: Task) -> Arc<AtomicBool> {
        let finished = Arc::new(AtomicBool::new(false));
        let assignments = self.assignments.clone();
        let assignment = Assignment { task, finished: Finished(Arc::clone(&finished)), worker: self };
        // Fails only if the thread died; the task's channel then reports it by hanging up.
        let _ = assignments.send(assignment);
        finished
    }
}

fn serve(mut connection: Connection, inbox: &Receiver<Assignment>, recycle: impl Fn(Worker)) {
    while let Ok(Assignment { task, finished, worker }) = inbox.recv() {
        run(&mut connection, task);
        drop(finished);
        recycle(worker);
    }
}

/// Whoever asked may have gone: unsent answers are dropped.
fn run(connection: &mut Connection, task: Task) {
    match task {
        Task::Execute { sql, answer } => {
            let result = connection.query(&sql, OutputFormat::Null);
            let _ = answer.send(result.map(drop).map_err(exception));
        }
        Task::Insert { table, batch, answer } => {
            let options = InsertOptions { max_threads: Some(1), ..InsertOptions::default() };
            let result = insert_record_batch_direct(connection, &table, batch, options);
            let _ = answer.send(result.map_err(exception));
        }
        Task::Select { sql, answer } => {
            let end = match select(connection, &sql, &answer) {
                Ok(Some(end)) => end,
                Ok(None) => return,
                Err(exception) => SelectEnd::Failed(exception),
            };
            // Before the batches hang up.
            let _ = answer.end.send(end);
        }
        #[cfg(test)]
        Task::Panic { answer: _answer } => panic!("as asked for"),
    }
}

/// Hands the batches over. `None`: the reader has gone.
fn select(
    connection: &mut Connection,
    sql: &str,
    answer: &SelectAnswer,
) -> Result<Option<SelectEnd>, Exception> {
    let options = ArrowOptions { low_cardinality_as_dictionary: true, ..ArrowOptions::default() };
    let mut stream = connection.query_stream_arrow_with_opts(sql, &options).map_err(exception)?;
    while let Some(mut batch) = stream.next_batch().map_err(exception)? {
        loop {
            batch = match answer.batches.send_timeout(batch, READER_PATIENCE) {
                Ok(()) => break,
                Err(SendTimeoutError::Disconnected(_)) => return Ok(None),
                Err(SendTimeoutError::Timeout(batch)) => batch,
            };
            if let Some(_yielding) = answer.demand.yield_connection() {
                return Ok(Some(SelectEnd::Spilled(spill(&batch, &mut stream, &answer.spill)?)));
            }
        }
    }
    Ok(Some(SelectEnd::Complete))
}

/// The rest of an answer, read at the pace of the disk.
fn spill(
    first: &RecordBatch,
    stream: &mut ArrowQueryStream<'_>,
    area: &Arc<SpillArea>,
) -> Result<SpilledBatches, Exception> {
    let mut writer = SpillWriter::start(area, first)?;
    while let Some(batch) = stream.next_batch().map_err(exception)? {
        writer.write(&batch)?;
    }
    Ok(writer.finish()?)
}
