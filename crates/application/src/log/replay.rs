//! Start-up: what the log holds takes effect again.
//!
//! Commands change the catalogue only behind the record up to which it is stored; points and deletes go to the queues
//! only behind the cursor of their table. At the end, what a crash left over in the engine and the index is removed;
//! partitions without a shard group later, when all tables are open.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hashbrown::HashMap;
use hyperbytedb_columnar::accepted;
use hyperbytedb_domain::catalog::{Catalog, CatalogError, Command, Effects, ShardGroup, Table, TableId};
use hyperbytedb_domain::cluster::AgreedChange;
use hyperbytedb_domain::points::PointsBatch;
use hyperbytedb_domain::ports::{Outbound, PartitionInfo, SeriesIndexPort};
use hyperbytedb_domain::wal::{Sequence, WalEntry, WriteEntry};
use hyperbytedb_domain::{EngineError, StorageError};

use super::{LogError, prepare, take_effect};
use crate::flush::FlushService;
use crate::ingestion::schema::{columns_of, resolved_batch, shards_of_times};
use crate::memtable::ResolvedBatch;
use crate::waiting;

/// Bytes of log read at a time.
const READ_BYTES: usize = 16 << 20;
/// How long a full memory is waited for before it is said again.
const ROOM_WARNING: Duration = Duration::from_secs(30);
const ROOM_POLL: Duration = Duration::from_millis(5);

/// Replays the log. Returns the number of records read. The flush threads must be running.
pub fn replay(flush: &FlushService, ports: &Outbound) -> Result<u64, LogError> {
    let started = Instant::now();
    let mut replay = Replay { flush, ports, writes: LoggedWrites::new(Some(&*ports.series)) };
    let mut next = (flush.cursors().flushed() + 1).min(ports.catalog.applied() + 1);
    let mut records = 0;
    loop {
        let chunk = ports.wal.read_from(next, READ_BYTES)?;
        let Some((last, _)) = chunk.last() else { break };
        next = last + 1;
        records += chunk.len() as u64;
        for (sequence, record) in chunk {
            replay.record(sequence, record.entry)?;
        }
        wait_for_room(flush);
    }
    remove_left_overs(flush, ports)?;
    unregister_unlogged(flush, ports)?;
    if records > 0 {
        let ms = started.elapsed().as_millis() as u64;
        tracing::info!(records, ms, "replayed the write-ahead log");
    }
    Ok(records)
}

struct Replay<'a> {
    flush: &'a FlushService,
    ports: &'a Outbound,
    writes: LoggedWrites<'a>,
}

impl Replay<'_> {
    fn record(&mut self, sequence: Sequence, entry: WalEntry) -> Result<(), LogError> {
        match entry {
            WalEntry::Write(entry) => {
                // A delete that is carried out meanwhile must not take series from the index before their points come.
                let _applying = self.flush.epochs().lock();
                let catalog = self.ports.catalog.catalog();
                let is_wanted = |table| sequence > self.flush.cursors().flushed_of(table);
                let place = || format!("the write-ahead log, sequence {sequence}");
                let batches = self.writes.batches(&catalog, &entry, is_wanted, place)?;
                self.flush.push(sequence, batches);
            }
            WalEntry::Command(command) => {
                let apply = |catalog: &mut Catalog| catalog.apply(&command);
                self.catalog_change(sequence, Some(&command), &apply)?;
            }
            WalEntry::Agreed(entry) => {
                let command = match &entry.change {
                    AgreedChange::Command(command) => Some(command),
                    _ => None,
                };
                self.catalog_change(sequence, command, &|catalog| catalog.agree(&entry))?;
            }
        }
        if sequence > self.flush.applied() {
            self.flush.set_applied(sequence);
        }
        Ok(())
    }

    fn catalog_change(
        &self,
        sequence: Sequence,
        command: Option<&Command>,
        apply: &dyn Fn(&mut Catalog) -> Result<Effects, CatalogError>,
    ) -> Result<(), LogError> {
        let mut effects = Effects::default();
        prepare(self.flush, sequence, command);
        if sequence > self.ports.catalog.applied() {
            let mut catalog = Catalog::clone(&self.ports.catalog.catalog());
            effects = apply(&mut catalog).map_err(|error| {
                let place = format!("the write-ahead log, sequence {sequence}");
                StorageError::corrupt(place, format!("the command is refused: {error}"))
            })?;
            self.ports.catalog.publish(catalog, sequence)?;
        } else if let Some(Command::DropShardGroups { ids }) = command {
            self.drop_shards_again(sequence, ids);
        }
        let catalog = self.ports.catalog.catalog();
        take_effect(self.flush, &catalog, sequence, command, &effects, true);
        Ok(())
    }

    /// Which tables had the shard groups is not known any more; a crash may have left series that had points in them alone.
    fn drop_shards_again(&self, sequence: Sequence, shards: &[u64]) {
        for table in self.ports.catalog.catalog().tables() {
            if sequence > self.flush.cursors().flushed_of(table.id) {
                self.flush.drop_stored_partitions(sequence, table, shards.to_vec(), true);
            }
        }
    }
}

/// Resolves writes that were accepted before: by this node, or by another one of its cluster.
pub(crate) struct LoggedWrites<'a> {
    /// Where their series are registered; `None`: they are only looked at.
    series: Option<&'a dyn SeriesIndexPort>,
    tables: TablesById,
}

impl<'a> LoggedWrites<'a> {
    pub fn new(series: Option<&'a dyn SeriesIndexPort>) -> Self {
        Self { series, tables: TablesById::default() }
    }

    /// The points of a write in tables that are `wanted` and, like their shard groups, not dropped.
    pub fn batches(
        &mut self,
        catalog: &Arc<Catalog>,
        entry: &WriteEntry,
        is_wanted: impl Fn(TableId) -> bool,
        place: impl Fn() -> String,
    ) -> Result<Vec<ResolvedBatch>, StorageError> {
        let accepted = accepted(entry).map_err(|error| StorageError::corrupt(place(), error))?;
        let mut batches = Vec::with_capacity(accepted.len());
        for batch in accepted {
            let Some(version) = entry.tables.iter().find(|t| t.measurement == batch.measurement) else {
                return Err(StorageError::corrupt(place(), "a measurement without a table"));
            };
            if !is_wanted(version.table) {
                continue;
            }
            let Some(table) = self.tables.get(catalog, version.table) else { continue };
            let Some(policy) = catalog.policy_of(&table) else { continue };
            // Groups of the same time that were opened later are others.
            let groups = shards_of_times(policy, &batch.times);
            let groups: Vec<ShardGroup> =
                groups.into_iter().filter(|group| entry.shards.contains(&group.id)).collect();
            batches.extend(self.resolve(table, batch, groups)?);
        }
        Ok(batches)
    }

    fn resolve(
        &self,
        table: Arc<Table>,
        batch: PointsBatch,
        groups: Vec<ShardGroup>,
    ) -> Result<Option<ResolvedBatch>, StorageError> {
        let kept: Vec<bool> =
            batch.times.iter().map(|&time| groups.iter().any(|group| group.contains(time))).collect();
        let keep = kept.contains(&false).then_some(kept);
        let columns = columns_of(&table, &batch);
        let Some(resolved) = resolved_batch(table, batch, &columns, keep.as_deref(), groups) else {
            return Ok(None);
        };
        if let Some(index) = self.series {
            register(index, &resolved)?;
        }
        Ok(Some(resolved))
    }
}

/// Makes the series of accepted points known.
pub(crate) fn register(index: &dyn SeriesIndexPort, batch: &ResolvedBatch) -> Result<(), StorageError> {
    let series: Vec<_> = batch.series.iter().map(|(id, tags)| (*id, tags)).collect();
    index.restore(&batch.table, &series)
}

/// Tables by number, of one state of the catalogue.
#[derive(Default)]
struct TablesById {
    catalog: Option<Arc<Catalog>>,
    tables: HashMap<TableId, Arc<Table>>,
}

impl TablesById {
    fn get(&mut self, catalog: &Arc<Catalog>, id: TableId) -> Option<Arc<Table>> {
        if !self.catalog.as_ref().is_some_and(|known| Arc::ptr_eq(known, catalog)) {
            self.tables = catalog.tables().map(|table| (table.id, table.clone())).collect();
            self.catalog = Some(catalog.clone());
        }
        self.tables.get(&id).cloned()
    }
}

/// Waits until the flush has made room; without an end, for nothing else can be done.
fn wait_for_room(flush: &FlushService) {
    let mut said = Instant::now();
    while !flush.has_room() {
        flush.press();
        waiting::sleep(ROOM_POLL);
        if said.elapsed() > ROOM_WARNING {
            tracing::warn!(bytes = flush.memory_bytes(), "the replay waits for the engine to take points");
            said = Instant::now();
        }
    }
}

/// Removes what the catalogue does not know: a crash can come between a command and what it means for the engine and the
/// index.
fn remove_left_overs(flush: &FlushService, ports: &Outbound) -> Result<(), LogError> {
    let catalog = ports.catalog.catalog();
    ports.series.retain_tables(&catalog)?;
    let known: HashMap<TableId, &Arc<Table>> = catalog.tables().map(|table| (table.id, table)).collect();
    let existing = match ports.sink.existing_tables() {
        // At the next start.
        Err(EngineError::Unavailable(_)) => Vec::new(),
        known => known?,
    };
    let mut gone: BTreeSet<TableId> = existing.into_iter().collect();
    gone.extend(flush.dirty().tables());
    for table in gone.into_iter().filter(|table| !known.contains_key(table)) {
        tracing::info!(table = table.0, "dropping a table that the catalogue does not know");
        match ports.sink.drop_table(table) {
            // At the next start: what is known of it says that it is still to be dropped.
            Err(EngineError::Unavailable(text)) => tracing::warn!("{text}"),
            dropped => {
                dropped?;
                flush.forget_table(table)?;
            }
        }
    }
    Ok(())
}

/// A crash can come between the registration of a client's new series and the record of the write.
fn unregister_unlogged(flush: &FlushService, ports: &Outbound) -> Result<(), LogError> {
    let catalog = ports.catalog.catalog();
    for (table, series) in ports.series.unsettled()? {
        match catalog.table_by_id(table) {
            Some(table) => flush.unregister_unlogged(table, series),
            None => ports.series.settle(table, &series)?,
        }
    }
    Ok(())
}

/// Removes partitions of shard groups that the catalogue does not know. `partitions`: what the engine held a while ago.
pub fn remove_orphans(flush: &FlushService, catalog: &Catalog, partitions: &[PartitionInfo]) {
    let mut orphans: BTreeMap<TableId, Vec<u64>> = BTreeMap::new();
    for partition in partitions {
        let Some(policy) = catalog.table_by_id(partition.table).and_then(|table| catalog.policy_of(table))
        else {
            continue;
        };
        if policy.shard_groups.values().all(|group| group.id != partition.shard) {
            orphans.entry(partition.table).or_default().push(partition.shard);
        }
    }
    for (id, shards) in orphans {
        let Some(table) = catalog.table_by_id(id) else { continue };
        tracing::info!(table = id.0, ?shards, "dropping partitions of shard groups that are gone");
        flush.drop_stored_partitions(flush.applied(), table, shards, true);
    }
}

#[cfg(test)]
mod tests;
