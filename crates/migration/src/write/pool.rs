//! The connections: a thread each, fed through bounded queues.

use std::ops::Range;
use std::sync::Arc;
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, bounded};
use parking_lot::Mutex;

use super::pace::Pace;
use super::report::refused_of;
use super::{Batch, Report, WriteOptions};
use crate::client::{Server, Written};
use crate::error::Error;

/// Batches that wait for a connection, for each of them.
const QUEUED: usize = 2;

/// What a server says of points past their policy, in all versions; of those past a write limit for the future it does not.
const EXPIRED: &str = "points beyond retention policy";

/// Which connection takes a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lanes {
    /// Each lane has a connection of its own, so that the batches of a lane arrive in their order.
    Ordered,
    /// Whichever is free; there is one lane.
    Any,
}

pub struct Pool {
    lanes: Vec<Sender<Batch>>,
    threads: Vec<JoinHandle<()>>,
    report: Arc<Report>,
    pace: Mutex<Pace>,
}

impl Pool {
    /// Starts the connections. `done` is told the ticket of each batch that is through.
    pub fn start(
        server: &Server,
        options: &WriteOptions,
        lanes: Lanes,
        report: &Arc<Report>,
        done: impl Fn(u64) + Clone + Send + 'static,
    ) -> Self {
        let connections = usize::from(options.connections);
        let count = if lanes == Lanes::Ordered { connections } else { 1 };
        let queues: Vec<_> = (0..count).map(|_| bounded(QUEUED * connections / count)).collect();
        let threads = (0..connections).map(|at| {
            let connection = Connection {
                server: server.clone(),
                report: report.clone(),
                counts_expired: lanes == Lanes::Any,
            };
            let (batches, done) = (queues[at % count].1.clone(), done.clone());
            std::thread::spawn(move || connection.run(&batches, done))
        });
        let threads = threads.collect();
        let lanes = queues.into_iter().map(|(sender, _)| sender).collect();
        Self { lanes, threads, report: report.clone(), pace: Mutex::new(Pace::new(options.rate)) }
    }

    /// Hands a batch to its lane; waits while that has enough.
    pub fn submit(&self, lane: usize, batch: Batch) -> Result<(), Error> {
        self.pace.lock().wait(batch.lines());
        let queue = self.lanes.get(lane % self.lanes.len()).ok_or(Error::Stopped)?;
        queue.send(batch).map_err(|_| Error::Stopped)
    }

    /// Waits until all batches are through; the error that stopped a connection, if one did.
    pub fn finish(self) -> Result<(), Error> {
        drop(self.lanes);
        for thread in self.threads {
            if thread.join().is_err() {
                self.report.fail(Error::usage("a connection ended in a panic"));
            }
        }
        self.report.take_failure().map_or(Ok(()), Err)
    }
}

struct Connection {
    server: Server,
    report: Arc<Report>,
    /// Points past their policy are counted apart and not as refused.
    counts_expired: bool,
}

impl Connection {
    fn run(self, batches: &Receiver<Batch>, done: impl Fn(u64)) {
        for batch in batches {
            // One that failed stops all: its batch has not arrived.
            if self.report.has_failed() {
                return;
            }
            match self.deliver(&batch, 0..batch.lines()) {
                Ok(()) => done(batch.ticket),
                Err(error) => return self.report.fail(error),
            }
        }
    }

    /// Sends some lines of a batch. Of what is refused halves are sent again, until the lines are found that are to
    /// be shown: a line that was accepted may come twice.
    fn deliver(&self, batch: &Batch, lines: Range<usize>) -> Result<(), Error> {
        let body = batch.slice(lines.clone());
        let text = match self.server.write(&batch.target, body)? {
            Written::All => {
                self.report.accept(lines.len());
                return Ok(());
            }
            Written::Refused(text) => Some(text),
            Written::TooLarge => None,
        };
        let middle = lines.start + lines.len() / 2;
        match text {
            Some(text) if self.counts_expired && text.contains(EXPIRED) => {
                self.deliver_expired(batch, lines.clone(), refused_of(&text, lines.len()))?;
            }
            text if lines.len() == 1 => {
                let reason = text.as_deref().unwrap_or("larger than the server takes");
                self.report.refuse_line(batch.number(lines.start), body, reason);
            }
            Some(text) if !self.report.shows_more() => {
                let refused = refused_of(&text, lines.len());
                self.report.refuse(refused);
                self.report.accept(lines.len() - refused);
            }
            _ => self.deliver_halves(batch, lines, middle)?,
        }
        Ok(())
    }

    fn deliver_halves(&self, batch: &Batch, lines: Range<usize>, middle: usize) -> Result<(), Error> {
        self.deliver(batch, lines.start..middle)?;
        self.deliver(batch, middle..lines.end)
    }

    /// A server says how many lines it refused, why the first of them, and nothing of those that it could not read
    /// beside them. Where all were refused for their age they are the oldest: the newest of these tells, when it comes
    /// alone.
    fn deliver_expired(&self, batch: &Batch, lines: Range<usize>, refused: usize) -> Result<(), Error> {
        if lines.len() == 1 {
            self.report.expire(1);
            return Ok(());
        }
        let mut by_age: Vec<usize> = lines.clone().collect();
        by_age.sort_by_key(|line| batch.time(*line));
        let (oldest, others) = by_age.split_at(refused.min(by_age.len()));
        let Some(&newest) = oldest.last() else { return Ok(()) };
        let answer = self.server.write(&batch.target, batch.slice(newest..newest + 1))?;
        if !matches!(answer, Written::Refused(text) if text.contains(EXPIRED)) {
            let middle = lines.start + lines.len() / 2;
            return self.deliver_halves(batch, lines, middle);
        }
        self.report.expire(oldest.len());
        if others.is_empty() {
            return Ok(());
        }
        let mut others = others.to_vec();
        others.sort_unstable();
        let others = batch.pick(others.into_iter());
        self.deliver(&others, 0..others.lines())
    }
}

#[cfg(test)]
#[path = "pool_tests.rs"]
mod tests;
