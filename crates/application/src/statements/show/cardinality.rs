//! The SHOW … CARDINALITY family. All counts are exact; only the column's name tells an "estimation".

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;

use hyperbytedb_domain::catalog::{Database, Table};
use hyperbytedb_domain::ports::SeriesIndexPort;
use hyperbytedb_domain::result::SeriesBlock;
use hyperbytedb_timeseriesql::ast::{CardinalityOf, Expr, ShowCardinalityStatement};

use super::super::StatementError;
use super::super::rows::{Rows, integer, page};
use super::super::tag_filter::TagFilter;
use super::index::{Missing, fields_of, has_series, non_empty, tag_keys_of, tag_values_of};
use super::{in_range, matching_series, measurements, split_condition};

pub fn show_cardinality(
    database: &Database,
    index: &dyn SeriesIndexPort,
    s: &ShowCardinalityStatement,
) -> Result<Vec<SeriesBlock>, StatementError> {
    let whole = s.sources.is_empty() && s.condition.is_none() && s.dimensions.is_empty();
    match &s.of {
        CardinalityOf::Series if !s.exact && whole => estimation(series_of_database(database, index)?),
        CardinalityOf::Measurement => {
            let count = count_measurements(database, index, s)?;
            if s.exact || !whole { count_block("", count, s) } else { estimation(count) }
        }
        _ => per_measurement(database, index, s),
    }
}

fn estimation(count: usize) -> Result<Vec<SeriesBlock>, StatementError> {
    let mut rows = Rows::new("", &["cardinality estimation"]);
    rows.row([integer(count)]);
    Ok(vec![rows.block()])
}

fn count_block(
    name: &str,
    count: usize,
    s: &ShowCardinalityStatement,
) -> Result<Vec<SeriesBlock>, StatementError> {
    let mut rows = Rows::new(name, &["count"]);
    page([count], s.limit, s.offset).into_iter().for_each(|n| rows.row([integer(n)]));
    Ok(non_empty(rows))
}

fn series_of_database(database: &Database, index: &dyn SeriesIndexPort) -> Result<usize, StatementError> {
    let count = |tables: &Vec<Arc<Table>>| match tables.as_slice() {
        [table] => Ok(index.series_count(table.id)? as usize),
        tables => count_series(database, index, tables, None),
    };
    measurements(database, &[]).values().map(count).sum()
}

fn count_measurements(
    database: &Database,
    index: &dyn SeriesIndexPort,
    s: &ShowCardinalityStatement,
) -> Result<usize, StatementError> {
    let condition = split_condition(s.condition.as_ref())?;
    let mut count = 0;
    for tables in measurements(database, &s.sources).values() {
        for table in tables.iter().filter(|t| in_range(database, t, condition.time)) {
            if has_series(index, table, condition.rest.as_ref())? {
                count += 1;
                break;
            }
        }
    }
    Ok(count)
}

fn per_measurement(
    database: &Database,
    index: &dyn SeriesIndexPort,
    s: &ShowCardinalityStatement,
) -> Result<Vec<SeriesBlock>, StatementError> {
    if matches!(s.of, CardinalityOf::TagKey) && !split_condition(s.condition.as_ref())?.time.is_all() {
        let text = "SHOW TAG KEY EXACT CARDINALITY doesn't support time in WHERE clause";
        return Err(StatementError::Text(text.to_owned()));
    }
    let mut blocks = Vec::new();
    for (name, tables) in measurements(database, &s.sources) {
        let count = match &s.of {
            CardinalityOf::Series | CardinalityOf::Measurement => {
                count_series(database, index, &tables, s.condition.as_ref())?
            }
            CardinalityOf::TagKey => tag_keys_of(database, index, &tables, s.condition.as_ref())?.len(),
            CardinalityOf::TagValues(keys) => {
                tag_values_of(database, index, &tables, keys, s.condition.as_ref(), Missing::NeverMatch)?
                    .len()
            }
            CardinalityOf::FieldKey => fields_of(&tables).len(),
        };
        if count > 0 {
            blocks.extend(count_block(&name, count, s)?);
        }
    }
    Ok(blocks)
}

/// Series of a measurement; one that is in several retention policies counts once.
fn count_series(
    database: &Database,
    index: &dyn SeriesIndexPort,
    tables: &[Arc<Table>],
    condition: Option<&Expr>,
) -> Result<usize, StatementError> {
    let condition = split_condition(condition)?;
    let mut series = BTreeSet::new();
    for table in tables.iter().filter(|t| in_range(database, t, condition.time)) {
        let filter = condition.rest.as_ref().map(|c| TagFilter::compile(c, table)).transpose();
        let filter = filter.map_err(StatementError::Text)?;
        matching_series(index, table, filter.as_ref(), &mut |tags| {
            series.insert(tags.series_id());
            ControlFlow::Continue(())
        })?;
    }
    Ok(series.len())
}
