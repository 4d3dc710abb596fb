//! Checks a SELECT and resolves its names against the catalogue.

use hyperbytedb_domain::catalog::Catalog;
use hyperbytedb_timeseriesql::ast::SelectStatement;

use crate::prepared::PreparedSelect;

mod error;

pub use error::PrepareError;

/// What a statement is resolved against.
#[derive(Debug, Clone, Copy)]
pub struct PrepareContext<'a> {
    pub catalog: &'a Catalog,
    /// The database of the request; may be empty.
    pub database: &'a str,
    /// The retention policy of the request; empty for the default one.
    pub retention_policy: &'a str,
    /// The time of `now()`, nanoseconds since 1970.
    pub now: i64,
    pub limits: PrepareLimits,
}

/// Bounds on a statement; 0 = none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PrepareLimits {
    /// `max-select-buckets`: windows of GROUP BY time.
    pub max_buckets: usize,
}
