//! Scans over a table's head.

use arrow::array::RecordBatch;
use hyperbytedb_domain::ports::BatchStream;
use hyperbytedb_domain::scan::{Scan, ScanOutput};
use hyperbytedb_domain::{EngineError, QueryContext};

use crate::aggregate::Aggregation;
use crate::rows::RowStream;
use crate::table::TableHead;

/// Reads the points as they are now, in the shape and order that the scan asks for. `None`: an aggregation
/// would look at more than `values_max` values.
pub fn scan(
    head: &TableHead,
    scan: &Scan,
    values_max: Option<usize>,
    context: &QueryContext,
) -> Result<Option<Box<dyn BatchStream>>, EngineError> {
    Ok(Some(match &scan.output {
        ScanOutput::Rows(rows) => Box::new(RowStream::new(head, scan, rows, context)?),
        ScanOutput::Aggregates(aggregates) => {
            let aggregation = Aggregation::new(head, scan, aggregates)?;
            if values_max.is_some_and(|max| aggregation.values() > max) {
                return Ok(None);
            }
            Box::new(Once(aggregation.run(context)?))
        }
    }))
}

struct Once(Option<RecordBatch>);

impl BatchStream for Once {
    fn next_batch(&mut self) -> Result<Option<RecordBatch>, EngineError> {
        Ok(self.0.take())
    }
}
