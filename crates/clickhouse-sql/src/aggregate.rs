//! InfluxQL's aggregates in terms of ClickHouse's.
//!
//! ClickHouse's aggregate functions skip rows in which an argument is NULL and answer NULL for a nullable argument
//! without values; what follows relies on both. Where that does not hold (`count`, tuples) a condition is added.
//!
//! Ties are settled by ordering points by (time, value) or (value, time). For numbers such a pair is one Int128:
//! comparing tuples takes five times as long.

use hyperbytedb_domain::FieldType;
use hyperbytedb_domain::catalog::Table;
use hyperbytedb_domain::scan::{Aggregate, AggregateFunction, FieldId};

use crate::expr::{Expr, Literal};
use crate::schema::{self, time};

/// The field of an aggregate.
#[derive(Clone, Copy)]
struct Input {
    field: FieldId,
    /// `None`: not in the table.
    field_type: Option<FieldType>,
    /// Only which values are there is of interest.
    values_unread: bool,
}

/// The value column of an aggregate and, when asked for, its time column.
///
/// `unique_times`: no group holds two rows of one time, so that ties in time cannot occur. `values_unread`: nothing else reads
/// the field's values, and rows are not merged.
pub fn columns(table: &Table, aggregate: &Aggregate, unique_times: bool, values_unread: bool) -> Vec<Expr> {
    let field_type = table.field_type(aggregate.field);
    let input = Input { field: aggregate.field, field_type, values_unread };
    let mut columns = vec![input.value(aggregate.function, unique_times)];
    if aggregate.with_time {
        columns.extend(input.selected_time(aggregate.function));
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

impl Input {
    fn field(self) -> Expr {
        schema::field(self.field)
    }

    fn call(self, function: &'static str) -> Expr {
        Expr::call(function, [self.field()])
    }

    /// Over a Distributed table ClickHouse reads the values for `count(field)`, so that which of them are NULL is asked for.
    fn count(self) -> Expr {
        match self.field_type {
            Some(_) if self.values_unread => {
                let is_null = schema::field_nulls(self.field);
                Expr::call("sum", [Expr::call("not", [is_null])])
            }
            _ => self.call("count"),
        }
    }

    fn value(self, function: AggregateFunction, unique_times: bool) -> Expr {
        match function {
            AggregateFunction::Count => {
                Expr::call("nullIf", [Expr::call("toInt64", [self.count()]), Expr::int(0)])
            }
            AggregateFunction::Sum => self.call("sum"),
            AggregateFunction::Mean if self.field_type == Some(FieldType::Float) => self.call("avg"),
            AggregateFunction::Mean => self.call("sum").infix("/", self.call("count")),
            AggregateFunction::Min => self.call("min"),
            AggregateFunction::Max => self.call("max"),
            AggregateFunction::Spread => {
                let spread = self.call("max").infix("-", self.call("min"));
                match self.field_type {
                    Some(FieldType::Unsigned) => Expr::call("toUInt64", [spread]),
                    _ => spread,
                }
            }
            AggregateFunction::First if unique_times => Expr::call("argMin", [self.field(), time()]),
            AggregateFunction::Last if unique_times => Expr::call("argMax", [self.field(), time()]),
            AggregateFunction::First => {
                Expr::call("argMax", [self.field(), self.time_then_value(reversed_time())])
            }
            AggregateFunction::Last => Expr::call("argMax", [self.field(), self.time_then_value(time())]),
            AggregateFunction::Stddev => {
                let too_few = self.call("count").infix("<", Expr::int(2));
                let deviation = self.call("stddevSampStable");
                Expr::call("if", [too_few, Expr::Literal(Literal::Null), deviation])
            }
            AggregateFunction::Median => {
                Expr::parametric("quantileExactInclusive", [Literal::Float(0.5)], [self.field()])
            }
            AggregateFunction::Percentile(percent) => nearest_rank(self.call("groupArray"), percent),
        }
    }

    /// The time of the point a selector chose.
    fn selected_time(self, function: AggregateFunction) -> Option<Expr> {
        let present = self.field().is_not_null();
        Some(match function {
            AggregateFunction::First => Expr::call("minOrNullIf", [time(), present]),
            AggregateFunction::Last => Expr::call("maxOrNullIf", [time(), present]),
            AggregateFunction::Min => {
                Expr::call("argMinOrNullIf", [time(), self.value_then_time(time()), present])
            }
            AggregateFunction::Max => {
                Expr::call("argMaxOrNullIf", [time(), self.value_then_time(reversed_time()), present])
            }
            AggregateFunction::Percentile(percent) => {
                let points = Expr::tuple([self.call("assumeNotNull"), time()]);
                let points = Expr::call("groupArrayIf", [points, present]);
                Expr::call("tupleElement", [nearest_rank(points, percent), Expr::int(2)])
            }
            _ => return None,
        })
    }

    fn time_then_value(self, time: Expr) -> Expr {
        match self.ordinal() {
            Some(ordinal) => pair(time, ordinal),
            None => Expr::tuple([time, self.field()]),
        }
    }

    fn value_then_time(self, time: Expr) -> Expr {
        match self.ordinal() {
            Some(ordinal) => pair(ordinal, time),
            None => Expr::tuple([self.call("assumeNotNull"), time]),
        }
    }

    /// An Int64 in the order of the values; `None` for types that have none. Means nothing where the field is NULL.
    fn ordinal(self) -> Option<Expr> {
        let value = self.call("assumeNotNull");
        match self.field_type? {
            FieldType::Integer | FieldType::Boolean => Some(Expr::call("toInt64", [value])),
            FieldType::Unsigned => {
                let half = Expr::Literal(Literal::UInt(1 << 63));
                Some(Expr::call("reinterpretAsInt64", [Expr::call("bitXor", [value, half])]))
            }
            FieldType::Float => {
                // Adding zero makes -0 and 0 the same; of a negative number all bits but the sign are turned round.
                let value = value.infix("+", Expr::Literal(Literal::Float(0.0)));
                let bits = || Expr::call("reinterpretAsInt64", [value.clone()]);
                let sign = Expr::call("bitShiftRight", [bits(), Expr::int(63)]);
                Some(Expr::call("bitXor", [bits(), Expr::call("bitAnd", [sign, Expr::int(i64::MAX)])]))
            }
            FieldType::String => None,
        }
    }
}

/// Two Int64 in one Int128 that compares as they do.
fn pair(first: Expr, second: Expr) -> Expr {
    let first = Expr::call("bitShiftLeft", [Expr::call("toInt128", [first]), Expr::int(64)]);
    first.infix("+", second)
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
