//! The embedded ClickHouse engine (chDB) behind [`QueryPort`] and [`PointsSinkPort`]; the only crate that links it.
//!
//! What holds here:
//!
//! - One engine, one data path a process. Connections run one statement at a time, each on a thread of its own, and
//!   are pooled: one bounded pool for scans and one for everything else, so that queries cannot starve the flusher.
//! - Statements come from `hyperbytedb-clickhouse-sql`; no SQL is written here.
//! - Waiting for the engine never outlasts a query's deadline or cancellation by more than a moment: the one who
//!   waits watches both, and the statement is then killed from a connection kept for that.
//! - A connection returns to its pool only when its statement has ended, however that came about. One whose statement
//!   panicked is closed, and its place in the pool is free again.
//! - No connection waits for a reader while somebody waits for a connection: what is left of the answer goes to disk.
//!   So no number of slow readers, and no SELECT that reads from many scans by turns, can stall the pool.
//! - Which columns exist is remembered here, and asked of the engine once a table.
//! - Statements of operators run on connections of their own, in the engine's read-only mode, and nothing of them outlives
//!   their call.
//! - A write that fails never goes unnoticed, though chDB itself does not look.
//! - Inserted parts reach the disk for certain only at [`PointsSinkPort::sync`].

mod definition;
mod demand;
mod dormant;
mod engine;
mod error;
mod killer;
mod options;
mod pool;
mod query;
mod report;
mod sink;
mod snapshot;
mod spill;
mod sql;
mod stream;
mod worker;
mod writes;

pub use engine::ChdbEngine;
pub use options::ChdbOptions;
pub use writes::{wait_for_space_no_more, writes_that_wait};

#[cfg(doc)]
use hyperbytedb_domain::ports::{PointsSinkPort, QueryPort};
