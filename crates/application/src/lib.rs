//! The services of HyperbyteDB, between the interfaces that drive them and the ports they use.

pub mod api;
pub mod auth;
pub mod backup;
pub mod cluster;
pub mod commands;
pub mod continuous;
pub mod disk_space;
pub mod engine_copy;
pub mod flush;
pub mod ingestion;
pub mod log;
pub mod memtable;
pub mod monitor;

pub mod reader;
pub mod retention;
pub mod sql;
pub mod statement_summary;
pub mod statements;
pub mod subscriptions;
#[cfg(test)]
mod testing;
pub mod threads;
pub mod views;
pub mod waiting;
pub mod warm;
pub mod windows;

pub use api::{
    AnnouncedQuery, DEFAULT_CHUNK_ROWS, Parameter, Phase, QueryApi, QueryError, QueryRequest, Readiness,
    ResultEvent, ResultSink, SinkClosed,
};
pub use hyperbytedb_timeseriesql::ParseError;
pub use statements::StatementError;
