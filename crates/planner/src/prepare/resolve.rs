//! Names become columns of tables and of subqueries.

use hyperbytedb_timeseriesql::ast::{Call, DataType, Expr, Source, VarRef};

use super::calls::{is_math, is_selector};
use super::columns::{columns, unique_names};
use super::compile::Compiled;
use super::expand::{Expanded, expand};
use super::schema::{self, column_order, type_of};
use super::types::{expr_type, result_type};
use super::{PrepareContext, PrepareError};
use crate::prepared::{IntoTarget, PreparedField, PreparedSelect, PreparedSource};

/// Where a statement stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Nesting {
    Outermost,
    Subquery,
}

pub(super) fn resolve(
    compiled: Compiled<'_>,
    level: Nesting,
    context: &PrepareContext<'_>,
) -> Result<PreparedSelect, PrepareError> {
    let Compiled { statement, mut fields, mut condition, subqueries, dimensions, .. } = compiled;
    let sources = resolve_sources(&statement.sources, subqueries, context)?;
    for expr in fields.iter_mut().map(|field| &mut field.expr).chain(&mut condition) {
        context.check()?;
        resolve_types(expr, &sources);
    }
    let Expanded { fields, dimensions: tags } = expand(fields, &dimensions.tags, &sources)?;

    let columns = columns(fields);
    let names = match level {
        Nesting::Outermost => unique_names(&columns, statement.target.is_some()),
        Nesting::Subquery => columns.iter().map(|column| column.field.name()).collect(),
    };
    let mut prepared = Vec::with_capacity(columns.len());
    for (column, name) in columns.into_iter().zip(names) {
        context.check()?;
        // Only in the outermost statement a mismatch is an error; a subquery's column is null then.
        let data_type = match level {
            Nesting::Outermost => result_type(&column.field.expr)?,
            Nesting::Subquery => expr_type(&column.field.expr).unwrap_or_default(),
        };
        prepared.push(PreparedField { expr: column.field.expr, name, data_type, implied: column.implied });
    }
    let mut selected = Selected::default();
    for field in &prepared {
        context.check()?;
        selected.add(&field.expr);
    }
    selected.aux.sort_by(|a, b| column_order((&a.name, a.data_type), (&b.name, b.data_type)));

    Ok(PreparedSelect {
        fields: prepared,
        time_column: compiled.time_column,
        sources,
        condition,
        time: compiled.time,
        dimensions: tags,
        interval: dimensions.interval,
        fill: statement.fill,
        zone: statement.time_zone.clone(),
        ascending: compiled.ascending,
        limit: count(statement.limit),
        offset: count(statement.offset),
        slimit: count(statement.slimit),
        soffset: count(statement.soffset),
        is_selector: matches!(selected.calls.as_slice(), [call] if is_selector(call)),
        call_types: selected.calls.iter().map(call_type).collect(),
        calls: selected.calls,
        aux: selected.aux,
        into: statement.target.as_ref().map(|target| IntoTarget {
            database: target.database.clone().unwrap_or_default(),
            retention_policy: target.retention_policy.clone().unwrap_or_default(),
            measurement: target.name.clone(),
        }),
    })
}

fn call_type(call: &Call) -> Option<DataType> {
    expr_type(&Expr::Call(call.clone())).unwrap_or_default()
}

fn resolve_sources(
    sources: &[Source],
    subqueries: Vec<Compiled<'_>>,
    context: &PrepareContext<'_>,
) -> Result<Vec<PreparedSource>, PrepareError> {
    let mut subqueries = subqueries.into_iter();
    let mut resolved = Vec::with_capacity(sources.len());
    for source in sources {
        match source {
            Source::Measurement(measurement) => {
                let tables = schema::tables(measurement, context)?;
                resolved.extend(
                    tables
                        .into_iter()
                        .map(|table| PreparedSource::Measurement { name: table.measurement.clone(), table }),
                );
            }
            Source::Subquery(_) => {
                if let Some(inner) = subqueries.next() {
                    let inner = resolve(inner, Nesting::Subquery, context)?;
                    resolved.push(PreparedSource::Subquery(Box::new(inner)));
                }
            }
        }
    }
    Ok(resolved)
}

/// Gives every reference without a type, or with `::field`, the type its name has in the sources.
fn resolve_types(expr: &mut Expr, sources: &[PreparedSource]) {
    match expr {
        Expr::VarRef(reference) => match reference.data_type {
            None => reference.data_type = type_of(&reference.name, sources),
            Some(DataType::AnyField) => {
                let found = type_of(&reference.name, sources);
                reference.data_type = found.filter(|data_type| *data_type != DataType::Tag);
            }
            Some(_) => {}
        },
        Expr::Call(call) => call.args.iter_mut().for_each(|arg| resolve_types(arg, sources)),
        Expr::Binary(binary) => {
            resolve_types(&mut binary.lhs, sources);
            resolve_types(&mut binary.rhs, sources);
        }
        Expr::Paren(inner) => resolve_types(inner, sources),
        _ => {}
    }
}

/// The calls of all columns and the references outside of them, each once.
#[derive(Debug, Default)]
struct Selected {
    calls: Vec<Call>,
    aux: Vec<VarRef>,
}

impl Selected {
    fn add(&mut self, expr: &Expr) {
        match expr {
            Expr::VarRef(reference) if !self.aux.contains(reference) => self.aux.push(reference.clone()),
            Expr::Call(call) if is_math(call) => call.args.iter().for_each(|arg| self.add(arg)),
            Expr::Call(call) if !self.calls.contains(call) => self.calls.push(call.clone()),
            Expr::Binary(binary) => {
                self.add(&binary.lhs);
                self.add(&binary.rhs);
            }
            Expr::Paren(inner) => self.add(inner),
            _ => {}
        }
    }
}

/// A number of rows or series.
fn count(n: u64) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX)
}
