//! Reading the answers of internal statements.

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{ArrowPrimitiveType, DataType, Int64Type, UInt64Type};
use hyperbytedb_clickhouse_sql::schema::parse_table_name;
use hyperbytedb_domain::ports::{PartitionInfo, UnfinishedDeletes};
use hyperbytedb_domain::scan::Digest;
use hyperbytedb_domain::{EngineError, SeriesId};

fn unexpected(data_type: &DataType) -> EngineError {
    EngineError::failed("reading system tables", format!("unexpected type {data_type}"))
}

fn column_of(batch: &RecordBatch, column: usize) -> Result<&ArrayRef, EngineError> {
    let missing = || EngineError::failed("reading system tables", format!("no column {column}"));
    batch.columns().get(column).ok_or_else(missing)
}

/// The texts of a column.
pub fn strings(batch: &RecordBatch, column: usize) -> Result<Vec<String>, EngineError> {
    let array = column_of(batch, column)?;
    let array = arrow::compute::cast(array, &DataType::Utf8).map_err(|_| unexpected(array.data_type()))?;
    let texts = array.as_string_opt::<i32>().ok_or_else(|| unexpected(array.data_type()))?;
    Ok(texts.iter().map(|t| t.unwrap_or_default().to_owned()).collect())
}

/// The numbers of a column.
pub fn numbers<T: ArrowPrimitiveType>(
    batch: &RecordBatch,
    column: usize,
) -> Result<Vec<T::Native>, EngineError> {
    let array = column_of(batch, column)?;
    let numbers = array.as_primitive_opt::<T>().ok_or_else(|| unexpected(array.data_type()))?;
    Ok(numbers.values().to_vec())
}

/// Of [`distinct_series`](hyperbytedb_clickhouse_sql::distinct_series).
pub fn series(batches: &[RecordBatch]) -> Result<Vec<SeriesId>, EngineError> {
    let mut series = Vec::new();
    for batch in batches {
        series.extend(numbers::<UInt64Type>(batch, 0)?.into_iter().map(SeriesId));
    }
    Ok(series)
}

/// Of [`digests`](hyperbytedb_clickhouse_sql::digests).
pub fn digests(batches: &[RecordBatch]) -> Result<Vec<Digest>, EngineError> {
    let mut digests = Vec::new();
    for batch in batches {
        let column = |column| numbers::<UInt64Type>(batch, column);
        let columns = column(0)?.into_iter().zip(column(1)?).zip(column(2)?);
        digests.extend(columns.map(|((key, rows), hash)| Digest { key, rows, hash }));
    }
    Ok(digests)
}

/// Of [`partitions`](hyperbytedb_clickhouse_sql::statement::partitions).
pub fn partitions(batches: &[RecordBatch]) -> Result<Vec<PartitionInfo>, EngineError> {
    let mut partitions = Vec::new();
    for batch in batches {
        let (tables, ids) = (strings(batch, 0)?, strings(batch, 1)?);
        let (rows, bytes) = (numbers::<UInt64Type>(batch, 2)?, numbers::<UInt64Type>(batch, 3)?);
        for (((table, id), rows), bytes) in tables.iter().zip(ids).zip(rows).zip(bytes) {
            if let Some(table) = parse_table_name(table) {
                partitions.push(PartitionInfo { table, shard: shard_of(&id)?, rows, bytes });
            }
        }
    }
    partitions.sort_unstable_by_key(|p| (p.table, p.shard));
    Ok(partitions)
}

/// Of [`unfinished_deletes`](hyperbytedb_clickhouse_sql::statement::unfinished_deletes).
pub fn unfinished_deletes(batches: &[RecordBatch]) -> Result<Vec<UnfinishedDeletes>, EngineError> {
    let mut unfinished = Vec::new();
    for batch in batches {
        let (deletes, parts) = (numbers::<UInt64Type>(batch, 1)?, numbers::<Int64Type>(batch, 2)?);
        for ((table, deletes), parts) in strings(batch, 0)?.iter().zip(deletes).zip(parts) {
            if let Some(table) = parse_table_name(table) {
                unfinished.push(UnfinishedDeletes { table, deletes, parts: parts.max(0).unsigned_abs() });
            }
        }
    }
    Ok(unfinished)
}

/// Of [`max_times`](hyperbytedb_clickhouse_sql::statement::max_times), by number of the shard group.
pub fn max_times(batches: &[RecordBatch]) -> Result<Vec<(u64, i64)>, EngineError> {
    let mut max_times = Vec::new();
    for batch in batches {
        for (id, time) in strings(batch, 0)?.iter().zip(numbers::<Int64Type>(batch, 1)?) {
            max_times.push((shard_of(id)?, time));
        }
    }
    max_times.sort_unstable();
    Ok(max_times)
}

/// Of [`part_blocks`](hyperbytedb_clickhouse_sql::statement::part_blocks).
pub fn part_blocks(batches: &[RecordBatch]) -> Result<Vec<(i64, i64)>, EngineError> {
    let mut blocks = Vec::new();
    for batch in batches {
        let (min, max) = (numbers::<Int64Type>(batch, 0)?, numbers::<Int64Type>(batch, 1)?);
        blocks.extend(min.into_iter().zip(max));
    }
    Ok(blocks)
}

fn shard_of(partition_id: &str) -> Result<u64, EngineError> {
    partition_id.parse().map_err(|_| EngineError::failed("partitions", format!("odd id {partition_id:?}")))
}
