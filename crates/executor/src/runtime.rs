//! What every operator of a running statement shares.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use arrow::array::RecordBatch;
use hyperbytedb_domain::ports::{BatchStream, QueryPort};
use hyperbytedb_domain::scan::{Scan, SortBound};
use hyperbytedb_domain::{QueryContext, settings};
use hyperbytedb_planner::PreparedSelect;

use crate::budget::PointBudget;
use crate::error::ExecError;
use crate::row::RowStream;
use crate::scope::Scope;

/// How statements are run.
#[derive(Debug, Clone)]
pub struct ExecOptions {
    /// Rows of one block at most.
    pub chunk_rows: usize,
    /// `max-select-point`: rows read from the engine; 0 = no limit.
    pub max_points: u64,
    /// `query.max_buffered_points`: points, and groups of them, that the operators of a statement may hold.
    pub max_buffered_points: usize,
    /// `query.max_sort_rows`, `query.max_sort_bytes`: what the engine may sort at one time for a row scan.
    pub sort_bound: SortBound,
    /// Lets the engine aggregate where its answer is the same.
    pub pushdown: bool,
}

impl Default for ExecOptions {
    fn default() -> Self {
        Self {
            chunk_rows: 10_000,
            max_points: 0,
            max_buffered_points: 20_000_000,
            sort_bound: SortBound::default(),
            pushdown: true,
        }
    }
}

/// What a statement has read so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExecStats {
    pub scans: u64,
    /// Rows that the engine returned.
    pub rows_read: u64,
    /// Bytes of the batches that the engine returned.
    pub bytes_read: u64,
    /// Time spent waiting for the engine.
    pub engine_time: Duration,
}

/// Shared by the operators of one statement.
#[derive(Clone)]
pub(crate) struct Runtime<'a> {
    pub engine: &'a dyn QueryPort,
    pub context: &'a QueryContext,
    pub options: &'a ExecOptions,
    pub counters: Rc<Counters>,
    pub budget: Rc<PointBudget>,
    pub select_rows: SelectRows,
}

/// Makes the rows of a SELECT; sources run their subqueries with it.
pub(crate) type SelectRows =
    for<'a> fn(&Runtime<'a>, &'a PreparedSelect, &Scope) -> Result<Box<dyn RowStream + 'a>, ExecError>;

#[derive(Default)]
pub(crate) struct Counters {
    scans: Cell<u64>,
    rows: Cell<u64>,
    bytes: Cell<u64>,
    engine_time: Cell<Duration>,
}

impl Counters {
    pub fn snapshot(&self) -> ExecStats {
        ExecStats {
            scans: self.scans.get(),
            rows_read: self.rows.get(),
            bytes_read: self.bytes.get(),
            engine_time: self.engine_time.get(),
        }
    }
}

impl Runtime<'_> {
    /// Starts a scan.
    pub fn scan(&self, scan: &Scan) -> Result<Box<dyn BatchStream>, ExecError> {
        self.scan_in(scan, self.context)
    }

    /// Starts a scan within limits of its own.
    pub fn scan_in(&self, scan: &Scan, context: &QueryContext) -> Result<Box<dyn BatchStream>, ExecError> {
        context.keep_pace()?;
        let started = std::time::Instant::now();
        let stream = self.engine.scan(scan, context)?;
        self.counters.scans.set(self.counters.scans.get() + 1);
        self.add_engine_time(started.elapsed());
        Ok(stream)
    }

    /// The next batch of a scan that reads nothing of what the statement selects.
    pub fn next_uncounted(&self, stream: &mut dyn BatchStream) -> Result<Option<RecordBatch>, ExecError> {
        self.context.keep_pace()?;
        let started = std::time::Instant::now();
        let batch = stream.next_batch()?;
        self.add_engine_time(started.elapsed());
        Ok(batch)
    }

    /// The next batch of a scan, counted and checked against the limits.
    pub fn next_batch(&self, stream: &mut dyn BatchStream) -> Result<Option<RecordBatch>, ExecError> {
        let batch = self.next_uncounted(stream)?;
        if let Some(batch) = &batch {
            let rows = self.counters.rows.get() + batch.num_rows() as u64;
            self.counters.rows.set(rows);
            self.counters.bytes.set(self.counters.bytes.get() + batch.get_array_memory_size() as u64);
            let limit = self.options.max_points;
            if limit > 0 && rows > limit {
                let (name, setting) = ("max-select-point", settings::QUERY_MAX_SELECT_POINTS);
                return Err(ExecError::LimitExceeded { name, setting, value: rows, limit });
            }
        }
        Ok(batch)
    }

    fn add_engine_time(&self, time: Duration) {
        self.counters.engine_time.set(self.counters.engine_time.get() + time);
    }
}
