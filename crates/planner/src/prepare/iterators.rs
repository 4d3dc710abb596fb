//! Which types each function takes, as InfluxDB finds out when it builds its iterators.

use std::fmt;

use hyperbytedb_timeseriesql::ast::{Call, DataType, Expr, VarRef};

use super::calls::is_math;
use super::error::refuse;
use super::schema::offers;
use super::types::is_number;
use super::{PrepareContext, PrepareError};
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
pub(super) fn check_types(select: &PreparedSelect, context: &PrepareContext<'_>) -> Result<(), PrepareError> {
    for source in &select.sources {
        if let PreparedSource::Subquery(inner) = source
            && is_read(inner, select)
        {
            check_types(inner, context)?;
        }
    }
    for call in &select.calls {
        context.check()?;
        output(call, &select.sources)?;
    }
    Ok(())
}

/// Whether the statement runs its subquery: a call does for a column that it has, columns alone do if any is known.
fn is_read(inner: &PreparedSelect, outer: &PreparedSelect) -> bool {
    let has = |name: &str| {
        inner.fields.iter().any(|field| field.name == name) || inner.dimensions.iter().any(|tag| tag == name)
    };
    if outer.is_raw() {
        return outer.aux.iter().any(|column| column.data_type.is_some());
    }
    outer.calls.iter().filter_map(call_column).any(|column| column.data_type.is_some() && has(&column.name))
}

/// The column that a call, or the innermost call in it, works on.
fn call_column(call: &Call) -> Option<&VarRef> {
    match call.args.first()? {
        Expr::VarRef(column) => Some(column),
        Expr::Call(inner) => call_column(inner),
        _ => None,
    }
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
    let data_type = column.data_type?;
    let has_points = is_number(data_type) || offers(&column.name, data_type, sources);
    has_points.then_some(Stream { data_type, form: Form::Interrupt })
}

fn check_input(call: &Call, input: Stream) -> Result<(), PrepareError> {
    let name = call.name.as_str();
    let is_boolean = input.data_type == DataType::Boolean;
    if is_number(input.data_type) {
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
