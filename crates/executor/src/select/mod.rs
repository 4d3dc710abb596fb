//! One SELECT as a stream of rows, at any depth of a nest.

pub(crate) mod aggregate;
pub(crate) mod missing;
pub(crate) mod raw;

use hyperbytedb_planner::PreparedSelect;

use crate::error::ExecError;
use crate::row::RowStream;
use crate::runtime::Runtime;
use crate::scope::Scope;

/// The rows of a SELECT: a value for each of its fields. Not a number stays, for the statement around it.
pub(crate) fn rows<'a>(
    runtime: &Runtime<'a>,
    select: &'a PreparedSelect,
    scope: &Scope,
) -> Result<Box<dyn RowStream + 'a>, ExecError> {
    if select.is_raw() { raw::rows(runtime, select, scope) } else { aggregate::rows(runtime, select, scope) }
}
