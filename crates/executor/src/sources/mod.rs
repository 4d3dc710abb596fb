//! The sources of a SELECT as one stream of rows.

pub(crate) mod subquery;

use std::sync::Arc;

use hyperbytedb_planner::{PreparedSelect, PreparedSource};

use crate::error::ExecError;
use crate::inputs::Inputs;
use crate::limits::Limited;
use crate::limits::rows::{ShardLimited, shard_rows_max};
use crate::limits::series::SeriesLimit;
use crate::order::merge::{Chain, Merge};
use crate::order::ties::{TieBreak, TieOrder};
use crate::row::{Empty, RowStream};
use crate::runtime::Runtime;
use crate::scan::row_plan::RowPlan;
use crate::scan::shards::Shards;
use crate::scan::table_rows::{SeriesFilter, TableRows};
use crate::scan::tables::{TableSource, tables_by_name};
use crate::scope::Scope;
use crate::sources::subquery::SubqueryRows;

/// What a SELECT asks of its sources.
#[derive(Debug)]
pub(crate) struct Request<'r> {
    pub scope: &'r Scope,
    pub inputs: &'r Inputs,
    /// Rows of a table without any of these inputs are left out.
    pub required: &'r [usize],
    pub tie_break: TieBreak,
    pub limited: Limited,
}

/// The rows of all sources, in order.
pub(crate) fn rows<'a>(
    runtime: &Runtime<'a>,
    select: &'a PreparedSelect,
    request: &Request<'_>,
) -> Result<Box<dyn RowStream + 'a>, ExecError> {
    let table = |source: &TableSource| table_rows(runtime, select, source, request);
    if let Some(measurements) = tables_by_name(select, request.scope) {
        let mut streams = Vec::with_capacity(measurements.len());
        for measurement in &measurements {
            let parts = measurement.iter().map(table).collect::<Result<Vec<_>, _>>()?;
            streams.push(merged(parts.into_iter().flatten().collect(), request.scope));
        }
        return Ok(Box::new(Chain::new(streams)));
    }
    let mut streams: Vec<Box<dyn RowStream + 'a>> = Vec::with_capacity(select.sources.len());
    for source in &select.sources {
        match source {
            PreparedSource::Measurement { name, table: stored } => {
                let source = TableSource { name: Arc::from(name.as_str()), table: Arc::clone(stored) };
                streams.extend(table(&source)?);
            }
            PreparedSource::Subquery(subquery) => streams.push(Box::new(SubqueryRows::new(
                runtime,
                subquery,
                request.scope,
                request.inputs,
                select.condition.as_ref(),
            )?)),
        }
    }
    Ok(merged(streams, request.scope))
}

fn table_rows<'a>(
    runtime: &Runtime<'a>,
    select: &'a PreparedSelect,
    source: &TableSource,
    request: &Request<'_>,
) -> Result<Option<Box<dyn RowStream + 'a>>, ExecError> {
    let (scope, condition) = (request.scope, select.condition.as_ref());
    let Some(mut plan) = RowPlan::new(source, scope, request.inputs, request.required, condition)? else {
        return Ok(None);
    };
    if request.limited == Limited::Rows {
        plan.limit_rows(scope);
    }
    let may_tie = plan.may_tie();
    let limit = SeriesLimit::new(source, scope, condition);
    let filter = limit.map(|limit| Box::new(limit) as Box<dyn SeriesFilter>);
    let rows = TableRows::new(runtime, source, plan, filter);
    let limited = request.limited != Limited::No;
    let ordered: Box<dyn RowStream> = if may_tie {
        let series_rows_max = if limited && !scope.grouping.is_flat() { shard_rows_max(scope) } else { None };
        Box::new(TieOrder::new(rows, scope, request.tie_break.clone(), series_rows_max))
    } else {
        Box::new(rows)
    };
    // Of rows that are not cut, what the limit itself leaves is the same.
    let reads_less = match request.limited {
        Limited::No => false,
        Limited::Rows => !scope.grouping.is_flat() || (scope.limit == 0 && scope.offset > 0),
        Limited::Candidates => true,
    };
    Ok(Some(if reads_less {
        Box::new(ShardLimited::new(ordered, Shards::of(&source.table), scope))
    } else {
        ordered
    }))
}

fn merged<'a>(mut streams: Vec<Box<dyn RowStream + 'a>>, scope: &Scope) -> Box<dyn RowStream + 'a> {
    match streams.len() {
        0 => Box::new(Empty),
        1 => streams.remove(0),
        _ => Box::new(Merge::new(streams, scope)),
    }
}
