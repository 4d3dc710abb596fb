//! Runs a [`PreparedSelect`] against a [`QueryPort`].
//!
//! The engine scans, filters, orders and, where its answer is InfluxDB's, aggregates. The operators here do what
//! InfluxQL defines a series at a time: windows, selectors, transformations, fill, joining the results of several
//! calls, limits, subqueries. Rows stream through them; what they hold is bounded by windows and groups, not by rows.
//!
//! The folders are the stages of a statement, in the order in which rows pass them:
//!
//! * [`scan`]: one table, read in slices where it is large
//! * [`order`]: rows of one time in InfluxDB's order; several streams as one
//! * [`limits`]: LIMIT and SLIMIT where InfluxDB applies them
//! * [`sources`]: the rows of all tables and subqueries together
//! * [`windows`]: operators over windows; [`calls`]: what a call is made of, and what several make together
//! * [`select`]: the rows of one SELECT at any depth of a nest
//! * [`output`]: blocks for the client, EXPLAIN
//!
//! A [`scope`] holds the bounds that the statements of a nest put on each other; the [`runtime`] is what all operators of a
//! statement share.

use std::rc::Rc;

use hyperbytedb_domain::QueryContext;
use hyperbytedb_domain::ports::QueryPort;

use hyperbytedb_planner::PreparedSelect;

mod budget;
mod calls;
mod error;
mod expression;
mod inputs;
mod limits;
mod order;
mod output;
mod row;
mod runtime;
mod scan;
mod scope;
mod select;
mod sources;
mod windows;

pub use error::ExecError;
pub use output::blocks::Blocks;
pub use output::explain::explain;
pub use runtime::{ExecOptions, ExecStats};

/// Starts a SELECT. The points it is to see must be in the engine; scans begin with the first block asked for.
///
/// Scans say nothing of rows that are stored apart ([`Scan::merge_duplicates`](hyperbytedb_domain::scan::Scan)): that is for
/// the port to know.
pub fn execute<'a>(
    plan: &'a PreparedSelect,
    engine: &'a dyn QueryPort,
    context: &'a QueryContext,
    options: &'a ExecOptions,
) -> Result<Blocks<'a>, ExecError> {
    let counters = Rc::new(runtime::Counters::default());
    let budget = budget::PointBudget::new(options.max_buffered_points);
    let runtime = runtime::Runtime { engine, context, options, counters, budget, select_rows: select::rows };
    Blocks::new(&runtime, plan)
}
