//! Writing, deleting and looking after what is stored.

use std::fs::File;
use std::ops::RangeInclusive;

use arrow::array::RecordBatch;
use hyperbytedb_clickhouse_sql::Settings;
use hyperbytedb_clickhouse_sql::schema::{Database, table_name};
use hyperbytedb_clickhouse_sql::statement::{self, DeleteSync, Statement};
use hyperbytedb_domain::catalog::{Table, TableId};
use hyperbytedb_domain::ports::{PartitionInfo, PointsSinkPort, UnfinishedDeletes};
use hyperbytedb_domain::scan::RowSelection;
use hyperbytedb_domain::wal::Sequence;
use hyperbytedb_domain::{EngineError, QueryContext};
use hyperbytedb_engine_common::{Attempt, PartBlocks, answers, merge_parts};

use crate::engine::ChdbEngine;

impl PointsSinkPort for ChdbEngine {
    fn ensure_table(&self, table: &Table) -> Result<(), EngineError> {
        let exists = self.complete_table(table, &QueryContext::unbounded())?;
        if exists { Ok(()) } else { self.create_table(table) }
    }

    /// Nothing can get lost between the engine and this process, so nothing comes twice.
    fn insert(
        &self,
        table: &Table,
        batch: RecordBatch,
        _: RangeInclusive<Sequence>,
    ) -> Result<(), EngineError> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        self.insert_batch(table_name(table.id).to_string(), batch)
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
        if self.rows(statement::any_row(table, table_name(table.id), rows), context)?.is_empty() {
            return Ok(());
        }
        match self
            .try_execute(&statement::delete(table, table_name(table.id), rows, DeleteSync::Stored), context)?
        {
            Err(exception) if exception.is_unknown_table() => Ok(()),
            result => result.map_err(|e| e.into_engine_error("deleting rows")),
        }
    }

    fn unfinished_deletes(&self, table: Option<TableId>) -> Result<Vec<UnfinishedDeletes>, EngineError> {
        let context = &QueryContext::unbounded();
        if let Some(table) = table {
            self.open_table(table, context)?;
        }
        answers::unfinished_deletes(
            &self.rows(statement::unfinished_deletes(&Database::default(), table), context)?,
        )
    }

    fn drop_table(&self, table: TableId) -> Result<(), EngineError> {
        let context = &QueryContext::unbounded();
        self.open_table(table, context)?;
        self.tables.forget(table);
        self.execute(&Statement::DropTable { table: table_name(table) }, "dropping a table", context)
    }

    fn drop_partitions(&self, table: TableId, shards: &[u64]) -> Result<(), EngineError> {
        if shards.is_empty() {
            return Ok(());
        }
        let context = &QueryContext::unbounded();
        self.open_table(table, context)?;
        let statement = Statement::DropPartitions { table: table_name(table), shards: shards.to_vec() };
        match self.try_execute(&statement, context)? {
            Err(exception) if exception.is_unknown_table() => Ok(()),
            result => result.map_err(|e| e.into_engine_error("dropping partitions")),
        }
    }

    fn partitions(&self, table: Option<TableId>) -> Result<Vec<PartitionInfo>, EngineError> {
        let context = &QueryContext::unbounded();
        self.open_tables(table, context)?;
        answers::partitions(&self.rows(statement::partitions(&Database::default(), table), context)?)
    }

    fn max_times(&self, table: TableId) -> Result<Vec<(u64, i64)>, EngineError> {
        let context = &QueryContext::unbounded();
        self.open_table(table, context)?;
        answers::max_times(&self.rows(statement::max_times(table_name(table)), context)?)
    }

    fn merge_partition(&self, table: TableId, shard: u64) -> Result<(), EngineError> {
        let context = &QueryContext::unbounded();
        self.open_table(table, context)?;
        let settings =
            Settings::default().with("optimize_throw_if_noop", 1).with("optimize_skip_merged_partitions", 1);
        let statement = Statement::Optimize { table: table_name(table), shard, settings };
        let attempt = || match self.try_execute(&statement, context)? {
            Ok(()) => Ok(Attempt::Done),
            Err(exception) if exception.is_merge_refused() => Ok(Attempt::Refused),
            Err(exception) => Err(exception.into_engine_error("merging a partition")),
        };
        merge_parts(|| self.part_blocks(table, shard), attempt)
    }

    fn existing_tables(&self) -> Result<Vec<TableId>, EngineError> {
        // The start asks, and must not wait for the engine.
        let defined = self.dormant.defined();
        let mut tables: Vec<TableId> =
            defined.map_err(|error| EngineError::failed("listing the tables", error))?.into_iter().collect();
        tables.sort_unstable();
        Ok(tables)
    }

    fn sync(&self) -> Result<(), EngineError> {
        let failed = |e: std::io::Error| EngineError::failed("syncing the data path", e);
        let directory = File::open(&self.data_path).map_err(failed)?;
        rustix::fs::syncfs(&directory).map_err(|e| failed(e.into()))
    }
}

impl ChdbEngine {
    fn part_blocks(&self, table: TableId, shard: u64) -> Result<Vec<PartBlocks>, EngineError> {
        let select = statement::part_blocks(&Database::default(), table, shard);
        answers::part_blocks(&self.rows(select, &QueryContext::unbounded())?)
    }
}
