//! Random writes, removals and evictions against a model that is a sorted map.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::AsArray;
use arrow::datatypes::{Float64Type, Int64Type};
use hyperbytedb_domain::catalog::{FieldDef, Table, TableId};
use hyperbytedb_domain::field::{FieldType, FieldValue};
use hyperbytedb_domain::points::{FieldColumn, FieldValues};
use hyperbytedb_domain::scan::{
    Aggregate, AggregateFunction, AggregateScan, CompareOp, FieldId, Operand, Predicate, RowScan, Scan,
    ScanOutput, TagId, Window,
};
use hyperbytedb_domain::{QueryContext, SeriesId, Tags, TimeRange};
use hyperbytedb_head::{Head, NewRows, TableHead, scan, snapshot};
use proptest::prelude::*;

const SERIES: u32 = 4;
const TIMES: i64 = 400;
const EVERY: i64 = 50;

/// By series and time: the fields `v` (float) and `s` (string).
type Model = BTreeMap<(u32, i64), (Option<f64>, Option<String>)>;

#[derive(Debug, Clone)]
enum Step {
    /// Series, time, and which of the fields a point has.
    Write(Vec<(u32, i64, bool, bool)>),
    Remove {
        series: Option<u32>,
        from: i64,
        to: i64,
    },
    Evict(i64),
    /// An orderly stop and a start.
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let point = (0..SERIES, 0..TIMES, any::<bool>(), any::<bool>())
        .prop_map(|(series, time, v, s)| (series, time, v || !s, s));
    prop_oneof![
        8 => prop::collection::vec(point, 1..120).prop_map(Step::Write),
        // In order of time, as points usually come.
        4 => (0..SERIES, 0..TIMES, 1..TIMES).prop_map(|(series, from, count)| {
            Step::Write((from..TIMES.min(from + count)).map(|time| (series, time, true, false)).collect())
        }),
        2 => (prop::option::of(0..SERIES), 0..TIMES, 0..TIMES)
            .prop_map(|(series, from, length)| Step::Remove { series, from, to: from + length }),
        1 => (0..TIMES / 4).prop_map(Step::Evict),
        1 => Just(Step::Restart),
    ]
}

fn table() -> Arc<Table> {
    let field = |name: &str, field_type| FieldDef { name: name.into(), field_type };
    Arc::new(Table {
        id: TableId(1),
        database: "db".into(),
        retention_policy: "rp".into(),
        measurement: "m".into(),
        version: 0,
        shard_duration: 1000,
        tags: vec!["host".into()],
        fields: vec![field("v", FieldType::Float), field("s", FieldType::String)],
    })
}

fn host(series: u32) -> String {
    format!("h{series}")
}

fn write(head: &Head, model: &mut Model, table: &Table, points: &[(u32, i64, bool, bool)], number: usize) {
    let series: Vec<(SeriesId, Tags)> = (0..SERIES)
        .map(|n| Tags::new(vec![("host".into(), host(n))]))
        .map(|tags| (tags.series_id(), tags))
        .collect();
    let value = |n: usize| (number * 1000 + n) as f64;
    let mut texts = hyperbytedb_domain::points::StringValues::default();
    (0..points.len()).for_each(|n| texts.push(&format!("t{}", value(n))));
    let column =
        |name: &str, values, present| FieldColumn { name: name.into(), values, present: Some(present) };
    let floats = FieldValues::Float((0..points.len()).map(value).collect());
    let fields = vec![
        (FieldId(0), column("v", floats, points.iter().map(|p| p.2).collect())),
        (FieldId(1), column("s", FieldValues::String(texts), points.iter().map(|p| p.3).collect())),
    ];
    head.push(NewRows {
        table,
        times: &points.iter().map(|p| p.1).collect::<Vec<_>>(),
        series_of_row: &points.iter().map(|p| p.0).collect::<Vec<_>>(),
        series: &series,
        fields: &fields,
    });
    for (n, &(series, time, v, s)) in points.iter().enumerate() {
        let row = model.entry((series, time)).or_default();
        if v {
            row.0 = Some(value(n));
        }
        if s {
            row.1 = Some(format!("t{}", value(n)));
        }
    }
}

fn of_host(series: u32) -> Predicate {
    Predicate::Compare {
        left: Operand::Tag(TagId(0)),
        op: CompareOp::Eq,
        right: Operand::Literal(FieldValue::String(host(series).into())),
    }
}

fn run(
    head: &TableHead,
    filter: Option<Predicate>,
    time: TimeRange,
    output: ScanOutput,
) -> Vec<arrow::array::RecordBatch> {
    let scan_ = Scan { table: table(), time, filter, shards: None, merge_duplicates: false, output };
    let mut stream = scan(head, &scan_, None, &QueryContext::unbounded()).unwrap().unwrap();
    std::iter::from_fn(|| stream.next_batch().unwrap()).collect()
}

/// Rows as (series, time, v, s), as scanned.
fn rows(
    head: &TableHead,
    filter: Option<Predicate>,
    time: TimeRange,
    (grouped, descending): (bool, bool),
) -> Vec<(String, i64, Option<f64>, Option<String>)> {
    let output = RowScan {
        group_by: if grouped { vec![TagId(0)] } else { Vec::new() },
        tags: vec![TagId(0)],
        fields: vec![FieldId(0), FieldId(1)],
        descending,
        ..RowScan::default()
    };
    let mut rows = Vec::new();
    for batch in run(head, filter, time, ScanOutput::Rows(output)) {
        let host = arrow::compute::cast(batch.column(0), &arrow::datatypes::DataType::Utf8).unwrap();
        let (time, v) =
            (batch.column(1).as_primitive::<Int64Type>(), batch.column(2).as_primitive::<Float64Type>());
        let s = batch.column(3).as_string::<i32>();
        for row in 0..batch.num_rows() {
            let text = |row| arrow::array::Array::is_valid(s, row).then(|| s.value(row).to_owned());
            let number = arrow::array::Array::is_valid(v, row).then(|| v.value(row));
            rows.push((host.as_string::<i32>().value(row).to_owned(), time.value(row), number, text(row)));
        }
    }
    rows
}

fn check(head: &TableHead, model: &Model) {
    let from = head.complete_from().max(0);
    let range = TimeRange { min: from, max: TIMES };
    let expected: Vec<_> = model
        .iter()
        .filter(|((_, time), _)| range.contains(*time))
        .map(|((series, time), (v, s))| (host(*series), *time, *v, s.clone()))
        .collect();
    assert_eq!(rows(head, None, range, (true, false)), expected);
    let mut reversed = expected.clone();
    reversed.reverse();
    assert_eq!(rows(head, None, range, (true, true)), reversed);
    // Without groups by time; series of one time always in the order of their tags.
    let mut by_time = expected.clone();
    by_time.sort_by(|a, b| (a.1, &a.0).cmp(&(b.1, &b.0)));
    assert_eq!(rows(head, None, range, (false, false)), by_time);
    by_time.sort_by(|a, b| (b.1, &a.0).cmp(&(a.1, &b.0)));
    assert_eq!(rows(head, None, range, (false, true)), by_time);
    let of_one: Vec<_> = expected.iter().filter(|row| row.0 == host(1)).cloned().collect();
    assert_eq!(rows(head, Some(of_host(1)), range, (true, false)), of_one);
    check_aggregates(head, range, &expected);
    check_ends(head, range, &expected);
}

/// First and last values alone are looked for from their end.
fn check_ends(head: &TableHead, range: TimeRange, expected: &[(String, i64, Option<f64>, Option<String>)]) {
    for function in [AggregateFunction::First, AggregateFunction::Last] {
        let aggregate = |field| Aggregate { function, field: FieldId(field), with_time: true };
        let output = AggregateScan {
            group_by: vec![TagId(0)],
            aggregates: vec![aggregate(0), aggregate(1)],
            ..AggregateScan::default()
        };
        let mut found = Vec::new();
        for batch in run(head, None, range, ScanOutput::Aggregates(output)) {
            let host = arrow::compute::cast(batch.column(0), &arrow::datatypes::DataType::Utf8).unwrap();
            let (host, s) = (host.as_string::<i32>(), batch.column(4).as_string::<i32>());
            let (v, times) = (batch.column(2).as_primitive::<Float64Type>(), [3, 5]);
            let time = |n: usize, row| batch.column(n).as_primitive::<Int64Type>().value(row);
            for row in 0..batch.num_rows() {
                let v = (!batch.column(2).is_null(row)).then(|| (time(times[0], row), v.value(row)));
                let s =
                    (!batch.column(4).is_null(row)).then(|| (time(times[1], row), s.value(row).to_owned()));
                found.push((host.value(row).to_owned(), v, s));
            }
        }
        let mut hosts: Vec<&String> = expected.iter().map(|row| &row.0).collect();
        hosts.sort();
        hosts.dedup();
        let of_host = |host: &String| {
            let mut rows: Vec<_> = expected.iter().filter(|row| row.0 == *host).collect();
            rows.sort_by_key(|row| if function == AggregateFunction::First { row.1 } else { -row.1 });
            let v = rows.iter().find_map(|row| Some((row.1, row.2?)));
            let s = rows.iter().find_map(|row| Some((row.1, row.3.clone()?)));
            (host.clone(), v, s)
        };
        assert_eq!(found, hosts.into_iter().map(of_host).collect::<Vec<_>>(), "{function:?}");
    }
}

fn check_aggregates(
    head: &TableHead,
    range: TimeRange,
    expected: &[(String, i64, Option<f64>, Option<String>)],
) {
    let aggregate = |function| Aggregate { function, field: FieldId(0), with_time: false };
    use AggregateFunction as F;
    let functions = [F::Count, F::Sum, F::Min, F::Max, F::First, F::Last, F::Median];
    let output = AggregateScan {
        window: Some(Window { every: EVERY, offset: 7 }),
        aggregates: functions.map(aggregate).into(),
        count_rows: true,
        ..AggregateScan::default()
    };
    let mut windows: BTreeMap<i64, Vec<(i64, Option<f64>)>> = BTreeMap::new();
    for (_, time, v, _) in expected {
        let start = time - (time - 7).rem_euclid(EVERY);
        windows.entry(start).or_default().push((*time, *v));
    }
    let batches = run(head, None, range, ScanOutput::Aggregates(output));
    assert_eq!(batches.iter().map(|batch| batch.num_rows()).sum::<usize>(), windows.len());
    let Some(batch) = batches.first() else { return };
    for (row, (start, points)) in windows.into_iter().enumerate() {
        let mut present: Vec<(i64, f64)> =
            points.iter().filter_map(|(time, v)| Some((*time, (*v)?))).collect();
        assert_eq!(batch.column(0).as_primitive::<Int64Type>().value(row), start);
        assert_eq!(batch.column(8).as_primitive::<Int64Type>().value(row), points.len() as i64);
        if present.is_empty() {
            assert!((1..8).all(|n| batch.column(n).is_null(row)));
            continue;
        }
        let float = |n: usize| batch.column(n).as_primitive::<Float64Type>().value(row);
        assert_eq!(batch.column(1).as_primitive::<Int64Type>().value(row), present.len() as i64);
        assert_eq!(float(2), present.iter().map(|p| p.1).sum::<f64>());
        assert_eq!(float(3), present.iter().map(|p| p.1).fold(f64::MAX, f64::min));
        assert_eq!(float(4), present.iter().map(|p| p.1).fold(f64::MIN, f64::max));
        // The earliest and the latest time; of several values of one time the greatest.
        let first = present.iter().map(|p| p.0).min().unwrap();
        let last = present.iter().map(|p| p.0).max().unwrap();
        let greatest = |time| present.iter().filter(|p| p.0 == time).map(|p| p.1).fold(f64::MIN, f64::max);
        assert_eq!((float(5), float(6)), (greatest(first), greatest(last)));
        present.sort_by(|a, b| a.1.total_cmp(&b.1));
        let (low, high) = (present[(present.len() - 1) / 2].1, present[present.len() / 2].1);
        assert_eq!(float(7), low + (high - low) / 2.0);
    }
}

/// What a start finds of a head behind log record 7.
fn restarted(head: &Head) -> Head {
    let mut file = Vec::new();
    snapshot::save(head, 7, &mut file).unwrap();
    let next = Head::new(usize::MAX, [TableId(1)]);
    let (tables, outcome) = snapshot::restore(&next, 7, &mut file.as_slice());
    outcome.unwrap();
    assert_eq!(tables, 1);
    next
}

/// A file that is not whole, not sound or not of this log gives nothing that could be wrong.
#[test]
fn a_snapshot_is_taken_only_when_it_is_sound() {
    let (head, table) = (Head::new(usize::MAX, []), table());
    let mut model = Model::new();
    write(
        &head,
        &mut model,
        &table,
        &(0..200).map(|t| (t as u32 % SERIES, t, true, true)).collect::<Vec<_>>(),
        0,
    );
    let mut file = Vec::new();
    snapshot::save(&head, 7, &mut file).unwrap();
    let restore = |sequence, mut bytes: &[u8]| {
        let next = Head::new(usize::MAX, [TableId(1)]);
        let (_, outcome) = snapshot::restore(&next, sequence, &mut bytes);
        (next.table(TableId(1)), outcome)
    };
    check(&restore(7, &file).0.unwrap(), &model);
    assert!(matches!(restore(8, &file), (None, Err(_))), "the log has gone on");
    for cut in (0..file.len()).step_by(97) {
        assert!(matches!(restore(7, &file[..cut]), (None, Err(_))), "cut at {cut}");
        let mut flipped = file.clone();
        flipped[cut] ^= 4;
        assert!(matches!(restore(7, &flipped), (None, Err(_))), "byte {cut}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn the_head_answers_as_a_sorted_map_would(steps in prop::collection::vec(step(), 1..25)) {
        let (mut head, table) = (Head::new(usize::MAX, []), table());
        let mut model = Model::new();
        write(&head, &mut model, &table, &[(0, 0, true, false)], 0);
        for (number, step) in steps.iter().enumerate() {
            let of_table = head.table(table.id).unwrap();
            match step {
                Step::Restart => head = restarted(&head),
                Step::Write(points) => write(&head, &mut model, &table, points, number + 1),
                Step::Remove { series, from, to } => {
                    let range = TimeRange { min: *from, max: *to };
                    of_table.remove(&table, series.map(of_host).as_ref(), range);
                    model.retain(|(s, time), _| series.is_some_and(|series| series != *s) || !range.contains(*time));
                }
                Step::Evict(before) => of_table.evict(*before),
            }
            check(&head.table(table.id).unwrap(), &model);
        }
    }
}

/// A table that the engine held before is whole in memory only behind what the engine held.
#[test]
fn what_the_engine_held_is_not_in_the_head() {
    let (head, table) = (Head::new(usize::MAX, [TableId(1)]), table());
    write(&head, &mut Model::new(), &table, &[(0, 10, true, false), (0, 99, true, false)], 0);
    let head = head.table(table.id).unwrap();
    assert_eq!(head.complete_from(), i64::MAX);
    head.know_stored(Some(50));
    assert_eq!(head.complete_from(), 51);
    head.evict(70);
    assert_eq!(head.complete_from(), 70);
    head.evict(60);
    assert_eq!(head.complete_from(), 70);
}

#[test]
fn the_oldest_times_leave_first() {
    let (head, table) = (Head::new(100_000, []), table());
    let mut model = Model::new();
    for number in 0..40 {
        let from = number as i64 * 100;
        let points: Vec<_> =
            (from..from + 100).map(|time| (number as u32 % SERIES, time, true, false)).collect();
        write(&head, &mut model, &table, &points, number);
    }
    assert!(head.bytes() > 100_000, "{}", head.bytes());
    head.keep_budget();
    assert!(head.bytes() <= 100_000, "{}", head.bytes());
    let of_table = head.table(table.id).unwrap();
    let from = of_table.complete_from();
    assert!(from > 0 && from < 3900, "{from}");
    let kept = rows(&of_table, None, TimeRange { min: from, max: 4000 }, (true, false));
    assert_eq!(kept.len() as i64, 4000 - from);
}
