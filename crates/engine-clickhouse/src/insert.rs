//! Rows to their shards, once.
//!
//! Each part of a batch has a token, made of the log records that it comes from, of the table's last delete and of its content: a
//! server that has seen the token stores nothing. So a part can be sent again after an answer that was lost, and one that is still on its way when
//! it is sent again cannot come after what is inserted later.
//!
//! A server that says that it has failed may have noted the token already, and is done with it: the next attempt has another one.
//! So has one at another process of the server: tokens are noted before rows are in place, so that a kill may leave the one without
//! the other. What was in place is then there twice, which merges fold.

use arrow::array::{AsArray, RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::UInt64Type;
use arrow::ipc::writer::StreamWriter;
use bytes::Bytes;
use futures_util::future::join_all;
use hyperbytedb_clickhouse_sql::statement::Statement;
use hyperbytedb_domain::catalog::TableId;
use hyperbytedb_domain::columns::SERIES_COLUMN;
use hyperbytedb_domain::{EngineError, QueryContext, SeriesId};
use xxhash_rust::xxh3::xxh3_64;

use crate::client::Request;
use crate::engine::ClickHouseEngine;
use crate::failure::Failure;
use crate::hosts::{HostId, Layout};

/// Rows of one part: ClickHouse takes as many as one block, and a token is for one block.
const ROWS_MAX: usize = 500_000;
/// More than a part can have: nothing is split or put together.
const BLOCK_ROWS: &str = "1048449";
const BLOCK_BYTES: &str = "4294967296";

/// What goes to one shard as one insert.
struct Part {
    shard: usize,
    token: String,
    body: Bytes,
}

/// What has become of a part that is to be sent to some servers.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Attempted {
    Arrived,
    /// So many times.
    Failed(u32),
}

impl ClickHouseEngine {
    /// `name`: of the log records that the rows come from.
    pub(crate) fn insert_parts(
        &self,
        table: TableId,
        batch: &RecordBatch,
        name: &str,
    ) -> Result<(), EngineError> {
        let connected = self.servers.connected()?;
        let parts = parts(batch, name, &connected.layout)?;
        let statement = Statement::InsertArrow { table: self.servers.database.table(table) }.to_string();
        let shards = &connected.layout.shards;
        let sends = parts.iter().flat_map(|part| {
            // Of replicated servers one will do, else each gets its own.
            let targets: Vec<Vec<HostId>> = match self.servers.options.replicated {
                true => vec![shards[part.shard].clone()],
                false => shards[part.shard].iter().map(|host| vec![*host]).collect(),
            };
            targets.into_iter().map(|hosts| self.insert_part(table, part, hosts, &statement))
        });
        let all = async { Ok(join_all(sends).await) };
        let outcomes = self
            .servers
            .client
            .wait(&QueryContext::unbounded(), all)
            .map_err(|failure| failure.into_engine_error("ClickHouse", "insert"))?;
        let sent = outcomes.into_iter().collect::<Result<(), _>>();
        if sent.as_ref().is_err_and(|(_, failure)| failure.is_unknown_table()) {
            // On a server that is new: the next attempt makes it.
            self.servers.tables.forget(table);
        }
        sent.map_err(|failed| self.servers.error(failed, "insert"))?;
        self.attempts.lock().remove(&table);
        Ok(())
    }

    async fn insert_part(
        &self,
        table: TableId,
        part: &Part,
        hosts: Vec<HostId>,
        statement: &str,
    ) -> Result<(), (HostId, Failure)> {
        let place = format!("{} {hosts:?}", part.token);
        let before = self.attempts.lock().get(&table).and_then(|places| places.get(&place).copied());
        let failures = match before {
            Some(Attempted::Arrived) => return Ok(()),
            Some(Attempted::Failed(times)) => times,
            None => 0,
        };
        let client = &self.servers.client;
        let send = async |host| {
            let request = self.insert_request(host, statement, part, failures).await?;
            client.run(host, &request).await.map(drop)
        };
        let outcome = client.on_one(&hosts, send).await;
        let attempted = match &outcome {
            Ok(()) => Some(Attempted::Arrived),
            Err((_, Failure::Exception(_))) => Some(Attempted::Failed(failures + 1)),
            Err(_) => None,
        };
        if let Some(attempted) = attempted {
            self.attempts.lock().entry(table).or_default().insert(place, attempted);
        }
        outcome
    }

    async fn insert_request(
        &self,
        host: HostId,
        statement: &str,
        part: &Part,
        failures: u32,
    ) -> Result<Request, Failure> {
        let mut token = part.token.clone();
        if !self.servers.options.replicated {
            token = format!("{token}-{}", self.servers.client.process(host).await?);
        }
        if failures > 0 {
            token = format!("{token}-{failures}");
        }
        let request = Request { parameters: Vec::new(), body: part.body.clone() }
            .with("query", statement)
            .with("insert_deduplicate", "1")
            .with("insert_deduplication_token", token)
            .with("async_insert", "0")
            .with("max_insert_threads", "1")
            .with("max_insert_block_size", BLOCK_ROWS)
            .with("min_insert_block_size_rows", BLOCK_ROWS)
            .with("min_insert_block_size_bytes", BLOCK_BYTES);
        if !self.servers.options.replicated {
            return Ok(request);
        }
        let quorum = self.servers.options.insert_quorum.clone();
        Ok(request.with("insert_quorum", quorum).with("insert_quorum_parallel", "0"))
    }
}

fn parts(batch: &RecordBatch, name: &str, layout: &Layout) -> Result<Vec<Part>, EngineError> {
    let failed = |error: &dyn std::fmt::Display| EngineError::failed("insert", error);
    let mut parts = Vec::new();
    for (shard, rows) in by_shard(batch, layout)? {
        for start in (0..rows.num_rows()).step_by(ROWS_MAX) {
            let rows = rows.slice(start, ROWS_MAX.min(rows.num_rows() - start));
            let mut writer = StreamWriter::try_new(Vec::new(), &rows.schema()).map_err(|e| failed(&e))?;
            writer.write(&rows).map_err(|e| failed(&e))?;
            let body = writer.into_inner().map_err(|e| failed(&e))?;
            let token = format!("{name}-{}-{:016x}", start / ROWS_MAX, xxh3_64(&body));
            parts.push(Part { shard, token, body: body.into() });
        }
    }
    Ok(parts)
}

fn by_shard(batch: &RecordBatch, layout: &Layout) -> Result<Vec<(usize, RecordBatch)>, EngineError> {
    if layout.shards.len() == 1 {
        return Ok(vec![(0, batch.clone())]);
    }
    let failed = |error: &dyn std::fmt::Display| EngineError::failed("insert", error);
    let series =
        batch.column_by_name(SERIES_COLUMN).and_then(|column| column.as_primitive_opt::<UInt64Type>());
    let series = series.ok_or_else(|| failed(&"rows without a series"))?;
    let mut rows = vec![Vec::new(); layout.shards.len()];
    for (row, id) in (0u32..).zip(series.values()) {
        rows[layout.shard_of(SeriesId(*id))].push(row);
    }
    let rows = rows.into_iter().enumerate().filter(|(_, rows)| !rows.is_empty());
    rows.map(|(shard, rows)| {
        let taken = take_record_batch(batch, &UInt32Array::from(rows)).map_err(|e| failed(&e))?;
        Ok((shard, taken))
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, UInt64Array};

    use super::*;

    fn batch(series: Vec<u64>) -> RecordBatch {
        let series: ArrayRef = Arc::new(UInt64Array::from(series));
        RecordBatch::try_from_iter([(SERIES_COLUMN, series)]).unwrap()
    }

    fn tokens(batch: &RecordBatch, name: &str, layout: &Layout) -> Vec<(usize, String)> {
        parts(batch, name, layout).unwrap().into_iter().map(|part| (part.shard, part.token)).collect()
    }

    #[test]
    fn a_token_names_one_content() {
        let layout = Layout { shards: vec![vec![0], vec![1]], slots: vec![0, 1] };
        let first = tokens(&batch(vec![1, 2, 3]), "a", &layout);
        assert_eq!(first.iter().map(|(shard, _)| *shard).collect::<Vec<_>>(), [0, 1]);
        assert_eq!(first, tokens(&batch(vec![1, 2, 3]), "a", &layout));
        // Another row of the second shard; other records.
        let other = tokens(&batch(vec![1, 2, 5]), "a", &layout);
        assert_eq!(first[0], other[0]);
        assert_ne!(first[1], other[1]);
        assert_ne!(first[0], tokens(&batch(vec![1, 2, 3]), "b", &layout)[0]);
    }

    #[test]
    fn large_batches_are_several_blocks() {
        let parts = tokens(&batch(vec![7; ROWS_MAX + 1]), "a", &Layout::of_one_server());
        assert_eq!(parts.len(), 2);
        assert_ne!(parts[0].1, parts[1].1);
    }
}
