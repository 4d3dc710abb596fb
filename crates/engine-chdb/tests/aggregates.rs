//! Every aggregate against values worked out by hand, also in negative times and with ties.
#![allow(clippy::unwrap_used)]

mod common;

use std::sync::Arc;

use common::*;
use hyperbytedb_domain::FieldType;
use hyperbytedb_domain::catalog::Table;
use hyperbytedb_domain::field::FieldValue;
use hyperbytedb_domain::scan::AggregateFunction::*;
use hyperbytedb_domain::scan::{
    Aggregate, AggregateFunction, AggregateScan, CompareOp, FieldId, Operand, Predicate, RowScan, TagId,
    Window,
};
use hyperbytedb_domain::time::{MIN_TIME, TimeRange};

const FLOAT: u32 = 0;
const INTEGER: u32 = 1;
const UNSIGNED: u32 = 2;
const STRING: u32 = 3;
const BOOLEAN: u32 = 4;

fn numbers_table(tags: &[&str]) -> Arc<Table> {
    table(
        1,
        tags,
        &[
            ("f", FieldType::Float),
            ("i", FieldType::Integer),
            ("u", FieldType::Unsigned),
            ("s", FieldType::String),
            ("b", FieldType::Boolean),
        ],
    )
}

fn ask(fixture: &Fixture, t: &Arc<Table>, functions: &[(AggregateFunction, u32, bool)]) -> Vec<FieldValue> {
    let aggregates_wanted: Vec<Aggregate> = functions
        .iter()
        .map(|(function, field, with_time)| aggregate(*function, *field, *with_time))
        .collect();
    let output = AggregateScan { aggregates: aggregates_wanted, ..AggregateScan::default() };
    let mut answer = fixture.run(&aggregates(t, output)).unwrap();
    assert_eq!(answer.len(), 1);
    let row = answer.remove(0);
    assert_eq!(row[0], i(0), "no window: time 0");
    row[1..].to_vec()
}

#[test]
fn all_functions() {
    let t = numbers_table(&["host"]);
    let fixture = open_with(&t);
    fixture.insert(
        &t,
        &[
            row(-20, &["a"], &[f(3.0), i(-4), u(u64::MAX), s("m"), b(false)]),
            row(-10, &["a"], &[f(1.0), i(9), u(2), s("z"), b(true)]),
            row(0, &["b"], &[f(2.0), NULL, u(1), NULL, NULL]),
            row(10, &["b"], &[NULL, i(6), NULL, s("a"), b(true)]),
            row(20, &["c"], &[f(8.0), NULL, u(4), NULL, NULL]),
            row(30, &["c"], &[]),
        ],
    );
    for (function, field, expected) in [
        (Count, FLOAT, i(4)),
        (Count, INTEGER, i(3)),
        (Count, STRING, i(3)),
        (Count, BOOLEAN, i(3)),
        (Sum, FLOAT, f(14.0)),
        (Sum, INTEGER, i(11)),
        (Sum, UNSIGNED, u(6)),
        (Mean, FLOAT, f(3.5)),
        (Mean, INTEGER, f(11.0 / 3.0)),
        (Mean, UNSIGNED, f(1.5)),
        (Min, FLOAT, f(1.0)),
        (Min, INTEGER, i(-4)),
        (Min, UNSIGNED, u(1)),
        (Max, FLOAT, f(8.0)),
        (Max, INTEGER, i(9)),
        (Max, UNSIGNED, u(u64::MAX)),
        (First, FLOAT, f(3.0)),
        (First, STRING, s("m")),
        (First, BOOLEAN, b(false)),
        (Last, INTEGER, i(6)),
        (Last, UNSIGNED, u(4)),
        (Last, STRING, s("a")),
        (Last, BOOLEAN, b(true)),
        (Spread, FLOAT, f(7.0)),
        (Spread, INTEGER, i(13)),
        (Spread, UNSIGNED, u(u64::MAX - 1)),
        (Median, FLOAT, f(2.5)),
        (Median, INTEGER, f(6.0)),
        (Percentile(50.0), FLOAT, f(2.0)),
        (Percentile(100.0), FLOAT, f(8.0)),
        (Percentile(0.0), FLOAT, NULL),
        (Percentile(12.4), FLOAT, NULL),
        (Percentile(12.5), FLOAT, f(1.0)),
        (Percentile(-20.0), FLOAT, NULL),
        (Percentile(140.0), FLOAT, NULL),
        (Percentile(90.0), INTEGER, i(9)),
        (Percentile(1e300), INTEGER, NULL),
        (Percentile(-1e300), INTEGER, NULL),
    ] {
        assert_eq!(ask(&fixture, &t, &[(function, field, false)]), [expected], "{function:?} of {field}");
    }
    let FieldValue::Float(stddev) = ask(&fixture, &t, &[(Stddev, FLOAT, false)])[0] else { panic!() };
    assert!((stddev - (29.0f64 / 3.0).sqrt()).abs() < 1e-12, "{stddev}");

    // Several at once, with times where there are any.
    let answer = ask(
        &fixture,
        &t,
        &[
            (Min, FLOAT, true),
            (Max, FLOAT, true),
            (First, INTEGER, true),
            (Last, INTEGER, true),
            (Percentile(50.0), FLOAT, true),
            (Count, FLOAT, true),
        ],
    );
    let expected = [f(1.0), i(-10), f(8.0), i(20), i(-4), i(-20), i(6), i(10), f(2.0), i(0), i(4)];
    assert_eq!(answer, expected);
}

#[test]
fn no_values_are_null() {
    let t = numbers_table(&["host"]);
    let fixture = open_with(&t);
    fixture.insert(&t, &[row(1, &["a"], &[f(1.0)])]);
    let functions = [Count, Sum, Mean, Min, Max, First, Last, Spread, Stddev, Median, Percentile(50.0)]
        .map(|x| (x, INTEGER, true));
    let nulls = vec![NULL; 6 + 2 * 5];
    assert_eq!(ask(&fixture, &t, &functions), nulls);
    // One value has no deviation.
    assert_eq!(ask(&fixture, &t, &[(Stddev, FLOAT, false)]), [NULL]);
    assert_eq!(ask(&fixture, &t, &[(Last, STRING, true), (First, BOOLEAN, true)]), [NULL, NULL, NULL, NULL]);

    // No rows, no groups.
    let nothing = Predicate::Constant(false);
    let count = AggregateScan { aggregates: vec![aggregate(Count, FLOAT, false)], ..Default::default() };
    assert!(fixture.run(&filtered(aggregates(&t, count.clone()), nothing.clone())).unwrap().is_empty());
    let grouped = AggregateScan { group_by: vec![TagId(0)], ..count };
    assert!(fixture.run(&filtered(aggregates(&t, grouped), nothing)).unwrap().is_empty());
}

#[test]
fn integers_wrap() {
    let t = numbers_table(&[]);
    let fixture = open_with(&t);
    fixture.insert(
        &t,
        &[
            row(1, &[], &[NULL, i(i64::MAX), u(u64::MAX)]),
            row(2, &[], &[NULL, i(i64::MIN), u(0)]),
            row(3, &[], &[NULL, i(i64::MIN), u(2)]),
        ],
    );
    let answer = ask(
        &fixture,
        &t,
        &[
            (Sum, INTEGER, false),
            (Sum, UNSIGNED, false),
            (Spread, INTEGER, false),
            (Spread, UNSIGNED, false),
            (Mean, INTEGER, false),
        ],
    );
    assert_eq!(answer, [i(i64::MAX), u(1), i(-1), u(u64::MAX), f(i64::MAX as f64 / 3.0)]);
}

#[test]
fn ties() {
    let t = numbers_table(&["host"]);
    let fixture = open_with(&t);
    let hosts = ["a", "b", "c"];
    // All hosts at the same times; the extremes twice.
    for (n, host) in (0i64..).zip(hosts) {
        let text = ["k", "x", "c"][n as usize];
        let rows_in: Vec<Row> = [-9, -8, -7]
            .map(|time| row(time, &[host], &[f(n as f64), i(-n), u(n as u64), s(text), b(n == 1)]))
            .to_vec();
        fixture.insert(&t, &rows_in);
    }
    assert_eq!(
        ask(
            &fixture,
            &t,
            &[
                (First, FLOAT, true),
                (Last, FLOAT, true),
                (First, INTEGER, true),
                (Last, INTEGER, true),
                (First, STRING, true),
                (Last, STRING, true),
                (First, BOOLEAN, true),
                (Last, BOOLEAN, true),
            ]
        ),
        [
            f(2.0),
            i(-9),
            f(2.0),
            i(-7),
            i(0),
            i(-9),
            i(0),
            i(-7),
            s("x"),
            i(-9),
            s("x"),
            i(-7),
            b(true),
            i(-9),
            b(true),
            i(-7),
        ]
    );
    assert_eq!(
        ask(
            &fixture,
            &t,
            &[
                (Min, FLOAT, true),
                (Max, FLOAT, true),
                (Min, INTEGER, true),
                (Max, INTEGER, true),
                (Min, UNSIGNED, true),
                (Max, UNSIGNED, true),
            ]
        ),
        [f(0.0), i(-9), f(2.0), i(-9), i(-2), i(-9), i(0), i(-9), u(0), i(-9), u(2), i(-9)]
    );
    // Grouped by every tag there are no ties in time; the answers are the series' own.
    let by_host = AggregateScan {
        group_by: vec![TagId(0)],
        aggregates: vec![aggregate(First, FLOAT, true), aggregate(Last, STRING, true)],
        ..Default::default()
    };
    assert_eq!(
        fixture.run(&aggregates(&t, by_host)).unwrap(),
        [
            [s("a"), i(0), f(0.0), i(-9), s("k"), i(-7)],
            [s("b"), i(0), f(1.0), i(-9), s("x"), i(-7)],
            [s("c"), i(0), f(2.0), i(-9), s("c"), i(-7)],
        ]
    );
}

#[test]
fn last_takes_the_last_value_not_the_last_row() {
    let t = numbers_table(&["host"]);
    let fixture = open_with(&t);
    fixture.insert(
        &t,
        &[
            row(1, &["a"], &[NULL, i(1)]),
            row(2, &["a"], &[f(5.0)]),
            row(3, &["a"], &[f(6.0)]),
            row(4, &["a"], &[NULL, i(2)]),
        ],
    );
    for group_by in [vec![], vec![TagId(0)]] {
        let tags = group_by.len();
        let scan = AggregateScan {
            group_by,
            aggregates: vec![aggregate(First, FLOAT, true), aggregate(Last, FLOAT, true)],
            ..Default::default()
        };
        assert_eq!(fixture.run(&aggregates(&t, scan)).unwrap()[0][tags + 1..], [f(5.0), i(2), f(6.0), i(3)]);
    }
}

#[test]
fn windows_and_groups() {
    let t = table(1, &["host", "dc"], &[("v", FieldType::Integer)]);
    let fixture = open_with(&t);
    let hour = 3_600_000_000_000;
    let times: Vec<i64> = (-25..25).chain((-25..25).filter(|n| *n != 0).map(|n| n * hour)).collect();
    let rows_in: Vec<Row> =
        times.iter().flat_map(|time| ["a", "b"].map(|host| row(*time, &[host, "x"], &[i(1)]))).collect();
    fixture.insert(&t, &rows_in);
    for (every, offset, min, max) in [
        (10, 0, -25, 24),
        (10, 3, -25, 24),
        (10, -3, -25, 24),
        (10, 23, -25, 24),
        (7, 5, -20, 20),
        (10, 0, 5, 24),
        (10, 7, 5, 24),
        (10, 7, 8, 24),
        (10, 0, i64::MIN, i64::MAX),
        (10, 4, i64::MIN, i64::MAX),
        (1, 0, 0, 3),
        (hour, 0, -25 * hour, 25 * hour),
        (24 * hour, 0, i64::MIN, i64::MAX),
        (24 * hour, hour, i64::MIN, i64::MAX),
        (7 * hour, -hour, -20 * hour, i64::MAX),
        (7 * hour, 5, 0, i64::MAX),
        (7 * hour, 5, 5, i64::MAX),
        (i64::MAX, 0, -25, 24),
        (i64::MAX, 5, -25, 24),
    ] {
        for (descending, window_first) in [(false, false), (false, true), (true, false), (true, true)] {
            let output = AggregateScan {
                group_by: vec![TagId(0)],
                after_time: if window_first { vec![TagId(0)] } else { Vec::new() },
                window: Some(Window { every, offset }),
                aggregates: vec![aggregate(Count, 0, false)],
                descending,
                ..AggregateScan::default()
            };
            let mut scan = aggregates(&t, output);
            scan.time = TimeRange { min, max };
            let mut expected = std::collections::BTreeMap::new();
            for time in times.iter().copied().filter(|time| scan.time.contains(*time)) {
                let [time, every, offset] = [time, every, offset].map(i128::from);
                let start = (time - (time - offset).rem_euclid(every)).max(i128::from(MIN_TIME)) as i64;
                for host in ["a", "b"] {
                    *expected.entry((host, start)).or_insert(0) += 1;
                }
            }
            let mut groups: Vec<((&str, i64), i64)> = expected.into_iter().collect();
            if descending {
                groups.reverse();
            }
            if window_first {
                let directed = |start: i64| if descending { -i128::from(start) } else { i128::from(start) };
                groups.sort_by_key(|((host, start), _)| (directed(*start), *host));
            }
            let expected: Vec<_> =
                groups.into_iter().map(|((host, start), n)| vec![s(host), i(start), i(n)]).collect();
            assert_eq!(fixture.run(&scan).unwrap(), expected, "{every} {offset} {min}..={max}");
        }
    }
}

#[test]
fn a_window_that_starts_before_time() {
    let t = table(1, &[], &[("v", FieldType::Integer)]);
    let fixture = open_with(&t);
    fixture.insert(&t, &[row(MIN_TIME, &[], &[i(1)]), row(i64::MAX - 1, &[], &[i(2)])]);
    let output = AggregateScan {
        window: Some(Window { every: WEEK, offset: 11 }),
        aggregates: vec![aggregate(Sum, 0, false)],
        ..Default::default()
    };
    let last = i64::MAX - 1;
    let last = last - (last - 11).rem_euclid(WEEK);
    assert_eq!(fixture.run(&aggregates(&t, output)).unwrap(), [[i(MIN_TIME), i(1)], [i(last), i(2)]]);
}

#[test]
fn duplicates_count_once_when_merged() {
    let t = table(1, &["host"], &[("v", FieldType::Float)]);
    let fixture = open_with(&t);
    fixture.insert(&t, &[row(1, &["a"], &[f(1.0)]), row(2, &["a"], &[f(2.0)])]);
    fixture.insert(&t, &[row(1, &["a"], &[f(5.0)])]);
    let output = AggregateScan {
        aggregates: vec![aggregate(Count, 0, false), aggregate(Sum, 0, false)],
        ..Default::default()
    };
    let mut scan = aggregates(&t, output);
    scan.merge_duplicates = true;
    assert_eq!(fixture.run(&scan).unwrap(), [[i(0), i(2), f(7.0)]]);
    // The condition is on the merged value.
    let is_one = Predicate::Compare {
        left: Operand::Field(FieldId(0)),
        op: CompareOp::Eq,
        right: Operand::Literal(f(1.0)),
    };
    assert!(fixture.run(&filtered(scan, is_one)).unwrap().is_empty());
}

#[test]
fn rows_in_order() {
    let t = table(1, &["z", "a"], &[("v", FieldType::Integer), ("w", FieldType::Integer)]);
    let fixture = open_with(&t);
    fixture.insert(
        &t,
        &[
            row(1, &["x", "q"], &[i(1)]),
            row(1, &["y", "p"], &[i(2), i(20)]),
            row(2, &["x", "q"], &[NULL, i(30)]),
            row(2, &["", "p"], &[i(4)]),
            row(3, &["é", ""], &[NULL, NULL]),
        ],
    );
    let scan = |output: RowScan| {
        let only_v = RowScan { tags: vec![TagId(0)], fields: vec![FieldId(0)], ..output };
        fixture.run(&rows(&t, only_v)).unwrap()
    };
    let by = |group_by: &[u32], descending, limit_per_group| RowScan {
        group_by: group_by.iter().map(|t| TagId(*t)).collect(),
        descending,
        limit_per_group,
        ..RowScan::default()
    };
    // Ties in time are in the order of the tag `a`, then `z`.
    let (x1, y1, x2, e2, u3) = (
        vec![s("x"), i(1), i(1)],
        vec![s("y"), i(1), i(2)],
        vec![s("x"), i(2), NULL],
        vec![s(""), i(2), i(4)],
        vec![s("é"), i(3), NULL],
    );
    let pick = |rows: &[&Vec<FieldValue>]| rows.iter().map(|r| r.to_vec()).collect::<Vec<_>>();
    assert_eq!(scan(by(&[], false, 0)), pick(&[&y1, &x1, &e2, &x2, &u3]));
    assert_eq!(scan(by(&[], true, 0)), pick(&[&u3, &e2, &x2, &y1, &x1]));
    assert_eq!(scan(by(&[], false, 2)), pick(&[&y1, &x1]));
    assert_eq!(scan(by(&[0], false, 0)), pick(&[&e2, &x1, &x2, &y1, &u3]));
    assert_eq!(scan(by(&[0], true, 0)), pick(&[&u3, &y1, &x2, &x1, &e2]));
    assert_eq!(scan(by(&[0], false, 1)), pick(&[&e2, &x1, &y1, &u3]));
    assert_eq!(scan(by(&[1, 0], false, 1)), pick(&[&u3, &e2, &y1, &x1]));

    let some = |any_of: &[u32]| RowScan {
        any_of: any_of.iter().map(|n| FieldId(*n)).collect(),
        ..by(&[], false, 0)
    };
    assert_eq!(scan(some(&[0])), pick(&[&y1, &x1, &e2]));
    assert_eq!(scan(some(&[0, 1])), pick(&[&y1, &x1, &e2, &x2]));
}
