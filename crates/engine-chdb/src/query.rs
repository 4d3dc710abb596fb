//! Reading.

use arrow::datatypes::UInt64Type;
use hyperbytedb_clickhouse_sql::{digests, distinct_series, scan_select, scan_sql};
use hyperbytedb_domain::catalog::Table;
use hyperbytedb_domain::ports::{BatchStream, QueryPort};
use hyperbytedb_domain::scan::{Digest, DigestBy, RowSelection, Scan};
use hyperbytedb_domain::{EngineError, QueryContext, SeriesId};

use crate::engine::{ChdbEngine, is_empty, numbers, selects_nothing};
use crate::output::output_types;
use crate::stream::{NoRows, ScanStream, SelectStream};

/// Series up to which a scan is small: there the new analyzer takes a fifth of its time, and comes to the same plan.
const OLD_ANALYZER_SERIES_MAX: usize = 16;

impl QueryPort for ChdbEngine {
    fn scan(&self, scan: &Scan, context: &QueryContext) -> Result<Box<dyn BatchStream>, EngineError> {
        let no_series = scan.output.series().is_some_and(|series| series.is_empty());
        if scan.time.is_empty() || is_empty(&scan.shards) || no_series {
            return Ok(Box::new(NoRows));
        }
        if !self.complete_table(&scan.table, context)? {
            return Ok(Box::new(NoRows));
        }
        let mut select = scan_select(scan);
        if scan.output.series().is_some_and(|series| series.len() <= OLD_ANALYZER_SERIES_MAX) {
            select.settings.set("allow_experimental_analyzer", 0);
        }
        let select = SelectStream::start(&self.query_pool, &self.killer, select, context)?;
        Ok(Box::new(ScanStream::new(select, output_types(scan))))
    }

    fn explain(&self, scan: &Scan) -> String {
        scan_sql(scan)
    }

    fn distinct_series(
        &self,
        table: &Table,
        rows: &RowSelection,
        context: &QueryContext,
    ) -> Result<Vec<SeriesId>, EngineError> {
        if selects_nothing(rows) || !self.complete_table(table, context)? {
            return Ok(Vec::new());
        }
        let select = distinct_series(table, rows);
        let batches = SelectStream::start(&self.query_pool, &self.killer, select, context)?.collect()?;
        let mut series = Vec::new();
        for batch in &batches {
            series.extend(numbers::<UInt64Type>(batch, 0)?.into_iter().map(SeriesId));
        }
        Ok(series)
    }

    fn digests(
        &self,
        table: &Table,
        rows: &RowSelection,
        merge_duplicates: bool,
        by: &DigestBy,
        context: &QueryContext,
    ) -> Result<Vec<Digest>, EngineError> {
        if selects_nothing(rows) || !self.complete_table(table, context)? {
            return Ok(Vec::new());
        }
        let select = digests(table, rows, merge_duplicates, by);
        let batches = SelectStream::start(&self.query_pool, &self.killer, select, context)?.collect()?;
        let mut digests = Vec::new();
        for batch in &batches {
            let column = |column| numbers::<UInt64Type>(batch, column);
            let columns = column(0)?.into_iter().zip(column(1)?).zip(column(2)?);
            digests.extend(columns.map(|((key, rows), hash)| Digest { key, rows, hash }));
        }
        Ok(digests)
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
