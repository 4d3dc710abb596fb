//! One SELECT as a stream of rows, at any level of a nest.

use super::context::Runtime;
use super::error::ExecError;
use super::level::Level;
use super::row::RowStream;
use super::{aggregate, raw};
use hyperbytedb_planner::PreparedSelect;

/// The rows of a SELECT: a value for each of its fields. Not a number stays, for the statement around it.
pub(super) fn rows<'a>(
    runtime: &Runtime<'a>,
    select: &'a PreparedSelect,
    level: &Level,
) -> Result<Box<dyn RowStream + 'a>, ExecError> {
    if select.is_raw() { raw::rows(runtime, select, level) } else { aggregate::rows(runtime, select, level) }
}
