//! A [`Scan`] as a SELECT.

use hyperbytedb_domain::catalog::Table;
use hyperbytedb_domain::scan::{AggregateScan, Predicate, RowScan, Scan, ScanOutput, TagId, Window};
use hyperbytedb_domain::time::{MAX_TIME, MIN_TIME, TimeRange};

use crate::expr::Expr;
use crate::schema::{self, time};
use crate::select::{OrderBy, Select, Source};
use crate::{aggregate, predicate};

/// Alias of a window's start. No column has this name.
const WINDOW: &str = "w";

/// The text of [`scan_select`].
pub fn scan_sql(scan: &Scan) -> String {
    scan_select(scan).to_string()
}

/// The statement of a scan, with the settings that its meaning depends on. Its columns are those that
/// [`RowScan`] and [`AggregateScan`] describe, in the same order; their names mean nothing.
pub fn scan_select(scan: &Scan) -> Select {
    match &scan.output {
        ScanOutput::Rows(rows) => row_select(scan, rows),
        ScanOutput::Aggregates(aggregates) => aggregate_select(scan, aggregates),
    }
}

/// `sid` of the series that have a row that matches.
pub fn distinct_series(table: &Table, filter: Option<&Predicate>) -> Select {
    // Tags are the same in all rows of a series; a field's earlier value must not match.
    let merge = filter.is_some_and(predicate::reads_fields);
    let mut select = select_from(table, merge, vec![schema::series()]);
    select.distinct = true;
    select.conditions = conditions(table, TimeRange::ALL, filter);
    select
}

/// The conditions of a time range and a filter.
pub(crate) fn conditions(table: &Table, range: TimeRange, filter: Option<&Predicate>) -> Vec<Expr> {
    let mut conditions = Vec::new();
    if range.min > MIN_TIME {
        conditions.push(time().infix(">=", Expr::int(range.min)));
    }
    if range.max < MAX_TIME {
        conditions.push(time().infix("<=", Expr::int(range.max)));
    }
    conditions.extend(filter.map(|f| predicate::condition(table, f)));
    conditions
}

/// Merging never has to look across partitions: one series and time is always in one of them.
fn select_from(table: &Table, merge_duplicates: bool, columns: Vec<Expr>) -> Select {
    let name = schema::table_name(table.id);
    if !merge_duplicates {
        return Select::new(columns, Source::Table(name));
    }
    let mut select = Select::new(columns, Source::FinalTable(name));
    select.settings.set("do_not_merge_across_partitions_select_final", 1);
    select
}

fn row_select(scan: &Scan, rows: &RowScan) -> Select {
    let table = &scan.table;
    let mut columns: Vec<Expr> = rows.tags.iter().map(|t| schema::tag(*t)).collect();
    columns.push(time());
    columns.extend(rows.fields.iter().map(|f| schema::field(*f)));

    let mut select = select_from(table, scan.merge_duplicates, columns);
    select.conditions = conditions(table, scan.time, scan.filter.as_ref());
    if !rows.any_of.is_empty() {
        let present = rows.any_of.iter().map(|f| schema::field(*f).is_not_null()).collect();
        select.conditions.push(Expr::any(present));
    }
    let order_by = |expr| OrderBy { expr, descending: rows.descending };
    let keys = rows.group_by.iter().map(|t| schema::tag(*t)).chain([time()]);
    select.order_by = keys.map(order_by).collect();
    let ties = other_tags(table, &rows.group_by);
    select.order_by.extend(ties.map(|t| OrderBy { expr: schema::tag(t), descending: false }));
    select.limit = rows.limit_per_group;
    select.limit_by = rows.group_by.iter().map(|t| schema::tag(*t)).collect();
    select
}

/// The tags that are not in `group_by`, by name.
fn other_tags(table: &Table, group_by: &[TagId]) -> impl Iterator<Item = TagId> {
    let mut others: Vec<(TagId, &String)> = (0u32..).map(TagId).zip(&table.tags).collect();
    others.retain(|(id, _)| !group_by.contains(id));
    others.sort_unstable_by(|a, b| a.1.cmp(b.1));
    others.into_iter().map(|(id, _)| id)
}

fn aggregate_select(scan: &Scan, aggregates: &AggregateScan) -> Select {
    let table = &scan.table;
    let tags = || aggregates.group_by.iter().map(|t| schema::tag(*t));
    let unique_times = other_tags(table, &aggregates.group_by).next().is_none();

    let mut columns: Vec<Expr> = tags().collect();
    columns.push(match aggregates.window {
        Some(window) => window_start(window, scan.time).alias(WINDOW),
        None => Expr::call("toInt64", [Expr::int(0)]),
    });
    columns.extend(aggregates.aggregates.iter().flat_map(|a| aggregate::columns(table, a, unique_times)));

    let mut select = select_from(table, scan.merge_duplicates, columns);
    select.conditions = conditions(table, scan.time, scan.filter.as_ref());
    select.group_by = tags().chain(aggregates.window.map(|_| Expr::column(WINDOW))).collect();
    let order_by = |expr| OrderBy { expr, descending: aggregates.descending };
    select.order_by = select.group_by.iter().cloned().map(order_by).collect();
    if select.group_by.is_empty() {
        select.settings.set("empty_result_for_aggregation_by_empty_set", 1);
    }
    select
}

/// The greatest start not after `time`; the earliest possible time for a window that starts before it.
fn window_start(window: Window, range: TimeRange) -> Expr {
    let every = window.every.max(1);
    let offset = window.offset.rem_euclid(every);
    // A large number alone would be unsigned, and so would be the division.
    let modulo = |value, function| Expr::call(function, [value, Expr::call("toInt64", [Expr::int(every)])]);
    if range.min >= offset {
        let since_start = modulo(less(time(), offset), "modulo");
        return time().infix("-", since_start);
    }
    let mut since_start = modulo(time(), "positiveModulo");
    if offset > 0 {
        since_start = modulo(less(since_start, offset), "positiveModulo");
    }
    if range.min >= MIN_TIME.saturating_add(every) {
        return time().infix("-", since_start);
    }
    let earliest = Expr::int(MIN_TIME).infix("+", since_start.clone());
    Expr::call("greatest", [time(), earliest]).infix("-", since_start)
}

fn less(value: Expr, offset: i64) -> Expr {
    if offset == 0 { value } else { value.infix("-", Expr::int(offset)) }
}
