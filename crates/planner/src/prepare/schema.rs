//! The names and types that the sources of a statement offer.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hyperbytedb_domain::catalog::{RetentionPolicy, Table};
use hyperbytedb_timeseriesql::ast::{DataType, Measurement, MeasurementName, SelectStatement};
use hyperbytedb_timeseriesql::walk::measurements;

use super::types::expr_type;
use super::{PrepareContext, PrepareError};
use crate::prepared::{PreparedSelect, PreparedSource, data_type_of};

/// Checks that every retention policy named in FROM exists.
pub(super) fn check_policies(
    statement: &SelectStatement,
    context: &PrepareContext<'_>,
) -> Result<(), PrepareError> {
    measurements(&statement.sources).into_iter().try_for_each(|m| policy(m, context).map(|_| ()))
}

/// The tables of a measurement or of all that match a pattern, sorted by name.
pub(super) fn tables(
    measurement: &Measurement,
    context: &PrepareContext<'_>,
) -> Result<Vec<Arc<Table>>, PrepareError> {
    let tables = &policy(measurement, context)?.tables;
    Ok(match &measurement.name {
        MeasurementName::Name(name) => tables.get(name).into_iter().cloned().collect(),
        MeasurementName::Regex(pattern) => {
            tables.values().filter(|table| pattern.is_match(&table.measurement)).cloned().collect()
        }
    })
}

fn policy<'a>(
    measurement: &Measurement,
    context: &PrepareContext<'a>,
) -> Result<&'a Arc<RetentionPolicy>, PrepareError> {
    let database = measurement.database.as_deref().unwrap_or(context.database);
    let policy = measurement.retention_policy.as_deref().unwrap_or(context.retention_policy);
    let found = context.catalog.database(database);
    let found = found.ok_or_else(|| PrepareError::DatabaseNotFound(database.to_owned()))?;
    found.retention_policy(policy).ok_or_else(|| PrepareError::RetentionPolicyNotFound(policy.to_owned()))
}

/// The type of a name over all sources: the one that the others can be read as; `None` if none knows it.
pub(super) fn type_of(name: &str, sources: &[PreparedSource]) -> Option<DataType> {
    let mut best = None;
    for source in sources {
        let found = match source {
            PreparedSource::Measurement { table, .. } => table_type(table, name),
            PreparedSource::Subquery(inner) => match inner.fields.iter().find(|f| f.name == name) {
                Some(field) => expr_type(&field.expr).ok()?,
                None => None,
            }
            .or_else(|| (best.is_none() && has_tag(inner, name)).then_some(DataType::Tag)),
        };
        best = wider(best, found);
    }
    best
}

fn table_type(table: &Table, name: &str) -> Option<DataType> {
    let field = table.field(name).map(|(_, field_type)| data_type_of(field_type));
    field.or_else(|| table.tag(name).map(|_| DataType::Tag))
}

fn has_tag(select: &PreparedSelect, name: &str) -> bool {
    select.dimensions.iter().any(|dimension| dimension == name)
}

/// Whether some source has values of exactly this type under the name, which may be a tag in a subquery.
pub(super) fn offers(name: &str, data_type: DataType, sources: &[PreparedSource]) -> bool {
    sources.iter().any(|source| match source {
        PreparedSource::Measurement { table, .. } => {
            table.field(name).is_some_and(|(_, field_type)| data_type_of(field_type) == data_type)
        }
        PreparedSource::Subquery(inner) => {
            inner.fields.iter().any(|field| field.name == name) || has_tag(inner, name)
        }
    })
}

/// Names for wildcards, over all sources. A name may be both a field and a tag.
#[derive(Debug, Default)]
pub(super) struct Names {
    pub fields: BTreeMap<String, Option<DataType>>,
    pub tags: BTreeSet<String>,
}

impl Names {
    pub fn of(sources: &[PreparedSource]) -> Self {
        let mut names = Self::default();
        for source in sources {
            match source {
                PreparedSource::Measurement { table, .. } => {
                    for field in &table.fields {
                        names.add_field(&field.name, Some(data_type_of(field.field_type)));
                    }
                    names.tags.extend(table.tags.iter().cloned());
                }
                PreparedSource::Subquery(inner) => {
                    for field in inner.fields.iter().filter(|field| !field.implied) {
                        names.add_field(&field.name, expr_type(&field.expr).ok().flatten());
                    }
                    names.tags.extend(inner.dimensions.iter().cloned());
                }
            }
        }
        names
    }

    fn add_field(&mut self, name: &str, data_type: Option<DataType>) {
        let known = self.fields.entry(name.to_owned()).or_default();
        *known = wider(*known, data_type);
    }
}

/// Of two types of one name, the one InfluxDB reads it as.
fn wider(a: Option<DataType>, b: Option<DataType>) -> Option<DataType> {
    const WIDEST_FIRST: [DataType; 9] = [
        DataType::Float,
        DataType::Integer,
        DataType::Unsigned,
        DataType::String,
        DataType::Boolean,
        DataType::Time,
        DataType::Duration,
        DataType::Tag,
        DataType::AnyField,
    ];
    let rank = |data_type: Option<DataType>| {
        data_type.and_then(|d| WIDEST_FIRST.iter().position(|w| *w == d)).unwrap_or(WIDEST_FIRST.len())
    };
    if rank(b) < rank(a) { b } else { a }
}

/// The order of columns: by name, then by type as InfluxDB numbers them.
pub(super) fn column_order(a: (&str, Option<DataType>), b: (&str, Option<DataType>)) -> Ordering {
    const NUMBERED: [DataType; 9] = [
        DataType::Float,
        DataType::Integer,
        DataType::String,
        DataType::Boolean,
        DataType::Time,
        DataType::Duration,
        DataType::Tag,
        DataType::AnyField,
        DataType::Unsigned,
    ];
    let number = |data_type: Option<DataType>| data_type.and_then(|d| NUMBERED.iter().position(|n| *n == d));
    a.0.cmp(b.0).then_with(|| number(a.1).cmp(&number(b.1)))
}
