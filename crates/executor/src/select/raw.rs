//! SELECT without calls: a row for each row of the sources.

use hyperbytedb_planner::PreparedSelect;

use crate::error::ExecError;
use crate::expression::BoundExpr;
use crate::inputs::Inputs;
use crate::limits::Limited;
use crate::limits::rows::RowLimit;
use crate::order::ties::TieBreak;
use crate::row::{Empty, Row, RowStream};
use crate::runtime::Runtime;
use crate::scope::Scope;
use crate::select::missing::{Missing, Slot};
use crate::sources::{self, Request};

/// Evaluates the fields of each row.
struct RawRows<'a> {
    rows: Box<dyn RowStream + 'a>,
    limit: RowLimit,
    fields: Vec<BoundExpr>,
    missing: Missing,
    input: Row,
}

/// The columns that the fields are made of.
pub(crate) fn inputs(select: &PreparedSelect) -> Inputs {
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
pub(crate) fn rows<'a>(
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
        rows: sources::rows(runtime, select, &request)?,
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
