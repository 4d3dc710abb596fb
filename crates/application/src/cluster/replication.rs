//! Sending what this node took from its clients to the others.
//!
//! A thread for each other node reads the log behind that node's cursor, sends the records that began here, and moves the
//! cursor when the other node has them on its disk. So what a node misses while it is away waits in the log; past the bounds
//! of `hints_max_bytes` and `hints_max_age` it waits no longer, and the node takes what it missed by comparing (`repair`).

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use hyperbytedb_domain::clock::millis_of;
use hyperbytedb_domain::cluster::{Consistency, Membership, NodeAddress, NodeId};
use hyperbytedb_domain::ports::{
    CatalogPort, PeerBatch, PeerError, PeerLag, PeerPort, PeerRecord, StoredRecord, WalPort,
};
use hyperbytedb_domain::wal::{Sequence, WalEntry};
use hyperbytedb_domain::{HybridClock, StorageError};
use hyperbytedb_metrics as metrics;
use parking_lot::{Condvar, Mutex};

use super::conflicts::Conflicts;
use super::peers;
use crate::flush::FlushService;
use crate::threads::Stop;
use crate::waiting;

/// How often a sender that has sent everything looks for more without being told.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);
/// How often the membership is looked at.
const FOLLOW_INTERVAL: Duration = Duration::from_millis(200);
/// How often a node that has sent everything says how far its clock is.
const CLOCK_INTERVAL: Duration = Duration::from_millis(200);
/// Bytes of log looked through at a time.
const READ_BYTES: usize = 8 << 20;
/// The pause before records are sent again: doubled each time.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// A node that is back should not wait for what it lacks.
const LONGEST_PAUSE: Duration = Duration::from_millis(500);
/// How often the oldest waiting record is looked at.
const AGE_INTERVAL: Duration = Duration::from_secs(1);
/// How often a drain looks whether it is done.
const DRAIN_POLL: Duration = Duration::from_millis(20);

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
    error: Option<String>,
    /// It has missed records up to there, and takes what it lacks by comparing.
    missed: Option<Sequence>,
}

/// Sends, and knows who has what.
pub struct Replication {
    options: ReplicationOptions,
    wal: Arc<dyn WalPort>,
    catalog: Arc<dyn CatalogPort>,
    flush: Arc<FlushService>,
    clock: Arc<HybridClock>,
    conflicts: Arc<Conflicts>,
    /// By node.
    peers: Mutex<BTreeMap<NodeId, Peer>>,
    /// A peer's position has moved.
    moved: Condvar,
    /// Counts what there is to send, for senders that wait.
    news: Mutex<u64>,
    has_news: Condvar,
    is_draining: AtomicBool,
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
            is_draining: AtomicBool::new(false),
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
            let having = 1 + peers.values().filter(|peer| peer.position >= sequence).count();
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
            needs_repair: peer.missed.is_some(),
        };
        peers.into_iter().map(lag).collect()
    }

    /// How old the first record from a place on is; `None` where there is none.
    fn oldest_age(&self, from: Sequence, applied: Sequence) -> Option<Duration> {
        if from > applied {
            return None;
        }
        let oldest = self.wal.read_stored(from, 1).ok()?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
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

    /// Takes no writes any more, and returns when the others have everything.
    pub fn drain(&self, timeout: Duration) -> Result<(), String> {
        self.is_draining.store(true, Ordering::Release);
        let until = waiting::now() + timeout;
        loop {
            let behind: Vec<String> = self
                .lags()
                .iter()
                .filter(|lag| lag.lag_records > 0)
                .map(|lag| format!("node {} lacks {} records", lag.node, lag.lag_records))
                .collect();
            if behind.is_empty() {
                return Ok(());
            }
            if waiting::now() >= until {
                return Err(format!("the others have not got everything: {}", behind.join(", ")));
            }
            waiting::sleep(DRAIN_POLL);
        }
    }

    /// A node has taken what it lacked of the records up to there.
    pub fn repaired(&self, node: NodeId, position: Sequence) {
        let mut peers = self.peers.lock();
        if let Some(peer) =
            peers.get_mut(&node).filter(|peer| peer.missed.is_some_and(|missed| missed <= position))
        {
            peer.missed = None;
            tracing::info!(node, "a node has what it missed");
        }
    }

    pub fn is_draining(&self) -> bool {
        self.is_draining.load(Ordering::Acquire)
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
        let nodes = self.membership().nodes.into_keys();
        let others: BTreeSet<NodeId> = nodes.filter(|&node| node != self.options.node).collect();
        if let Err(error) = self.keep_log() {
            tracing::error!(%error, "the cursor of conflicts could not be stored; it is tried again");
        }
        self.peers.lock().retain(|node, _| others.contains(node));
        others
    }

    /// Keeps the log for what may still meet something from another node, within the bound for a node that is away.
    fn keep_log(&self) -> Result<(), StorageError> {
        // Read first: what is noted meanwhile is behind it.
        let applied = self.flush.applied();
        let behind = self.conflicts.behind().map_or(applied, |behind| behind.min(applied));
        let is_too_much = self.wal.bytes_from(behind + 1)? > self.options.hints_max_bytes;
        self.flush.cursors().advance(peers::CONFLICTS, if is_too_much { applied } else { behind })
    }

    /// The last agreed entry before a place in the log.
    fn agreed_before(&self, mut next: Sequence) -> Result<u64, StorageError> {
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

    fn agreed_index(&self, record: &StoredRecord) -> Result<Option<u64>, StorageError> {
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
        self.peers.lock().entry(node).or_default().position = position;
        let agreed_index = match self.agreed_before(position + 1) {
            Ok(index) => index,
            Err(error) => {
                tracing::error!(%error, node, "the log cannot be read for a node; it is tried again");
                return;
            }
        };
        let now = waiting::now();
        let mut sender = Sender { replication: self, node, position, agreed_index, looked: now, told: now };
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
                    sender.note(Some(error));
                    if !stop.wait(pause) {
                        return;
                    }
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
    }
}

struct Sender<'a> {
    replication: &'a Replication,
    node: NodeId,
    /// The last record that the node has.
    position: Sequence,
    /// The last agreed entry up to there.
    agreed_index: u64,
    /// When the node was last told this node's clock.
    told: Instant,
    /// When the age of what waits was last looked at.
    looked: Instant,
}

impl Sender<'_> {
    /// Sends some records; false when there are none.
    fn step(&mut self, port: &dyn PeerPort, address: &NodeAddress) -> Result<bool, String> {
        let Replication { wal, flush, options, .. } = self.replication;
        // Where nothing is being committed, all that has a smaller clock is in the log.
        let (clock, applied) = {
            let _applying = flush.epochs().lock();
            (self.replication.clock.next(), flush.applied())
        };
        if self.position >= applied {
            if waiting::now() - self.told >= CLOCK_INTERVAL {
                self.send(port, address, Vec::new(), clock, self.agreed_index)?;
            }
            return Ok(false);
        }
        let read = |error: StorageError| error.to_string();
        self.give_up_backlog().map_err(read)?;
        if wal.first_sequence() > self.position + 1 {
            self.mark_for_repair("the log does not reach back to what it lacks").map_err(read)?;
            return Ok(true);
        }
        let (mut last, mut last_clock, mut agreed_index) = (self.position, 0, self.agreed_index);
        let mut records = Vec::new();
        for record in wal.read_stored(self.position + 1, options.batch_bytes).map_err(read)? {
            if record.sequence > applied {
                break;
            }
            last = record.sequence;
            if !record.is_write {
                agreed_index = self.replication.agreed_index(&record).map_err(read)?.unwrap_or(agreed_index);
            } else if record.origin == options.node {
                last_clock = record.clock;
                records.push(PeerRecord { agreed_index, bytes: record.bytes.into() });
            }
        }
        if !records.is_empty() {
            let clock = if last == applied { clock } else { last_clock };
            self.send(port, address, records, clock, agreed_index)?;
        }
        self.agreed_index = agreed_index;
        self.move_to(last).map_err(read)?;
        Ok(true)
    }

    fn send(
        &mut self,
        port: &dyn PeerPort,
        address: &NodeAddress,
        records: Vec<PeerRecord>,
        clock: u64,
        agreed_index: u64,
    ) -> Result<(), String> {
        let count = records.len() as u64;
        let batch = PeerBatch { origin: self.replication.options.node, records, clock, agreed_index };
        let (node, started) = (self.node.to_string(), Instant::now());
        port.send(address, &batch).map_err(|error| {
            metrics::REPLICATION_ERRORS.with([&node]).increment(1);
            match error {
                PeerError::Unreachable(error) | PeerError::Refused(error) => error,
            }
        })?;
        metrics::REPLICATION_DURATION.with([&node]).record(started.elapsed());
        metrics::REPLICATION_WRITES.with([&node]).increment(count);
        self.told = waiting::now();
        self.note(None);
        Ok(())
    }

    fn move_to(&mut self, sequence: Sequence) -> Result<(), StorageError> {
        self.replication.flush.cursors().advance(&peers::cursor(self.node), sequence)?;
        self.position = sequence;
        self.replication.peers.lock().entry(self.node).or_default().position = sequence;
        self.replication.moved.notify_all();
        Ok(())
    }

    fn note(&self, error: Option<String>) {
        let mut peers = self.replication.peers.lock();
        let peer = peers.entry(self.node).or_default();
        if peer.error != error {
            match &error {
                Some(error) => tracing::warn!(node = self.node, error, "a node does not take records"),
                None => tracing::info!(node = self.node, "a node takes records again"),
            }
            peer.error = error;
        }
        let active = peers.values().filter(|peer| peer.error.is_none()).count();
        metrics::CLUSTER_PEERS_ACTIVE.set(active as f64);
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
        self.replication.peers.lock().entry(node).or_default().missed = Some(applied);
        self.agreed_index = self.replication.agreed_before(applied + 1)?;
        self.move_to(applied)
    }
}
