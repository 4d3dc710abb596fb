//! Reading tables: what the engine must know of a table's partitions, and that no row is counted twice.

use std::sync::Arc;

use arrow::array::RecordBatch;
use hyperbytedb_domain::catalog::{Table, TableId};
use hyperbytedb_domain::ports::{BatchStream, CatalogPort, QueryPort};
use hyperbytedb_domain::scan::{RowSelection, Scan};
use hyperbytedb_domain::{EngineError, QueryContext, SeriesId, TimeRange};

use crate::flush::FlushService;

/// Reads tables through the engine.
#[derive(Clone)]
pub struct TableReader {
    catalog: Arc<dyn CatalogPort>,
    engine: Arc<dyn QueryPort>,
    flush: Arc<FlushService>,
}

impl TableReader {
    pub fn new(catalog: Arc<dyn CatalogPort>, engine: Arc<dyn QueryPort>, flush: Arc<FlushService>) -> Self {
        Self { catalog, engine, flush }
    }

    /// Returns when every point acknowledged before the call is visible to scans of these tables.
    pub fn make_visible(&self, tables: &[TableId], context: &QueryContext) -> Result<(), EngineError> {
        self.flush.flush_tables(tables, context)
    }

    /// Numbers of the shard groups that overlap a range; `None` when all do.
    fn shards(&self, table: &Table, range: TimeRange) -> Option<Arc<[u64]>> {
        let catalog = self.catalog.catalog();
        match catalog.current(table).and_then(|table| catalog.policy_of(table)) {
            Some(policy) => Some(policy.shards_in(range)?.into()),
            // What is still stored of a dropped table may have been deleted: its queue forgot that.
            None => Some([].into()),
        }
    }

    fn has_duplicates(&self, scan: &Scan) -> bool {
        self.flush.dirty().touches(scan.table.id, scan.time)
    }

    fn start(&self, scan: &Scan, context: &QueryContext) -> Result<Reading, EngineError> {
        let shards = self.shards(&scan.table, scan.time);
        let scan = Scan { shards, merge_duplicates: self.has_duplicates(scan), ..scan.clone() };
        let stream = self.engine.scan(&scan, context)?;
        Ok(Reading { reader: self.clone(), scan, context: context.clone(), stream, began: false })
    }
}

impl QueryPort for TableReader {
    fn scan(&self, scan: &Scan, context: &QueryContext) -> Result<Box<dyn BatchStream>, EngineError> {
        Ok(Box::new(self.start(scan, context)?))
    }

    fn explain(&self, scan: &Scan) -> String {
        let shards = self.shards(&scan.table, scan.time);
        let merge_duplicates = self.has_duplicates(scan);
        self.engine.explain(&Scan { shards, merge_duplicates, ..scan.clone() })
    }

    fn distinct_series(
        &self,
        table: &Table,
        rows: &RowSelection,
        context: &QueryContext,
    ) -> Result<Vec<SeriesId>, EngineError> {
        let shards = self.shards(table, rows.time);
        self.engine.distinct_series(table, &RowSelection { shards, ..rows.clone() }, context)
    }
}

/// A scan on its way.
struct Reading {
    reader: TableReader,
    scan: Scan,
    context: QueryContext,
    stream: Box<dyn BatchStream>,
    began: bool,
}

impl BatchStream for Reading {
    fn next_batch(&mut self) -> Result<Option<RecordBatch>, EngineError> {
        loop {
            let batch = self.stream.next_batch()?;
            if std::mem::replace(&mut self.began, true) || self.scan.merge_duplicates {
                return Ok(batch);
            }
            // What the engine reads is fixed now. A flush that came between the decision not to merge and this moment
            // may have stored rows a second time; its mark was there before its rows.
            if !self.reader.has_duplicates(&self.scan) {
                return Ok(batch);
            }
            let again = self.reader.start(&self.scan, &self.context)?;
            *self = again;
        }
    }
}
