//! The SHOW … CARDINALITY family. All counts are exact; only the column's name tells an "estimation".
//!
//! InfluxDB runs the exact forms as `SELECT count(distinct(…))` over its series: hence GROUP BY, the default retention
//! policy, and that a condition which needs field values matches nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::Arc;

use hyperbytedb_domain::Tags;
use hyperbytedb_domain::TimeRange;
use hyperbytedb_domain::catalog::{Database, Table};
use hyperbytedb_domain::result::SeriesBlock;
use hyperbytedb_domain::time::MIN_TIME;
use hyperbytedb_timeseriesql::ast::{CardinalityOf, Expr, ShowCardinalityStatement};

use super::super::StatementError;
use super::super::rows::{Rows, integer, page};
use super::super::tag_filter::{TagFilter, Verdict};
use super::index::{has_series, non_empty};
use super::{
    Condition, Lookup, Measurements, measurements, resolved_measurements, split_condition, without_time,
};

/// The different items of each group: by measurement (no name for SHOW MEASUREMENT CARDINALITY) and tag values.
type Groups = BTreeMap<(String, Vec<String>), BTreeSet<String>>;

pub fn show_cardinality(
    lookup: &Lookup<'_>,
    s: &ShowCardinalityStatement,
    database: &str,
) -> Result<Vec<SeriesBlock>, StatementError> {
    let whole = s.sources.is_empty()
        && s.condition.is_none()
        && s.dimensions.is_empty()
        && (s.limit, s.offset) == (0, 0);
    match &s.of {
        CardinalityOf::Series if !s.exact && whole => estimation(lookup, database, series_of_database),
        CardinalityOf::Measurement if !s.exact && whole => {
            estimation(lookup, database, measurements_of_database)
        }
        _ => counts(lookup, s, database),
    }
}

/// A database that does not exist has no series.
fn estimation(
    lookup: &Lookup<'_>,
    database: &str,
    count: impl Fn(&Lookup<'_>, &Database) -> Result<usize, StatementError>,
) -> Result<Vec<SeriesBlock>, StatementError> {
    if database.is_empty() {
        return Err(StatementError::DatabaseRequired);
    }
    let count = lookup.catalog.database(database).map_or(Ok(0), |db| count(lookup, db))?;
    let mut rows = Rows::new("", &["cardinality estimation"]);
    rows.row([integer(count)]);
    Ok(vec![rows.block()])
}

/// A series that is in several retention policies counts once.
fn series_of_database(lookup: &Lookup<'_>, database: &Database) -> Result<usize, StatementError> {
    let mut count = 0;
    for tables in measurements(database, &[]).values() {
        if let [table] = tables.as_slice() {
            count += usize::try_from(lookup.index.series_count(table.id)?).unwrap_or(usize::MAX);
            continue;
        }
        let mut series = BTreeSet::new();
        for table in tables {
            lookup.for_each(table, TimeRange::ALL, None, &mut |tags| {
                series.insert(tags.series_id());
                ControlFlow::Continue(())
            })?;
        }
        count += series.len();
    }
    Ok(count)
}

fn measurements_of_database(lookup: &Lookup<'_>, database: &Database) -> Result<usize, StatementError> {
    let mut count = 0;
    for tables in measurements(database, &[]).values() {
        count += usize::from(has_series(lookup, tables)?);
    }
    Ok(count)
}

fn counts(
    lookup: &Lookup<'_>,
    s: &ShowCardinalityStatement,
    database: &str,
) -> Result<Vec<SeriesBlock>, StatementError> {
    let Condition { time, rest: condition } = split_condition(s.condition.as_ref())?;
    if let Some(name) = name_in_errors(&s.of) {
        without_time(name, s.condition.as_ref())?;
    } else if time.min > MIN_TIME {
        // The values of tags stand at the first moment there is.
        return Ok(Vec::new());
    }
    let found = resolved_measurements(&lookup.catalog, database, None, &s.sources)?;
    let keys = group_keys(lookup, &found, &s.dimensions)?;
    let mut groups = Groups::new();
    for (name, tables) in &found {
        for table in tables {
            let filter = condition.as_ref().map(|c| TagFilter::compile(c, table));
            let decided = filter.as_ref().map(|filter| (filter, Verdict::Yes));
            lookup.for_each(table, time, decided, &mut |tags| {
                let name = if s.of == CardinalityOf::Measurement { "" } else { name.as_str() };
                let values = keys.iter().map(|key| tags.get(key).unwrap_or_default().to_owned()).collect();
                let items = groups.entry((name.to_owned(), values)).or_default();
                add_items(items, &s.of, table, tags, filter.as_ref());
                ControlFlow::Continue(())
            })?;
        }
    }
    let blocks =
        groups.into_iter().filter(|(_, items)| !items.is_empty()).flat_map(|((name, values), items)| {
            let tags = keys.iter().cloned().zip(values).collect();
            count_block(name, tags, items.len(), s)
        });
    Ok(blocks.collect())
}

/// What one series contributes to the count.
fn add_items(
    items: &mut BTreeSet<String>,
    of: &CardinalityOf,
    table: &Table,
    tags: &Tags,
    filter: Option<&TagFilter>,
) {
    match of {
        CardinalityOf::Series => {
            items.insert(tags.series_key(&table.measurement));
        }
        CardinalityOf::Measurement => {
            items.insert(table.measurement.clone());
        }
        CardinalityOf::TagKey => items.extend(tags.iter().map(|(key, _)| key.to_owned())),
        CardinalityOf::FieldKey => items.extend(table.fields.iter().map(|f| f.name.clone())),
        CardinalityOf::TagValues(asked) => {
            if filter.is_none_or(|filter| filter.matches_present(tags)) {
                let asked = tags.iter().filter(|(key, _)| asked.matches(key));
                items.extend(asked.map(|(_, value)| value.to_owned()));
            }
        }
    }
}

/// The tag keys of GROUP BY, sorted; `*` and regexes stand for those of all measurements.
fn group_keys(
    lookup: &Lookup<'_>,
    found: &Measurements,
    dimensions: &[Expr],
) -> Result<Vec<String>, StatementError> {
    let mut keys = BTreeSet::new();
    for dimension in dimensions {
        let mut add_matching = |wanted: &dyn Fn(&str) -> bool| -> Result<(), StatementError> {
            for table in found.values().flatten() {
                keys.extend(lookup.index.tag_keys(table.id)?.into_iter().filter(|key| wanted(key)));
            }
            Ok(())
        };
        match dimension {
            Expr::Wildcard(_) => add_matching(&|_| true)?,
            Expr::Regex(pattern) => add_matching(&|key| pattern.is_match(key))?,
            Expr::VarRef(reference) => {
                keys.insert(reference.name.clone());
            }
            _ => {}
        }
    }
    Ok(keys.into_iter().collect())
}

fn count_block(
    name: String,
    tags: Arc<[(String, String)]>,
    count: usize,
    s: &ShowCardinalityStatement,
) -> Option<SeriesBlock> {
    let mut rows = Rows::new(name, &[column(s)]);
    page([count], s.limit, s.offset).into_iter().for_each(|n| rows.row([integer(n)]));
    let mut block = non_empty(rows).pop()?;
    block.tags = (!tags.is_empty()).then_some(tags);
    Some(block)
}

/// InfluxDB estimates the series of a measurement, unless the statement has more to it than FROM and WHERE.
fn column(s: &ShowCardinalityStatement) -> &'static str {
    let estimated =
        s.of == CardinalityOf::Series && !s.exact && s.dimensions.is_empty() && (s.limit, s.offset) == (0, 0);
    if estimated { "cardinality estimation" } else { "count" }
}

/// How InfluxDB calls the statement when it refuses a time range; the values of tags just match none.
fn name_in_errors(of: &CardinalityOf) -> Option<&'static str> {
    Some(match of {
        CardinalityOf::Series => "SHOW SERIES EXACT CARDINALITY",
        CardinalityOf::Measurement => "SHOW MEASUREMENT EXACT CARDINALITY",
        CardinalityOf::TagKey => "SHOW TAG KEY EXACT CARDINALITY",
        CardinalityOf::TagValues(_) => return None,
        CardinalityOf::FieldKey => "SHOW FIELD KEY CARDINALITY",
    })
}
