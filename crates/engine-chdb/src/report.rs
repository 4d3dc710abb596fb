//! What the engine says of itself, for the metrics.

use std::time::{Duration, Instant};

use arrow::datatypes::Int64Type;
use hyperbytedb_clickhouse_sql::statement;
use hyperbytedb_domain::{EngineError, QueryContext};
use hyperbytedb_engine_common::answers;
use hyperbytedb_metrics as metrics;
use hyperbytedb_metrics::Gauge;

use crate::engine::ChdbEngine;

/// How long the engine is waited for.
const PATIENCE: Duration = Duration::from_secs(1);

/// The engine's names of what it counts.
const FIGURES: [(&str, &Gauge); 6] = [
    ("MemoryTracking", &metrics::ENGINE_MEMORY_BYTES),
    ("Merge", &metrics::ENGINE_MERGES),
    ("PartMutation", &metrics::ENGINE_MUTATIONS),
    ("Query", &metrics::ENGINE_QUERIES),
    ("PartsActive", &metrics::ENGINE_PARTS),
    ("MarkCacheBytes", &metrics::ENGINE_MARK_CACHE_BYTES),
];

impl ChdbEngine {
    /// Sets the engine's gauges; does nothing before the engine is open.
    pub fn report(&self) -> Result<(), EngineError> {
        for (pool, name) in [(&self.query_pool, "query"), (&self.write_pool, "write")] {
            metrics::ENGINE_CONNECTIONS.with([name]).set(pool.connections() as f64);
        }
        metrics::ENGINE_SPILLED_BYTES.set(self.query_pool.spilled_bytes() as f64);
        if !self.write_pool.is_open() {
            return Ok(());
        }
        let context = QueryContext { deadline: Some(Instant::now() + PATIENCE), ..QueryContext::unbounded() };
        for batch in self.rows(statement::current_metrics(FIGURES.map(|(name, _)| name)), &context)? {
            for (name, value) in
                answers::strings(&batch, 0)?.iter().zip(answers::numbers::<Int64Type>(&batch, 1)?)
            {
                if let Some((_, gauge)) = FIGURES.iter().find(|(known, _)| known == name) {
                    gauge.set(value as f64);
                }
            }
        }
        Ok(())
    }
}
