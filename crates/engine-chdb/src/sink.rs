//! Writing, deleting and looking after what is stored.

use std::fs::File;
use std::thread;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::{Int64Type, UInt64Type};
use hyperbytedb_clickhouse_sql::Settings;
use hyperbytedb_clickhouse_sql::schema::{parse_table_name, table_name};
use hyperbytedb_clickhouse_sql::statement::{self, Statement};
use hyperbytedb_domain::EngineError;
use hyperbytedb_domain::catalog::{Table, TableId};
use hyperbytedb_domain::ports::{PartitionInfo, PointsSinkPort};
use hyperbytedb_domain::scan::Predicate;
use hyperbytedb_domain::time::{MAX_TIME, MIN_TIME, TimeRange};

use crate::engine::{ChdbEngine, numbers, strings};

/// Attempts to merge a partition while other merges are in the way, and the pause between them.
const MERGE_ATTEMPTS_MAX: u32 = 600;
const MERGE_PAUSE: Duration = Duration::from_millis(100);

impl PointsSinkPort for ChdbEngine {
    fn ensure_table(&self, table: &Table) -> Result<(), EngineError> {
        if self.complete_table(table)? { Ok(()) } else { self.create_table(table) }
    }

    fn insert(&self, table: &Table, batch: RecordBatch) -> Result<(), EngineError> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        self.insert_batch(table_name(table.id).to_string(), batch)
    }

    fn delete_rows(
        &self,
        table: &Table,
        time: TimeRange,
        filter: Option<&Predicate>,
    ) -> Result<(), EngineError> {
        if time.is_empty() || !self.complete_table(table)? {
            return Ok(());
        }
        let mut partitions: Vec<i64> = self.partitions(table.id)?.into_iter().map(|p| p.partition).collect();
        partitions.retain(|p| (table.partition_of(time.min)..=table.partition_of(time.max)).contains(p));
        if filter.is_some_and(Predicate::reads_fields) {
            // An earlier value of a field must not decide.
            for partition in &partitions {
                self.merge_partition(table.id, *partition)?;
            }
        }
        if filter.is_none() {
            partitions.retain(|p| is_within(table, *p, time));
            self.drop_partitions(table.id, &partitions)?;
        }
        if self.rows(statement::any_row(table, time, filter))?.is_empty() {
            return Ok(());
        }
        self.execute(&statement::delete(table, time, filter), "deleting rows")
    }

    fn drop_table(&self, table: TableId) -> Result<(), EngineError> {
        self.forget(table);
        self.execute(&Statement::DropTable { table: table_name(table) }, "dropping a table")
    }

    fn drop_partitions(&self, table: TableId, partitions: &[i64]) -> Result<(), EngineError> {
        for &partition in partitions {
            let statement = Statement::DropPartition { table: table_name(table), partition };
            match self.try_execute(&statement)? {
                Err(exception) if exception.is_unknown_table() => return Ok(()),
                result => result.map_err(|e| e.into_engine_error("dropping a partition"))?,
            }
        }
        Ok(())
    }

    fn partitions(&self, table: TableId) -> Result<Vec<PartitionInfo>, EngineError> {
        let mut partitions = Vec::new();
        for batch in self.rows(statement::partitions(table))? {
            let (rows, bytes) = (numbers::<UInt64Type>(&batch, 1)?, numbers::<UInt64Type>(&batch, 2)?);
            for ((id, rows), bytes) in strings(&batch, 0)?.into_iter().zip(rows).zip(bytes) {
                let partition =
                    id.parse().map_err(|_| EngineError::failed("partitions", format!("odd id {id:?}")))?;
                partitions.push(PartitionInfo { partition, rows, bytes });
            }
        }
        partitions.sort_unstable_by_key(|p| p.partition);
        Ok(partitions)
    }

    fn max_time(&self, table: TableId) -> Result<Option<i64>, EngineError> {
        if self.partitions(table)?.is_empty() {
            return Ok(None);
        }
        let batches = self.rows(statement::max_time(table))?;
        let Some(batch) = batches.first() else { return Ok(None) };
        let rows = numbers::<UInt64Type>(batch, 1)?.first().copied().unwrap_or_default();
        Ok(numbers::<Int64Type>(batch, 0)?.first().copied().filter(|_| rows > 0))
    }

    fn merge_partition(&self, table: TableId, partition: i64) -> Result<(), EngineError> {
        let newest_block = self.part_blocks(table, partition)?.into_iter().map(|(_, max)| max).max();
        let Some(newest_block) = newest_block else { return Ok(()) };
        for _ in 0..MERGE_ATTEMPTS_MAX {
            // Parts that came later are the business of a later call.
            let blocks = self.part_blocks(table, partition)?;
            if blocks.iter().filter(|(min, _)| *min <= newest_block).count() <= 1 {
                return Ok(());
            }
            let settings = Settings::default()
                .with("optimize_throw_if_noop", 1)
                .with("optimize_skip_merged_partitions", 1);
            let statement = Statement::Optimize { table: table_name(table), partition, settings };
            match self.try_execute(&statement)? {
                Err(exception) if exception.is_merge_refused() => thread::sleep(MERGE_PAUSE),
                result => result.map_err(|e| e.into_engine_error("merging a partition"))?,
            }
        }
        Err(EngineError::failed("merging a partition", "other merges never made way"))
    }

    fn existing_tables(&self) -> Result<Vec<TableId>, EngineError> {
        let mut tables = Vec::new();
        for batch in self.rows(statement::table_names())? {
            tables.extend(strings(&batch, 0)?.iter().filter_map(|name| parse_table_name(name)));
        }
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
    /// First and last block of each part.
    fn part_blocks(&self, table: TableId, partition: i64) -> Result<Vec<(i64, i64)>, EngineError> {
        let mut blocks = Vec::new();
        for batch in self.rows(statement::part_blocks(table, partition))? {
            let (min, max) = (numbers::<Int64Type>(&batch, 0)?, numbers::<Int64Type>(&batch, 1)?);
            blocks.extend(min.into_iter().zip(max));
        }
        Ok(blocks)
    }
}

/// Whether all times that the partition can hold are in the range.
fn is_within(table: &Table, partition: i64, range: TimeRange) -> bool {
    let width = i128::from(table.partition_duration.max(1));
    let first = i128::from(partition) * width;
    let last = first + width - 1;
    let covers_start = range.min <= MIN_TIME || i128::from(range.min) <= first;
    let covers_end = range.max >= MAX_TIME || i128::from(range.max) >= last;
    covers_start && covers_end
}
