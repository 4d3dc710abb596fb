//! Reading.

use arrow::datatypes::UInt64Type;
use hyperbytedb_clickhouse_sql::{distinct_series, scan_select, scan_sql};
use hyperbytedb_domain::catalog::Table;
use hyperbytedb_domain::ports::{BatchStream, QueryPort};
use hyperbytedb_domain::scan::{RowSelection, Scan};
use hyperbytedb_domain::{EngineError, QueryContext, SeriesId};

use crate::engine::{ChdbEngine, is_empty, numbers, selects_nothing};
use crate::output::output_types;
use crate::stream::{NoRows, ScanStream, SelectStream};

impl QueryPort for ChdbEngine {
    fn scan(&self, scan: &Scan, context: &QueryContext) -> Result<Box<dyn BatchStream>, EngineError> {
        let no_series = scan.output.series().is_some_and(|series| series.is_empty());
        if scan.time.is_empty() || is_empty(&scan.shards) || no_series || !self.complete_table(&scan.table)? {
            return Ok(Box::new(NoRows));
        }
        let select = SelectStream::start(&self.query_pool, &self.killer, scan_select(scan), context)?;
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
        if selects_nothing(rows) || !self.complete_table(table)? {
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
}
