//! One SELECT as a stream of rows, at any depth of a nest.

use hyperbytedb_planner::PreparedSelect;

use super::context::Runtime;
use super::error::ExecError;
use super::row::RowStream;
use super::scope::Scope;
use super::{aggregate, raw};

/// The rows of a SELECT: a value for each of its fields. Not a number stays, for the statement around it.
pub(super) fn rows<'a>(
    runtime: &Runtime<'a>,
    select: &'a PreparedSelect,
    scope: &Scope,
) -> Result<Box<dyn RowStream + 'a>, ExecError> {
    if select.is_raw() { raw::rows(runtime, select, scope) } else { aggregate::rows(runtime, select, scope) }
}
