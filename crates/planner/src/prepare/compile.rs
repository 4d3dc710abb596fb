//! What can be checked without a schema: every rule of the language that does not depend on types.

use hyperbytedb_domain::TimeRange;
use hyperbytedb_domain::time::{MAX_TIME, MIN_TIME};
use hyperbytedb_timeseriesql::ast::{Call, Expr, Field, SelectStatement, Source, VarRef};
use hyperbytedb_timeseriesql::reduce;
use jiff::tz::TimeZone;

use super::PrepareError;
use super::condition;
use super::dimensions::{self, Dimensions};
use super::error::refuse;
use super::fold::fold_column;
use super::rules::FieldRules;
use crate::prepared::TimeBounds;

/// A statement that keeps the rules, with its clauses taken apart.
#[derive(Debug)]
pub(super) struct Compiled<'a> {
    pub statement: &'a SelectStatement,
    /// Constants folded. In the outermost statement without time, and with DISTINCT made a call.
    pub fields: Vec<Field>,
    pub time_column: String,
    /// Without time bounds.
    pub condition: Option<Expr>,
    pub time: TimeBounds,
    pub dimensions: Dimensions,
    pub ascending: bool,
    /// In the order of the sources.
    pub subqueries: Vec<Compiled<'a>>,
}

/// What a subquery takes over from the statement around it.
#[derive(Debug, Clone, Copy)]
struct Outer {
    ascending: bool,
    has_interval: bool,
}

/// Checks a statement and those within it.
pub(super) fn compile(statement: &SelectStatement, now: i64) -> Result<Compiled<'_>, PrepareError> {
    let mut compiled = compile_level(statement, now, None)?;
    if let Some(condition) = &compiled.condition {
        condition::check_regexes(condition)?;
    }
    compiled.fields.iter_mut().for_each(|field| distinct_to_call(&mut field.expr));
    if let Some(alias) = take_time(&mut compiled.fields) {
        compiled.time_column = alias;
    }
    Ok(compiled)
}

fn compile_level(
    statement: &SelectStatement,
    now: i64,
    outer: Option<Outer>,
) -> Result<Compiled<'_>, PrepareError> {
    let zone = statement.time_zone.clone().unwrap_or(TimeZone::UTC);
    let (condition, bounds) = condition::split(statement, now, &zone)?;
    let dimensions = dimensions::split(&statement.dimensions, now, &zone)?;
    let time = time_bounds(bounds, dimensions.has_time.then_some(now));

    let ascending = statement.time_ascending();
    if let Some(outer) = outer
        && !statement.sort_fields.is_empty()
        && ascending != outer.ascending
    {
        refuse!("subqueries must be ordered in the same direction as the query itself");
    }
    let ascending = outer.map_or(ascending, |outer| outer.ascending);
    let inherits_interval = !dimensions.has_time && outer.is_some_and(|outer| outer.has_interval);
    let own = Outer { ascending, has_interval: dimensions.has_time || inherits_interval };

    let rules = FieldRules {
        has_interval: own.has_interval,
        inherits_interval,
        limit: statement.limit,
        has_target: statement.target.is_some(),
        ..FieldRules::default()
    };
    let fields = check_fields(statement, rules)?;
    let mut subqueries = Vec::new();
    for source in &statement.sources {
        if let Source::Subquery(inner) = source {
            subqueries.push(compile_level(inner, now, Some(own))?);
        }
    }
    let time_column = "time".to_owned();
    Ok(Compiled { statement, fields, time_column, condition, time, dimensions, ascending, subqueries })
}

/// An open end is the earliest or latest time there is; with windows nothing lies after `now`.
fn time_bounds(bounds: reduce::TimeRange, now: Option<i64>) -> TimeBounds {
    TimeBounds {
        range: TimeRange { min: bounds.min.unwrap_or(MIN_TIME), max: bounds.max.or(now).unwrap_or(MAX_TIME) },
        explicit_min: bounds.min.is_some(),
        explicit_max: bounds.max.is_some(),
    }
}

fn check_fields(statement: &SelectStatement, mut rules: FieldRules) -> Result<Vec<Field>, PrepareError> {
    let mut fields = Vec::with_capacity(statement.fields.len());
    for field in &statement.fields {
        if is_time(field) {
            fields.push(field.clone());
            continue;
        }
        let expr = fold_column(&field.expr);
        rules.field(&expr)?;
        let alias = field.alias.clone().filter(|alias| !alias.is_empty());
        fields.push(Field { expr, alias });
    }
    rules.finish(statement.fill)?;
    Ok(fields)
}

fn is_time(field: &Field) -> bool {
    matches!(&field.expr, Expr::VarRef(reference) if reference.name == "time")
}

/// Takes time out of the columns; returns its alias. As in InfluxDB, of two in a row the second stays.
fn take_time(fields: &mut Vec<Field>) -> Option<String> {
    let mut alias = None;
    let mut i = 0;
    while i < fields.len() {
        if is_time(&fields[i]) {
            alias = fields.remove(i).alias;
        }
        i += 1;
    }
    alias
}

/// `DISTINCT f` as a column or an argument becomes `distinct(f)`.
fn distinct_to_call(expr: &mut Expr) {
    fn replace(expr: &mut Expr) {
        if let Expr::Distinct(name) = expr {
            let args = vec![Expr::VarRef(VarRef::new(std::mem::take(name)))];
            *expr = Expr::Call(Call { name: "distinct".to_owned(), args });
        }
    }
    fn in_arguments(expr: &mut Expr) {
        match expr {
            Expr::Call(call) => call.args.iter_mut().for_each(|arg| {
                replace(arg);
                in_arguments(arg);
            }),
            Expr::Binary(binary) => {
                in_arguments(&mut binary.lhs);
                in_arguments(&mut binary.rhs);
            }
            Expr::Paren(inner) => in_arguments(inner),
            _ => {}
        }
    }
    replace(expr);
    in_arguments(expr);
}
