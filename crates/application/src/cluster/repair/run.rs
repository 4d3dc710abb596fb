//! One comparison of this node with the others.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use hyperbytedb_domain::catalog::{Catalog, Table};
use hyperbytedb_domain::cluster::{NodeAddress, NodeId};
use hyperbytedb_domain::ports::{DigestQuery, NodeStatus, PeerLag, RepairPeersPort, RowsQuery};
use hyperbytedb_domain::scan::{Digest, DigestBy};
use hyperbytedb_domain::wal::{Sequence, TableVersion, WalEntry, WriteEntry};
use hyperbytedb_domain::{Precision, SeriesId, TimeRange};
use hyperbytedb_metrics as metrics;

use super::merge::{Merge, Source, Wanted};
use super::page::Partition;
use super::{Lacking, POLL, RepairError, RepairService, background};
use crate::cluster::conflicts::{Hold, Reach, Rivals, Stamp, Watched, without_losers};
use crate::cluster::peers;
use crate::log::LogError;
use crate::log::committer::{ReceivedWrite, ResolvedWrite};
use crate::log::replay::LoggedWrites;
use crate::threads::Stop;
use crate::waiting;

/// A partition that differs now and after this pause, and was not written meanwhile, does differ.
const QUIET: Duration = Duration::from_secs(1);
/// Of how many parts the series are looked at at one time.
const BUCKETS_AT_ONCE: usize = 16;
/// Series whose rows are fetched together, and rows fetched at one time: more, so that they are of several times.
const SERIES_AT_ONCE: usize = 500;
const ROWS_AT_ONCE: u64 = 20_000;
/// How long what is on its way between nodes is waited for, where values differ.
const DELIVERY_PATIENCE: Duration = Duration::from_secs(5);
/// How often the schema of rows may change while they are compared before they are left for the next run.
const ATTEMPTS_MAX: usize = 20;

/// Another node that takes part.
pub struct Peer {
    pub id: NodeId,
    pub address: NodeAddress,
    /// Its values have a say in what stays of those that differ.
    pub counts: bool,
}

/// A comparison.
pub struct Run<'a> {
    pub service: &'a RepairService,
    pub port: &'a dyn RepairPeersPort,
    pub stop: &'a Stop,
    pub peers: Vec<Peer>,
    /// As of a [`Peer`].
    pub counts: bool,
    /// What was known when it was decided who counts.
    pub lacking: Lacking,
    /// Values that differ can be settled: all nodes take part, or this one is known to be wrong.
    pub settles: bool,
    /// Partitions that are being written are left alone.
    pub only_quiet: bool,
    pub left: Left,
}

/// What a comparison could not do.
#[derive(Default)]
pub struct Left {
    /// Values that differ and stay as they are.
    unsettled: Cell<u64>,
    /// Series that could not be compared.
    busy: Cell<u64>,
}

/// What this node lacks of a page of all nodes.
struct Fetched<'a> {
    wanted: Wanted,
    /// There are more, from there on.
    until: Option<i64>,
    reach: Reach,
    /// As the rows were asked for.
    catalog: Arc<Catalog>,
    table: Arc<Table>,
    /// Since before they were.
    hold: Hold<'a>,
}

/// Series that are compared together, from a time on.
struct Part<'s> {
    series: &'s [SeriesId],
    from: i64,
}

impl Run<'_> {
    /// Takes what this node lacks. Returns the number of values that differ and stay as they are.
    pub fn compare(&self) -> Result<u64, RepairError> {
        let catalog = self.service.catalog.catalog();
        let partitions: Vec<Partition> =
            catalog.tables().flat_map(|table| Partition::unexpired(&catalog, table)).collect();
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
        match self.left.busy.get() {
            0 => Ok(self.left.unsettled.get()),
            busy => Err(RepairError::Busy(busy)),
        }
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
                self.compare_series(partition, some)?;
            }
        }
        Ok(())
    }

    /// Page by page; of fewer series where a page is too much.
    fn compare_series(&self, partition: &Partition, series: &[SeriesId]) -> Result<(), RepairError> {
        let mut parts = vec![Part { series, from: partition.group.start }];
        let mut attempts = 0;
        while let Some(Part { series, from }) = parts.pop() {
            self.check()?;
            let again = attempts + 1;
            attempts = 0;
            match self.compare_page(partition, series, from) {
                Ok(Some(from)) => parts.push(Part { series, from }),
                Ok(None) => {}
                Err(RepairError::TooMuch { .. }) if series.len() > 1 => {
                    let (first, second) = series.split_at(series.len() / 2);
                    parts.extend([second, first].map(|series| Part { series, from }));
                }
                Err(RepairError::Log(LogError::Stale)) if again <= ATTEMPTS_MAX => {
                    attempts = again;
                    parts.push(Part { series, from });
                    self.stop.wait(POLL);
                }
                Err(RepairError::TooMuch { .. } | RepairError::Log(LogError::Stale)) => {
                    self.left.busy.update(|busy| busy + series.len() as u64);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Takes what this node lacks of some series from a time on; returns the time up to which that is done, if there is more.
    fn compare_page(
        &self,
        partition: &Partition,
        series: &[SeriesId],
        from: i64,
    ) -> Result<Option<i64>, RepairError> {
        let Some(mut fetched) = self.fetch(partition, series, from, false)? else { return Ok(None) };
        // A value that meets something that there was no room for may be older than it.
        let can_settle = self.settles && self.service.conflicts.is_whole();
        if fetched.wanted.unsettled > 0 && can_settle && self.is_delivered()? {
            // What has come meanwhile is part of it.
            let Some(again) = self.fetch(partition, series, from, true)? else { return Ok(None) };
            fetched = again;
        }
        let (until, unsettled) = (fetched.until, fetched.wanted.unsettled);
        if unsettled > 0 {
            // What is on its way may be what should stay.
            fetched.reach.clear();
        }
        if fetched.wanted.rows > 0 {
            self.take(fetched, partition.group.id)?;
        }
        self.left.unsettled.update(|sum| sum + unsettled);
        Ok(until)
    }

    /// A page of all nodes; `None`: there is no such table any more.
    fn fetch(
        &self,
        partition: &Partition,
        series: &[SeriesId],
        from: i64,
        settles: bool,
    ) -> Result<Option<Fetched<'_>>, RepairError> {
        let service = self.service;
        let hold = self.hold(partition, series, from);
        let catalog = service.catalog.catalog();
        let agreed_index = catalog.cluster.applied_index();
        let (table, shard) = (partition.table.id, partition.group.id);
        let query =
            RowsQuery { agreed_index, table, shard, series: series.to_vec(), from, limit: ROWS_AT_ONCE };
        // Fields may have come since the run began.
        let Some(table) = catalog.table_by_id(table).cloned() else { return Ok(None) };
        let partition = Partition { table: table.clone(), group: partition.group };
        let own = partition.read(&service.reader, &query)?;
        let mut pages = Vec::with_capacity(self.peers.len());
        for peer in &self.peers {
            self.check()?;
            pages.push(self.port.rows(&peer.address, &query)?);
        }
        let until = pages.iter().chain([&own]).filter_map(|page| page.complete_before).min();
        if until.is_some_and(|until| until <= from) {
            return Err(RepairError::TooMuch { series: series.len() });
        }
        let mut merge = Merge::new(&table, until.unwrap_or(i64::MAX));
        merge.add(&own.lines, Source::Own, self.counts);
        for (peer, page) in self.peers.iter().zip(&pages) {
            merge.add(&page.lines, Source::Peer, peer.counts);
        }
        if merge.is_ahead {
            return Err(LogError::Stale.into());
        }
        let wanted = merge.wanted(settles);
        let reach = self.peers.iter().zip(&pages).map(|(peer, page)| (peer.id, page.clock)).collect();
        Ok(Some(Fetched { wanted, until, reach, catalog, table, hold }))
    }

    /// Waits until each node has what any had when this began: else the older value of one that counts would win against a newer
    /// one that is on its way to it. False: that is not so for now.
    fn is_delivered(&self) -> Result<bool, RepairError> {
        let until = waiting::now() + DELIVERY_PATIENCE;
        let Some(first) = self.asked() else { return Ok(false) };
        let wanted: BTreeMap<(NodeId, NodeId), Sequence> = self
            .service
            .said(&first)
            .map(|(from, lag)| ((from, lag.node), lag.position + lag.lag_records))
            .collect();
        loop {
            self.check()?;
            let Some(peers) = self.asked() else { return Ok(false) };
            // One that counts lacks something: it was given up meanwhile, or who knows of it did not answer then.
            let lacking = self.service.lacking(&peers);
            if lacking.iter().any(|pair| self.does_count(pair.1) && !self.lacking.contains(pair)) {
                return Ok(false);
            }
            let lags: Vec<(NodeId, PeerLag)> = self.service.said(&peers).collect();
            let has_come = |(pair, position): (&(NodeId, NodeId), &Sequence)| {
                lags.iter().any(|(from, lag)| (*from, lag.node) == *pair && lag.position >= *position)
            };
            if wanted.iter().filter(|((_, to), _)| self.does_count(*to)).all(has_come) {
                return Ok(true);
            }
            if waiting::now() >= until {
                return Ok(false);
            }
            waiting::sleep(POLL);
        }
    }

    fn does_count(&self, node: NodeId) -> bool {
        if node == self.service.node {
            return self.counts;
        }
        self.peers.iter().any(|peer| peer.id == node && peer.counts)
    }

    /// What the other nodes say; `None`: one of them is away.
    fn asked(&self) -> Option<Vec<(NodeAddress, NodeStatus)>> {
        let peers = self.port.peers();
        self.service.are_all(peers.len()).then_some(peers)
    }

    /// Has it remembered what is written of some series from now on. What was written before is read.
    fn hold(&self, partition: &Partition, series: &[SeriesId], from: i64) -> Hold<'_> {
        let time = TimeRange { min: from, max: partition.group.end.saturating_sub(1) };
        let series = series.iter().copied().collect();
        let watched = Watched { table: partition.table.id, series, time };
        let _applying = self.service.flush.epochs().lock();
        self.service.conflicts.hold(watched)
    }

    fn take(&self, fetched: Fetched<'_>, shard: u64) -> Result<(), RepairError> {
        let service = self.service;
        let Fetched { wanted, reach, catalog, table, hold, .. } = fetched;
        self.wait_for_room()?;
        let write = WriteEntry {
            database: table.database.clone(),
            retention_policy: table.retention_policy.clone(),
            precision: Precision::Nanosecond,
            default_time: 0,
            tables: vec![TableVersion {
                measurement: table.measurement.clone(),
                table: table.id,
                version: table.version,
            }],
            shards: vec![shard],
            form: Default::default(),
            body: wanted.lines.into(),
        };
        // Of no time.
        let stamp = Stamp { clock: 0, origin: peers::CLUSTER };
        let agreed_index = catalog.cluster.applied_index();
        let rivals = Rivals { stamp, agreed_index, hold: Some(hold.id) };
        let place = || "rows of another node".to_owned();
        for _ in 0..ATTEMPTS_MAX {
            if !hold.is_whole() {
                return Err(RepairError::TooMuch { series: hold.series });
            }
            let epoch = service.flush.epochs().now();
            let write = without_losers(&service.conflicts, &catalog, &write, rivals, place)?;
            let batches = LoggedWrites::new(None).batches(&catalog, &write, |_| true, place)?;
            let rows: u64 = batches.iter().map(|batch| batch.rows() as u64).sum();
            if rows == 0 {
                return Ok(());
            }
            let entry = service.wal.encode(&WalEntry::Write(write))?;
            let write = ResolvedWrite { entry, catalog: catalog.clone(), epoch, batches };
            match service.committer.receive(vec![ReceivedWrite {
                rivals,
                compared: Some(reach.clone()),
                write,
            }]) {
                Ok(()) => {
                    service.state.progress.lock().repaired_rows += rows;
                    metrics::CLUSTER_REPAIRED_ROWS.increment(rows);
                    return Ok(());
                }
                Err(LogError::Stale) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(LogError::Stale.into())
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
