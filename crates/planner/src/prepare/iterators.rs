//! Which types each function takes, as InfluxDB finds out when it builds its iterators.

use std::fmt;

use hyperbytedb_timeseriesql::ast::{Call, DataType, Expr, VarRef};
use hyperbytedb_timeseriesql::walk::walk_expr;

use super::PrepareError;
use super::calls::is_math;
use super::error::refuse;
use super::schema::offers;
use crate::prepared::{PreparedSelect, PreparedSource};

/// Points of one type; displays as InfluxDB's name of the iterator.
#[derive(Debug, Clone, Copy)]
struct Stream {
    data_type: DataType,
    form: Form,
}

#[derive(Debug, Clone, Copy)]
enum Form {
    Interrupt,
    Interval,
    Reduce,
}

impl fmt::Display for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (lower, upper) = match self.data_type {
            DataType::Boolean => ("boolean", "Boolean"),
            DataType::Integer => ("integer", "Integer"),
            DataType::Unsigned => ("unsigned", "Unsigned"),
            DataType::Float => ("float", "Float"),
            _ => ("string", "String"),
        };
        match self.form {
            Form::Interrupt => write!(f, "*query.{lower}InterruptIterator"),
            Form::Interval => write!(f, "*query.{lower}IntervalIterator"),
            Form::Reduce => write!(f, "*query.{lower}Reduce{upper}Iterator"),
        }
    }
}

/// Checks the calls of a statement and of its subqueries, the innermost first.
pub(super) fn check_types(select: &PreparedSelect) -> Result<(), PrepareError> {
    if !reads_anything(select) {
        return Ok(());
    }
    for source in &select.sources {
        if let PreparedSource::Subquery(inner) = source {
            check_types(inner)?;
        }
    }
    select.calls.iter().try_for_each(|call| output(call, &select.sources).map(|_| ()))
}

/// Whether a selected name is known at all.
fn reads_anything(select: &PreparedSelect) -> bool {
    let mut known = false;
    for field in &select.fields {
        walk_expr(&field.expr, &mut |expr| {
            known |= matches!(expr, Expr::VarRef(VarRef { data_type: Some(_), .. }));
            !known
        });
    }
    known
}

/// What the call makes; `None` when it has no input.
fn output(call: &Call, sources: &[PreparedSource]) -> Result<Option<Stream>, PrepareError> {
    let name = call.name.as_str();
    let input = match call.args.first() {
        Some(Expr::VarRef(column)) => column_stream(column, sources),
        Some(Expr::Call(inner)) if name == "count" && inner.name == "distinct" => return Ok(None),
        Some(Expr::Call(inner)) if !is_math(inner) => output(inner, sources)?,
        _ => None,
    };
    let Some(input) = input else { return Ok(None) };
    check_input(call, input)?;
    Ok(Some(match name {
        "distinct" => Stream { form: Form::Interval, ..input },
        "sample" => Stream { form: Form::Reduce, ..input },
        "first" | "last" | "min" | "max" | "mode" => Stream { form: Form::Interrupt, ..input },
        "sum_hll" | "merge_hll" => Stream { data_type: DataType::String, form: Form::Interrupt },
        _ => Stream { data_type: DataType::Float, form: Form::Interrupt },
    }))
}

fn column_stream(column: &VarRef, sources: &[PreparedSource]) -> Option<Stream> {
    // A tag has no points of its own.
    let data_type = column.data_type.filter(|t| *t != DataType::Tag)?;
    let is_number = matches!(data_type, DataType::Float | DataType::Integer | DataType::Unsigned);
    let has_points = is_number || offers(&column.name, data_type, sources);
    has_points.then_some(Stream { data_type, form: Form::Interrupt })
}

fn check_input(call: &Call, input: Stream) -> Result<(), PrepareError> {
    let name = call.name.as_str();
    let is_boolean = input.data_type == DataType::Boolean;
    if matches!(input.data_type, DataType::Float | DataType::Integer | DataType::Unsigned) {
        if name == "count_hll" {
            refuse!("unsupported count_hll iterator type: {input}");
        }
        return Ok(());
    }
    let has_tags = call.args.len() > 2;
    let function = match name {
        "count" | "first" | "last" | "distinct" | "mode" | "sample" | "elapsed" | "sum_hll" => return Ok(()),
        "min" | "max" if is_boolean => return Ok(()),
        "count_hll" | "merge_hll" if !is_boolean => return Ok(()),
        // With tags the points come through max() or min().
        "top" | "bottom" if has_tags && is_boolean => {
            refuse!("unsupported {name} iterator type: {}", Stream { form: Form::Reduce, ..input })
        }
        "top" if has_tags => "max",
        "bottom" if has_tags => "min",
        "non_negative_derivative" => "derivative",
        "non_negative_difference" => "difference",
        "holt_winters" | "holt_winters_with_fit" => "elapsed",
        "count_hll" | "merge_hll" => name,
        _ => &name.replace('_', " "),
    };
    refuse!("unsupported {function} iterator type: {input}")
}
