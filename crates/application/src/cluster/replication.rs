//! Sending what this node took from its clients to the others.
//!
//! A thread for each other node reads the log behind that node's cursor, sends the records that began here, and moves the
//! cursor when the other node has them on its disk. So what a node misses while it is away waits in the log; past the bounds
//! of `hints_max_bytes` and `hints_max_age` it waits no longer, and the node takes what it missed by comparing (`repair`).

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyperbytedb_domain::clock::{millis_of, of_millis};
use hyperbytedb_domain::cluster::{Consistency, Membership, NodeId};
use hyperbytedb_domain::ports::{CatalogPort, PeerLag, PeerPort, StoredRecord, WalPort};
use hyperbytedb_domain::wal::{Sequence, WalEntry};
use hyperbytedb_domain::{HybridClock, StorageError};
use hyperbytedb_metrics as metrics;
use parking_lot::{Condvar, Mutex};

use super::conflicts::Conflicts;
use super::leaving::Gate;
use super::losses::Losses;
use super::peers;
use super::sender::Sender;
use crate::flush::FlushService;
use crate::threads::Stop;
use crate::waiting;

/// How often a sender that has sent everything looks for more without being told.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);
/// How often the membership is looked at.
const FOLLOW_INTERVAL: Duration = Duration::from_millis(200);
/// Bytes of log looked through at a time.
pub(super) const READ_BYTES: usize = 8 << 20;
/// The pause before records are sent again: doubled each time.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// A node that is back should not wait for what it lacks.
const LONGEST_PAUSE: Duration = Duration::from_millis(500);
/// How often the oldest waiting record is looked at.
pub(super) const AGE_INTERVAL: Duration = Duration::from_secs(1);
/// How far ahead of a promise the one is noted that a start must keep: so often that is written to disk at most.
const PROMISED_AHEAD: u64 = of_millis(2000);

/// Settings of the replication.
#[derive(Debug, Clone)]
pub struct ReplicationOptions {
    pub node: NodeId,
    /// What a write without a level asks for.
    pub consistency: Consistency,
    /// How long a write waits for other nodes.
    pub write_timeout: Duration,
    /// Bytes of log that a node may be behind.
    pub hints_max_bytes: u64,
    /// How old what a node has not got may become.
    pub hints_max_age: Duration,
    /// Bytes of records in one request, about.
    pub batch_bytes: usize,
    /// Rows remembered for what may still come from other nodes.
    pub conflict_rows: usize,
}

impl Default for ReplicationOptions {
    fn default() -> Self {
        Self {
            node: 1,
            consistency: Consistency::One,
            write_timeout: Duration::from_secs(10),
            hints_max_bytes: 2 << 30,
            hints_max_age: Duration::from_secs(24 * 3600),
            batch_bytes: 4 << 20,
            conflict_rows: 1_000_000,
        }
    }
}

/// What is known of another node.
#[derive(Debug, Clone, Default)]
struct Peer {
    position: Sequence,
    /// What was passed over since the start, up to the position.
    missed: Range<Sequence>,
    error: Option<String>,
    /// It could not be reached the last time.
    is_away: bool,
}

impl Peer {
    fn has(&self, sequence: Sequence) -> bool {
        self.position >= sequence && !self.missed.contains(&sequence)
    }
}

/// Sends, and knows who has what.
pub struct Replication {
    pub losses: Losses,
    pub(super) options: ReplicationOptions,
    pub(super) wal: Arc<dyn WalPort>,
    catalog: Arc<dyn CatalogPort>,
    pub(super) flush: Arc<FlushService>,
    pub(super) clock: Arc<HybridClock>,
    conflicts: Arc<Conflicts>,
    /// No record that an earlier process of this node made has a greater clock.
    pub(super) first_clock: u64,
    /// By node.
    peers: Mutex<BTreeMap<NodeId, Peer>>,
    /// A peer's position has moved.
    moved: Condvar,
    /// Counts what there is to send, for senders that wait.
    news: Mutex<u64>,
    has_news: Condvar,
    pub gate: Gate,
}

impl Replication {
    pub fn new(
        options: ReplicationOptions,
        wal: Arc<dyn WalPort>,
        catalog: Arc<dyn CatalogPort>,
        flush: Arc<FlushService>,
        clock: Arc<HybridClock>,
        conflicts: Arc<Conflicts>,
    ) -> Self {
        Self {
            losses: Losses::new(flush.clone()),
            first_clock: wal.last_clock(),
            options,
            wal,
            catalog,
            flush,
            clock,
            conflicts,
            peers: Mutex::default(),
            moved: Condvar::new(),
            news: Mutex::default(),
            has_news: Condvar::new(),
            gate: Gate::default(),
        }
    }

    /// Tells the senders that there may be something to send.
    pub fn notify(&self) {
        *self.news.lock() += 1;
        self.has_news.notify_all();
    }

    fn membership(&self) -> Membership {
        self.catalog.catalog().cluster.membership.clone()
    }

    /// Returns when as many nodes have a record as the level asks for, this one counted.
    pub fn confirm(&self, sequence: Sequence, level: Option<Consistency>) -> Result<(), String> {
        self.notify();
        let level = level.unwrap_or(self.options.consistency);
        if matches!(level, Consistency::Any | Consistency::One) {
            return Ok(());
        }
        let nodes = self.catalog.catalog().cluster.membership.nodes.len().max(1);
        let needed = level.nodes_of(nodes);
        let until = waiting::now() + self.options.write_timeout;
        let mut peers = self.peers.lock();
        loop {
            let having = 1 + peers.values().filter(|peer| peer.has(sequence)).count();
            if having >= needed {
                return Ok(());
            }
            if waiting::now() >= until {
                let reached = 1 + peers.values().filter(|peer| peer.error.is_none()).count();
                // InfluxDB Enterprise's words.
                let kind = if reached < needed { "partial write" } else { "timeout" };
                return Err(format!(
                    "{kind}: {having} of the {needed} nodes that consistency {} asks for have the points; they are kept and sent to the others",
                    level.name()
                ));
            }
            waiting::wait_until(&self.moved, &mut peers, until);
        }
    }

    /// How far the others are behind.
    pub fn lags(&self) -> Vec<PeerLag> {
        let applied = self.flush.applied();
        let peers = self.peers.lock().clone();
        let lag = |(node, peer): (NodeId, Peer)| PeerLag {
            node,
            position: peer.position,
            lag_records: applied.saturating_sub(peer.position),
            lag_bytes: self.wal.bytes_from(peer.position + 1).unwrap_or(0),
            lag_secs: self.oldest_age(peer.position + 1, applied).unwrap_or_default().as_secs(),
            error: peer.error,
            needs_repair: self.losses.has_missed(node),
        };
        peers.into_iter().map(lag).collect()
    }

    /// How old the first record from a place on is; `None` where there is none.
    pub(super) fn oldest_age(&self, from: Sequence, applied: Sequence) -> Option<Duration> {
        if from > applied {
            return None;
        }
        let oldest = self.wal.read_stored(from, 1).ok()?;
        let now = Duration::from_nanos(waiting::now_ns().unsigned_abs());
        // What was taken by comparing is of no time, and sent to nobody.
        let dated = oldest.first().filter(|record| record.clock > 0)?;
        Some(now.saturating_sub(Duration::from_millis(millis_of(dated.clock))))
    }

    fn show_lags(&self) {
        for lag in self.lags() {
            let node = lag.node.to_string();
            metrics::CLUSTER_LAG_RECORDS.with([&node]).set(lag.lag_records as f64);
            metrics::CLUSTER_LAG_BYTES.with([&node]).set(lag.lag_bytes as f64);
            metrics::CLUSTER_LAG_SECONDS.with([&node]).set(lag.lag_secs as f64);
        }
    }

    /// The other nodes.
    pub(super) fn others(&self) -> impl Iterator<Item = NodeId> {
        self.membership().nodes.into_keys().filter(|&node| node != self.options.node)
    }

    /// Whether this node knows what it has lost.
    pub fn is_proven(&self) -> bool {
        self.losses.is_proven(self.others())
    }

    /// A node has a record of this one that is not here.
    pub(super) fn lost_own(&self, node: NodeId, clock: u64) -> Result<(), StorageError> {
        let position = |node| self.peers.lock().get(&node).map_or(0, |peer| peer.position);
        self.losses.lost_own(node, clock, self.others().map(|node| (node, position(node))))
    }

    /// Runs a sender for each other node until told to stop.
    pub fn run(self: &Arc<Self>, port: &Arc<dyn PeerPort>, stop: &Stop) {
        let mut running: HashMap<NodeId, std::thread::JoinHandle<()>> = HashMap::new();
        let mut shown = Instant::now();
        while stop.wait(FOLLOW_INTERVAL) {
            if shown.elapsed() >= AGE_INTERVAL {
                self.show_lags();
                shown = Instant::now();
            }
            running.retain(|_, thread| !thread.is_finished());
            for node in self.follow_membership() {
                if running.contains_key(&node) {
                    continue;
                }
                let (replication, port, stop) = (self.clone(), port.clone(), stop.clone());
                let thread = std::thread::Builder::new().name(format!("to node {node}"));
                match thread.spawn(move || replication.send_to(node, &*port, &stop)) {
                    Ok(thread) => drop(running.insert(node, thread)),
                    Err(error) => tracing::error!(%error, node, "a sender could not be started"),
                }
            }
        }
        self.notify();
        for (_, thread) in running {
            // A panic has been reported.
            let _ = thread.join();
        }
    }

    /// Looks who the other nodes are; each needs a sender.
    pub fn follow_membership(&self) -> BTreeSet<NodeId> {
        let others: BTreeSet<NodeId> = self.others().collect();
        if let Err(error) = self.keep_log() {
            tracing::error!(%error, "the cursor of conflicts could not be stored; it is tried again");
        }
        self.peers.lock().retain(|node, _| others.contains(node));
        others
    }

    /// Before the others are told that nothing of this node comes any more whose clock is not past this one. They forget what such
    /// a record would meet, so a start must not take the clock back, also where its wall clock is behind those of others.
    pub(super) fn promise(&self, clock: u64) -> Result<(), StorageError> {
        let cursors = self.flush.cursors();
        if cursors.position(peers::PROMISED).is_some_and(|promised| clock <= promised) {
            return Ok(());
        }
        cursors.advance(peers::PROMISED, clock + PROMISED_AHEAD)?;
        cursors.sync()
    }

    /// Keeps the log for what may still meet something from another node, within the bound for a node that is away.
    fn keep_log(&self) -> Result<(), StorageError> {
        // Read first: what is noted meanwhile is behind it.
        let applied = self.flush.applied();
        let behind = self.conflicts.behind().map_or(applied, |behind| behind.min(applied));
        if !self.conflicts.is_whole() {
            self.losses.doubt()?;
        }
        let cursors = self.flush.cursors();
        let kept = behind.max(cursors.position(peers::CONFLICTS).unwrap_or(0));
        if self.wal.bytes_from(kept + 1)? <= self.options.hints_max_bytes {
            return cursors.advance(peers::CONFLICTS, kept);
        }
        self.losses.forget(self.clock.next())?;
        cursors.advance(peers::CONFLICTS, applied)
    }

    /// The last agreed entry before a place in the log.
    pub(super) fn agreed_before(&self, mut next: Sequence) -> Result<u64, StorageError> {
        // Read first: an entry that comes meanwhile is found in the log.
        let applied = self.catalog.catalog().cluster.applied_index();
        loop {
            let records = self.wal.read_stored(next, READ_BYTES)?;
            let Some(last) = records.last() else { return Ok(applied) };
            next = last.sequence + 1;
            for record in records.iter().filter(|record| !record.is_write) {
                if let Some(index) = self.agreed_index(record)? {
                    return Ok(index.saturating_sub(1));
                }
            }
        }
    }

    pub(super) fn agreed_index(&self, record: &StoredRecord) -> Result<Option<u64>, StorageError> {
        match self.wal.decode(&record.bytes)?.0.entry {
            WalEntry::Agreed(entry) => Ok(Some(entry.position.index)),
            WalEntry::Write(_) | WalEntry::Command(_) => Ok(None),
        }
    }

    /// Sends until the node is not of the cluster any more.
    pub fn send_to(&self, node: NodeId, port: &dyn PeerPort, stop: &Stop) {
        let Some(position) = self.flush.cursors().position(&peers::cursor(node)) else { return };
        // A power failure may have cut the log short of the cursor.
        let position = position.min(self.wal.last_sequence());
        self.note_position(node, position);
        let agreed_index = match self.agreed_before(position + 1) {
            Ok(index) => index,
            Err(error) => {
                tracing::error!(%error, node, "the log cannot be read for a node; it is tried again");
                return;
            }
        };
        let mut sender = Sender::new(self, node, position, agreed_index);
        let mut pause = FIRST_PAUSE;
        while !stop.is_set() {
            let news = *self.news.lock();
            let Some(address) = self.membership().nodes.get(&node).cloned() else { return };
            match sender.step(port, &address) {
                Ok(true) => pause = FIRST_PAUSE,
                Ok(false) => {
                    pause = FIRST_PAUSE;
                    let mut current = self.news.lock();
                    if *current == news {
                        waiting::wait_until(&self.has_news, &mut current, waiting::now() + LOOK_INTERVAL);
                    }
                }
                Err(error) => {
                    self.note_error(node, Some(error));
                    if !stop.wait(pause) {
                        return;
                    }
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
    }

    /// Nobody sends these to the node any more: its position moves past them, and it does not have them.
    pub(super) fn pass_over(&self, node: NodeId, missed: Range<Sequence>) {
        let mut peers = self.peers.lock();
        let known = &mut peers.entry(node).or_default().missed;
        let start = if known.is_empty() { missed.start } else { known.start.min(missed.start) };
        *known = start..missed.end;
    }

    /// How much of the log a node has.
    pub(super) fn note_position(&self, node: NodeId, position: Sequence) {
        self.peers.lock().entry(node).or_default().position = position;
        self.moved.notify_all();
    }

    /// Whether a node could be reached when it was sent something last.
    pub(super) fn note_away(&self, node: NodeId, is_away: bool) {
        self.peers.lock().entry(node).or_default().is_away = is_away;
    }

    pub(super) fn is_away(&self, node: NodeId) -> bool {
        self.peers.lock().get(&node).is_some_and(|peer| peer.is_away)
    }

    /// Why a node takes no records; `None`: it does.
    pub(super) fn note_error(&self, node: NodeId, error: Option<String>) {
        let mut peers = self.peers.lock();
        let peer = peers.entry(node).or_default();
        if peer.error != error {
            match &error {
                Some(error) => tracing::warn!(node, error, "a node does not take records"),
                None => tracing::info!(node, "a node takes records again"),
            }
            peer.error = error;
        }
        let active = peers.values().filter(|peer| peer.error.is_none()).count();
        metrics::CLUSTER_PEERS_ACTIVE.set(active as f64);
    }
}
