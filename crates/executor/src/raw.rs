//! SELECT without calls: a row for each row of the sources.

use hyperbytedb_planner::PreparedSelect;

use super::context::Runtime;
use super::error::ExecError;
use super::expression::BoundExpr;
use super::inputs::Inputs;
use super::limit::RowLimit;
use super::missing::{Missing, Slot};
use super::row::{Empty, Row, RowStream};
use super::scope::Scope;
use super::source::{self, Limited, Request};
use super::ties::TieBreak;

/// Evaluates the fields of each row.
struct RawRows<'a> {
    rows: Box<dyn RowStream + 'a>,
    limit: RowLimit,
    fields: Vec<BoundExpr>,
    missing: Missing,
    input: Row,
}

/// The columns that the fields are made of.
pub(super) fn inputs(select: &PreparedSelect) -> Inputs {
    let mut inputs = Inputs::default();
    select.fields.iter().for_each(|field| inputs.add_all(&field.expr));
    inputs
}

/// Positions of the inputs in the order of their names.
fn by_name(inputs: &Inputs) -> Vec<usize> {
    let mut positions: Vec<usize> = (0..inputs.len()).collect();
    positions.sort_by_key(|&i| &inputs.refs[i].name);
    positions
}

/// The rows of a raw SELECT.
pub(super) fn rows<'a>(
    runtime: &Runtime<'a>,
    select: &'a PreparedSelect,
    scope: &Scope,
) -> Result<Box<dyn RowStream + 'a>, ExecError> {
    let inputs = inputs(select);
    if inputs.refs.iter().all(|r| r.data_type.is_none()) {
        return Ok(Box::new(Empty));
    }
    let required: Vec<usize> = (0..inputs.len()).collect();
    let request = Request {
        scope,
        inputs: &inputs,
        required: &required,
        tie_break: TieBreak::Heap { texts: by_name(&inputs) },
        limited: Limited::Rows,
    };
    let fields =
        select.fields.iter().map(|f| BoundExpr::field(&f.expr, &inputs)).collect::<Result<_, _>>()?;
    Ok(Box::new(RawRows {
        rows: source::rows(runtime, select, &request)?,
        limit: RowLimit::new(scope),
        fields,
        missing: Missing::new(scope.fill, inputs.refs.iter().map(Slot::of)),
        input: Row::default(),
    }))
}

impl RowStream for RawRows<'_> {
    fn next_row(&mut self, row: &mut Row) -> Result<bool, ExecError> {
        while self.rows.next_row(&mut self.input)? {
            if !self.limit.admits(&self.input.series) {
                continue;
            }
            self.missing.replace(&self.input.series, &mut self.input.values);
            row.time = self.input.time;
            row.series = self.input.series.clone();
            row.values.clear();
            row.values.extend(self.fields.iter().map(|field| field.evaluate(&self.input.values)));
            return Ok(true);
        }
        Ok(false)
    }
}
