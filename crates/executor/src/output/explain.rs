//! What a SELECT would do: the engine's statements, and the operators that come after them.

use hyperbytedb_domain::ports::QueryPort;
use hyperbytedb_planner::{PreparedSelect, PreparedSource};
use hyperbytedb_timeseriesql::ast::{Expr, Fill};

use crate::calls::call_plan::CallPlan;
use crate::calls::part;
use crate::calls::pushdown;
use crate::error::ExecError;
use crate::inputs::Inputs;
use crate::runtime::ExecOptions;
use crate::scan::row_plan::RowPlan;
use crate::scan::tables::TableSource;
use crate::scope::Scope;
use crate::select::aggregate;
use crate::select::raw;
use crate::windows::StagePlan;

/// The plan of a SELECT as lines of text, subqueries indented.
pub fn explain(
    plan: &PreparedSelect,
    engine: &dyn QueryPort,
    options: &ExecOptions,
) -> Result<Vec<String>, ExecError> {
    let mut explanation = Explanation { engine, options, lines: Vec::new() };
    explanation.select(plan, &Scope::outermost(plan), 0)?;
    Ok(explanation.lines)
}

struct Explanation<'a> {
    engine: &'a dyn QueryPort,
    options: &'a ExecOptions,
    lines: Vec<String>,
}

impl Explanation<'_> {
    fn line(&mut self, depth: usize, text: impl AsRef<str>) {
        self.lines.push(format!("{}{}", "  ".repeat(depth), text.as_ref()));
    }

    fn select(&mut self, select: &PreparedSelect, scope: &Scope, depth: usize) -> Result<(), ExecError> {
        self.line(depth, format!("SELECT: {}", select.columns().collect::<Vec<_>>().join(", ")));
        if select.is_raw() {
            let inputs = raw::inputs(select);
            let required: Vec<usize> = (0..inputs.len()).collect();
            self.rows(select, scope, &inputs, &required, depth + 1)?;
        } else {
            self.calls(select, scope, depth + 1)?;
        }
        if scope.limit > 0 || scope.offset > 0 {
            self.line(depth + 1, format!("limit: {} rows a series after {}", scope.limit, scope.offset));
        }
        Ok(())
    }

    fn calls(&mut self, select: &PreparedSelect, scope: &Scope, depth: usize) -> Result<(), ExecError> {
        let mut inputs = Inputs::default();
        let plans = aggregate::call_plans(select, scope, &mut inputs)?;
        for (_, calls) in aggregate::part_plans(plans) {
            let pushed = self.options.pushdown.then(|| pushdown::plan(select, &calls)).flatten();
            match &pushed {
                Some(plans) => {
                    for plan in plans {
                        self.line(depth, format!("aggregates, {}", self.engine.explain(&plan.scan)));
                    }
                }
                None => self.rows(select, &calls[0].scope, &inputs, &part::required(&calls), depth)?,
            }
            for call in &calls {
                let steps = steps(call, pushed.is_some());
                self.line(depth, format!("points of {}: {}", call.driver.name, steps.join(", ")));
            }
        }
        Ok(())
    }

    fn rows(
        &mut self,
        select: &PreparedSelect,
        scope: &Scope,
        inputs: &Inputs,
        required: &[usize],
        depth: usize,
    ) -> Result<(), ExecError> {
        for source in &select.sources {
            match source {
                PreparedSource::Measurement { name, table } => {
                    let source = TableSource { name: name.as_str().into(), table: table.clone() };
                    self.table(&source, scope, inputs, required, select.condition.as_ref(), depth)?;
                }
                PreparedSource::Subquery(subquery) => {
                    self.select(subquery, &scope.inner(subquery), depth)?;
                    if select.condition.is_some() {
                        self.line(depth, "filter: rows of the subquery");
                    }
                }
            }
        }
        Ok(())
    }

    fn table(
        &mut self,
        source: &TableSource,
        scope: &Scope,
        inputs: &Inputs,
        required: &[usize],
        condition: Option<&Expr>,
        depth: usize,
    ) -> Result<(), ExecError> {
        match RowPlan::new(source, scope, inputs, required, condition)? {
            Some(plan) => {
                self.line(depth, format!("rows, {}", self.engine.explain(&plan.scan)));
                if plan.filters_in_rust() {
                    self.line(depth, "filter: terms that the engine does not evaluate");
                }
            }
            None => self.line(depth, format!("nothing to read in {}", source.name)),
        }
        Ok(())
    }
}

/// The operators that a call's points pass in Rust.
fn steps(call: &CallPlan, reduced: bool) -> Vec<String> {
    let stages = call.stages.iter().skip(usize::from(reduced));
    let mut steps: Vec<String> = stages
        .map(|stage| match stage {
            StagePlan::Reduce(reduce) => reduce.aggregate.name().to_owned(),
            StagePlan::Transform { transformation, .. } => transformation.name().to_owned(),
            StagePlan::Fill { .. } => fill_name(call.scope.fill).to_owned(),
        })
        .collect();
    if steps.is_empty() {
        steps.push("as they are".to_owned());
    }
    steps
}

const fn fill_name(fill: Fill) -> &'static str {
    match fill {
        Fill::Null => "fill(null)",
        Fill::None => "fill(none)",
        Fill::Number(_) => "fill(number)",
        Fill::Previous => "fill(previous)",
        Fill::Linear => "fill(linear)",
    }
}
