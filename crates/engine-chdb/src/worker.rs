//! A thread that owns one connection.
//!
//! A connection runs one statement at a time, and reading a batch can block for as long as the engine works on it.
//! On a thread of its own it may: whoever waits for the batch watches its deadline meanwhile. ClickHouse's
//! recursive analysis also gets the stack it expects.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use arrow::array::RecordBatch;
use chdb_rust::arrow_insert::insert_record_batch_direct;
use chdb_rust::connection::Connection;
use chdb_rust::format::OutputFormat;
use chdb_rust::{ArrowOptions, InsertOptions};
use crossbeam_channel::{Receiver, Sender, bounded};

use crate::error::Exception;

const STACK_BYTES: usize = 16 << 20;

/// Batches read ahead of the consumer.
const BATCHES_AHEAD: usize = 2;

/// What a connection is asked to do.
pub(crate) enum Task {
    /// Answers with one message.
    Execute { sql: String, answer: Sender<Result<(), Exception>> },
    /// Answers with one message. `table` is quoted.
    Insert { table: String, batch: RecordBatch, answer: Sender<Result<(), Exception>> },
    /// Sends the batches, then `None` or an error. Stops as soon as nobody receives.
    Select { sql: String, batches: Sender<SelectMessage> },
}

/// A batch, the end, or what went wrong.
pub(crate) type SelectMessage = Result<Option<RecordBatch>, Exception>;

/// A task and the flag that tells that the connection is done with it.
struct Assignment {
    task: Task,
    finished: Arc<AtomicBool>,
    /// Returned to its pool afterwards.
    worker: Worker,
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
            serve(connection, &inbox, recycle);
            closed();
        })?;
        Ok(Self { assignments })
    }

    /// Hands the task over; the flag is set when the connection is free again.
    pub(crate) fn assign(self, task: Task) -> Arc<AtomicBool> {
        let finished = Arc::new(AtomicBool::new(false));
        let assignments = self.assignments.clone();
        let assignment = Assignment { task, finished: Arc::clone(&finished), worker: self };
        // Fails only if the thread died; the task's channel then reports it by hanging up.
        let _ = assignments.send(assignment);
        finished
    }
}

pub(crate) fn batch_channel() -> (Sender<SelectMessage>, Receiver<SelectMessage>) {
    bounded(BATCHES_AHEAD)
}

fn serve(mut connection: Connection, inbox: &Receiver<Assignment>, recycle: impl Fn(Worker)) {
    while let Ok(Assignment { task, finished, worker }) = inbox.recv() {
        run(&mut connection, task);
        finished.store(true, Ordering::Release);
        recycle(worker);
    }
}

/// Whoever asked may have gone: unsent answers are dropped.
fn run(connection: &mut Connection, task: Task) {
    match task {
        Task::Execute { sql, answer } => {
            let result = connection.query(&sql, OutputFormat::Null);
            let _ = answer.send(result.map(drop).map_err(Exception::from));
        }
        Task::Insert { table, batch, answer } => {
            let options = InsertOptions { max_threads: Some(1), ..InsertOptions::default() };
            let result = insert_record_batch_direct(connection, &table, batch, options);
            let _ = answer.send(result.map_err(Exception::from));
        }
        Task::Select { sql, batches } => select(connection, &sql, &batches),
    }
}

fn select(connection: &mut Connection, sql: &str, batches: &Sender<SelectMessage>) {
    let options = ArrowOptions { low_cardinality_as_dictionary: true, ..ArrowOptions::default() };
    let mut stream = match connection.query_stream_arrow_with_opts(sql, &options) {
        Ok(stream) => stream,
        Err(error) => {
            let _ = batches.send(Err(error.into()));
            return;
        }
    };
    loop {
        let message = stream.next_batch().map_err(Exception::from);
        let more = matches!(message, Ok(Some(_)));
        if batches.send(message).is_err() || !more {
            return;
        }
    }
}
