//! Writing, deleting and looking after what is stored.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Float64Type, Int32Type, Int64Type, UInt64Type};
use hyperbytedb_domain::catalog::{Table, TableId};
use hyperbytedb_domain::columns::{SERIES_COLUMN, SHARD_COLUMN, TIME_COLUMN, field_column, tag_column};
use hyperbytedb_domain::ports::{PartitionInfo, PointsSinkPort, UnfinishedDeletes};
use hyperbytedb_domain::scan::{FieldId, RowSelection, TagId};
use hyperbytedb_domain::wal::Sequence;
use hyperbytedb_domain::{EngineError, FieldValue, QueryContext, SeriesId};

use super::{Change, EngineDisk, MemoryEngine, merge};
use crate::control::{Call, engine};
use crate::evaluate::{StoredRow, selects};
use crate::random::Random;

impl EngineDisk {
    /// The tables, to be looked at without disturbing anything.
    pub fn tables(&self) -> Vec<TableId> {
        self.0.lock().tables.keys().copied().collect()
    }

    /// The partitions of all tables.
    pub fn partitions(&self) -> Vec<PartitionInfo> {
        let store = self.0.lock();
        let mut partitions = Vec::new();
        for &table in store.tables.keys() {
            for (shard, parts) in store.partitions(table) {
                let rows = parts.iter().map(|part| part.rows.len() as u64).sum();
                partitions.push(PartitionInfo { table, shard, rows, bytes: rows });
            }
        }
        partitions
    }
}

impl PointsSinkPort for MemoryEngine {
    fn ensure_table(&self, table: &Table) -> Result<(), EngineError> {
        engine(&*self.controller, Call::EnsureTable, None, |_| {
            let mut store = self.disk.0.lock();
            let (tags, fields) = (table.tags.len(), table.fields.len());
            let is_complete = |stored: &super::StoredTable| stored.tags >= tags && stored.fields >= fields;
            if !store.tables.get(&table.id).is_some_and(is_complete) {
                store.change(Change::EnsureTable { table: table.id, tags, fields });
            }
            Ok(())
        })
    }

    fn insert(
        &self,
        table: &Table,
        batch: RecordBatch,
        _: RangeInclusive<Sequence>,
    ) -> Result<(), EngineError> {
        engine(&*self.controller, Call::Insert, None, |part| {
            let mut store = self.disk.0.lock();
            let failed = |message| EngineError::failed("insert", message);
            let stored = store.tables.get(&table.id).ok_or_else(|| failed("no such table"))?;
            if stored.tags < table.tags.len() || stored.fields < table.fields.len() {
                return Err(failed("columns are missing"));
            }
            for (shard, mut rows) in rows_by_shard(table, &batch)? {
                if let Some(seed) = part {
                    let mut random = Random::new(seed ^ shard);
                    let kept = *random.pick(&[0, 1, 2]);
                    rows.retain(|_| random.chance(kept, 2));
                }
                if !rows.is_empty() {
                    store.replace(table.id, shard, &[], rows);
                }
            }
            Ok(())
        })
    }

    fn delete_rows(
        &self,
        table: &Table,
        rows: &RowSelection,
        context: &QueryContext,
    ) -> Result<(), EngineError> {
        engine(&*self.controller, Call::DeleteRows, Some(context), |part| {
            let mut store = self.disk.0.lock();
            let mut random = Random::new(part.unwrap_or_default());
            for stored in store.parts(table.id).to_vec() {
                let is_wanted = rows.shards.as_ref().is_none_or(|shards| shards.contains(&stored.shard));
                if !is_wanted || (part.is_some() && random.chance(1, 2)) {
                    continue;
                }
                let left: Vec<StoredRow> =
                    stored.rows.iter().filter(|row| !selects(rows, row)).cloned().collect();
                if left.len() < stored.rows.len() {
                    store.replace(table.id, stored.shard, std::slice::from_ref(&stored), left);
                }
            }
            Ok(())
        })
    }

    /// None: they are carried out at once.
    fn unfinished_deletes(&self, _: Option<TableId>) -> Result<Vec<UnfinishedDeletes>, EngineError> {
        engine(&*self.controller, Call::UnfinishedDeletes, None, |_| Ok(Vec::new()))
    }

    fn drop_table(&self, table: TableId) -> Result<(), EngineError> {
        engine(&*self.controller, Call::DropTable, None, |part| {
            if part.is_none_or(|part| part % 2 == 0) {
                self.disk.0.lock().change(Change::DropTable(table));
            }
            Ok(())
        })
    }

    fn drop_partitions(&self, table: TableId, shards: &[u64]) -> Result<(), EngineError> {
        engine(&*self.controller, Call::DropPartitions, None, |part| {
            let mut store = self.disk.0.lock();
            let mut random = Random::new(part.unwrap_or_default());
            for (shard, parts) in store.partitions(table) {
                if shards.contains(&shard) && (part.is_none() || random.chance(1, 2)) {
                    store.replace(table, shard, &parts, Vec::new());
                }
            }
            Ok(())
        })
    }

    fn partitions(&self, table: Option<TableId>) -> Result<Vec<PartitionInfo>, EngineError> {
        engine(&*self.controller, Call::Partitions, None, |_| {
            let is_wanted = |info: &PartitionInfo| table.is_none_or(|table| table == info.table);
            Ok(self.disk.partitions().into_iter().filter(is_wanted).collect())
        })
    }

    fn max_times(&self, table: TableId) -> Result<Vec<(u64, i64)>, EngineError> {
        engine(&*self.controller, Call::MaxTimes, None, |_| {
            let mut max_times: BTreeMap<u64, i64> = BTreeMap::new();
            for part in self.disk.0.lock().parts(table) {
                for row in &part.rows {
                    let max = max_times.entry(part.shard).or_insert(row.time);
                    *max = row.time.max(*max);
                }
            }
            Ok(max_times.into_iter().collect())
        })
    }

    fn merge_partition(&self, table: TableId, shard: u64) -> Result<(), EngineError> {
        engine(&*self.controller, Call::MergePartition, None, |part| {
            let mut store = self.disk.0.lock();
            let mut parts = store.partitions(table).remove(&shard).unwrap_or_default();
            if let Some(number) = part {
                // Some of the merges that it takes.
                parts.truncate(number as usize % (parts.len() + 1));
            }
            if parts.len() > 1 {
                let rows = merge(parts.iter().flat_map(|part| &part.rows));
                store.replace(table, shard, &parts, rows);
            }
            Ok(())
        })
    }

    fn existing_tables(&self) -> Result<Vec<TableId>, EngineError> {
        engine(&*self.controller, Call::ExistingTables, None, |_| Ok(self.disk.tables()))
    }

    fn sync(&self) -> Result<(), EngineError> {
        engine(&*self.controller, Call::EngineSync, None, |_| Ok(self.disk.0.lock().sync()))
    }
}

fn rows_by_shard(table: &Table, batch: &RecordBatch) -> Result<BTreeMap<u64, Vec<StoredRow>>, EngineError> {
    let column = |name: &str| {
        batch.column_by_name(name).ok_or_else(|| EngineError::failed("insert", format!("no column {name}")))
    };
    let times = column(TIME_COLUMN)?.as_primitive::<Int64Type>();
    let series = column(SERIES_COLUMN)?.as_primitive::<UInt64Type>();
    let shards = column(SHARD_COLUMN)?.as_primitive::<UInt64Type>();
    let mut rows: BTreeMap<u64, Vec<StoredRow>> = BTreeMap::new();
    for row in 0..batch.num_rows() {
        let tag = |tag| batch.column_by_name(&tag_column(TagId(tag))).map(|column| text(column, row));
        let field =
            |field| batch.column_by_name(&field_column(FieldId(field))).map(|column| value(column, row));
        rows.entry(shards.value(row)).or_default().push(StoredRow {
            time: times.value(row),
            series: SeriesId(series.value(row)),
            tags: (0..table.tags.len() as u32).map(|id| tag(id).unwrap_or_default()).collect(),
            fields: (0..table.fields.len() as u32).map(|id| field(id).unwrap_or_default()).collect(),
        });
    }
    Ok(rows)
}

fn text(column: &dyn Array, row: usize) -> Arc<str> {
    let dictionary = column.as_dictionary::<Int32Type>();
    dictionary.values().as_string::<i32>().value(dictionary.keys().value(row) as usize).into()
}

fn value(column: &dyn Array, row: usize) -> FieldValue {
    if column.is_null(row) {
        return FieldValue::Null;
    }
    match column.data_type() {
        DataType::Float64 => FieldValue::Float(column.as_primitive::<Float64Type>().value(row)),
        DataType::Int64 => FieldValue::Integer(column.as_primitive::<Int64Type>().value(row)),
        DataType::UInt64 => FieldValue::Unsigned(column.as_primitive::<UInt64Type>().value(row)),
        DataType::Boolean => FieldValue::Boolean(column.as_boolean().value(row)),
        _ => FieldValue::String(column.as_string::<i32>().value(row).into()),
    }
}
