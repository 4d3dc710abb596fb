//! A reader of the log that sends what it reads.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use hyperbytedb_columnar::accepted;
use hyperbytedb_domain::StorageError;
use hyperbytedb_domain::catalog::Command;
use hyperbytedb_domain::clock::millis_of;
use hyperbytedb_domain::ports::{Delivery, DeliveryError, DeliveryPort, WalPort};
use hyperbytedb_domain::wal::{Sequence, WalEntry, WalRecord, WriteEntry};
use hyperbytedb_line_protocol::print_body;

use super::{Counts, Route, SubscriberOptions};
use crate::flush::FlushService;

/// How often a reader that has everything looks for more.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);
/// Bytes of log read at a time, and bytes of lines in one request, about.
const READ_BYTES: usize = 1 << 20;
const LINES_BYTES: usize = 1 << 20;
/// The pause before a request is tried again: doubled each time.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

pub(super) struct Reader {
    pub options: SubscriberOptions,
    pub wal: Arc<dyn WalPort>,
    pub flush: Arc<FlushService>,
    pub delivery: Arc<dyn DeliveryPort>,
    /// The last record that the destination has, or will never get.
    pub position: Sequence,
    /// Its name.
    pub cursor: String,
    /// Of ANY, the one whose turn it is.
    pub next_destination: usize,
    pub route: Route,
    pub counts: Arc<Counts>,
    pub is_over: Arc<AtomicBool>,
    /// The records read say that it is dropped, and not yet that there is one of its name again.
    pub is_dropped: bool,
}

/// Lines of some records.
#[derive(Default)]
struct Lines {
    text: String,
    points: u64,
}

impl Reader {
    pub fn run(&mut self) {
        let mut pause = FIRST_PAUSE;
        while !self.is_over() {
            match self.step() {
                Ok(true) => pause = FIRST_PAUSE,
                Ok(false) => self.wait(LOOK_INTERVAL),
                Err(error) => {
                    tracing::error!(%error, subscription = self.route.subscription, "a subscription cannot read the log");
                    self.wait(pause);
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
    }

    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Acquire)
    }

    fn wait(&self, time: Duration) {
        let until = std::time::Instant::now() + time;
        while !self.is_over() && std::time::Instant::now() < until {
            std::thread::sleep(time.min(LOOK_INTERVAL));
        }
    }

    /// Sends some records; false when there are none.
    pub fn step(&mut self) -> Result<bool, StorageError> {
        let applied = self.flush.applied();
        if self.position >= applied {
            return Ok(false);
        }
        self.leave_out_backlog()?;
        let mut lines = Lines::default();
        let mut last = self.position;
        for (sequence, record) in self.wal.read_from(self.position + 1, READ_BYTES)? {
            if sequence > applied {
                break;
            }
            if let Some(command) = record.entry.command() {
                self.follow(command);
            } else if let Some(entry) = self.wanted(&record) {
                lines.push(entry);
            }
            last = sequence;
            if lines.text.len() >= LINES_BYTES {
                break;
            }
        }
        if last == self.position {
            // The log begins behind it.
            last = self.wal.first_sequence().saturating_sub(1).max(last);
        }
        if lines.points > 0 && !self.send(lines, last)? {
            return Ok(true);
        }
        self.move_to(last)?;
        Ok(true)
    }

    fn move_to(&mut self, sequence: Sequence) -> Result<(), StorageError> {
        self.position = sequence;
        self.flush.cursors().advance_existing(&self.cursor, sequence)
    }

    /// Whether it is there, as the log says.
    fn follow(&mut self, command: &Command) {
        let Route { database: own_database, retention_policy: own_policy, subscription, .. } = &self.route;
        match command {
            Command::CreateSubscription { database, retention_policy, name, .. }
                if database == own_database && retention_policy == own_policy && name == subscription =>
            {
                self.is_dropped = false;
            }
            Command::DropSubscription { database, retention_policy, name }
                if database == own_database && retention_policy == own_policy && name == subscription =>
            {
                self.is_dropped = true;
            }
            Command::DropRetentionPolicy { database, name }
                if database == own_database && name == own_policy =>
            {
                self.is_dropped = true;
            }
            Command::DropDatabase { name } if name == own_database => self.is_dropped = true,
            _ => {}
        }
    }

    fn wanted<'a>(&self, record: &'a WalRecord) -> Option<&'a WriteEntry> {
        match &record.entry {
            WalEntry::Write(entry)
                if !self.is_dropped
                    && self.options.origin.is_none_or(|origin| origin == record.origin)
                    && entry.database == self.route.database
                    && entry.retention_policy == self.route.retention_policy =>
            {
                Some(entry)
            }
            _ => None,
        }
    }

    /// Tries until the destination has the lines, refuses them, or they are too far behind. False when it is over.
    fn send(&mut self, lines: Lines, last: Sequence) -> Result<bool, StorageError> {
        let text = Bytes::from(lines.text);
        let mut pause = FIRST_PAUSE;
        loop {
            match self.deliver(text.clone(), last) {
                Ok(()) => {
                    self.counts.note_written(lines.points);
                    return Ok(true);
                }
                Err(DeliveryError::GivenUp) if self.is_over() => return Ok(false),
                Err(DeliveryError::GivenUp) => {
                    self.counts.note_failure();
                    self.warn("no answer", "a subscription's destination is too far behind");
                }
                Err(DeliveryError::Refused(error)) => {
                    self.counts.note_failure();
                    self.counts.note_dropped(lines.points);
                    self.warn(&error, "a subscription's destination refuses points");
                    return Ok(true);
                }
                Err(DeliveryError::Failed(error)) => {
                    self.counts.note_failure();
                    self.warn(&error, "a subscription's destination cannot be reached; it is tried again");
                }
            }
            if self.is_too_far_behind(last)? {
                self.counts.note_dropped(lines.points);
                return Ok(true);
            }
            self.wait(pause);
            if self.is_over() {
                return Ok(false);
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    fn warn(&self, error: &str, message: &str) {
        let Route { database, subscription, destinations, .. } = &self.route;
        tracing::warn!(error, database, subscription, ?destinations, message);
    }

    /// To the destination whose turn it is, or the next that takes it.
    fn deliver(&mut self, lines: Bytes, last: Sequence) -> Result<(), DeliveryError> {
        let destinations = &self.route.destinations;
        let mut outcome = Err(DeliveryError::Refused("no destination".to_owned()));
        for _ in 0..destinations.len() {
            let Some(destination) = destinations.get(self.next_destination % destinations.len()) else {
                break;
            };
            self.next_destination = self.next_destination.wrapping_add(1);
            let delivery = Delivery {
                destination,
                database: &self.route.database,
                retention_policy: &self.route.retention_policy,
                lines: lines.clone(),
            };
            // A request that nobody answers must not hold back more than its time may bring.
            let give_up = || self.is_over() || self.holds_too_much(last).unwrap_or(false);
            outcome = self.delivery.deliver(&delivery, &give_up);
            if !matches!(outcome, Err(DeliveryError::Failed(_))) {
                return outcome;
            }
        }
        outcome
    }

    fn holds_too_much(&self, last: Sequence) -> Result<bool, StorageError> {
        Ok(self.wal.bytes_from(last + 1)? > self.options.max_backlog_bytes)
    }

    /// Whether records up to this one hold back more than they may.
    fn is_too_far_behind(&self, last: Sequence) -> Result<bool, StorageError> {
        if self.holds_too_much(last)? {
            return Ok(true);
        }
        let oldest = self.wal.read_from(last, 1)?;
        Ok(oldest.first().is_some_and(|(_, record)| self.is_too_old(record)))
    }

    fn is_too_old(&self, record: &WalRecord) -> bool {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        now.saturating_sub(Duration::from_millis(millis_of(record.clock))) > self.options.max_backlog_age
    }

    /// Passes over what is too far behind, and counts it.
    fn leave_out_backlog(&mut self) -> Result<(), StorageError> {
        while !self.is_over() && self.wal.bytes_from(self.position + 1)? > self.options.max_backlog_bytes {
            let records = self.wal.read_from(self.position + 1, READ_BYTES)?;
            let Some((last, _)) = records.last() else { break };
            self.leave_out(records.iter().map(|(_, record)| record));
            self.move_to(*last)?;
        }
        loop {
            let records = self.wal.read_from(self.position + 1, 1)?;
            let Some((sequence, record)) = records.first().filter(|(_, record)| self.is_too_old(record))
            else {
                return Ok(());
            };
            self.leave_out(std::iter::once(record));
            self.move_to(*sequence)?;
        }
    }

    fn leave_out<'a>(&self, records: impl Iterator<Item = &'a WalRecord>) {
        let mut lines = Lines::default();
        records.filter_map(|record| self.wanted(record)).for_each(|entry| lines.push(entry));
        if lines.points > 0 {
            self.counts.note_dropped(lines.points);
            let (subscription, points) = (&self.route.subscription, lines.points);
            tracing::warn!(subscription, points, "a subscription is too far behind: points are left out");
        }
    }
}

impl Lines {
    fn push(&mut self, entry: &WriteEntry) {
        // What cannot be read stops the replay, not the subscriptions.
        let batches = accepted(entry).unwrap_or_default();
        self.points += batches.iter().map(|batch| batch.rows() as u64).sum::<u64>();
        print_body(&batches, &mut self.text);
    }
}
