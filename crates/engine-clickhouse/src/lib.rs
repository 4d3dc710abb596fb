//! A ClickHouse server, or a cluster of them, as the engine: [`QueryPort`] and [`PointsSinkPort`] over ClickHouse's HTTP
//! interface.
//!
//! What holds here:
//!
//! - Statements come from `hyperbytedb-clickhouse-sql`; no SQL is written here.
//! - All points of a series are on one shard, `sid` modulo the cluster's slots. Rows are inserted into the tables of the
//!   shards themselves; scans of few series go to their shard, others through a Distributed table.
//! - An insert that is repeated stores nothing twice: its token is made of table, log records and content.
//! - Partial answers are errors. So is an answer that ends before its end.
//! - What the servers say is logged. Clients read what is wrong and what can be done.
//! - Whoever waits watches deadline and cancellation. A statement that nobody waits for any more is killed.
//! - Servers that do not answer are no reason not to start: everything is asked again when it is needed.
//! - A server that answers nothing any more is found out in the background. Whoever waits for it is told, and goes to another one.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod answer;
mod client;
mod connect;
mod digests;
mod engine;
mod failure;
mod hosts;
mod insert;
mod options;
mod query;
mod servers;
mod sink;
mod sql;
mod stream;
mod survey;
mod tables;
mod watch;

pub use engine::ClickHouseEngine;
pub use options::ClickHouseOptions;

#[cfg(doc)]
use hyperbytedb_domain::ports::{PointsSinkPort, QueryPort};
