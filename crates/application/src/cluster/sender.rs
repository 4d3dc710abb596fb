//! What one other node is sent, and how far it has come.

use std::time::{Duration, Instant};

use hyperbytedb_domain::StorageError;
use hyperbytedb_domain::cluster::{NodeAddress, NodeId};
use hyperbytedb_domain::ports::{PeerBatch, PeerError, PeerPort, PeerRecord};
use hyperbytedb_domain::wal::Sequence;
use hyperbytedb_metrics as metrics;

use super::peers;
use super::replication::{AGE_INTERVAL, READ_BYTES, Replication};
use crate::waiting;

/// How often a node that has sent everything says how far its clock is.
const CLOCK_INTERVAL: Duration = Duration::from_millis(200);

/// Sends the log to one node.
pub struct Sender<'a> {
    replication: &'a Replication,
    node: NodeId,
    /// The last record that the node has.
    position: Sequence,
    /// The clock of the last record of this node that it has confirmed, as far as that is known.
    confirmed: Option<u64>,
    /// The last agreed entry up to the position.
    agreed_index: u64,
    /// When the node was last told this node's clock.
    told: Instant,
    /// When the age of what waits was last looked at.
    looked: Instant,
}

/// What is sent at one time.
#[derive(Default)]
struct Sent {
    records: Vec<PeerRecord>,
    /// Of the records.
    clocks: Vec<u64>,
    clock: u64,
    agreed_index: u64,
}

impl<'a> Sender<'a> {
    pub fn new(replication: &'a Replication, node: NodeId, position: Sequence, agreed_index: u64) -> Self {
        let confirmed = replication.flush.cursors().position(&peers::confirmed(node));
        let now = waiting::now();
        Self { replication, node, position, confirmed, agreed_index, told: now, looked: now }
    }

    /// Sends some records; false when there are none.
    pub fn step(&mut self, port: &dyn PeerPort, address: &NodeAddress) -> Result<bool, String> {
        let Replication { wal, flush, options, losses, .. } = self.replication;
        if !losses.has_heard(self.node) {
            // Nothing is sent before it is known what the node has.
            let clock = self.confirmed.unwrap_or(0);
            return self.send(port, address, Sent { clock, ..Sent::default() });
        }
        // Where nothing is being committed, all that has a smaller clock is in the log.
        let (clock, applied) = {
            let _applying = flush.epochs().lock();
            (self.replication.clock.next(), flush.applied())
        };
        self.replication.promise(clock).map_err(read)?;
        if self.position >= applied {
            if waiting::now() - self.told >= CLOCK_INTERVAL {
                let agreed_index = self.agreed_index;
                self.send(port, address, Sent { clock, agreed_index, ..Sent::default() })?;
            }
            return Ok(false);
        }
        self.give_up_backlog().map_err(read)?;
        if wal.first_sequence() > self.position + 1 {
            self.mark_for_repair("the log does not reach back to what it lacks").map_err(read)?;
            return Ok(true);
        }
        let mut last = self.position;
        let mut sent = Sent { agreed_index: self.agreed_index, ..Sent::default() };
        for record in wal.read_stored(self.position + 1, options.batch_bytes).map_err(read)? {
            if record.sequence > applied {
                break;
            }
            last = record.sequence;
            if !record.is_write {
                let agreed_index = self.replication.agreed_index(&record).map_err(read)?;
                sent.agreed_index = agreed_index.unwrap_or(sent.agreed_index);
            } else if record.origin == options.node {
                sent.clocks.push(record.clock);
                let agreed_index = sent.agreed_index;
                sent.records.push(PeerRecord { agreed_index, bytes: record.bytes.into() });
            }
        }
        let (agreed_index, last_clock) = (sent.agreed_index, sent.clocks.last().copied());
        if let Some(last_clock) = last_clock {
            sent.clock = if last == applied { clock } else { last_clock };
            if !self.send(port, address, sent)? {
                return Ok(true);
            }
        }
        self.move_to(last, agreed_index, last_clock.or(self.confirmed)).map_err(read)?;
        Ok(true)
    }

    /// Sends, and looks what the node had before; false: it takes nothing, for it has lost something.
    fn send(&mut self, port: &dyn PeerPort, address: &NodeAddress, sent: Sent) -> Result<bool, String> {
        let Sent { records, clocks, clock, agreed_index } = sent;
        let count = records.len() as u64;
        let (origin, after) = (self.replication.options.node, self.confirmed.unwrap_or(0));
        let batch = PeerBatch { origin, records, clock, agreed_index, after };
        let (node, started) = (self.node.to_string(), Instant::now());
        let had = port.send(address, &batch).map_err(|error| {
            metrics::REPLICATION_ERRORS.with([&node]).increment(1);
            self.replication.note_away(self.node, matches!(error, PeerError::Unreachable(_)));
            match error {
                PeerError::Unreachable(error) | PeerError::Refused(error) => error,
            }
        })?;
        metrics::REPLICATION_DURATION.with([&node]).record(started.elapsed());
        self.told = waiting::now();
        self.replication.note_away(self.node, false);
        self.replication.note_error(self.node, None);
        let is_taken = had.is_none_or(|had| had >= after);
        if let Some(had) = had {
            self.compare(had, &clocks).map_err(read)?;
        }
        self.replication.losses.hear(self.node, had.unwrap_or(0));
        metrics::REPLICATION_WRITES.with([&node]).increment(if is_taken { count } else { 0 });
        Ok(is_taken)
    }

    /// Looks at what the node had of this one's records before it got those with these clocks.
    fn compare(&mut self, had: u64, clocks: &[u64]) -> Result<(), StorageError> {
        let Replication { losses, clock, wal, options, .. } = self.replication;
        // What this node makes from now on is later, also where its disk is old.
        clock.observe(had);
        // Of an older version: nothing is noted.
        let last = wal.received().get(&options.node).copied();
        let is_expected = self.confirmed == Some(had) && last.is_none_or(|last| had <= last || had == 0);
        if is_expected || clocks.contains(&had) {
            return Ok(());
        }
        let is_there = match self.confirmed {
            // All it had not confirmed is in the log.
            Some(confirmed) => had < confirmed || self.is_logged(had)?,
            None => had <= self.replication.first_clock.max(last.unwrap_or(0)),
        };
        if !is_there {
            self.replication.lost_own(self.node, had)?;
        } else if losses.is_short(had) {
            losses.miss([(self.node, self.position)])?;
        }
        if self.confirmed.is_some_and(|confirmed| had < confirmed) {
            return self.go_back(had);
        }
        self.confirmed = Some(had);
        self.replication.flush.cursors().set(&[(peers::confirmed(self.node), Some(had))])
    }

    /// Whether a record of this node that waits in the log has this clock.
    fn is_logged(&self, clock: u64) -> Result<bool, StorageError> {
        Ok(self.first_own(self.position + 1, |own| own == clock)?.is_some())
    }

    /// The first record of this node from there on whose clock is so.
    fn first_own(
        &self,
        mut next: Sequence,
        is_wanted: impl Fn(u64) -> bool,
    ) -> Result<Option<Sequence>, StorageError> {
        let Replication { wal, options, .. } = self.replication;
        loop {
            let records = wal.read_stored(next, READ_BYTES)?;
            let Some(last) = records.last() else { return Ok(None) };
            next = last.sequence + 1;
            let mut own = records.iter().filter(|record| record.is_write && record.origin == options.node);
            if let Some(found) = own.find(|record| is_wanted(record.clock)) {
                return Ok(Some(found.sequence));
            }
        }
    }

    /// The node has no more than this: it gets again what the log has of the rest, and takes by comparing what the log lacks.
    fn go_back(&mut self, had: u64) -> Result<(), StorageError> {
        let Replication { wal, losses, .. } = self.replication;
        let begin = wal.first_sequence();
        let first = self.first_own(begin, |own| own > had)?;
        let position = first.map_or(self.position, |first| self.position.min(first - 1));
        tracing::warn!(node = self.node, position, "a node has lost records: it gets again what the log has");
        let reaches_back = begin == 1 || self.first_own(begin, |own| own <= had)?.is_some();
        if !reaches_back {
            losses.miss([(self.node, position)])?;
        }
        self.set(position, self.replication.agreed_before(position + 1)?, Some(had))
    }

    fn move_to(
        &mut self,
        position: Sequence,
        agreed_index: u64,
        confirmed: Option<u64>,
    ) -> Result<(), StorageError> {
        if confirmed != self.confirmed {
            return self.set(position, agreed_index, confirmed);
        }
        self.replication.flush.cursors().advance(&peers::cursor(self.node), position)?;
        self.stand(position, agreed_index);
        Ok(())
    }

    fn set(
        &mut self,
        position: Sequence,
        agreed_index: u64,
        confirmed: Option<u64>,
    ) -> Result<(), StorageError> {
        let cursors = self.replication.flush.cursors();
        cursors
            .set(&[(peers::cursor(self.node), Some(position)), (peers::confirmed(self.node), confirmed)])?;
        self.confirmed = confirmed;
        self.stand(position, agreed_index);
        Ok(())
    }

    /// Both at once, when the cursor is stored: a record that is sent with an entry behind it would not lose to a delete between.
    fn stand(&mut self, position: Sequence, agreed_index: u64) {
        (self.position, self.agreed_index) = (position, agreed_index);
        self.replication.note_position(self.node, position);
    }

    /// Lets the log go when too much of it waits for this node.
    fn give_up_backlog(&mut self) -> Result<(), StorageError> {
        let Replication { wal, options, .. } = self.replication;
        if waiting::now() - self.looked < AGE_INTERVAL {
            return Ok(());
        }
        self.looked = waiting::now();
        let bytes = wal.bytes_from(self.position + 1)?;
        if bytes > options.hints_max_bytes {
            return self.mark_for_repair("more waits for it than cluster.hints_max_bytes");
        }
        let age = self.replication.oldest_age(self.position + 1, wal.last_sequence());
        if age.is_some_and(|age| age > options.hints_max_age) {
            return self.mark_for_repair("it has been away for longer than cluster.hints_max_age_secs");
        }
        Ok(())
    }

    fn mark_for_repair(&mut self, reason: &str) -> Result<(), StorageError> {
        let node = self.node;
        tracing::error!(
            node,
            reason,
            "a node has missed points: it takes them by comparing what is stored when it is back"
        );
        let applied = self.replication.flush.applied();
        self.replication.losses.miss([(node, applied)])?;
        let agreed_index = self.replication.agreed_before(applied + 1)?;
        // Before its position moves past them: a write that waits for it is not confirmed by that.
        self.replication.pass_over(node, self.position + 1..applied + 1);
        // What it has taken without its answer coming here is in the log no more.
        self.set(applied, agreed_index, None)
    }
}

fn read(error: StorageError) -> String {
    error.to_string()
}

#[cfg(test)]
mod tests;
