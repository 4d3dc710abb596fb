//! Checks a SELECT and resolves its names against the catalogue.
//!
//! The steps, each its own module: measurements get their database and policy ([`normalize`]); the rules that need
//! no schema are checked, subqueries included (`compile`, with `condition`, `dimensions`, `rules` and `calls`);
//! names get types and wildcards become columns, from the inside out (`resolve`, with `schema`, `expand` and
//! `columns`); last, types are checked (`types`, `iterators`). Errors come in InfluxDB's order and words.

mod calls;
mod columns;
mod compile;
mod condition;
mod dimensions;
mod error;
mod expand;
mod fold;
mod iterators;
mod limits;
mod normalize;
mod resolve;
mod rules;
mod schema;
mod types;

use hyperbytedb_domain::QueryContext;
use hyperbytedb_domain::catalog::Catalog;
use hyperbytedb_timeseriesql::ast::SelectStatement;

pub use error::PrepareError;
pub use normalize::normalize;

use crate::prepared::PreparedSelect;
use resolve::Nesting;

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
    /// Wide statements over many measurements take a while.
    pub query: &'a QueryContext,
}

impl PrepareContext<'_> {
    fn check(&self) -> Result<(), PrepareError> {
        self.query.check().map_err(|_| PrepareError::Stopped)
    }
}

/// Bounds on a statement; 0 = none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PrepareLimits {
    /// `max-select-buckets`: windows of GROUP BY time.
    pub max_buckets: usize,
}

/// Checks a statement and resolves it.
///
/// # Errors
/// What InfluxDB refuses, in its words.
pub fn prepare(
    statement: &SelectStatement,
    context: &PrepareContext<'_>,
) -> Result<PreparedSelect, PrepareError> {
    let mut statement = statement.clone();
    normalize(&mut statement, context)?;
    let compiled = compile::compile(&statement, context.now)?;
    schema::check_policies(&statement, context)?;
    let select = resolve::resolve(compiled, Nesting::Outermost, context)?;
    limits::check(&select, &context.limits)?;
    iterators::check_types(&select, context)?;
    Ok(select)
}
