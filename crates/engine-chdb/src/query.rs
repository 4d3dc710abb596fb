//! Reading.

use arrow::datatypes::UInt64Type;
use hyperbytedb_clickhouse_sql::{distinct_series, scan_select, scan_sql};
use hyperbytedb_domain::catalog::Table;
use hyperbytedb_domain::ports::{BatchStream, QueryPort};
use hyperbytedb_domain::scan::{Predicate, Scan};
use hyperbytedb_domain::{EngineError, QueryContext, SeriesId, TimeRange};

use crate::engine::{ChdbEngine, numbers};
use crate::output::output_types;
use crate::stream::{NoRows, ScanStream, SelectStream};

impl QueryPort for ChdbEngine {
    fn scan(&self, scan: &Scan, context: &QueryContext) -> Result<Box<dyn BatchStream>, EngineError> {
        if scan.time.is_empty() || !self.complete_table(&scan.table)? {
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
        time: TimeRange,
        filter: Option<&Predicate>,
        context: &QueryContext,
    ) -> Result<Vec<SeriesId>, EngineError> {
        if !self.complete_table(table)? {
            return Ok(Vec::new());
        }
        let select = distinct_series(table, time, filter);
        let batches = SelectStream::start(&self.query_pool, &self.killer, select, context)?.collect()?;
        let mut series = Vec::new();
        for batch in &batches {
            series.extend(numbers::<UInt64Type>(batch, 0)?.into_iter().map(SeriesId));
        }
        Ok(series)
    }
}
