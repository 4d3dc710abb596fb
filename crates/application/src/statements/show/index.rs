//! SHOW MEASUREMENTS, SERIES, TAG KEYS, TAG VALUES and FIELD KEYS.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::Arc;

use hyperbytedb_domain::FieldType;
use hyperbytedb_domain::catalog::{Catalog, Database, Table};
use hyperbytedb_domain::ports::SeriesIndexPort;
use hyperbytedb_domain::result::SeriesBlock;
use hyperbytedb_timeseriesql::ast::{
    Expr, NameOrAll, ShowFieldKeysStatement, ShowMeasurementsStatement, ShowSeriesStatement,
    ShowTagKeysStatement, ShowTagValuesStatement, Source, TagKeyFilter,
};

use super::super::StatementError;
use super::super::rows::{Rows, page, text};
use super::super::tag_filter::TagFilter;
use super::{in_range, is_named, key_matches, matching_series, measurements, split_condition};

/// In a SHOW TAG VALUES condition this name stands for the value itself.
const VALUE_NAME: &str = "value";

pub fn show_measurements(
    catalog: &Catalog,
    index: &dyn SeriesIndexPort,
    s: &ShowMeasurementsStatement,
    default_database: &str,
) -> Result<Vec<SeriesBlock>, StatementError> {
    let condition = split_condition(s.condition.as_ref())?;
    let databases: Vec<&Arc<Database>> = match &s.database {
        NameOrAll::All => catalog.databases.values().collect(),
        NameOrAll::Name(name) => catalog.database(name).into_iter().collect(),
        NameOrAll::Unset if default_database.is_empty() => return Err(StatementError::DatabaseRequired),
        NameOrAll::Unset => catalog.database(default_database).into_iter().collect(),
    };
    let with_places = matches!(s.database, NameOrAll::All) || !matches!(s.retention_policy, NameOrAll::Unset);
    let mut found: BTreeSet<(String, String, String)> = BTreeSet::new();
    for db in databases {
        for (name, tables) in measurements(db, &[]) {
            if s.source.as_ref().is_some_and(|source| !is_named(source, &name)) {
                continue;
            }
            for table in tables.iter().filter(|t| policy_is_asked(&s.retention_policy, t)) {
                if in_range(db, table, condition.time) && has_series(index, table, condition.rest.as_ref())? {
                    let place = if with_places {
                        (db.name.clone(), table.retention_policy.clone())
                    } else {
                        Default::default()
                    };
                    found.insert((name.clone(), place.0, place.1));
                }
            }
        }
    }
    let columns: &[&str] = if with_places { &["name", "database", "retention policy"] } else { &["name"] };
    let mut rows = Rows::new("measurements", columns);
    for (name, database, policy) in page(found, s.limit, s.offset) {
        if with_places {
            rows.row([text(name), text(database), text(policy)]);
        } else {
            rows.row([text(name)]);
        }
    }
    Ok(non_empty(rows))
}

fn policy_is_asked(asked: &NameOrAll, table: &Table) -> bool {
    match asked {
        NameOrAll::Name(name) => *name == table.retention_policy,
        NameOrAll::Unset | NameOrAll::All => true,
    }
}

/// A measurement whose series are all deleted does not exist.
pub fn has_series(
    index: &dyn SeriesIndexPort,
    table: &Table,
    condition: Option<&Expr>,
) -> Result<bool, StatementError> {
    let filter = compile(condition, table)?;
    if filter.is_none() {
        return Ok(index.series_count(table.id)? > 0);
    }
    let mut any = false;
    matching_series(index, table, filter.as_ref(), &mut |_| {
        any = true;
        ControlFlow::Break(())
    })?;
    Ok(any)
}

fn compile(condition: Option<&Expr>, table: &Table) -> Result<Option<TagFilter>, StatementError> {
    condition.map(|c| TagFilter::compile(c, table)).transpose().map_err(StatementError::Text)
}

pub fn show_series(
    database: &Database,
    index: &dyn SeriesIndexPort,
    s: &ShowSeriesStatement,
) -> Result<Vec<SeriesBlock>, StatementError> {
    let condition = split_condition(s.condition.as_ref())?;
    // Enough keys for the page; more need not be collected.
    let wanted = if s.limit == 0 { u64::MAX } else { s.offset.saturating_add(s.limit) };
    let mut rows: Vec<String> = Vec::new();
    for (name, tables) in measurements(database, &s.sources) {
        let mut keys = BTreeSet::new();
        for table in tables.iter().filter(|t| in_range(database, t, condition.time)) {
            let filter = compile(condition.rest.as_ref(), table)?;
            let mut left = wanted.saturating_sub(rows.len() as u64);
            matching_series(index, table, filter.as_ref(), &mut |tags| {
                if left == 0 {
                    return ControlFlow::Break(());
                }
                left -= 1;
                keys.insert(tags.series_key(&name));
                ControlFlow::Continue(())
            })?;
        }
        rows.extend(keys);
        if rows.len() as u64 >= wanted {
            break;
        }
    }
    let mut table = Rows::new("", &["key"]);
    page(rows, s.limit, s.offset).iter().for_each(|key| table.row([text(key)]));
    Ok(non_empty(table))
}

/// The tag keys of a measurement's matching series.
pub fn tag_keys_of(
    database: &Database,
    index: &dyn SeriesIndexPort,
    tables: &[Arc<Table>],
    condition: Option<&Expr>,
) -> Result<BTreeSet<String>, StatementError> {
    let condition = split_condition(condition)?;
    let mut keys = BTreeSet::new();
    for table in tables.iter().filter(|t| in_range(database, t, condition.time)) {
        match compile(condition.rest.as_ref(), table)? {
            None => keys.extend(index.tag_keys(table.id)?),
            filter => matching_series(index, table, filter.as_ref(), &mut |tags| {
                for (key, _) in tags.iter() {
                    if !keys.contains(key) {
                        keys.insert(key.to_owned());
                    }
                }
                ControlFlow::Continue(())
            })?,
        }
    }
    Ok(keys)
}

pub fn show_tag_keys(
    database: &Database,
    index: &dyn SeriesIndexPort,
    s: &ShowTagKeysStatement,
) -> Result<Vec<SeriesBlock>, StatementError> {
    let mut blocks = Vec::new();
    for (name, tables) in measurements(database, &s.sources) {
        let keys = tag_keys_of(database, index, &tables, s.condition.as_ref())?;
        let asked =
            keys.into_iter().filter(|key| s.key.as_ref().is_none_or(|filter| key_matches(filter, key)));
        let mut rows = Rows::new(name, &["tagKey"]);
        page(asked, s.limit, s.offset).iter().for_each(|key| rows.row([text(key)]));
        blocks.extend(non_empty(rows));
    }
    Ok(page(blocks, s.slimit, s.soffset))
}

/// How a condition takes a tag that a series does not have. InfluxDB counts values by another way than it lists them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    IsEmptyText,
    NeverMatch,
}

/// The values of the asked tag keys among a measurement's matching series.
pub fn tag_values_of(
    database: &Database,
    index: &dyn SeriesIndexPort,
    tables: &[Arc<Table>],
    key_filter: &TagKeyFilter,
    condition: Option<&Expr>,
    missing: Missing,
) -> Result<BTreeSet<(String, String)>, StatementError> {
    let condition = split_condition(condition)?;
    let mut values = BTreeSet::new();
    for table in tables.iter().filter(|t| in_range(database, t, condition.time)) {
        let filter = compile(condition.rest.as_ref(), table)?;
        let keys: Vec<String> =
            index.tag_keys(table.id)?.into_iter().filter(|key| key_matches(key_filter, key)).collect();
        let Some(filter) = filter else {
            for key in &keys {
                index.for_each_tag_value(table.id, key, &mut |value| {
                    values.insert((key.clone(), value.to_owned()));
                    ControlFlow::Continue(())
                })?;
            }
            continue;
        };
        index.for_each_series(table.id, &mut |_, tags| {
            if missing == Missing::NeverMatch && filter.names_missing_tag(tags) {
                return ControlFlow::Continue(());
            }
            for key in &keys {
                let Some(value) = tags.get(key) else { continue };
                let matches = filter.matches_with(&|name| match name {
                    VALUE_NAME if table.tag(VALUE_NAME).is_none() => value,
                    name => tags.get(name).unwrap_or_default(),
                });
                if matches {
                    values.insert((key.clone(), value.to_owned()));
                }
            }
            ControlFlow::Continue(())
        })?;
    }
    Ok(values)
}

pub fn show_tag_values(
    database: &Database,
    index: &dyn SeriesIndexPort,
    s: &ShowTagValuesStatement,
) -> Result<Vec<SeriesBlock>, StatementError> {
    one_policy(&s.sources)?;
    let mut blocks = Vec::new();
    for (name, tables) in measurements(database, &s.sources) {
        let values =
            tag_values_of(database, index, &tables, &s.key, s.condition.as_ref(), Missing::IsEmptyText)?;
        let mut rows = Rows::new(name, &["key", "value"]);
        page(values, s.limit, s.offset).iter().for_each(|(key, value)| rows.row([text(key), text(value)]));
        blocks.extend(non_empty(rows));
    }
    Ok(blocks)
}

fn one_policy(sources: &[Source]) -> Result<(), StatementError> {
    let mut seen: Option<&String> = None;
    for source in sources {
        let Source::Measurement(measurement) = source else { continue };
        match (seen, &measurement.retention_policy) {
            (Some(first), Some(other)) if first != other => {
                return Err(StatementError::Text(format!(
                    "only one retention policy allowed in SHOW TAG VALUES query: {other:?}, {first:?}"
                )));
            }
            (None, Some(policy)) => seen = Some(policy),
            _ => {}
        }
    }
    Ok(())
}

/// The fields of a measurement over its retention policies. A name may come with two types.
pub fn fields_of(tables: &[Arc<Table>]) -> BTreeMap<String, BTreeSet<FieldType>> {
    let mut fields: BTreeMap<String, BTreeSet<FieldType>> = BTreeMap::new();
    for field in tables.iter().flat_map(|t| &t.fields) {
        fields.entry(field.name.clone()).or_default().insert(field.field_type);
    }
    fields
}

pub fn show_field_keys(
    database: &Database,
    index: &dyn SeriesIndexPort,
    s: &ShowFieldKeysStatement,
) -> Result<Vec<SeriesBlock>, StatementError> {
    let mut blocks = Vec::new();
    for (name, mut tables) in measurements(database, &s.sources) {
        let mut error = None;
        tables.retain(|table| {
            has_series(index, table, None).unwrap_or_else(|e| {
                error = Some(e);
                false
            })
        });
        if let Some(error) = error {
            return Err(error);
        }
        let fields = fields_of(&tables);
        let all = fields.iter().flat_map(|(name, types)| types.iter().map(move |t| (name, t)));
        let mut rows = Rows::new(name, &["fieldKey", "fieldType"]);
        page(all, s.limit, s.offset).iter().for_each(|(name, t)| rows.row([text(name), text(t.name())]));
        blocks.extend(non_empty(rows));
    }
    Ok(blocks)
}

/// A series without rows is left out of the answer.
pub fn non_empty(rows: Rows) -> Vec<SeriesBlock> {
    if rows.is_empty() { Vec::new() } else { vec![rows.block()] }
}
