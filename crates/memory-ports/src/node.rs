//! Catalogue, local state and series index: one store, whose writes survive a power failure in their order.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::Arc;

use hyperbytedb_domain::catalog::{Catalog, ShardGroup, Table, TableId};
use hyperbytedb_domain::ports::{
    CatalogPort, DirtyPartition, DirtyWindows, LocalStatePort, SeriesIndexPort, SeriesRefusal,
};
use hyperbytedb_domain::wal::Sequence;
use hyperbytedb_domain::{SeriesId, StorageError, Tags};
use parking_lot::Mutex;

use crate::control::{Call, Controller, storage};
use crate::random::Random;
use crate::versions::Versions;

/// A node's store that outlives its process.
#[derive(Debug, Default)]
pub struct NodeDisk(Mutex<Versions<Node>>);

#[derive(Debug, Clone, Default)]
struct Node {
    catalog: Arc<Catalog>,
    applied: Sequence,
    dirty: BTreeMap<(TableId, u64), ShardGroup>,
    cursors: BTreeMap<String, Sequence>,
    windows: BTreeMap<String, DirtyWindows>,
    series: BTreeMap<TableId, Arc<BTreeMap<Tags, SeriesId>>>,
    /// Registered, and not logged yet.
    unlogged: BTreeSet<(TableId, Vec<SeriesId>)>,
}

impl NodeDisk {
    pub(crate) fn fail_power(&self, random: &mut Random) {
        self.0.lock().fail_power(random);
    }

    /// Another disk with what this one has, synced.
    pub fn copy(&self) -> Self {
        Self(Mutex::new(Versions::of(self.0.lock().now().clone())))
    }

    /// Tables that the series index has series of.
    pub fn indexed_tables(&self) -> Vec<TableId> {
        self.0.lock().now().series.keys().copied().collect()
    }

    fn series(&self, table: TableId) -> Option<Arc<BTreeMap<Tags, SeriesId>>> {
        self.0.lock().now().series.get(&table).cloned()
    }
}

pub struct MemoryCatalog {
    disk: Arc<NodeDisk>,
    controller: Arc<dyn Controller>,
}

impl MemoryCatalog {
    pub(crate) fn open(disk: Arc<NodeDisk>, controller: Arc<dyn Controller>) -> Self {
        Self { disk, controller }
    }
}

impl CatalogPort for MemoryCatalog {
    fn catalog(&self) -> Arc<Catalog> {
        self.disk.0.lock().now().catalog.clone()
    }

    fn applied(&self) -> Sequence {
        self.disk.0.lock().now().applied
    }

    fn publish(&self, catalog: Catalog, applied: Sequence) -> Result<(), StorageError> {
        storage(&*self.controller, Call::CatalogPublish, || {
            Ok(self.disk.0.lock().write(false, |node| {
                node.catalog = Arc::new(catalog);
                node.applied = applied;
            }))
        })
    }
}

pub struct MemoryLocalState {
    disk: Arc<NodeDisk>,
    controller: Arc<dyn Controller>,
}

impl MemoryLocalState {
    pub(crate) fn open(disk: Arc<NodeDisk>, controller: Arc<dyn Controller>) -> Self {
        Self { disk, controller }
    }

    fn write(&self, call: Call, change: impl FnOnce(&mut Node)) -> Result<(), StorageError> {
        storage(&*self.controller, call, || Ok(self.disk.0.lock().write(false, change)))
    }
}

impl LocalStatePort for MemoryLocalState {
    fn dirty_partitions(&self) -> Result<Vec<DirtyPartition>, StorageError> {
        let node = self.disk.0.lock();
        let partition =
            |(&(table, _), &shard): (&(TableId, u64), &ShardGroup)| DirtyPartition { table, shard };
        Ok(node.now().dirty.iter().map(partition).collect())
    }

    fn mark_dirty(&self, partitions: &[DirtyPartition]) -> Result<(), StorageError> {
        self.write(Call::MarkDirty, |node| {
            node.dirty.extend(partitions.iter().map(|p| ((p.table, p.shard.id), p.shard)));
        })
    }

    fn clear_dirty(&self, partitions: &[(TableId, u64)]) -> Result<(), StorageError> {
        self.write(Call::ClearDirty, |node| node.dirty.retain(|key, _| !partitions.contains(key)))
    }

    fn cursors(&self) -> Result<BTreeMap<String, Sequence>, StorageError> {
        Ok(self.disk.0.lock().now().cursors.clone())
    }

    fn store_cursors(&self, changes: &[(String, Option<Sequence>)]) -> Result<(), StorageError> {
        self.write(Call::StoreCursors, |node| {
            for (name, position) in changes {
                match position {
                    Some(position) => node.cursors.insert(name.clone(), *position),
                    None => node.cursors.remove(name),
                };
            }
        })
    }

    fn dirty_windows(&self) -> Result<BTreeMap<String, DirtyWindows>, StorageError> {
        Ok(self.disk.0.lock().now().windows.clone())
    }

    fn store_dirty_windows(&self, changes: &[(String, Option<DirtyWindows>)]) -> Result<(), StorageError> {
        self.write(Call::StoreWindows, |node| {
            for (name, windows) in changes {
                match windows {
                    Some(windows) => node.windows.insert(name.clone(), windows.clone()),
                    None => node.windows.remove(name),
                };
            }
        })
    }

    fn sync(&self) -> Result<(), StorageError> {
        storage(&*self.controller, Call::NodeSync, || Ok(self.disk.0.lock().sync()))
    }
}

/// Without limits.
pub struct MemorySeriesIndex {
    disk: Arc<NodeDisk>,
    controller: Arc<dyn Controller>,
}

impl MemorySeriesIndex {
    pub(crate) fn open(disk: Arc<NodeDisk>, controller: Arc<dyn Controller>) -> Self {
        Self { disk, controller }
    }

    /// Whether each series is new.
    fn add(&self, table: TableId, series: &[(SeriesId, &Tags)], is_logged: bool) -> Vec<bool> {
        let mut node = self.disk.0.lock();
        let known = node.now().series.get(&table);
        if known.is_some_and(|known| series.iter().all(|(_, tags)| known.contains_key(*tags))) {
            return vec![false; series.len()];
        }
        node.write(false, |node| {
            let known = Arc::make_mut(node.series.entry(table).or_default());
            let new: Vec<bool> =
                series.iter().map(|&(id, tags)| known.insert(tags.clone(), id).is_none()).collect();
            if !is_logged {
                let unlogged = series.iter().zip(&new).filter(|(_, new)| **new).map(|((id, _), _)| *id);
                node.unlogged.insert((table, sorted(unlogged)));
            }
            new
        })
    }
}

fn sorted(series: impl Iterator<Item = SeriesId>) -> Vec<SeriesId> {
    let mut series: Vec<SeriesId> = series.collect();
    series.sort_unstable();
    series
}

impl SeriesIndexPort for MemorySeriesIndex {
    fn register(
        &self,
        table: &Table,
        series: &[(SeriesId, &Tags)],
    ) -> Result<Vec<Result<bool, SeriesRefusal>>, StorageError> {
        storage(&*self.controller, Call::RegisterSeries, || {
            Ok(self.add(table.id, series, false).into_iter().map(Ok).collect())
        })
    }

    fn restore(&self, table: &Table, series: &[(SeriesId, &Tags)]) -> Result<(), StorageError> {
        storage(&*self.controller, Call::RestoreSeries, || Ok(drop(self.add(table.id, series, true))))
    }

    fn settle(&self, table: TableId, series: &[SeriesId]) -> Result<(), StorageError> {
        storage(&*self.controller, Call::SettleSeries, || {
            let settled = (table, sorted(series.iter().copied()));
            self.disk.0.lock().write(false, |node| node.unlogged.remove(&settled));
            Ok(())
        })
    }

    fn unsettled(&self) -> Result<Vec<(TableId, Vec<SeriesId>)>, StorageError> {
        storage(&*self.controller, Call::ReadSeries, || {
            Ok(self.disk.0.lock().now().unlogged.iter().cloned().collect())
        })
    }

    fn series_count(&self, table: TableId) -> Result<u64, StorageError> {
        storage(&*self.controller, Call::CountSeries, || {
            Ok(self.disk.series(table).map_or(0, |series| series.len() as u64))
        })
    }

    fn for_each_series(
        &self,
        table: TableId,
        visit: &mut dyn FnMut(SeriesId, &Tags) -> ControlFlow<()>,
    ) -> Result<(), StorageError> {
        storage(&*self.controller, Call::ReadSeries, || {
            let series = self.disk.series(table).unwrap_or_default();
            let _ = series.iter().try_for_each(|(tags, &id)| visit(id, tags));
            Ok(())
        })
    }

    fn for_each_tag_value(
        &self,
        table: TableId,
        key: &str,
        visit: &mut dyn FnMut(&str) -> ControlFlow<()>,
    ) -> Result<(), StorageError> {
        storage(&*self.controller, Call::ReadSeries, || {
            let series = self.disk.series(table).unwrap_or_default();
            let values: BTreeSet<&str> = series.keys().filter_map(|tags| tags.get(key)).collect();
            let _ = values.into_iter().try_for_each(visit);
            Ok(())
        })
    }

    fn for_each_series_with_tag(
        &self,
        table: TableId,
        key: &str,
        value: &str,
        visit: &mut dyn FnMut(SeriesId, &Tags) -> ControlFlow<()>,
    ) -> Result<(), StorageError> {
        storage(&*self.controller, Call::ReadSeries, || {
            let series = self.disk.series(table).unwrap_or_default();
            let mut with_tag = series.iter().filter(|(tags, _)| tags.get(key) == Some(value));
            let _ = with_tag.try_for_each(|(tags, &id)| visit(id, tags));
            Ok(())
        })
    }

    fn series_with_tag(
        &self,
        table: TableId,
        key: &str,
        value: &str,
        max: usize,
    ) -> Result<Option<Vec<SeriesId>>, StorageError> {
        storage(&*self.controller, Call::ReadSeries, || {
            let series = self.disk.series(table).unwrap_or_default();
            let with_tag = series.iter().filter(|(tags, _)| tags.get(key) == Some(value));
            let with_tag: Vec<SeriesId> = with_tag.map(|(_, &id)| id).collect();
            Ok((with_tag.len() <= max).then_some(with_tag))
        })
    }

    fn tag_keys(&self, table: TableId) -> Result<Vec<String>, StorageError> {
        storage(&*self.controller, Call::ReadSeries, || {
            let series = self.disk.series(table).unwrap_or_default();
            let keys: BTreeSet<&str> =
                series.keys().flat_map(|tags| tags.iter()).map(|(key, _)| key).collect();
            Ok(keys.into_iter().map(str::to_owned).collect())
        })
    }

    fn remove_series(&self, table: &Table, series: &[SeriesId]) -> Result<(), StorageError> {
        storage(&*self.controller, Call::RemoveSeries, || {
            Ok(self.disk.0.lock().write(false, |node| {
                if let Some(known) = node.series.get_mut(&table.id) {
                    Arc::make_mut(known).retain(|_, id| !series.contains(id));
                }
            }))
        })
    }

    fn drop_table(&self, table: TableId) -> Result<(), StorageError> {
        storage(&*self.controller, Call::DropSeriesOfTable, || {
            Ok(self.disk.0.lock().write(false, |node| {
                node.series.remove(&table);
                node.unlogged.retain(|(id, _)| *id != table);
            }))
        })
    }

    fn retain_tables(&self, catalog: &Catalog) -> Result<(), StorageError> {
        storage(&*self.controller, Call::RetainTables, || {
            let kept: BTreeSet<TableId> = catalog.tables().map(|table| table.id).collect();
            Ok(self.disk.0.lock().write(false, |node| {
                node.series.retain(|id, _| kept.contains(id));
                node.unlogged.retain(|(id, _)| kept.contains(id));
            }))
        })
    }
}
