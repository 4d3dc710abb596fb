//! Reading tables: from memory where the head has all there is, else from the engine.
//!
//! What the engine is asked it is told with what it must know of a table's partitions, so that no row is counted twice.

mod tiers;

use std::sync::Arc;

use arrow::array::RecordBatch;
use hyperbytedb_domain::catalog::{Table, TableId};
use hyperbytedb_domain::ports::{BatchStream, CatalogPort, QueryPort};
use hyperbytedb_domain::scan::{RowSelection, Scan};
use hyperbytedb_domain::{EngineError, QueryContext, SeriesId, TimeRange};

use self::tiers::Tiers;
use crate::flush::FlushService;

/// Values past which the engine, which uses all cores, aggregates faster than the head.
const HEAD_VALUES_MAX: usize = 2_000_000;

/// Reads tables.
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

    /// Numbers of the shard groups that overlap a range; `None` when all do, or the table is gone.
    fn shards(&self, table: &Table, range: TimeRange) -> Option<Arc<[u64]>> {
        Some(self.catalog.catalog().policy_of(table)?.shards_in(range)?.into())
    }

    fn has_duplicates(&self, scan: &Scan) -> bool {
        self.flush.dirty().touches(scan.table.id, scan.time)
    }

    /// Reads what is in the engine, and nothing else.
    pub(crate) fn scan_engine(
        &self,
        scan: &Scan,
        context: &QueryContext,
    ) -> Result<Box<dyn BatchStream>, EngineError> {
        Ok(Box::new(self.start(scan, context)?))
    }

    fn start(&self, scan: &Scan, context: &QueryContext) -> Result<Reading, EngineError> {
        self.flush.wait_for_replayed_removals(scan.table.id, context)?;
        let shards = self.shards(&scan.table, scan.time);
        let scan = Scan { shards, merge_duplicates: self.has_duplicates(scan), ..scan.clone() };
        let stream = self.engine.scan(&scan, context)?;
        Ok(Reading { reader: self.clone(), scan, context: context.clone(), stream, began: false })
    }
}

impl TableReader {
    /// The answer from memory; `None` where the head does not have it all, or the engine has it too and is quicker.
    fn scan_head(
        &self,
        scan: &Scan,
        context: &QueryContext,
    ) -> Result<Option<Box<dyn BatchStream>>, EngineError> {
        let Some(head) = self.flush.head().table(scan.table.id) else { return Ok(None) };
        if !head.is_known() {
            self.flush.know_stored(scan.table.id)?;
        }
        if head.complete_from() > scan.time.min {
            return Ok(None);
        }
        let has_unflushed = self.flush.first_unflushed(scan.table.id, scan.time).is_some();
        let values_max = (!has_unflushed).then_some(HEAD_VALUES_MAX);
        let stream = hyperbytedb_head::scan(&head, scan, scan.time, values_max, context)?;
        // What has left meanwhile may be missing.
        Ok(stream.filter(|_| head.complete_from() <= scan.time.min))
    }
}

impl TableReader {
    /// The answer from the engine before a time and from the head behind it; `None` where the scan cannot be cut so that
    /// each has all it is asked for. No point before `first_unflushed` is missing in the engine.
    fn scan_tiers(
        &self,
        scan: &Scan,
        first_unflushed: i64,
        context: &QueryContext,
    ) -> Result<Option<Box<dyn BatchStream>>, EngineError> {
        let Some(head) = self.flush.head().table(scan.table.id) else { return Ok(None) };
        let cut = tiers::cut(scan, head.complete_from(), first_unflushed);
        let (Some(cut), Some(joint)) = (cut, tiers::Joint::of(scan)) else { return Ok(None) };
        let Some(newer) = hyperbytedb_head::scan(&head, scan, cut.newer, None, context)? else {
            return Ok(None);
        };
        // What has left meanwhile may be missing.
        if head.complete_from() > cut.newer.min {
            return Ok(None);
        }
        let older = self.scan_engine(&Scan { time: cut.older, ..scan.clone() }, context)?;
        Ok(Some(Box::new(Tiers::new(joint, older, newer))))
    }
}

impl QueryPort for TableReader {
    fn scan(&self, scan: &Scan, context: &QueryContext) -> Result<Box<dyn BatchStream>, EngineError> {
        if let Some(stream) = self.scan_head(scan, context)? {
            return Ok(stream);
        }
        let Some(first) = self.flush.first_unflushed(scan.table.id, scan.time) else {
            return self.scan_engine(scan, context);
        };
        if let Some(stream) = self.scan_tiers(scan, first, context)? {
            return Ok(stream);
        }
        self.make_visible(&[scan.table.id], context)?;
        self.scan_engine(scan, context)
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
