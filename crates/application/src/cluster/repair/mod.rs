//! Anti-entropy: nodes compare what they have stored, and each takes what it lacks.
//!
//! A node asks the others what the rows of each partition come to ([`Digest`]), by part of the series, then by series, and
//! fetches the rows of those series that differ ([`merge`] decides). What it takes becomes a record of its log that is sent to
//! nobody, older than everything: whatever is written or deleted meanwhile stays. So a node that has lost a part of its disk, or
//! missed what the others' logs do not hold any more, becomes as the others are.

mod merge;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hyperbytedb_domain::catalog::{Catalog, ShardGroup, Table, TableId};
use hyperbytedb_domain::cluster::{NodeAddress, NodeId};
use hyperbytedb_domain::ports::{
    CatalogPort, DigestQuery, NodeStatus, PeerError, ReceiveError, RepairPeersPort, RepairPort,
    RepairProgress, RowsPage, RowsQuery, WalPort,
};
use hyperbytedb_domain::scan::{Digest, DigestBy};
use hyperbytedb_domain::wal::{Sequence, TableVersion, WalEntry, WriteEntry};
use hyperbytedb_domain::{EngineError, Precision, QueryContext, SeriesId, StorageError};
use hyperbytedb_line_protocol::print_batch;
use hyperbytedb_metrics as metrics;
use parking_lot::Mutex;
use thiserror::Error;

use self::merge::{Merge, Source};
use super::conflicts::{Conflicts, Stamp};
use super::peers;
use super::replication::Replication;
use crate::flush::FlushService;
use crate::log::LogError;
use crate::log::committer::{Committer, ReceivedWrite, ResolvedWrite};
use crate::log::replay::LoggedWrites;
use crate::reader::TableReader;
use crate::threads::Stop;
use crate::waiting;
use crate::waiting::now_ns;
use crate::warm::as_written;

/// How often it is looked whether there is something to do.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// Before a run that failed is tried again.
const RETRY_INTERVAL: Duration = Duration::from_secs(10);
/// A partition that differs now and after this pause, and was not written meanwhile, does differ.
const QUIET: Duration = Duration::from_secs(1);
/// Of how many parts the series are looked at at one time.
const BUCKETS_AT_ONCE: usize = 16;
/// Series whose rows are fetched together, and rows fetched at one time: more, so that they are of several times.
const SERIES_AT_ONCE: usize = 500;
const ROWS_AT_ONCE: u64 = 20_000;
const ROWS_MAX: u64 = 100_000;
/// How often rows may change while they are compared before they are left for the next run.
const ATTEMPTS_MAX: usize = 20;
/// How long another node may wait for what this one has agreed on, and a write for room.
const PATIENCE: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(10);

/// Compares this node with the others.
pub struct RepairService {
    pub node: NodeId,
    pub reader: TableReader,
    pub catalog: Arc<dyn CatalogPort>,
    pub wal: Arc<dyn WalPort>,
    pub flush: Arc<FlushService>,
    pub committer: Arc<Committer>,
    pub conflicts: Arc<Conflicts>,
    pub replication: Arc<Replication>,
    /// Between two runs without being asked; `None`: none.
    pub interval: Option<Duration>,
    pub state: RepairState,
}

/// What has been asked for, and how far it is.
#[derive(Default)]
pub struct RepairState {
    progress: Mutex<RepairProgress>,
    is_wanted: Mutex<bool>,
}

/// Why a run ended early.
#[derive(Debug, Error)]
enum RepairError {
    #[error(transparent)]
    Peer(#[from] PeerError),
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error(transparent)]
    Log(#[from] LogError),
    #[error("{0}")]
    Other(String),
    #[error("the server is stopping")]
    Stopped,
}

/// A run.
struct Run<'a> {
    service: &'a RepairService,
    port: &'a dyn RepairPeersPort,
    stop: &'a Stop,
    peers: Vec<Peer>,
    /// This node has missed and lost nothing, and knows that; else the others know better.
    counts: bool,
    /// Values that differ can be settled: all nodes take part, or this one is known to be wrong.
    settles: bool,
    /// Partitions that are being written are left alone.
    only_quiet: bool,
}

/// Another node that takes part.
struct Peer {
    address: NodeAddress,
    /// It has missed and lost nothing, and knows that.
    is_sound: bool,
}

/// A partition of a table.
struct Partition {
    table: Arc<Table>,
    group: ShardGroup,
}

fn background() -> QueryContext {
    QueryContext { max_threads: 1, ..QueryContext::unbounded() }
}

impl RepairService {
    /// Compares when it is asked for, when this node has missed records, and from time to time.
    pub fn run(&self, port: &dyn RepairPeersPort, stop: &Stop) {
        let mut next = self.interval.map(|interval| waiting::now() + interval);
        let mut not_before = waiting::now();
        while stop.wait(LOOK_INTERVAL) {
            if waiting::now() < not_before {
                continue;
            }
            let peers = port.peers();
            let is_wanted = *self.state.is_wanted.lock();
            let missed = self.missed(&peers);
            let is_due = next.is_some_and(|next| waiting::now() >= next);
            let is_behind = !missed.is_empty() || self.replication.losses.has_lost();
            if !(is_wanted || is_due || is_behind) || peers.is_empty() {
                continue;
            }
            *self.state.is_wanted.lock() = false;
            let ended = self.run_once(port, stop, peers, &missed, !is_wanted && !is_behind);
            if let Err(error) = ended {
                tracing::warn!(%error, "comparing with the other nodes ended early; it is tried again");
                *self.state.is_wanted.lock() |= is_wanted || is_behind;
                not_before = waiting::now() + RETRY_INTERVAL;
            } else {
                next = self.interval.map(|interval| waiting::now() + interval);
            }
        }
    }

    /// Compares once, as when it is asked for.
    pub fn run_now(&self, port: &dyn RepairPeersPort, stop: &Stop) -> Result<(), String> {
        let peers = port.peers();
        let missed = self.missed(&peers);
        self.run_once(port, stop, peers, &missed, false).map_err(|error| error.to_string())
    }

    /// The nodes that have gone on without this one, and how far they were then.
    fn missed(&self, peers: &[(NodeAddress, NodeStatus)]) -> Vec<(NodeAddress, Sequence)> {
        let lag = |(address, status): &(NodeAddress, NodeStatus)| {
            let lag = status.lags.iter().find(|lag| lag.node == self.node && lag.needs_repair)?;
            Some((address.clone(), lag.position))
        };
        peers.iter().filter_map(lag).collect()
    }

    fn run_once(
        &self,
        port: &dyn RepairPeersPort,
        stop: &Stop,
        peers: Vec<(NodeAddress, NodeStatus)>,
        missed: &[(NodeAddress, Sequence)],
        only_quiet: bool,
    ) -> Result<(), RepairError> {
        let own_lags = self.replication.lags();
        let lags = || peers.iter().flat_map(|(_, status)| &status.lags).chain(&own_lags);
        let has_all = |id: NodeId| !lags().any(|lag| lag.node == id && lag.needs_repair);
        let is_sound = |status: &NodeStatus| status.is_proven && !status.needs_repair && has_all(status.id);
        let peer = |(address, status): &(NodeAddress, NodeStatus)| Peer {
            address: address.clone(),
            is_sound: is_sound(status),
        };
        let others: Vec<Peer> = peers.iter().map(peer).collect();
        let sound = others.iter().filter(|peer| peer.is_sound).count();
        let members = self.catalog.catalog().cluster.membership.nodes.len();
        let losses = &self.replication.losses;
        let signs = losses.signs();
        let is_behind = !missed.is_empty() || losses.has_lost();
        let counts = !is_behind && self.replication.is_proven();
        let settles = if is_behind { sound > 0 } else { counts && sound + 1 == members };
        let run = Run { service: self, port, stop, peers: others, counts, settles, only_quiet };
        *self.state.progress.lock() =
            RepairProgress { is_running: true, error: None, repaired_rows: 0, ..self.progress() };
        let ended = run.compare();
        let mut progress = self.state.progress.lock();
        progress.is_running = false;
        progress.error = ended.as_ref().err().map(ToString::to_string);
        if ended.is_ok() {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            progress.finished_ms = now.as_millis() as u64;
        }
        let rows = progress.repaired_rows;
        drop(progress);
        ended?;
        if rows > 0 || !missed.is_empty() {
            tracing::info!(rows, "took what this node lacked from the others");
        }
        for (address, position) in missed {
            port.tell_repaired(address, *position)?;
        }
        if is_behind && !settles {
            let text = "no other node is known to have missed and lost nothing";
            return Err(RepairError::Other(text.to_owned()));
        }
        losses.recovered(signs)?;
        Ok(())
    }

    /// A partition as this node knows it, once it has seen an agreed entry. `None`: there is none any more.
    fn partition(
        &self,
        agreed_index: u64,
        table: TableId,
        shard: u64,
    ) -> Result<Option<Partition>, ReceiveError> {
        let until = waiting::now() + PATIENCE;
        while self.catalog.catalog().cluster.applied_index() < agreed_index {
            if waiting::now() >= until {
                let text = format!("node {} knows less of the schema", self.node);
                return Err(ReceiveError::NotNow(text));
            }
            waiting::sleep(POLL);
        }
        let catalog = self.catalog.catalog();
        let Some(table) = catalog.table_by_id(table) else { return Ok(None) };
        let policy = catalog.policy_of(table);
        let group = policy.and_then(|policy| policy.shard_groups.values().find(|group| group.id == shard));
        Ok(group.map(|group| Partition { table: table.clone(), group: *group }))
    }

    fn read(&self, partition: &Partition, query: &RowsQuery) -> Result<RowsPage, EngineError> {
        let Partition { table, group } = partition;
        let limit = query.limit.clamp(1, ROWS_MAX);
        let batches =
            self.reader.stored_rows(table, group, &query.series, query.from, limit, &background())?;
        let (mut page, mut rows, mut last) = (RowsPage::default(), 0, query.from);
        for batch in &batches {
            let read = as_written(table, batch).map_err(|e| EngineError::failed("compare rows", e))?;
            rows += read.rows() as u64;
            last = read.times.last().copied().unwrap_or(last);
            print_batch(&read.into_points(), &mut page.lines);
        }
        page.complete_before = (rows >= limit).then_some(last);
        Ok(page)
    }
}

fn not_now(error: EngineError) -> ReceiveError {
    ReceiveError::NotNow(error.to_string())
}

impl RepairPort for RepairService {
    fn digests(&self, query: &DigestQuery) -> Result<Vec<Digest>, ReceiveError> {
        let partition = self.partition(query.agreed_index, query.table, query.shard)?;
        let Some(Partition { table, group }) = partition else { return Ok(Vec::new()) };
        self.reader.digests(&table, &group, &query.by, &background()).map_err(not_now)
    }

    fn rows(&self, query: &RowsQuery) -> Result<RowsPage, ReceiveError> {
        let partition = self.partition(query.agreed_index, query.table, query.shard)?;
        let Some(partition) = partition else { return Ok(RowsPage::default()) };
        self.read(&partition, query).map_err(not_now)
    }

    fn repaired(&self, node: NodeId, position: Sequence) {
        if let Err(error) = self.replication.losses.repaired(node, position) {
            tracing::warn!(%error, node, "that a node has what it missed could not be stored");
        }
    }

    fn start(&self) {
        *self.state.is_wanted.lock() = true;
    }

    fn progress(&self) -> RepairProgress {
        let progress = self.state.progress.lock().clone();
        let is_wanted = *self.state.is_wanted.lock();
        RepairProgress { is_running: progress.is_running || is_wanted, ..progress }
    }
}

impl Run<'_> {
    fn compare(&self) -> Result<(), RepairError> {
        let catalog = self.service.catalog.catalog();
        let partitions: Vec<Partition> =
            catalog.tables().flat_map(|table| unexpired(&catalog, table)).collect();
        let note = |compared: usize| {
            let mut progress = self.service.state.progress.lock();
            progress.partitions = partitions.len() as u64;
            progress.compared = compared as u64;
        };
        for (compared, partition) in partitions.iter().enumerate() {
            note(compared);
            self.compare_partition(partition)?;
        }
        note(partitions.len());
        for table in catalog.tables() {
            self.check()?;
            self.service.flush.unregister_unstored(table, &background())?;
        }
        Ok(())
    }

    fn check(&self) -> Result<(), RepairError> {
        if self.stop.is_set() { Err(RepairError::Stopped) } else { Ok(()) }
    }

    fn own(&self, partition: &Partition, by: &DigestBy) -> Result<Vec<Digest>, RepairError> {
        let mut own = self.service.reader.digests(&partition.table, &partition.group, by, &background())?;
        own.sort_unstable_by_key(|digest| digest.key);
        Ok(own)
    }

    /// What differs between this node and some other one.
    fn differing(
        &self,
        partition: &Partition,
        own: &[Digest],
        by: &DigestBy,
    ) -> Result<BTreeSet<u64>, RepairError> {
        let agreed_index = self.service.catalog.catalog().cluster.applied_index();
        let (table, shard) = (partition.table.id, partition.group.id);
        let query = DigestQuery { agreed_index, table, shard, by: by.clone() };
        let mut differing = BTreeSet::new();
        for peer in &self.peers {
            self.check()?;
            let theirs = self.port.digests(&peer.address, &query)?;
            let is_same = |digest: &&Digest| {
                own.binary_search_by_key(&digest.key, |own| own.key).is_ok_and(|at| own[at] == **digest)
            };
            differing.extend(theirs.iter().filter(|digest| !is_same(digest)).map(|digest| digest.key));
        }
        Ok(differing)
    }

    fn compare_partition(&self, partition: &Partition) -> Result<(), RepairError> {
        let own = self.own(partition, &DigestBy::Bucket)?;
        let buckets = self.differing(partition, &own, &DigestBy::Bucket)?;
        if buckets.is_empty() {
            return Ok(());
        }
        if self.only_quiet && !(self.stop.wait(QUIET) && self.own(partition, &DigestBy::Bucket)? == own) {
            return self.check();
        }
        let buckets: Vec<u64> = buckets.into_iter().collect();
        for some in buckets.chunks(BUCKETS_AT_ONCE) {
            let by = DigestBy::Series(some.to_vec());
            let own = self.own(partition, &by)?;
            let series: Vec<SeriesId> =
                self.differing(partition, &own, &by)?.into_iter().map(SeriesId).collect();
            for some in series.chunks(SERIES_AT_ONCE) {
                self.repair_series(partition, some)?;
            }
        }
        Ok(())
    }

    fn repair_series(&self, partition: &Partition, series: &[SeriesId]) -> Result<(), RepairError> {
        let mut from = Some(partition.group.start);
        let mut attempts = 0;
        while let Some(begin) = from {
            self.check()?;
            match self.repair_page(partition, series, begin) {
                Ok(next) => {
                    from = next;
                    attempts = 0;
                }
                Err(RepairError::Log(LogError::Stale)) if attempts < ATTEMPTS_MAX => {
                    attempts += 1;
                    self.stop.wait(POLL);
                }
                // They are being written all the time, and so on their way to all nodes.
                Err(RepairError::Log(LogError::Stale)) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Takes what this node lacks of some series from a time on; returns the time up to which that is done, if there is more.
    fn repair_page(
        &self,
        partition: &Partition,
        series: &[SeriesId],
        from: i64,
    ) -> Result<Option<i64>, RepairError> {
        let service = self.service;
        let hold = service.conflicts.hold();
        let epoch = service.flush.epochs().now();
        let catalog = service.catalog.catalog();
        let agreed_index = catalog.cluster.applied_index();
        let (table, shard) = (partition.table.id, partition.group.id);
        let query =
            RowsQuery { agreed_index, table, shard, series: series.to_vec(), from, limit: ROWS_AT_ONCE };
        let own = service.read(partition, &query)?;
        let mut pages = Vec::with_capacity(self.peers.len());
        for peer in &self.peers {
            self.check()?;
            pages.push(self.port.rows(&peer.address, &query)?);
        }
        let until = pages.iter().chain([&own]).filter_map(|page| page.complete_before).min();
        if until.is_some_and(|until| until <= from) {
            return Err(RepairError::Other(format!("{} series have too many rows at {from}", series.len())));
        }
        let Some(current) = catalog.table_by_id(table) else { return Ok(None) };
        let mut merge = Merge::new(current, until.unwrap_or(i64::MAX));
        merge.add(&own.lines, Source::Own, self.counts);
        for (peer, page) in self.peers.iter().zip(&pages) {
            merge.add(&page.lines, Source::Peer, peer.is_sound);
        }
        let (lines, rows) = merge.wanted(self.settles);
        drop((own, pages));
        if rows > 0 {
            self.wait_for_room()?;
            let write = WriteEntry {
                database: current.database.clone(),
                retention_policy: current.retention_policy.clone(),
                precision: Precision::Nanosecond,
                default_time: 0,
                tables: vec![TableVersion {
                    measurement: current.measurement.clone(),
                    table,
                    version: current.version,
                }],
                shards: vec![shard],
                form: Default::default(),
                body: lines.into(),
            };
            let place = || "rows of another node".to_owned();
            let batches = LoggedWrites::new(None).batches(&catalog, &write, |_| true, place)?;
            let entry = service.wal.encode(&WalEntry::Write(write))?;
            if !hold.is_whole() {
                return Err(LogError::Stale.into());
            }
            // Older than everything that is remembered.
            let stamp = Stamp { clock: 0, origin: peers::CLUSTER };
            let write = ResolvedWrite { entry, catalog: catalog.clone(), epoch, batches };
            service.committer.receive(vec![ReceivedWrite { stamp, agreed_index, write }])?;
            service.state.progress.lock().repaired_rows += rows;
            metrics::CLUSTER_REPAIRED_ROWS.increment(rows);
        }
        Ok(until)
    }

    fn wait_for_room(&self) -> Result<(), RepairError> {
        let flush = &self.service.flush;
        while !(flush.has_room() && flush.log_has_room()) {
            flush.press();
            self.check()?;
            waiting::sleep(POLL);
        }
        Ok(())
    }
}

/// The partitions of a table. One that is partly past its policy loses rows all the time, and soon all of them.
fn unexpired(catalog: &Catalog, table: &Arc<Table>) -> Vec<Partition> {
    let Some(policy) = catalog.policy_of(table) else { return Vec::new() };
    let visible_from = policy.visible_from(now_ns());
    let groups = policy.shard_groups.values().filter(|group| group.start >= visible_from);
    groups.map(|group| Partition { table: table.clone(), group: *group }).collect()
}
