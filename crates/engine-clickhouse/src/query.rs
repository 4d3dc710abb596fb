//! Reading.

use std::sync::Arc;

use arrow::array::RecordBatch;
use hyperbytedb_clickhouse_sql::{Select, TableName, distinct_series, scan_select, stored_rows};
use hyperbytedb_domain::catalog::Table;
use hyperbytedb_domain::ports::{BatchStream, QueryPort};
use hyperbytedb_domain::scan::{Digest, DigestBy, RowSelection, Scan};
use hyperbytedb_domain::{EngineError, QueryContext, SeriesId};
use hyperbytedb_engine_common::{NoRows, answers, is_small, output_types, stored_types, wants_nothing};

use crate::engine::ClickHouseEngine;
use crate::failure::Failure;
use crate::hosts::HostId;
use crate::stream::{ScanStream, SelectStream};

impl QueryPort for ClickHouseEngine {
    fn scan(&self, scan: &Scan, context: &QueryContext) -> Result<Box<dyn BatchStream>, EngineError> {
        context.check()?;
        if wants_nothing(scan) || !self.complete_table(&scan.table)? {
            return Ok(Box::new(NoRows));
        }
        let (from, hosts) = self.source(&scan.table, scan.output.series())?;
        match SelectStream::start(&self.client, &hosts, self.select(scan, from), context) {
            Ok(select) => Ok(Box::new(ScanStream::new(select, output_types(scan)))),
            Err(failed) => self.without_table(&scan.table, failed, "scan").map(|()| Box::new(NoRows) as _),
        }
    }

    fn explain(&self, scan: &Scan) -> String {
        let (from, place) = match self.source(&scan.table, scan.output.series()) {
            Ok((from, hosts)) => (from, self.place(&hosts)),
            Err(_) => (self.database.table(scan.table.id), "when ClickHouse answers".to_owned()),
        };
        format!("{} -- {place}", self.select(scan, from))
    }

    fn distinct_series(
        &self,
        table: &Table,
        rows: &RowSelection,
        context: &QueryContext,
    ) -> Result<Vec<SeriesId>, EngineError> {
        if !self.may_hold(table, rows, context)? {
            return Ok(Vec::new());
        }
        let (from, hosts) = self.source(table, rows.series.as_ref())?;
        let select = distinct_series(table, from, rows);
        match self.collect(&hosts, select, context) {
            Ok(batches) => answers::series(&batches),
            Err(failed) => self.without_table(table, failed, "reading").map(|()| Vec::new()),
        }
    }

    fn digests(
        &self,
        table: &Table,
        rows: &RowSelection,
        merge_duplicates: bool,
        by: &DigestBy,
        context: &QueryContext,
    ) -> Result<Vec<Digest>, EngineError> {
        if !self.may_hold(table, rows, context)? {
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
        if !self.may_hold(table, rows, context)? {
            return Ok(Box::new(NoRows));
        }
        let (from, hosts) = self.source(table, rows.series.as_ref())?;
        let mut select = stored_rows(table, from, rows, merge_duplicates);
        self.see_confirmed(&mut select);
        match SelectStream::start(&self.client, &hosts, select, context) {
            Ok(select) => Ok(Box::new(ScanStream::new(select, stored_types(table)))),
            Err(failed) => self.without_table(table, failed, "copying").map(|()| Box::new(NoRows) as _),
        }
    }
}

impl ClickHouseEngine {
    /// Where the rows of these series are read, and which servers can be asked.
    fn source(
        &self,
        table: &Table,
        series: Option<&Arc<[SeriesId]>>,
    ) -> Result<(TableName, Vec<HostId>), EngineError> {
        let connected = self.connected()?;
        let layout = &connected.layout;
        let shard = match layout.shards.len() {
            1 => Some(0),
            _ => series.and_then(|series| layout.shard_of_all(series)),
        };
        Ok(match shard {
            Some(shard) => (self.database.table(table.id), layout.shards[shard].clone()),
            None => (self.database.distributed_table(table.id), self.all_hosts()),
        })
    }

    fn select(&self, scan: &Scan, from: TableName) -> Select {
        let mut select = scan_select(scan, from);
        if is_small(scan) && self.connected().is_ok_and(|connected| connected.has_old_analyzer) {
            select.settings.set("allow_experimental_analyzer", 0);
        }
        self.see_confirmed(&mut select);
        select
    }

    /// What an insert with a quorum has stored is seen by whoever asks.
    pub(crate) fn see_confirmed(&self, select: &mut Select) {
        if self.options.replicated {
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
        let stream = SelectStream::start(&self.client, hosts, select, context)?;
        let host = stream.host();
        stream.collect().map_err(|failure| (host, failure))
    }

    fn place(&self, hosts: &[HostId]) -> String {
        let urls: Vec<&str> = hosts.iter().map(|host| self.client.hosts.url(*host)).collect();
        format!("on one of {}", urls.join(", "))
    }

    /// No rows, where the table was dropped since the scan was planned.
    pub(crate) fn without_table(
        &self,
        table: &Table,
        (host, failure): (HostId, Failure),
        purpose: &str,
    ) -> Result<(), EngineError> {
        // The server that lacks it is, to the one that asks it for its rows, like one that does not answer.
        if failure.is_unknown_table() || (failure.is_between_servers() && self.away().is_none()) {
            self.tables.forget(table.id);
            if !self.complete_table(table)? {
                return Ok(());
            }
        }
        Err(self.error((host, failure), purpose))
    }
}
