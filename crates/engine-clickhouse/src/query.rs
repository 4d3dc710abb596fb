//! Reading.

use std::sync::Arc;

use arrow::array::RecordBatch;
use hyperbytedb_clickhouse_sql::{Select, TableName, distinct_series, scan_select, stored_rows};
use hyperbytedb_domain::catalog::Table;
use hyperbytedb_domain::ports::{BatchStream, QueryPort};
use hyperbytedb_domain::scan::{Digest, DigestBy, RowSelection, Scan};
use hyperbytedb_domain::{EngineError, QueryContext, SeriesId};
use hyperbytedb_engine_common::{
    NoRows, OutputType, answers, is_small, output_types, stored_types, wants_nothing,
};

use crate::engine::ClickHouseEngine;
use crate::failure::Failure;
use crate::hosts::HostId;
use crate::stream::{ScanStream, SelectStream};
use crate::tables::Purpose;

impl QueryPort for ClickHouseEngine {
    fn scan(&self, scan: &Scan, context: &QueryContext) -> Result<Box<dyn BatchStream>, EngineError> {
        context.check()?;
        if wants_nothing(scan) || !self.complete(&scan.table, Purpose::Read)? {
            return Ok(Box::new(NoRows));
        }
        let select = |from| self.select(scan, from);
        let started = self.start(&scan.table, scan.output.series(), select, context, "scan")?;
        Ok(stream(started, output_types(scan)))
    }

    fn explain(&self, scan: &Scan) -> String {
        let (from, place) = match self.source(&scan.table, scan.output.series()) {
            Ok((from, hosts)) => (from, self.place(&hosts)),
            Err(_) => (self.servers.database.table(scan.table.id), "when ClickHouse answers".to_owned()),
        };
        format!("{} -- {place}", self.select(scan, from))
    }

    fn distinct_series(
        &self,
        table: &Table,
        rows: &RowSelection,
        context: &QueryContext,
    ) -> Result<Vec<SeriesId>, EngineError> {
        if !self.may_hold(table, rows, Purpose::Read, context)? {
            return Ok(Vec::new());
        }
        let select = |from| distinct_series(table, from, rows);
        let Some(stream) = self.start(table, rows.series.as_ref(), select, context, "reading")? else {
            return Ok(Vec::new());
        };
        let host = stream.host();
        let batches = stream.collect().map_err(|failure| self.servers.error((host, failure), "reading"))?;
        answers::series(&batches)
    }

    fn digests(
        &self,
        table: &Table,
        rows: &RowSelection,
        merge_duplicates: bool,
        by: &DigestBy,
        context: &QueryContext,
    ) -> Result<Vec<Digest>, EngineError> {
        if !self.may_hold(table, rows, Purpose::Read, context)? {
            return Ok(Vec::new());
        }
        self.digests_of_shards(table, rows, merge_duplicates, by, context)
    }

    fn stored_rows(
        &self,
        table: &Table,
        rows: &RowSelection,
        merge_duplicates: bool,
        context: &QueryContext,
    ) -> Result<Box<dyn BatchStream>, EngineError> {
        if !self.may_hold(table, rows, Purpose::Read, context)? {
            return Ok(Box::new(NoRows));
        }
        let select = |from| {
            let mut select = stored_rows(table, from, rows, merge_duplicates);
            self.see_confirmed(&mut select);
            select
        };
        let started = self.start(table, rows.series.as_ref(), select, context, "copying")?;
        Ok(stream(started, stored_types(table)))
    }
}

fn stream(started: Option<SelectStream>, types: Vec<OutputType>) -> Box<dyn BatchStream> {
    match started {
        Some(select) => Box::new(ScanStream::new(select, types)),
        None => Box::new(NoRows),
    }
}

impl ClickHouseEngine {
    /// Starts a statement over the rows of these series; `None` where there are none. Where the table or a column of it is not there, it
    /// was dropped since the statement was planned, or a server is back that lacks it: then it is looked for, and asked once more.
    fn start(
        &self,
        table: &Table,
        series: Option<&Arc<[SeriesId]>>,
        select: impl Fn(TableName) -> Select,
        context: &QueryContext,
        purpose: &str,
    ) -> Result<Option<SelectStream>, EngineError> {
        let start = || -> Result<_, EngineError> {
            let (from, hosts) = self.source(table, series)?;
            Ok(SelectStream::start(&self.servers.client, &hosts, select(from), context))
        };
        let failed = match start()? {
            Ok(stream) => return Ok(Some(stream)),
            Err(failed) => failed,
        };
        // The server that lacks it is, to the one that asks it for its rows, like one that does not answer.
        let lacks_something = failed.1.is_unknown_table()
            || failed.1.is_unknown_column()
            || (failed.1.is_between_servers() && self.servers.away().is_none());
        if !lacks_something {
            return Err(self.servers.error(failed, purpose));
        }
        self.servers.tables.forget(table.id);
        if !self.complete(table, Purpose::Read)? {
            return Ok(None);
        }
        start()?.map(Some).map_err(|failed| self.servers.error(failed, purpose))
    }

    /// Where the rows of these series are read, and which servers can be asked.
    fn source(
        &self,
        table: &Table,
        series: Option<&Arc<[SeriesId]>>,
    ) -> Result<(TableName, Vec<HostId>), EngineError> {
        let connected = self.servers.connected()?;
        let layout = &connected.layout;
        let shard = match layout.shards.len() {
            1 => Some(0),
            _ => series.and_then(|series| layout.shard_of_all(series)),
        };
        let database = &self.servers.database;
        Ok(match shard {
            Some(shard) => (database.table(table.id), layout.shards[shard].clone()),
            None => (database.distributed_table(table.id), self.servers.client.hosts.all().collect()),
        })
    }

    fn select(&self, scan: &Scan, from: TableName) -> Select {
        let mut select = scan_select(scan, from);
        if is_small(scan) && self.servers.connected().is_ok_and(|connected| connected.has_old_analyzer) {
            select.settings.set("allow_experimental_analyzer", 0);
        }
        self.see_confirmed(&mut select);
        select
    }

    /// What an insert with a quorum has stored is seen by whoever asks.
    pub(crate) fn see_confirmed(&self, select: &mut Select) {
        if self.servers.options.replicated {
            select.settings.set("select_sequential_consistency", 1);
        }
    }

    /// The whole answer of one of these servers, for statements with small results.
    pub(crate) fn collect(
        &self,
        hosts: &[HostId],
        select: Select,
        context: &QueryContext,
    ) -> Result<Vec<RecordBatch>, (HostId, Failure)> {
        let stream = SelectStream::start(&self.servers.client, hosts, select, context)?;
        let host = stream.host();
        stream.collect().map_err(|failure| (host, failure))
    }

    fn place(&self, hosts: &[HostId]) -> String {
        let urls: Vec<&str> = hosts.iter().map(|host| self.servers.client.hosts.url(*host)).collect();
        format!("on one of {}", urls.join(", "))
    }
}
