//! Runs a [`PreparedSelect`] against a [`QueryPort`].
//!
//! The engine scans, filters, orders and, where its answer is InfluxDB's, aggregates. The operators here do what
//! InfluxQL defines a series at a time: windows, selectors, transformations, fill, joining the results of several
//! calls, limits, subqueries. Rows stream through them; what they hold is bounded by windows and groups, not by rows.
//!
//! * [`scan`]: rows of one table, read in [`slices`] where they are many; [`subquery`]: of a subquery; [`merge`],
//!   [`source`]: of all sources together
//! * [`ties`]: rows of one time in InfluxDB's order; [`shards`]: where its answers depend on shards
//! * [`predicate`]: conditions for the engine; [`pushdown`]: aggregation in the engine
//! * [`raw`]: statements without calls
//! * [`call_plan`], [`stage`], [`pipeline`], [`part`], [`aggregate`]: statements with calls
//! * [`limit`], [`series_limit`], [`missing`], [`expression`]: what rows go through
//! * [`emit`]: blocks for the client

use std::rc::Rc;

use hyperbytedb_domain::QueryContext;
use hyperbytedb_domain::ports::QueryPort;

use hyperbytedb_planner::PreparedSelect;

mod aggregate;
mod call_plan;
mod column_reader;
mod context;
mod emit;
mod error;
mod explain;
mod expression;
mod inputs;
mod limit;
mod merge;
mod missing;
mod part;
mod pipeline;
mod predicate;
mod pushdown;
mod raw;
mod row;
mod scan;
mod scope;
mod select;
mod series_limit;
mod shards;
mod slices;
mod source;
mod stage;
mod subquery;
mod ties;

pub use context::{ExecOptions, ExecStats, NeedsMerge};
pub use emit::Blocks;
pub use error::ExecError;
pub use explain::explain;

/// Starts a SELECT. The points it is to see must be in the engine; scans begin with the first block asked for.
///
/// `needs_merge` tells whether rows of a table may be stored apart within a time range.
pub fn execute<'a>(
    plan: &'a PreparedSelect,
    engine: &'a dyn QueryPort,
    needs_merge: &'a NeedsMerge<'a>,
    context: &'a QueryContext,
    options: &'a ExecOptions,
) -> Result<Blocks<'a>, ExecError> {
    let counters = Rc::new(context::Counters::default());
    let budget = context::PointBudget::new(options.max_buffered_points);
    let runtime = context::Runtime { engine, needs_merge, context, options, counters, budget };
    Blocks::new(&runtime, plan)
}
