//! Import, export and comparison: the road from InfluxDB 1.x, and back.
//!
//! A client like any other: everything goes over HTTP, to a HyperbyteDB or to a real InfluxDB, and nothing here knows an
//! engine or a store. InfluxDB's own files are read by `hyperbytedb-influx-files`.
//!
//! * [`client`]: writes and queries, tried again while a server is overloaded.
//! * [`write`]: bodies of line protocol over several connections; refused lines are counted and the first ones shown.
//! * [`lines`], [`influxdb`]: where the points of an import come from.
//! * [`read`]: what is in a server, and its points as a stream, for [`export`] and [`check`].

mod check;
mod client;
mod command;
mod error;
mod export;
mod influxdb;
mod lines;
mod progress;
mod read;
mod time;
mod write;

pub use command::Command;
pub use error::Error;
