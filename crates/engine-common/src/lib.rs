//! What the embedded engine and a ClickHouse cluster have in common: the types of what they answer, the meaning of their
//! error codes, what is known of their tables, the settings of statements, and how partitions are merged.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod answers;
mod bounds;
mod exception;
mod merging;
mod output;
mod tables;

pub use bounds::{STATEMENT_SETTINGS, bound, is_small, selects_nothing, wants_nothing};
pub use exception::Exception;
pub use merging::{Attempt, PartBlocks, merge_parts};
pub use output::{OutputType, normalise, output_types, stored_types};
pub use tables::{ColumnCounts, KnownTables};

use arrow::array::RecordBatch;
use hyperbytedb_domain::EngineError;
use hyperbytedb_domain::ports::BatchStream;

/// A scan of a table that has never been written.
pub struct NoRows;

impl BatchStream for NoRows {
    fn next_batch(&mut self) -> Result<Option<RecordBatch>, EngineError> {
        Ok(None)
    }
}
