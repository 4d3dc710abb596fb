//! The services of HyperbyteDB, between the interfaces that drive them and the ports they use.

pub mod api;

pub use api::{Parameter, Phase, QueryApi, QueryError, QueryRequest, Readiness};
