//! Reading.

use hyperbytedb_clickhouse_sql::schema::table_name;
use hyperbytedb_clickhouse_sql::{digests, distinct_series, scan_select, stored_rows};
use hyperbytedb_domain::catalog::Table;
use hyperbytedb_domain::ports::{BatchStream, QueryPort};
use hyperbytedb_domain::scan::{Digest, DigestBy, RowSelection, Scan};
use hyperbytedb_domain::{EngineError, QueryContext, SeriesId};
use hyperbytedb_engine_common::{NoRows, answers, is_small, output_types, stored_types, wants_nothing};

use crate::engine::ChdbEngine;
use crate::stream::{ScanStream, SelectStream};

impl QueryPort for ChdbEngine {
    fn scan(&self, scan: &Scan, context: &QueryContext) -> Result<Box<dyn BatchStream>, EngineError> {
        if wants_nothing(scan) {
            return Ok(Box::new(NoRows));
        }
        if !self.complete_table(&scan.table, context)? {
            return Ok(Box::new(NoRows));
        }
        let mut select = scan_select(scan, table_name(scan.table.id));
        if is_small(scan) {
            select.settings.set("allow_experimental_analyzer", 0);
        }
        let select = SelectStream::start(&self.query_pool, &self.killer, select, context)?;
        Ok(Box::new(ScanStream::new(select, output_types(scan))))
    }

    fn explain(&self, scan: &Scan) -> String {
        scan_select(scan, table_name(scan.table.id)).to_string()
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
        let select = distinct_series(table, table_name(table.id), rows);
        let batches = SelectStream::start(&self.query_pool, &self.killer, select, context)?.collect()?;
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
        if !self.may_hold(table, rows, context)? {
            return Ok(Vec::new());
        }
        let select = digests(table, table_name(table.id), rows, merge_duplicates, by);
        let batches = SelectStream::start(&self.query_pool, &self.killer, select, context)?.collect()?;
        answers::digests(&batches)
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
        let select = stored_rows(table, table_name(table.id), rows, merge_duplicates);
        let select = SelectStream::start(&self.query_pool, &self.killer, select, context)?;
        Ok(Box::new(ScanStream::new(select, stored_types(table))))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    use hyperbytedb_domain::catalog::TableId;
    use hyperbytedb_domain::scan::{RowScan, ScanOutput};
    use hyperbytedb_domain::{CancelToken, TimeRange};

    use super::*;
    use crate::options::ChdbOptions;

    /// A table that was not asked for yet is looked up over the connections of writers.
    #[test]
    fn a_query_that_waits_for_a_writers_connection_ends_when_it_must() {
        let directory = tempfile::tempdir().unwrap();
        let options = ChdbOptions { write_connections: 1, ..ChdbOptions::new(directory.path()) };
        let engine = ChdbEngine::open(options).unwrap();
        let scan = Scan {
            table: Arc::new(Table { id: TableId(7), ..Table::default() }),
            time: TimeRange::ALL,
            filter: None,
            shards: None,
            merge_duplicates: false,
            output: ScanOutput::Rows(RowScan::default()),
        };
        let writing = engine.write_pool.take(&QueryContext::unbounded()).unwrap();
        let soon = Instant::now() + Duration::from_millis(20);
        let late = QueryContext { deadline: Some(soon), ..QueryContext::unbounded() };
        assert!(matches!(engine.scan(&scan, &late).err(), Some(EngineError::Busy { .. })));
        let cancel = CancelToken::default();
        cancel.cancel();
        let killed = QueryContext { cancel, ..QueryContext::unbounded() };
        assert!(matches!(engine.scan(&scan, &killed).err(), Some(EngineError::Cancelled)));
        drop(writing);
        assert!(engine.scan(&scan, &QueryContext::unbounded()).is_ok());
    }
}
