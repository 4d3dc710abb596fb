//! How many rows each tier has answered with, for EXPLAIN ANALYZE.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::RecordBatch;
use hyperbytedb_domain::EngineError;
use hyperbytedb_domain::ports::BatchStream;

/// Counts of one statement. Clones count together.
#[derive(Debug, Clone, Default)]
pub struct TierRows {
    memory: Arc<AtomicU64>,
    engine: Arc<AtomicU64>,
}

impl TierRows {
    pub fn memory_rows(&self) -> u64 {
        self.memory.load(Ordering::Relaxed)
    }

    pub fn engine_rows(&self) -> u64 {
        self.engine.load(Ordering::Relaxed)
    }

    pub(super) fn count_memory(&self, stream: Box<dyn BatchStream>) -> Box<dyn BatchStream> {
        Box::new(Counted { stream, rows: self.memory.clone() })
    }

    pub(super) fn count_engine(&self, stream: Box<dyn BatchStream>) -> Box<dyn BatchStream> {
        Box::new(Counted { stream, rows: self.engine.clone() })
    }
}

struct Counted {
    stream: Box<dyn BatchStream>,
    rows: Arc<AtomicU64>,
}

impl BatchStream for Counted {
    fn next_batch(&mut self) -> Result<Option<RecordBatch>, EngineError> {
        let batch = self.stream.next_batch()?;
        let rows = batch.as_ref().map_or(0, RecordBatch::num_rows);
        self.rows.fetch_add(rows as u64, Ordering::Relaxed);
        Ok(batch)
    }
}
