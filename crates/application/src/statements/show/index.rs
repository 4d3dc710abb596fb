//! SHOW MEASUREMENTS, SERIES, TAG KEYS, TAG VALUES and FIELD KEYS.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;

use hyperbytedb_domain::TimeRange;
use hyperbytedb_domain::catalog::{Catalog, Database, Table};
use hyperbytedb_domain::result::SeriesBlock;
use hyperbytedb_timeseriesql::ast::{
    BinaryOp, Expr, NameOrAll, ShowFieldKeysStatement, ShowMeasurementsStatement, ShowSeriesStatement,
    ShowTagKeysStatement, ShowTagValuesStatement, Source, TagKeyFilter,
};
use hyperbytedb_timeseriesql::walk::{any_expr, walk_expr};

use super::super::StatementError;
use super::super::rows::{Rows, page, text};
use super::super::tag_filter::{NAME_KEY, TagFilter, Verdict};
use super::measurement_filter::{MeasurementFilter, is_system_name};
use super::{
    Condition, Lookup, is_equality, is_named, keep_comparisons, measurements, resolved_measurements,
    split_condition, without_time,
};

/// In a SHOW TAG VALUES condition this name stands for the value itself, besides a tag or field of this name.
const VALUE_NAME: &str = "value";
/// And this one for the tag's key.
const TAG_KEY_NAME: &str = "_tagKey";

pub fn show_measurements(
    lookup: &Lookup<'_>,
    s: &ShowMeasurementsStatement,
    default_database: &str,
) -> Result<Vec<SeriesBlock>, StatementError> {
    without_time("SHOW MEASUREMENTS", s.condition.as_ref())?;
    let places = places(&lookup.catalog, s, default_database)?;
    let filter = measurement_filter(s.condition.as_ref())?;
    let mut found = Vec::new();
    for (db, policy) in places {
        for (name, mut tables) in measurements(db, &[]) {
            tables.retain(|table| policy.is_none_or(|policy| *policy == table.retention_policy));
            if s.source.as_ref().is_none_or(|source| is_named(source, &name))
                && matches(filter.as_ref(), &name, &tables, lookup)?
                && has_series(lookup, &tables)?
            {
                found.push((name, &db.name, policy));
            }
        }
    }
    let with_places = !matches!(s.retention_policy, NameOrAll::Unset);
    let columns: &[&str] = if with_places { &["name", "database", "retention policy"] } else { &["name"] };
    let mut rows = Rows::new("measurements", columns);
    for (name, database, policy) in page(found, s.limit, s.offset) {
        match policy {
            Some(policy) => rows.row([text(name), text(database), text(policy)]),
            None => rows.row([text(name)]),
        }
    }
    Ok(non_empty(rows))
}

/// A database, and the retention policy in it if one is asked for.
type Place<'a> = (&'a Arc<Database>, Option<&'a String>);

/// Where SHOW MEASUREMENTS looks, sorted.
fn places<'a>(
    catalog: &'a Catalog,
    s: &'a ShowMeasurementsStatement,
    default_database: &'a str,
) -> Result<Vec<Place<'a>>, StatementError> {
    let policies_of = |db: &'a Arc<Database>| db.retention_policies.keys().map(move |rp| (db, Some(rp)));
    let name = match &s.database {
        NameOrAll::All => {
            return match s.retention_policy {
                NameOrAll::All => Ok(catalog.databases.values().flat_map(policies_of).collect()),
                NameOrAll::Name(_) => Err(StatementError::AnyDatabase { place: "*.rp" }),
                NameOrAll::Unset => Err(StatementError::AnyDatabase { place: "*" }),
            };
        }
        NameOrAll::Name(name) => name,
        NameOrAll::Unset if default_database.is_empty() => return Err(StatementError::DatabaseRequired),
        NameOrAll::Unset => default_database,
    };
    let db = catalog.database(name);
    Ok(match &s.retention_policy {
        NameOrAll::All => {
            policies_of(db.ok_or_else(|| StatementError::UnknownDatabase(name.to_owned()))?).collect()
        }
        NameOrAll::Name(policy) => db.into_iter().map(|db| (db, Some(policy))).collect(),
        NameOrAll::Unset => db.into_iter().map(|db| (db, None)).collect(),
    })
}

/// A measurement whose series are all deleted does not exist.
pub fn has_series(lookup: &Lookup<'_>, tables: &[Arc<Table>]) -> Result<bool, StatementError> {
    for table in tables {
        if lookup.index.series_count(table.id)? > 0 {
            return Ok(true);
        }
    }
    Ok(false)
}

fn measurement_filter(condition: Option<&Expr>) -> Result<Option<MeasurementFilter>, StatementError> {
    condition.map(MeasurementFilter::compile).transpose()
}

fn matches(
    filter: Option<&MeasurementFilter>,
    name: &str,
    tables: &[Arc<Table>],
    lookup: &Lookup<'_>,
) -> Result<bool, StatementError> {
    filter.map_or(Ok(true), |filter| filter.matches(name, tables, lookup.index))
}

pub fn show_series(
    lookup: &Lookup<'_>,
    s: &ShowSeriesStatement,
    database: &str,
    policy: &str,
) -> Result<Vec<SeriesBlock>, StatementError> {
    let found = resolved_measurements(&lookup.catalog, database, Some(policy), &s.sources)?;
    let condition = split_condition(s.condition.as_ref())?;
    let not_equality = |e: &Expr| matches!(e, Expr::Binary(b) if !is_equality(b.op) && !matches!(b.op, BinaryOp::And | BinaryOp::Or));
    if condition.rest.as_ref().is_some_and(|rest| any_expr(rest, not_equality)) {
        return Err(StatementError::TagOperator);
    }
    // Enough keys for the page; more need not be collected.
    let wanted = if s.limit == 0 { u64::MAX } else { s.offset.saturating_add(s.limit) };
    let mut rows: Vec<String> = Vec::new();
    for (name, tables) in found {
        let mut keys = BTreeSet::new();
        for table in &tables {
            let filter = condition.rest.as_ref().map(|rest| TagFilter::compile(rest, table));
            // Series found by the value of a tag do not come in order: all of them are needed.
            let in_order = filter.as_ref().is_none_or(|filter| filter.required_value().is_none());
            let filter = filter.as_ref().map(|filter| (filter, Verdict::Undecided));
            let mut left = if in_order { wanted.saturating_sub(rows.len() as u64) } else { u64::MAX };
            lookup.for_each(table, condition.time, filter, &mut |tags| {
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

/// A condition of SHOW TAG KEYS or SHOW TAG VALUES, which InfluxDB takes apart: what it says about measurements, about
/// tag keys, about series and about values.
struct TagCondition {
    time: TimeRange,
    measurements: Option<MeasurementFilter>,
    /// Comparisons of `_tagKey` among others.
    keys: Option<Expr>,
    series: Option<Expr>,
    values: Option<Expr>,
}

impl TagCondition {
    fn new(condition: Option<&Expr>) -> Result<Self, StatementError> {
        let Condition { time, rest } = split_condition(condition)?;
        let part = |wanted: &dyn Fn(&str) -> bool| {
            let named = |e: &Expr| matches!(e, Expr::VarRef(r) if wanted(&r.name));
            rest.as_ref().and_then(|rest| keep_comparisons(rest, &named))
        };
        Ok(Self {
            time,
            measurements: measurement_filter(part(&|name| name == NAME_KEY).as_ref())?,
            series: part(&|name| !is_system_name(name)),
            values: part(&|name| name == VALUE_NAME),
            keys: rest,
        })
    }

    /// For SHOW TAG VALUES, which looks in it for keys.
    fn check_left_sides(&self) -> Result<(), StatementError> {
        let mut bad = None;
        if let Some(keys) = &self.keys {
            walk_expr(keys, &mut |e| {
                if let Expr::Binary(b) = e
                    && is_equality(b.op)
                    && !matches!(&*b.lhs, Expr::VarRef(_))
                {
                    bad = bad.or(Some(b.op));
                }
                true
            });
        }
        match bad {
            Some(op) => Err(StatementError::NoTagKey(op)),
            None => Ok(()),
        }
    }

    /// Whether the condition lets this key through; `None`: it says nothing about keys.
    fn key(condition: &Expr, key: &str) -> Option<bool> {
        match condition {
            Expr::Paren(inner) => Self::key(inner, key),
            Expr::Binary(b) if matches!(b.op, BinaryOp::And | BinaryOp::Or) => {
                match (Self::key(&b.lhs, key), Self::key(&b.rhs, key)) {
                    (Some(l), Some(r)) => Some(if b.op == BinaryOp::And { l && r } else { l || r }),
                    (one, other) => one.or(other),
                }
            }
            Expr::Binary(b) => match (&*b.lhs, &*b.rhs) {
                (Expr::VarRef(r), Expr::String(wanted)) if r.name == TAG_KEY_NAME => {
                    Some((wanted == key) == (b.op == BinaryOp::Eq))
                }
                (Expr::VarRef(r), Expr::Regex(pattern)) if r.name == TAG_KEY_NAME => {
                    Some(pattern.is_match(key) == (b.op == BinaryOp::EqRegex))
                }
                _ => None,
            },
            _ => None,
        }
    }

    fn asks_for(&self, filter: Option<&TagKeyFilter>, key: &str) -> bool {
        filter.is_none_or(|filter| filter.matches(key))
            && self.keys.as_ref().and_then(|keys| Self::key(keys, key)).unwrap_or(true)
    }

    /// The asked keys of a measurement's matching series, with their values, sorted.
    fn values_of(
        &self,
        lookup: &Lookup<'_>,
        tables: &[Arc<Table>],
        filter: Option<&TagKeyFilter>,
    ) -> Result<BTreeSet<(String, String)>, StatementError> {
        let mut values = BTreeSet::new();
        for table in tables {
            let mut keys = lookup.index.tag_keys(table.id)?;
            keys.retain(|key| self.asks_for(filter, key));
            if self.series.is_none() && lookup.is_whole(table, self.time) {
                for key in &keys {
                    lookup.index.for_each_tag_value(table.id, key, &mut |value| {
                        values.insert((key.clone(), value.to_owned()));
                        ControlFlow::Continue(())
                    })?;
                }
                continue;
            }
            let series = self.series.as_ref().map(|e| TagFilter::compile(e, table));
            let series = series.as_ref().map(|filter| (filter, Verdict::Undecided));
            let of_value = self.values.as_ref().map(|e| TagFilter::compile(e, &without_fields(table)));
            lookup.for_each(table, self.time, series, &mut |tags| {
                for key in &keys {
                    let Some(value) = tags.get(key) else { continue };
                    let named = |name: &str| (name == VALUE_NAME).then_some(value);
                    if of_value.as_ref().is_none_or(|f| f.verdict_with(&named) == Verdict::Yes) {
                        values.insert((key.clone(), value.to_owned()));
                    }
                }
                ControlFlow::Continue(())
            })?;
        }
        Ok(values)
    }
}

fn without_fields(table: &Table) -> Table {
    Table { fields: Vec::new(), ..table.clone() }
}

pub fn show_tag_keys(
    lookup: &Lookup<'_>,
    s: &ShowTagKeysStatement,
    database: &Database,
) -> Result<Vec<SeriesBlock>, StatementError> {
    let condition = TagCondition::new(s.condition.as_ref())?;
    let mut blocks = Vec::new();
    for (name, tables) in measurements(database, &any_policy(&s.sources)) {
        if !matches(condition.measurements.as_ref(), &name, &tables, lookup)? {
            continue;
        }
        let mut keys: Vec<String> =
            condition.values_of(lookup, &tables, s.key.as_ref())?.into_iter().map(|(key, _)| key).collect();
        keys.dedup();
        let mut rows = Rows::new(name, &["tagKey"]);
        page(keys, s.limit, s.offset).iter().for_each(|key| rows.row([text(key)]));
        blocks.extend(non_empty(rows));
    }
    Ok(blocks)
}

/// SHOW TAG KEYS looks in all retention policies, whatever FROM says.
fn any_policy(sources: &[Source]) -> Vec<Source> {
    let mut sources = sources.to_vec();
    for source in &mut sources {
        if let Source::Measurement(measurement) = source {
            measurement.retention_policy = None;
        }
    }
    sources
}

pub fn show_tag_values(
    lookup: &Lookup<'_>,
    s: &ShowTagValuesStatement,
    database: &Database,
) -> Result<Vec<SeriesBlock>, StatementError> {
    one_policy(&s.sources)?;
    let condition = TagCondition::new(s.condition.as_ref())?;
    condition.check_left_sides()?;
    let mut blocks = Vec::new();
    for (name, tables) in measurements(database, &s.sources) {
        if !matches(condition.measurements.as_ref(), &name, &tables, lookup)? {
            continue;
        }
        let values = condition.values_of(lookup, &tables, Some(&s.key))?;
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
                let (first, second) = (first.clone(), other.clone());
                return Err(StatementError::SeveralPolicies { first, second });
            }
            (None, Some(policy)) => seen = Some(policy),
            _ => {}
        }
    }
    Ok(())
}

pub fn show_field_keys(
    lookup: &Lookup<'_>,
    s: &ShowFieldKeysStatement,
    database: &str,
    policy: &str,
) -> Result<Vec<SeriesBlock>, StatementError> {
    let mut blocks = Vec::new();
    for (name, tables) in resolved_measurements(&lookup.catalog, database, Some(policy), &s.sources)? {
        let mut fields = BTreeSet::new();
        for table in &tables {
            // A measurement whose series are all deleted does not exist.
            if lookup.index.series_count(table.id)? > 0 {
                fields.extend(table.fields.iter().map(|f| (f.name.as_str(), f.field_type)));
            }
        }
        let mut rows = Rows::new(name, &["fieldKey", "fieldType"]);
        page(fields, s.limit, s.offset).iter().for_each(|(name, t)| rows.row([text(name), text(t.name())]));
        blocks.extend(non_empty(rows));
    }
    Ok(blocks)
}

/// A series without rows is left out of the answer.
pub fn non_empty(rows: Rows) -> Vec<SeriesBlock> {
    if rows.is_empty() { Vec::new() } else { vec![rows.block()] }
}
