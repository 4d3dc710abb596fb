//! A [`Scan`] as a SELECT.

use std::iter;

use hyperbytedb_domain::SeriesId;
use hyperbytedb_domain::catalog::Table;
use hyperbytedb_domain::scan::{
    Aggregate, AggregateFunction, AggregateScan, DIGEST_BUCKETS, DigestBy, FieldId, Predicate, RowScan,
    RowSelection, Scan, ScanOutput, TagId, Window,
};
use hyperbytedb_domain::time::{MAX_TIME, MIN_TIME, TimeRange};

use crate::expr::{Expr, Literal};
use crate::schema::{self, time};
use crate::select::{OrderBy, Select, Source, TableName};
use crate::{aggregate, predicate};

/// Alias of a window's start. No column has this name, nor that of a tag's alias (`g<n>`).
const WINDOW: &str = "w";

/// The statement of a scan over the rows of `from`, with the settings that its meaning depends on. Its columns are those that
/// [`RowScan`] and [`AggregateScan`] describe, in the same order; their names mean nothing.
pub fn scan_select(scan: &Scan, from: TableName) -> Select {
    match &scan.output {
        ScanOutput::Rows(rows) => row_select(scan, from, rows),
        ScanOutput::Aggregates(aggregates) => aggregate_select(scan, from, aggregates),
    }
}

/// `sid` of the series that have a row of the selection.
pub fn distinct_series(table: &Table, from: TableName, rows: &RowSelection) -> Select {
    // Tags are the same in all rows of a series, so rows need no merging.
    let mut select = Select::new(vec![schema::series()], Source::Table(from));
    select.distinct = true;
    select.conditions = selected(table, rows);
    select
}

/// What the rows of a selection come to, as [`Digest`](hyperbytedb_domain::scan::Digest): key, rows, hash. It is the same
/// on every node, however the rows are stored.
pub fn digests(
    table: &Table,
    from: TableName,
    rows: &RowSelection,
    merge_duplicates: bool,
    by: &DigestBy,
) -> Select {
    let bucket = || schema::series().infix("%", Expr::Literal(Literal::UInt(DIGEST_BUCKETS)));
    let key = match by {
        DigestBy::Bucket => Expr::call("toUInt64", vec![bucket()]),
        DigestBy::Series(_) => schema::series(),
    };
    let value = |field: u32| {
        let column = schema::field(FieldId(field));
        let hash = Expr::call("cityHash64", vec![Expr::call("assumeNotNull", vec![column.clone()])]);
        Expr::call("if", vec![column.is_not_null(), hash, Expr::Literal(Literal::UInt(0))])
    };
    let parts = [schema::series(), time()].into_iter().chain((0..table.fields.len() as u32).map(value));
    let hash = Expr::call("sum", vec![Expr::call("cityHash64", parts.collect::<Vec<_>>())]);
    let mut select =
        select_from(from, merge_duplicates, vec![key.clone(), Expr::call("count", vec![]), hash]);
    select.conditions = selected(table, rows);
    if let DigestBy::Series(buckets) = by {
        select.conditions.push(is_in(bucket(), buckets.iter().copied()));
    }
    select.group_by = vec![key];
    select
}

/// The rows of a selection with all columns of the table, in the order of [`schema::columns`], by series and time.
pub fn stored_rows(table: &Table, from: TableName, rows: &RowSelection, merge_duplicates: bool) -> Select {
    let columns = schema::columns(table).into_iter().map(|column| Expr::column(column.name)).collect();
    let mut select = select_from(from, merge_duplicates, columns);
    select.conditions = selected(table, rows);
    select.order_by = [schema::series(), time()].map(|expr| OrderBy { expr, descending: false }).into();
    // As they are stored: nothing is sorted as a whole.
    select.settings.set("optimize_read_in_order", 1);
    select
}

/// The conditions of a selection.
pub(crate) fn selected(table: &Table, rows: &RowSelection) -> Vec<Expr> {
    let mut conditions = conditions(table, rows.shards.as_deref(), rows.time, rows.filter.as_ref());
    conditions.extend(rows.series.as_deref().map(one_of));
    conditions
}

fn scan_conditions(scan: &Scan) -> Vec<Expr> {
    conditions(&scan.table, scan.shards.as_deref(), scan.time, scan.filter.as_ref())
}

fn conditions(
    table: &Table,
    shards: Option<&[u64]>,
    range: TimeRange,
    filter: Option<&Predicate>,
) -> Vec<Expr> {
    let mut conditions = Vec::new();
    conditions.extend(shards.map(|shards| is_in(schema::shard(), shards.iter().copied())));
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
fn select_from(from: TableName, merge_duplicates: bool, columns: Vec<Expr>) -> Select {
    if !merge_duplicates {
        return Select::new(columns, Source::Table(from));
    }
    let mut select = Select::new(columns, Source::FinalTable(from));
    select.settings.set("do_not_merge_across_partitions_select_final", 1);
    select
}

fn row_select(scan: &Scan, from: TableName, rows: &RowScan) -> Select {
    let table = &scan.table;
    let mut columns: Vec<Expr> = rows.tags.iter().map(|t| schema::tag(*t)).collect();
    columns.push(time());
    columns.extend(rows.fields.iter().map(|f| schema::field(*f)));

    let mut select = select_from(from, scan.merge_duplicates, columns);
    select.conditions = scan_conditions(scan);
    select.conditions.extend(rows.series.as_deref().map(one_of));
    if !rows.any_of.is_empty() {
        let present = rows.any_of.iter().map(|f| schema::field(*f).is_not_null()).collect();
        select.conditions.push(Expr::any(present));
    }
    let order_by = |expr| OrderBy { expr, descending: rows.descending };
    let keys = rows.group_by.iter().map(|t| schema::tag(*t)).chain([time()]);
    select.order_by = keys.map(order_by).collect();
    // One series has no two rows of one time.
    if rows.series.as_ref().is_none_or(|series| series.len() > 1) {
        select.order_by.extend(ties(table, &rows.group_by).map(|expr| OrderBy { expr, descending: false }));
    }
    select.limit = rows.limit_per_group;
    select.limit_by = rows.group_by.iter().map(|t| schema::tag(*t)).collect();
    if let Some(bound) = rows.sort_bound {
        for (name, limit) in [("max_rows_to_sort", bound.rows), ("max_bytes_to_sort", bound.bytes)] {
            if limit > 0 {
                select.settings.set(name, limit);
            }
        }
    }
    select
}

fn one_of(series: &[SeriesId]) -> Expr {
    is_in(schema::series(), series.iter().map(|id| id.0))
}

fn is_in(expr: Expr, numbers: impl Iterator<Item = u64>) -> Expr {
    Expr::In { expr: Box::new(expr), values: numbers.map(Literal::UInt).collect() }
}

/// What orders rows of one time. One text, because sorting by many dictionary columns takes ten times as long where
/// ties are many.
fn ties(table: &Table, group_by: &[TagId]) -> Option<Expr> {
    let others = table.other_tags(group_by);
    if others.is_empty() {
        return None;
    }
    let separator = Expr::string("\0");
    let parts: Vec<Expr> = iter::once(separator).chain(others.into_iter().map(schema::tag)).collect();
    Some(Expr::call("concatWithSeparator", parts))
}

fn aggregate_select(scan: &Scan, from: TableName, aggregates: &AggregateScan) -> Select {
    let table = &scan.table;
    let tags: Vec<Expr> = aggregates.group_by.iter().map(|t| schema::tag(*t)).collect();
    let one_series_a_group = table.other_tags(&aggregates.group_by).is_empty();
    let (mut columns, mut group_by, mut keys) = (Vec::new(), Vec::new(), Vec::new());
    if one_series_a_group && !tags.is_empty() {
        // Grouping by a number is faster than by texts.
        group_by.push(schema::series());
        for (n, tag) in tags.into_iter().enumerate() {
            let alias = format!("g{n}");
            keys.push(Expr::column(alias.as_str()));
            columns.push(Expr::call("any", [tag]).alias(alias));
        }
    } else {
        group_by.extend(tags.iter().cloned());
        keys.extend(tags.iter().cloned());
        columns = tags;
    }
    let keys = keys.into_iter().zip(&aggregates.group_by);
    let (after, before): (Vec<_>, Vec<_>) = keys.partition(|(_, tag)| aggregates.after_time.contains(tag));
    let mut order_by: Vec<Expr> = before.into_iter().map(|(key, _)| key).collect();
    if let Some(window) = aggregates.window {
        columns.push(window_start(window, scan.time).alias(WINDOW));
        group_by.push(Expr::column(WINDOW));
        order_by.push(Expr::column(WINDOW));
    } else {
        columns.push(Expr::call("toInt64", [Expr::int(0)]));
    }
    let is_read = |field| {
        let reads = |a: &Aggregate| a.field == field && a.function != AggregateFunction::Count;
        scan.merge_duplicates || aggregates.aggregates.iter().any(reads)
    };
    columns.extend(
        aggregates
            .aggregates
            .iter()
            .flat_map(|a| aggregate::columns(table, a, one_series_a_group, !is_read(a.field))),
    );

    if aggregates.count_rows {
        columns.push(Expr::call("toInt64", [Expr::call("count", [])]));
    }

    let mut select = select_from(from, scan.merge_duplicates, columns);
    select.conditions = scan_conditions(scan);
    select.conditions.extend(aggregates.series.as_deref().map(one_of));
    if group_by.is_empty() {
        select.settings.set("empty_result_for_aggregation_by_empty_set", 1);
        if aggregates.aggregates.is_empty() && !aggregates.count_rows {
            // Nothing makes it an aggregation: one row tells that there are any.
            select.limit = 1;
        }
    }
    select.group_by = group_by;
    let descending = aggregates.descending;
    select.order_by = order_by.into_iter().map(|expr| OrderBy { expr, descending }).collect();
    select.order_by.extend(after.into_iter().map(|(expr, _)| OrderBy { expr, descending: false }));
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use hyperbytedb_domain::FieldType;
    use hyperbytedb_domain::catalog::{FieldDef, TableId};
    use hyperbytedb_domain::field::FieldValue;
    use hyperbytedb_domain::scan::{CompareOp, FieldId, Operand, Predicate, ScanOutput, SortBound};

    use super::*;

    fn scan(output: ScanOutput) -> Scan {
        let fields = [("v", FieldType::Float), ("s", FieldType::String)];
        let table = Table {
            id: TableId(7),
            database: "db".into(),
            retention_policy: "rp".into(),
            measurement: "m".into(),
            version: 0,
            shard_duration: 100,
            tags: vec!["z".into(), "a".into()],
            fields: fields.map(|(name, field_type)| FieldDef { name: name.into(), field_type }).into(),
        };
        Scan {
            table: Arc::new(table),
            time: TimeRange::ALL,
            filter: None,
            shards: None,
            merge_duplicates: false,
            output,
        }
    }

    fn scan_sql(scan: &Scan) -> String {
        scan_select(scan, schema::table_name(scan.table.id)).to_string()
    }

    #[test]
    fn rows() {
        let output = RowScan {
            group_by: vec![TagId(0)],
            tags: vec![TagId(0)],
            fields: vec![FieldId(0)],
            any_of: vec![FieldId(0), FieldId(1)],
            descending: true,
            limit_per_group: 5,
            series: Some([SeriesId(7), SeriesId(9)].into()),
            sort_bound: Some(SortBound { rows: 100, bytes: 0 }),
        };
        let mut scan = scan(ScanOutput::Rows(output));
        scan.time = TimeRange { min: 10, max: MAX_TIME };
        scan.shards = Some([3, 5].into());
        scan.merge_duplicates = true;
        scan.filter = Some(Predicate::Compare {
            left: Operand::Tag(TagId(1)),
            op: CompareOp::Ne,
            right: Operand::Literal(FieldValue::String("'".into())),
        });
        assert_eq!(
            scan_sql(&scan),
            "SELECT `t0`, `time`, `f0` FROM `hyperbyte`.`m7` FINAL \
             WHERE (`shard` IN (3, 5)) AND (`time` >= 10) AND (`t1` != '\\'') AND (`sid` IN (7, 9)) AND (isNotNull(`f0`) OR isNotNull(`f1`)) \
             ORDER BY `t0` DESC, `time` DESC, concatWithSeparator('\\x00', `t1`) \
             LIMIT 5 BY `t0` SETTINGS do_not_merge_across_partitions_select_final = 1, max_rows_to_sort = 100"
        );
    }

    #[test]
    fn aggregates() {
        let mean = Aggregate { function: AggregateFunction::Mean, field: FieldId(0), with_time: false };
        let output = AggregateScan { aggregates: vec![mean], ..AggregateScan::default() };
        assert_eq!(
            scan_sql(&scan(ScanOutput::Aggregates(output.clone()))),
            "SELECT toInt64(0), avg(`f0`) FROM `hyperbyte`.`m7` \
             SETTINGS empty_result_for_aggregation_by_empty_set = 1"
        );
        let by_tag = AggregateScan {
            group_by: vec![TagId(1)],
            window: Some(Window { every: 60, offset: 0 }),
            ..output.clone()
        };
        let mut by_tag = scan(ScanOutput::Aggregates(by_tag));
        by_tag.time = TimeRange { min: 0, max: 99 };
        assert_eq!(
            scan_sql(&by_tag),
            "SELECT `t1`, (`time` - modulo(`time`, toInt64(60))) AS `w`, avg(`f0`) FROM `hyperbyte`.`m7` \
             WHERE (`time` >= 0) AND (`time` <= 99) GROUP BY `t1`, `w` ORDER BY `t1`, `w`"
        );
        let rows = AggregateScan {
            window: Some(Window { every: 60, offset: 0 }),
            count_rows: true,
            series: Some([SeriesId(7)].into()),
            ..AggregateScan::default()
        };
        let mut rows = scan(ScanOutput::Aggregates(rows));
        rows.time = TimeRange { min: 0, max: 99 };
        assert_eq!(
            scan_sql(&rows),
            "SELECT (`time` - modulo(`time`, toInt64(60))) AS `w`, toInt64(count()) FROM `hyperbyte`.`m7` \
             WHERE (`time` >= 0) AND (`time` <= 99) AND (`sid` IN (7)) GROUP BY `w` ORDER BY `w`"
        );
        let by_series =
            AggregateScan { group_by: vec![TagId(1), TagId(0)], descending: true, ..output.clone() };
        assert_eq!(
            scan_sql(&scan(ScanOutput::Aggregates(by_series))),
            "SELECT any(`t1`) AS `g0`, any(`t0`) AS `g1`, toInt64(0), avg(`f0`) FROM `hyperbyte`.`m7` \
             GROUP BY `sid` ORDER BY `g0` DESC, `g1` DESC"
        );
        let by_window_first = AggregateScan {
            group_by: vec![TagId(0), TagId(1)],
            after_time: vec![TagId(0)],
            window: Some(Window { every: 60, offset: 0 }),
            descending: true,
            ..output
        };
        assert!(
            scan_sql(&scan(ScanOutput::Aggregates(by_window_first)))
                .ends_with("GROUP BY `sid`, `w` ORDER BY `g1` DESC, `w` DESC, `g0`")
        );
    }

    /// The values are read only where something else needs them, or where they are merged.
    #[test]
    fn counts_read_which_values_are_there() {
        let of = |function, field| Aggregate { function, field: FieldId(field), with_time: false };
        let count = of(AggregateFunction::Count, 0);
        let sql = |merge_duplicates, more: &[Aggregate]| {
            let aggregates = [std::slice::from_ref(&count), more].concat();
            let output = AggregateScan { aggregates, ..AggregateScan::default() };
            let mut scan = scan(ScanOutput::Aggregates(output));
            scan.merge_duplicates = merge_duplicates;
            scan_sql(&scan)
        };
        let (nulls, values) = ("sum(not(`f0`.`null`))", "count(`f0`)");
        let other = of(AggregateFunction::Max, 1);
        for (sql, expected) in [
            (sql(false, &[]), nulls),
            (sql(false, &[other]), nulls),
            (sql(false, &[of(AggregateFunction::Max, 0)]), values),
            (sql(true, &[]), values),
        ] {
            assert!(sql.contains(&format!("nullIf(toInt64({expected}), 0)")), "{sql}");
        }
    }

    #[test]
    fn windows() {
        let text = |every, offset, min| {
            window_start(Window { every, offset }, TimeRange { min, max: MAX_TIME }).to_string()
        };
        assert_eq!(text(60, 5, 5), "(`time` - modulo((`time` - 5), toInt64(60)))");
        assert_eq!(text(60, -55, 5), text(60, 5, 5));
        assert_eq!(text(60, 0, -1), "(`time` - positiveModulo(`time`, toInt64(60)))");
        assert_eq!(
            text(60, 5, 0),
            "(`time` - positiveModulo((positiveModulo(`time`, toInt64(60)) - 5), toInt64(60)))"
        );
        assert_eq!(
            text(60, 0, MIN_TIME),
            "(greatest(`time`, (-9223372036854775806 + positiveModulo(`time`, toInt64(60)))) - \
             positiveModulo(`time`, toInt64(60)))"
        );
    }
}
