//! InfluxQL's aggregates in terms of ClickHouse's.
//!
//! ClickHouse's aggregate functions skip rows in which an argument is NULL and answer NULL for a nullable argument
//! without values; what follows relies on both. Where that does not hold (`count`, tuples) a condition is added.

use hyperbytedb_domain::FieldType;
use hyperbytedb_domain::catalog::Table;
use hyperbytedb_domain::scan::{Aggregate, AggregateFunction};

use crate::expr::{Expr, Literal};
use crate::schema::{self, time};

/// The value column of an aggregate and, when asked for, its time column.
///
/// `unique_times`: no group holds two rows of one time, so that ties in time cannot occur.
pub fn columns(table: &Table, aggregate: &Aggregate, unique_times: bool) -> Vec<Expr> {
    let field = || schema::field(aggregate.field);
    let field_type = table.fields.get(aggregate.field.0 as usize).map(|f| f.field_type);
    let mut columns = vec![value(aggregate.function, field, field_type, unique_times)];
    if aggregate.with_time {
        columns.extend(selected_time(aggregate.function, field));
    }
    columns
}

/// Whether the function picks a point, which then has a time.
pub const fn is_selector(function: AggregateFunction) -> bool {
    matches!(
        function,
        AggregateFunction::First
            | AggregateFunction::Last
            | AggregateFunction::Min
            | AggregateFunction::Max
            | AggregateFunction::Percentile(_)
    )
}

fn value(
    function: AggregateFunction,
    field: impl Fn() -> Expr,
    field_type: Option<FieldType>,
    unique_times: bool,
) -> Expr {
    let call = |name| Expr::call(name, [field()]);
    match function {
        AggregateFunction::Count => {
            Expr::call("nullIf", [Expr::call("toInt64", [call("count")]), Expr::int(0)])
        }
        AggregateFunction::Sum => call("sum"),
        AggregateFunction::Mean if field_type == Some(FieldType::Float) => call("avg"),
        AggregateFunction::Mean => call("sum").infix("/", call("count")),
        AggregateFunction::Min => call("min"),
        AggregateFunction::Max => call("max"),
        AggregateFunction::Spread => {
            let spread = call("max").infix("-", call("min"));
            if field_type == Some(FieldType::Unsigned) { Expr::call("toUInt64", [spread]) } else { spread }
        }
        AggregateFunction::First if unique_times => Expr::call("argMin", [field(), time()]),
        AggregateFunction::Last if unique_times => Expr::call("argMax", [field(), time()]),
        AggregateFunction::First => Expr::call("argMax", [field(), Expr::tuple([reversed_time(), field()])]),
        AggregateFunction::Last => Expr::call("argMax", [field(), Expr::tuple([time(), field()])]),
        AggregateFunction::Stddev => {
            let too_few = call("count").infix("<", Expr::int(2));
            Expr::call("if", [too_few, Expr::Literal(Literal::Null), call("stddevSampStable")])
        }
        AggregateFunction::Median => {
            Expr::parametric("quantileExactInclusive", [Literal::Float(0.5)], [field()])
        }
        AggregateFunction::Percentile(percent) => nearest_rank(call("groupArray"), percent),
    }
}

/// The time of the point a selector chose.
fn selected_time(function: AggregateFunction, field: impl Fn() -> Expr) -> Option<Expr> {
    let present = || field().is_not_null();
    let value = || Expr::call("assumeNotNull", [field()]);
    Some(match function {
        AggregateFunction::First => Expr::call("minOrNullIf", [time(), present()]),
        AggregateFunction::Last => Expr::call("maxOrNullIf", [time(), present()]),
        AggregateFunction::Min => {
            Expr::call("argMinOrNullIf", [time(), Expr::tuple([value(), time()]), present()])
        }
        AggregateFunction::Max => {
            Expr::call("argMaxOrNullIf", [time(), Expr::tuple([value(), reversed_time()]), present()])
        }
        AggregateFunction::Percentile(percent) => {
            let points = Expr::call("groupArrayIf", [Expr::tuple([value(), time()]), present()]);
            Expr::call("tupleElement", [nearest_rank(points, percent), Expr::int(2)])
        }
        _ => return None,
    })
}

/// Orders later times first. Unlike a negation it cannot overflow.
fn reversed_time() -> Expr {
    Expr::call("bitNot", [time()])
}

/// The element at `floor(n * p / 100 + 0.5)`, counted from 1, of the sorted array; NULL outside.
fn nearest_rank(values: Expr, percent: f64) -> Expr {
    let count = Expr::call("length", [values.clone()]);
    let rank = count
        .infix("*", Expr::Literal(Literal::Float(percent)))
        .infix("/", Expr::int(100))
        .infix("+", Expr::Literal(Literal::Float(0.5)));
    // A negative rank would count from the end.
    let rank = Expr::call("greatest", [Expr::call("toInt64", [Expr::call("floor", [rank])]), Expr::int(0)]);
    Expr::call("arrayElementOrNull", [Expr::call("arraySort", [values]), rank])
}
