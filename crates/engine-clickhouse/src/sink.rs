//! Writing, deleting and looking after what is stored.

use std::ops::RangeInclusive;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use arrow::array::RecordBatch;
use hyperbytedb_clickhouse_sql::schema::parse_table_name;
use hyperbytedb_clickhouse_sql::statement::{self, DeleteSync, Statement};
use hyperbytedb_clickhouse_sql::{Settings, cluster};
use hyperbytedb_domain::catalog::{Table, TableId};
use hyperbytedb_domain::ports::{PartitionInfo, PointsSinkPort, SnapshotPort, UnfinishedDeletes};
use hyperbytedb_domain::scan::RowSelection;
use hyperbytedb_domain::wal::Sequence;
use hyperbytedb_domain::{EngineError, QueryContext, StorageError};
use hyperbytedb_engine_common::{Attempt, answers, merge_parts};

use crate::engine::ClickHouseEngine;
use crate::hosts::HostId;

impl PointsSinkPort for ClickHouseEngine {
    fn ensure_table(&self, table: &Table) -> Result<(), EngineError> {
        if self.complete_table(table)? { Ok(()) } else { self.create_table(table) }
    }

    fn insert(
        &self,
        table: &Table,
        batch: RecordBatch,
        records: RangeInclusive<Sequence>,
    ) -> Result<(), EngineError> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        let (first, last) = records.into_inner();
        let deleted = self.deleted.lock().get(&table.id).copied().unwrap_or_default();
        let name = format!("{}-{}-{first}-{last}-{deleted}", self.options.origin, table.id.0);
        self.insert_parts(table.id, &batch, &name)
    }

    fn delete_rows(
        &self,
        table: &Table,
        rows: &RowSelection,
        context: &QueryContext,
    ) -> Result<(), EngineError> {
        if !self.may_hold(table, rows, context)? {
            return Ok(());
        }
        let name = self.database.table(table.id);
        let sync = match (self.options.replicated, self.connected()?.deletes_on_the_fly) {
            (true, _) => DeleteSync::DoneByReplicas,
            (false, true) => DeleteSync::Stored,
            (false, false) => DeleteSync::Done,
        };
        // Also where it fails: some servers may have carried it out.
        self.deleted.lock().insert(table.id, now_ns());
        let any_row = statement::any_row(table, name.clone(), rows);
        let delete = statement::delete(table, name, rows, sync);
        for hosts in self.writers()? {
            context.check()?;
            let deleted = self.on_one(&hosts, |host| {
                if self.ask(host, any_row.clone())?.iter().all(|batch| batch.num_rows() == 0) {
                    return Ok(());
                }
                self.execute_on(host, &delete)
            });
            match deleted {
                Err((_, failure)) if failure.is_unknown_table() => {}
                deleted => deleted.map_err(|failed| self.error(failed, "deleting rows"))?,
            }
        }
        Ok(())
    }

    fn unfinished_deletes(&self, table: Option<TableId>) -> Result<Vec<UnfinishedDeletes>, EngineError> {
        let select = statement::unfinished_deletes(&self.database, table);
        let mut unfinished: Vec<UnfinishedDeletes> = Vec::new();
        for on_shard in answers::unfinished_deletes(&self.ask_shards(&select, "looking for deletes")?)? {
            match unfinished.iter_mut().find(|known| known.table == on_shard.table) {
                Some(known) => {
                    known.deletes = known.deletes.max(on_shard.deletes);
                    known.parts += on_shard.parts;
                }
                None => unfinished.push(on_shard),
            }
        }
        Ok(unfinished)
    }

    fn drop_table(&self, table: TableId) -> Result<(), EngineError> {
        self.drop_everywhere(table)
    }

    fn drop_partitions(&self, table: TableId, shards: &[u64]) -> Result<(), EngineError> {
        if shards.is_empty() {
            return Ok(());
        }
        let statement =
            Statement::DropPartitions { table: self.database.table(table), shards: shards.to_vec() };
        for hosts in self.writers()? {
            match self.execute_on_one(&hosts, &statement) {
                Err((_, failure)) if failure.is_unknown_table() => {}
                dropped => dropped.map_err(|failed| self.error(failed, "dropping partitions"))?,
            }
        }
        Ok(())
    }

    fn partitions(&self, table: Option<TableId>) -> Result<Vec<PartitionInfo>, EngineError> {
        let select = statement::partitions(&self.database, table);
        let mut partitions: Vec<PartitionInfo> = Vec::new();
        // Sorted, so those of one partition follow each other.
        for on_shard in answers::partitions(&self.ask_shards(&select, "listing partitions")?)? {
            match partitions.last_mut() {
                Some(last) if (last.table, last.shard) == (on_shard.table, on_shard.shard) => {
                    last.rows += on_shard.rows;
                    last.bytes += on_shard.bytes;
                }
                _ => partitions.push(on_shard),
            }
        }
        Ok(partitions)
    }

    fn max_times(&self, table: TableId) -> Result<Vec<(u64, i64)>, EngineError> {
        let select = statement::max_times(self.database.table(table));
        let mut max_times = answers::max_times(&self.ask_shards(&select, "reading times")?)?;
        // The last of each partition is its greatest.
        max_times.reverse();
        max_times.dedup_by_key(|(partition, _)| *partition);
        max_times.reverse();
        Ok(max_times)
    }

    fn merge_partition(&self, table: TableId, shard: u64) -> Result<(), EngineError> {
        self.writers()?.iter().try_for_each(|hosts| self.merge_on(hosts, table, shard))
    }

    fn existing_tables(&self) -> Result<Vec<TableId>, EngineError> {
        let mut tables = Vec::new();
        for batch in self.ask_shards(&cluster::tables(&self.database), "listing the tables")? {
            tables.extend(answers::strings(&batch, 0)?.iter().filter_map(|name| parse_table_name(name)));
        }
        tables.sort_unstable();
        tables.dedup();
        Ok(tables)
    }

    /// What a server has confirmed is on its disk already, where `clickhouse.fsync` says so.
    fn sync(&self) -> Result<(), EngineError> {
        Ok(())
    }
}

impl ClickHouseEngine {
    fn merge_on(&self, hosts: &[HostId], table: TableId, shard: u64) -> Result<(), EngineError> {
        let failed = |failed| self.error(failed, "merging a partition");
        let parts = || {
            let select = statement::part_blocks(&self.database, table, shard);
            answers::part_blocks(&self.on_one(hosts, |host| self.ask(host, select.clone())).map_err(failed)?)
        };
        let settings =
            Settings::default().with("optimize_throw_if_noop", 1).with("optimize_skip_merged_partitions", 1);
        let statement = Statement::Optimize { table: self.database.table(table), shard, settings };
        let attempt = || match self.execute_on_one(hosts, &statement) {
            Err((_, failure)) if failure.is_merge_refused() => Ok(Attempt::Refused),
            merged => merged.map(|_| Attempt::Done).map_err(failed),
        };
        merge_parts(parts, attempt)
    }
}

fn now_ns() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos()
}

impl SnapshotPort for ClickHouseEngine {
    fn snapshot(&self, _: &Path, _: &dyn Fn(TableId) -> bool) -> Result<(), StorageError> {
        Err(StorageError::failed(
            "backup",
            "the points are in ClickHouse: back them up there, with BACKUP DATABASE (docs/clickhouse.md)",
        ))
    }
}
