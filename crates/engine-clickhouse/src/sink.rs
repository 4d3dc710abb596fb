//! Writing, deleting and looking after what is stored.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
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
use crate::servers::Asked;
use crate::tables::Purpose;

impl PointsSinkPort for ClickHouseEngine {
    fn ensure_table(&self, table: &Table) -> Result<(), EngineError> {
        self.complete(table, Purpose::Insert).map(drop)
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
        let name = format!("{}-{}-{first}-{last}-{deleted}", self.servers.options.origin, table.id.0);
        self.insert_parts(table.id, &batch, &name)
    }

    fn delete_rows(
        &self,
        table: &Table,
        rows: &RowSelection,
        context: &QueryContext,
    ) -> Result<(), EngineError> {
        if !self.may_hold(table, rows, Purpose::Delete, context)? {
            return Ok(());
        }
        let name = self.servers.database.table(table.id);
        let sync = match (self.servers.options.replicated, self.servers.connected()?.deletes_on_the_fly) {
            (true, _) => DeleteSync::DoneByReplicas,
            (false, true) => DeleteSync::Stored,
            (false, false) => DeleteSync::Done,
        };
        // Also where it fails: some servers may have carried it out.
        self.deleted.lock().insert(table.id, now_ns());
        let any_row = statement::any_row(table, name.clone(), rows);
        let delete = statement::delete(table, name, rows, sync);
        for hosts in self.servers.writers()? {
            context.check()?;
            let client = &self.servers.client;
            let deleted = self.servers.on_one(&hosts, async |host| {
                if client.ask(host, &any_row).await?.iter().all(|batch| batch.num_rows() == 0) {
                    return Ok(());
                }
                client.execute(host, &delete).await
            });
            match deleted {
                Err((_, failure)) if failure.is_unknown_table() => {}
                deleted => deleted.map_err(|failed| self.servers.error(failed, "deleting rows"))?,
            }
        }
        Ok(())
    }

    fn unfinished_deletes(&self, table: Option<TableId>) -> Result<Vec<UnfinishedDeletes>, EngineError> {
        let select = statement::unfinished_deletes(&self.servers.database, table);
        let mut unfinished: Vec<UnfinishedDeletes> = Vec::new();
        let answers = self.servers.ask_shards(&select, Asked::ThoseThatAnswer, "looking for deletes")?;
        for on_server in answers::unfinished_deletes(&answers.concat())? {
            match unfinished.iter_mut().find(|known| known.table == on_server.table) {
                Some(known) => {
                    known.deletes = known.deletes.max(on_server.deletes);
                    known.parts += on_server.parts;
                }
                None => unfinished.push(on_server),
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
            Statement::DropPartitions { table: self.servers.database.table(table), shards: shards.to_vec() };
        for hosts in self.servers.writers()? {
            match self.servers.execute_on_one(&hosts, &statement) {
                Err((_, failure)) if failure.is_unknown_table() => {}
                dropped => dropped.map_err(|failed| self.servers.error(failed, "dropping partitions"))?,
            }
        }
        Ok(())
    }

    fn partitions(&self, table: Option<TableId>) -> Result<Vec<PartitionInfo>, EngineError> {
        let select = statement::partitions(&self.servers.database, table);
        let mut partitions = BTreeMap::new();
        for shard in self.servers.ask_shards(&select, Asked::ThoseThatAnswer, "listing partitions")? {
            for ((table, partition), of_shard) in largest(answers::partitions(&shard)?) {
                let all: &mut PartitionInfo = partitions.entry((table, partition)).or_insert(PartitionInfo {
                    table,
                    shard: partition,
                    rows: 0,
                    bytes: 0,
                });
                all.rows += of_shard.rows;
                all.bytes += of_shard.bytes;
            }
        }
        Ok(partitions.into_values().collect())
    }

    /// Of all servers, since a flush that would repeat rows of any of them must know.
    fn max_times(&self, table: TableId) -> Result<Vec<(u64, i64)>, EngineError> {
        let select = statement::max_times(self.servers.database.table(table));
        let answers = self.servers.ask_shards(&select, Asked::All, "reading times")?;
        // In the order of their times, so that the last of each partition is its greatest.
        let max_times: BTreeMap<u64, i64> = answers::max_times(&answers.concat())?.into_iter().collect();
        Ok(max_times.into_iter().collect())
    }

    fn merge_partition(&self, table: TableId, shard: u64) -> Result<(), EngineError> {
        self.servers.writers()?.iter().try_for_each(|hosts| self.merge_on(hosts, table, shard))
    }

    fn existing_tables(&self) -> Result<Vec<TableId>, EngineError> {
        let mut tables = Vec::new();
        let select = cluster::tables(&self.servers.database);
        for batch in self.servers.ask_shards(&select, Asked::ThoseThatAnswer, "listing the tables")?.concat()
        {
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
        let failed = |failed| self.servers.error(failed, "merging a partition");
        let parts = || {
            let select = statement::part_blocks(&self.servers.database, table, shard);
            let client = &self.servers.client;
            let answer = self.servers.on_one(hosts, async |host| client.ask(host, &select).await);
            answers::part_blocks(&answer.map_err(failed)?)
        };
        let mut settings =
            Settings::default().with("optimize_throw_if_noop", 1).with("optimize_skip_merged_partitions", 1);
        if self.servers.options.replicated {
            // A query may ask any of them afterwards, and not fold what is there twice.
            settings.set("alter_sync", 2);
        }
        let statement = Statement::Optimize { table: self.servers.database.table(table), shard, settings };
        let attempt = || match self.servers.execute_on_one(hosts, &statement) {
            Err((_, failure)) if failure.is_merge_refused() => Ok(Attempt::Refused),
            merged => merged.map(|_| Attempt::Done).map_err(failed),
        };
        merge_parts(parts, attempt)
    }
}

/// The servers of a shard have the same rows, or are about to: a partition is what the one says that has most.
fn largest(of_servers: Vec<PartitionInfo>) -> BTreeMap<(TableId, u64), PartitionInfo> {
    let mut largest: BTreeMap<(TableId, u64), PartitionInfo> = BTreeMap::new();
    for info in of_servers {
        match largest.entry((info.table, info.shard)) {
            Entry::Occupied(known) if known.get().rows >= info.rows => {}
            Entry::Occupied(mut known) => drop(known.insert(info)),
            Entry::Vacant(place) => drop(place.insert(info)),
        }
    }
    largest
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
