//! The engine's rows, merged where those of one point may be stored apart.

use std::sync::Arc;

use arrow::array::RecordBatch;
use hyperbytedb_domain::catalog::Table;
use hyperbytedb_domain::ports::{BatchStream, QueryPort};
use hyperbytedb_domain::scan::{Predicate, Scan};
use hyperbytedb_domain::{EngineError, QueryContext, SeriesId, TimeRange};

use crate::flush::FlushService;

/// Decides for each scan whether it must merge duplicates.
#[derive(Clone)]
pub(super) struct MergingReader {
    pub engine: Arc<dyn QueryPort>,
    pub flush: Arc<FlushService>,
}

impl MergingReader {
    fn must_merge(&self, scan: &Scan) -> bool {
        self.flush.dirty.touches(&scan.table, scan.time)
    }
}

impl QueryPort for MergingReader {
    fn scan(&self, scan: &Scan, context: &QueryContext) -> Result<Box<dyn BatchStream>, EngineError> {
        let scan = Scan { merge_duplicates: self.must_merge(scan), ..scan.clone() };
        let stream = self.engine.scan(&scan, context)?;
        Ok(Box::new(MergingStream {
            reader: self.clone(),
            scan,
            context: context.clone(),
            stream,
            is_settled: false,
        }))
    }

    fn explain(&self, scan: &Scan) -> String {
        self.engine.explain(scan)
    }

    fn distinct_series(
        &self,
        table: &Table,
        time: TimeRange,
        filter: Option<&Predicate>,
        context: &QueryContext,
    ) -> Result<Vec<SeriesId>, EngineError> {
        self.engine.distinct_series(table, time, filter, context)
    }
}

struct MergingStream {
    reader: MergingReader,
    scan: Scan,
    context: QueryContext,
    stream: Box<dyn BatchStream>,
    /// A batch has come: what the scan sees was settled before it.
    is_settled: bool,
}

impl BatchStream for MergingStream {
    fn next_batch(&mut self) -> Result<Option<RecordBatch>, EngineError> {
        let batch = self.stream.next_batch()?;
        if self.is_settled || batch.is_none() {
            return Ok(batch);
        }
        self.is_settled = true;
        // Rows came to be stored apart since the scan began.
        if !self.scan.merge_duplicates && self.reader.must_merge(&self.scan) {
            self.scan.merge_duplicates = true;
            self.stream = self.reader.engine.scan(&self.scan, &self.context)?;
            return self.stream.next_batch();
        }
        Ok(batch)
    }
}
