//! SELECT with calls: rows computed from the points of all calls.

use hyperbytedb_domain::FieldValue;
use hyperbytedb_planner::PreparedSelect;
use hyperbytedb_timeseriesql::ast::{Call, DataType, VarRef};

use crate::calls::call_plan::CallPlan;
use crate::calls::part::{Part, PartRow};
use crate::error::ExecError;
use crate::expression::{BoundExpr, Slots};
use crate::inputs::{Inputs, value_type};
use crate::row::{Empty, Row, RowStream, Series};
use crate::runtime::Runtime;
use crate::scope::Scope;
use crate::select::missing::{Missing, Slot};

/// Joins the points of the calls by series and time and evaluates the fields.
struct AggregateRows<'a> {
    parts: Vec<PartInput<'a>>,
    scope: Scope,
    fields: Vec<BoundExpr>,
    missing: Missing,
    /// A value for each call, then for each auxiliary column.
    slots: Vec<FieldValue>,
    calls: usize,
    started: bool,
}

struct PartInput<'a> {
    part: Part<'a>,
    /// Slots of the part's calls.
    slots: Vec<usize>,
    head: Option<PartRow>,
}

struct CallSlots<'s> {
    calls: &'s [Call],
    aux: &'s [VarRef],
}

impl Slots for CallSlots<'_> {
    fn variable(&self, variable: &VarRef) -> Option<usize> {
        self.aux.iter().position(|a| a == variable).map(|i| self.calls.len() + i)
    }

    fn call(&self, call: &Call) -> Option<usize> {
        self.calls.iter().position(|c| c == call)
    }
}

/// The rows of a SELECT with calls.
pub(crate) fn rows<'a>(
    runtime: &Runtime<'a>,
    select: &'a PreparedSelect,
    scope: &Scope,
) -> Result<Box<dyn RowStream + 'a>, ExecError> {
    let mut inputs = Inputs::default();
    let plans = call_plans(select, scope, &mut inputs)?;
    if plans.iter().all(Option::is_none) {
        return Ok(Box::new(Empty));
    }
    let slots = CallSlots { calls: &select.calls, aux: &select.aux };
    let fields = select.fields.iter().map(|f| BoundExpr::field(&f.expr, &slots)).collect::<Result<_, _>>()?;
    let call_slots =
        plans.iter().zip(&select.call_types).map(|(plan, &known)| call_slot(plan.as_ref(), known));
    let missing = Missing::new(scope.fill, call_slots.chain(select.aux.iter().map(Slot::of)));
    Ok(Box::new(AggregateRows {
        missing,
        parts: parts(runtime, select, scope, plans, &inputs)?,
        scope: scope.clone(),
        fields,
        slots: vec![FieldValue::Null; select.calls.len() + select.aux.len()],
        calls: select.calls.len(),
        started: false,
    }))
}

/// A call of an unknown column has a type if that of its function is always the same.
fn call_slot(plan: Option<&CallPlan>, known: Option<DataType>) -> Slot {
    match plan {
        Some(plan) => Slot::Typed(plan.output_type),
        None => value_type(known).map_or(Slot::Null, Slot::Typed),
    }
}

pub(crate) fn call_plans(
    select: &PreparedSelect,
    scope: &Scope,
    inputs: &mut Inputs,
) -> Result<Vec<Option<CallPlan>>, ExecError> {
    let plan = |call| CallPlan::new(call, select, scope, inputs);
    select.calls.iter().map(plan).collect()
}

/// The calls of a part, and their slots.
type PartPlan = (Vec<usize>, Vec<CallPlan>);

/// Calls that read the same range of time share a part.
pub(crate) fn part_plans(plans: Vec<Option<CallPlan>>) -> Vec<PartPlan> {
    let mut parts: Vec<PartPlan> = Vec::new();
    for (slot, plan) in plans.into_iter().enumerate() {
        let Some(plan) = plan else { continue };
        match parts.iter_mut().find(|(_, calls)| calls[0].scope.range == plan.scope.range) {
            Some((slots, calls)) => {
                slots.push(slot);
                calls.push(plan);
            }
            None => parts.push((vec![slot], vec![plan])),
        }
    }
    parts
}

fn parts<'a>(
    runtime: &Runtime<'a>,
    select: &'a PreparedSelect,
    scope: &Scope,
    plans: Vec<Option<CallPlan>>,
    inputs: &Inputs,
) -> Result<Vec<PartInput<'a>>, ExecError> {
    let part = |(slots, calls)| {
        Ok(PartInput { part: Part::new(runtime, select, scope, calls, inputs)?, slots, head: None })
    };
    part_plans(plans).into_iter().map(part).collect()
}

impl AggregateRows<'_> {
    /// The series and time of the next row.
    fn next_key(&self) -> Option<(Series, i64)> {
        let heads = self.parts.iter().filter_map(|p| p.head.as_ref());
        let first = heads
            .min_by(|a, b| self.scope.directed(a.series.cmp(&b.series).then_with(|| a.time.cmp(&b.time))))?;
        Some((first.series.clone(), first.time))
    }

    fn take_points(&mut self, series: &Series, time: i64) -> Result<(), ExecError> {
        self.slots.fill(FieldValue::Null);
        for input in &mut self.parts {
            let Some(row) = input.head.take_if(|row| row.time == time && row.series == *series) else {
                continue;
            };
            for (slot, point) in input.slots.iter().zip(row.points) {
                let Some(point) = point else { continue };
                self.slots[*slot] = point.value;
                for (slot, value) in self.slots[self.calls..].iter_mut().zip(point.aux) {
                    *slot = value;
                }
            }
            input.head = input.part.next()?;
        }
        Ok(())
    }
}

impl RowStream for AggregateRows<'_> {
    fn next_row(&mut self, row: &mut Row) -> Result<bool, ExecError> {
        if !self.started {
            self.started = true;
            for input in &mut self.parts {
                input.head = input.part.next()?;
            }
        }
        let Some((series, time)) = self.next_key() else { return Ok(false) };
        self.take_points(&series, time)?;
        self.missing.replace(&series, &mut self.slots);
        row.series = series;
        row.time = time;
        row.values.clear();
        row.values.extend(self.fields.iter().map(|field| field.evaluate(&self.slots)));
        Ok(true)
    }
}
