//! From a call to the chain of operators that computes it.

use hyperbytedb_domain::FieldType;
use hyperbytedb_functions::{Aggregate, Argument, FunctionError, Transformation};
use hyperbytedb_planner::{PreparedSelect, PreparedSource};
use hyperbytedb_timeseriesql::ast::{Call, DataType, Expr, VarRef};

use crate::error::ExecError;
use crate::inputs::{Inputs, value_type};
use crate::limits::Limited;
use crate::order::ties::TieBreak;
use crate::scope::Scope;
use crate::windows::{ReducePlan, StagePlan, fill_mode};

/// One call of a SELECT, ready to be run.
#[derive(Debug, Clone)]
pub(crate) struct CallPlan {
    /// The column it works on.
    pub driver: VarRef,
    pub driver_input: usize,
    pub driver_type: FieldType,
    /// Inputs carried along by selectors: tags of `top` and `bottom` first.
    pub aux: Vec<usize>,
    /// In the order in which points pass them.
    pub stages: Vec<StagePlan>,
    pub output_type: FieldType,
    /// The scope, with the range of time that the call reads.
    pub scope: Scope,
}

impl CallPlan {
    /// `None`: nothing is known of the column, the call has no points.
    pub fn new(
        call: &Call,
        select: &PreparedSelect,
        scope: &Scope,
        inputs: &mut Inputs,
    ) -> Result<Option<Self>, ExecError> {
        let mut builder = Builder {
            scope: scope.clone(),
            only_tables: select.sources.iter().all(|s| matches!(s, PreparedSource::Measurement { .. })),
            stages: Vec::new(),
            grouping: Vec::new(),
        };
        let Some((driver, output_type)) = builder.call(call, select.is_selector)? else { return Ok(None) };
        let Some(driver_type) = value_type(driver.data_type) else { return Ok(None) };
        Ok(Some(Self {
            driver_input: inputs.add(&driver),
            driver,
            driver_type,
            aux: builder.grouping.iter().chain(&select.aux).map(|r| inputs.add(r)).collect(),
            stages: builder.stages,
            output_type,
            scope: builder.scope,
        }))
    }

    /// The order of the rows that the call reads, where InfluxDB's depends on how it computes it.
    pub fn tie_break(&self) -> TieBreak {
        use Aggregate::{First, Last, Max, Min};
        let heap = || TieBreak::Heap { texts: self.aux.clone() };
        let Some(StagePlan::Reduce(reduce)) = self.stages.first() else { return heap() };
        let ascending = match reduce.aggregate {
            First if self.scope.interval.is_none() => true,
            Last if self.scope.interval.is_none() => false,
            First | Last | Max | Min => self.scope.ascending,
            _ if reduce.grouping_aux > 0 => self.scope.ascending,
            _ => return heap(),
        };
        TieBreak::Series { ascending }
    }

    /// `top` and `bottom` choose from what LIMIT lets through, unless they group.
    pub fn limited(&self) -> Limited {
        match self.stages.first() {
            Some(StagePlan::Reduce(reduce)) if reduce.aggregate.is_ranked() && reduce.grouping_aux == 0 => {
                Limited::Candidates
            }
            _ => Limited::No,
        }
    }
}

struct Builder {
    scope: Scope,
    only_tables: bool,
    stages: Vec<StagePlan>,
    grouping: Vec<VarRef>,
}

impl Builder {
    /// Adds the stages of a call and returns the column it begins with and the type it ends with.
    fn call(&mut self, call: &Call, is_selector: bool) -> Result<Option<(VarRef, FieldType)>, ExecError> {
        if let (true, Some(Expr::Call(inner))) = (call.name == "count", call.args.first())
            && inner.name == "distinct"
        {
            return self.aggregate(Aggregate::CountDistinct, inner, is_selector, "count");
        }
        let arguments: Vec<Argument> = call.args.iter().skip(1).filter_map(argument).collect();
        let grouping = self.grouping_tags(call);
        match Aggregate::new(&call.name, &arguments, grouping) {
            Ok(aggregate) => self.aggregate(aggregate, call, is_selector, &call.name),
            Err(FunctionError::Undefined(_)) => self.transformation(call, &arguments),
            Err(error) => Err(error.into()),
        }
    }

    fn grouping_tags(&mut self, call: &Call) -> usize {
        if !matches!(call.name.as_str(), "top" | "bottom") {
            return 0;
        }
        // A field of the same name may be shown, but it is the tag that groups.
        let only_tables = self.only_tables;
        let tags = call.args.iter().skip(1).filter_map(|a| match a {
            Expr::VarRef(tag) if only_tables => {
                Some(VarRef { data_type: Some(DataType::Tag), ..tag.clone() })
            }
            Expr::VarRef(tag) => Some(tag.clone()),
            _ => None,
        });
        self.grouping = tags.collect();
        self.grouping.len()
    }

    fn aggregate(
        &mut self,
        aggregate: Aggregate,
        call: &Call,
        is_selector: bool,
        name: &str,
    ) -> Result<Option<(VarRef, FieldType)>, ExecError> {
        let Some((driver, input)) = self.argument(call)? else { return Ok(None) };
        // Where points of the wrong type could come, preparing the statement has failed.
        let Ok(output) = aggregate.result_type(input) else { return Ok(None) };
        let windowed = self.scope.interval.is_some();
        let keeps_times = aggregate.keeps_times();
        let fills = windowed && !keeps_times && !matches!(aggregate, Aggregate::Distinct);
        let fill = fill_mode(self.scope.fill).filter(|_| fills);
        self.stages.push(StagePlan::Reduce(ReducePlan {
            aggregate,
            input,
            keeps_time: keeps_times || (is_selector && !windowed),
            grouping_aux: self.grouping.len(),
            is_filled: fill.is_some(),
        }));
        if let Some(mode) = fill {
            self.stages.push(StagePlan::Fill { mode: mode.for_function(name), value_type: output });
        }
        Ok(Some((driver, output)))
    }

    fn transformation(
        &mut self,
        call: &Call,
        arguments: &[Argument],
    ) -> Result<Option<(VarRef, FieldType)>, ExecError> {
        let every = self.scope.interval.map(|i| i.every);
        let transformation = Transformation::new(&call.name, arguments, every)?;
        if !matches!(
            call.name.as_str(),
            "cumulative_sum" | "integral" | "holt_winters" | "holt_winters_with_fit"
        ) {
            // These need the value before the first window.
            self.scope = self.scope.with_leading_window();
        }
        let Some((driver, input)) = self.argument(call)? else { return Ok(None) };
        let Ok(output) = transformation.result_type(input) else { return Ok(None) };
        self.stages.push(StagePlan::Transform { transformation, input });
        Ok(Some((driver, output)))
    }

    /// What the first argument yields: a column, or the result of an inner call.
    fn argument(&mut self, call: &Call) -> Result<Option<(VarRef, FieldType)>, ExecError> {
        match call.args.first() {
            // Tables have no values in tags: nothing to compute, not even a type error.
            Some(Expr::VarRef(driver)) if self.only_tables && driver.data_type == Some(DataType::Tag) => {
                Ok(None)
            }
            Some(Expr::VarRef(driver)) => {
                Ok(value_type(driver.data_type).map(|field_type| (driver.clone(), field_type)))
            }
            Some(Expr::Call(inner)) => self.call(inner, false),
            other => Err(ExecError::Invalid(format!("argument of {}(): {other:?}", call.name))),
        }
    }
}

fn argument(expr: &Expr) -> Option<Argument> {
    Some(match expr {
        Expr::Number(n) => Argument::Number(*n),
        Expr::Integer(n) => Argument::Integer(*n),
        Expr::Duration(n) => Argument::Duration(*n),
        Expr::String(s) => Argument::Text(s.clone()),
        Expr::Paren(inner) => return argument(inner),
        _ => return None,
    })
}
