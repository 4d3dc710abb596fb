//! The sources of a level as one stream of rows.

use std::sync::Arc;

use super::context::Runtime;
use super::error::ExecError;
use super::inputs::Inputs;
use super::level::Level;
use super::limit::ShardLimit;
use super::merge::{Chain, Merge};
use super::row::{Empty, RowStream};
use super::scan::{RowPlan, TableRows, TableSource};
use super::series_limit::SeriesLimit;
use super::subquery::SubqueryRows;
use super::ties::TieOrder;
use crate::prepared::{PreparedSelect, PreparedSource};

/// What a level asks of its sources.
#[derive(Debug, Clone, Copy)]
pub(super) struct Request<'r> {
    pub level: &'r Level,
    pub inputs: &'r Inputs,
    /// Rows of a table without any of these inputs are left out.
    pub required: &'r [usize],
    /// The rows are those of the statement, so that its LIMIT and OFFSET apply to them.
    pub is_raw: bool,
}

/// The tables of a statement by measurement, in the order in which their rows come; `None` if it reads subqueries.
pub(super) fn tables_by_name(select: &PreparedSelect, level: &Level) -> Option<Vec<Vec<TableSource>>> {
    let mut tables = Vec::new();
    for source in &select.sources {
        match source {
            PreparedSource::Measurement { name, table } => {
                tables.push(TableSource { name: Arc::from(name.as_str()), table: Arc::clone(table) });
            }
            PreparedSource::Subquery(_) => return None,
        }
    }
    tables.sort_by(|a, b| level.directed(a.name.cmp(&b.name)));
    Some(tables.chunk_by(|a, b| a.name == b.name).map(<[_]>::to_vec).collect())
}

/// The rows of all sources, in order.
pub(super) fn rows<'a>(
    runtime: &Runtime<'a>,
    select: &'a PreparedSelect,
    request: Request<'_>,
) -> Result<Box<dyn RowStream + 'a>, ExecError> {
    let table = |source: &TableSource| table_rows(runtime, select, source, request);
    if let Some(measurements) = tables_by_name(select, request.level) {
        let mut streams = Vec::with_capacity(measurements.len());
        for measurement in &measurements {
            let parts = measurement.iter().map(table).collect::<Result<Vec<_>, _>>()?;
            streams.push(merged(parts.into_iter().flatten().collect(), request.level));
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
                request.level,
                request.inputs,
                select.condition.as_ref(),
            )?)),
        }
    }
    Ok(merged(streams, request.level))
}

fn table_rows<'a>(
    runtime: &Runtime<'a>,
    select: &'a PreparedSelect,
    source: &TableSource,
    request: Request<'_>,
) -> Result<Option<Box<dyn RowStream + 'a>>, ExecError> {
    let condition = select.condition.as_ref();
    let plan = RowPlan::new(source, request.level, request.inputs, request.required, condition)?;
    Ok(plan.map(|mut plan| {
        let ties = plan.may_tie() && request.level.dimensions.is_flat();
        let series_limit = SeriesLimit::new(source, request.level, condition);
        let mut shard_limit = None;
        if request.is_raw {
            plan.limit_rows(request.level);
            shard_limit = ShardLimit::new(request.level);
        }
        let rows = TableRows::new(runtime, source, plan, series_limit, shard_limit);
        if ties {
            Box::new(TieOrder::new(rows, request.level.ascending)) as Box<dyn RowStream>
        } else {
            Box::new(rows)
        }
    }))
}

fn merged<'a>(mut streams: Vec<Box<dyn RowStream + 'a>>, level: &Level) -> Box<dyn RowStream + 'a> {
    match streams.len() {
        0 => Box::new(Empty),
        1 => streams.remove(0),
        _ => Box::new(Merge::new(streams, level)),
    }
}
