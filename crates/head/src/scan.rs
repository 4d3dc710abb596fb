//! Scans over a table's head.

use arrow::array::RecordBatch;
use hyperbytedb_domain::ports::BatchStream;
use hyperbytedb_domain::scan::{Scan, ScanOutput};
use hyperbytedb_domain::{EngineError, QueryContext, TimeRange};

use crate::aggregate::aggregate;
use crate::rows::RowStream;
use crate::table::TableHead;

/// Reads the points of a range as they are now, in the shape and order that the scan asks for.
pub fn scan(
    head: &TableHead,
    scan: &Scan,
    range: TimeRange,
    context: &QueryContext,
) -> Result<Box<dyn BatchStream>, EngineError> {
    Ok(match &scan.output {
        ScanOutput::Rows(rows) => Box::new(RowStream::new(head, scan, rows, range, context)?),
        ScanOutput::Aggregates(aggregates) => {
            Box::new(Once(aggregate(head, scan, aggregates, range, context)?))
        }
    })
}

struct Once(Option<RecordBatch>);

impl BatchStream for Once {
    fn next_batch(&mut self) -> Result<Option<RecordBatch>, EngineError> {
        Ok(self.0.take())
    }
}
