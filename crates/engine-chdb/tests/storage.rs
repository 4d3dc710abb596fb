//! What is stored: creation, upsert per field, names and values of every kind, deletion.
#![allow(clippy::unwrap_used)]

mod common;

use std::path::Path;
use std::sync::Arc;

use common::*;
use hyperbytedb_domain::FieldType;
use hyperbytedb_domain::catalog::{FieldDef, Table, TableId};
use hyperbytedb_domain::field::FieldValue;
use hyperbytedb_domain::ports::{PointsSinkPort, QueryPort};
use hyperbytedb_domain::scan::{
    AggregateFunction, AggregateScan, CompareOp, FieldId, Operand, Predicate, RowScan, RowSelection, TagId,
};
use hyperbytedb_domain::time::{MAX_TIME, MIN_TIME, TimeRange};
use hyperbytedb_engine_chdb::ChdbEngine;

fn with_more(table: &Table, tag: &str, field: &str, field_type: FieldType) -> Arc<Table> {
    let mut table = table.clone();
    table.tags.push(tag.into());
    table.fields.push(FieldDef { name: field.into(), field_type });
    Arc::new(table)
}

#[test]
fn tables_are_made_and_grow() {
    let fixture = open();
    let first = table(1, &["host"], &[("v", FieldType::Float)]);
    // Never written: nothing to see, nothing made.
    assert_eq!(fixture.all_rows(&first, false), Vec::<Vec<FieldValue>>::new());
    assert_eq!(fixture.engine.existing_tables().unwrap(), []);

    fixture.engine.ensure_table(&first).unwrap();
    fixture.engine.ensure_table(&first).unwrap();
    fixture.insert(&first, &[row(1, &["a"], &[f(1.0)])]);

    // A scan may know of columns before the flusher does.
    let second = with_more(&first, "rack", "n", FieldType::Integer);
    assert_eq!(fixture.all_rows(&second, false), [[s("a"), s(""), i(1), f(1.0), NULL]]);
    fixture.engine.ensure_table(&second).unwrap();
    fixture.insert(&second, &[row(2, &["a", "r"], &[NULL, i(7)])]);
    let both = [vec![s("a"), s(""), i(1), f(1.0), NULL], vec![s("a"), s("r"), i(2), NULL, i(7)]];
    assert_eq!(fixture.all_rows(&second, true), both);

    // After a restart the engine is asked what exists; also by one who knows fewer columns.
    let fixture = fixture.reopen();
    fixture.engine.ensure_table(&first).unwrap();
    let third = with_more(&second, "x", "s", FieldType::String);
    fixture.engine.ensure_table(&third).unwrap();
    fixture.insert(&third, &[row(3, &["b", "", "x"], &[NULL, NULL, s("t")])]);
    assert_eq!(fixture.all_rows(&second, false).len(), 3);
    assert_eq!(fixture.engine.existing_tables().unwrap(), [TableId(1)]);

    fixture.engine.drop_table(TableId(1)).unwrap();
    fixture.engine.drop_table(TableId(1)).unwrap();
    assert_eq!(fixture.engine.existing_tables().unwrap(), []);
    assert_eq!(fixture.all_rows(&third, true), Vec::<Vec<FieldValue>>::new());
    assert_eq!(fixture.engine.existing_tables().unwrap(), []);
    assert_eq!(fixture.engine.max_times(TableId(1)).unwrap(), []);
    assert_eq!(fixture.engine.partitions(Some(TableId(1))).unwrap(), []);
    fixture.engine.drop_partitions(TableId(1), &[0]).unwrap();
    fixture.engine.merge_partition(TableId(1), 0).unwrap();
    delete(&fixture, &third, TimeRange::ALL, None);
}

/// As a full disk leaves them when a table gets a column.
#[test]
fn definitions_that_were_emptied_are_written_anew() {
    let every_type = [
        ("a", FieldType::Float),
        ("b", FieldType::Integer),
        ("c", FieldType::Unsigned),
        ("d", FieldType::Boolean),
        ("e", FieldType::String),
    ];
    let fixture = open();
    let first = table(1, &["host"], &every_type);
    fixture.engine.ensure_table(&first).unwrap();
    fixture.insert(&first, &[row(1, &["a"], &[f(1.0), i(1), NULL, NULL, s("x")])]);
    let second = with_more(&first, "rack", "n", FieldType::Integer);
    fixture.engine.ensure_table(&second).unwrap();
    fixture.insert(&second, &[row(2, &["a", "r"], &[f(2.0), NULL, NULL, NULL, s("y"), i(7)])]);
    let before = fixture.all_rows(&second, false);
    let file = fixture.directory.path().join("chdb/metadata/hyperbyte/m1.sql");
    let Fixture { engine, directory } = fixture;
    drop(engine);
    std::fs::write(&file, "").unwrap();
    let fixture = Fixture { engine: ChdbEngine::open(options(&directory)).unwrap(), directory };
    assert_eq!(fixture.all_rows(&second, false), before);
    // The column that the full disk has kept out, and all else goes on.
    let third = with_more(&second, "x", "s", FieldType::String);
    fixture.engine.ensure_table(&third).unwrap();
    let values = [f(3.0), NULL, NULL, NULL, NULL, NULL, s("t")];
    fixture.insert(&third, &[row(3, &["b", "", "x"], &values)]);
    let fixture = fixture.reopen();
    assert_eq!(fixture.all_rows(&third, true).len(), 3);
    fixture.engine.merge_partition(TableId(1), 0).unwrap();
}

#[test]
fn fields_are_merged_and_the_later_wins() {
    let t = table(
        1,
        &["host"],
        &[
            ("a", FieldType::Float),
            ("b", FieldType::Integer),
            ("c", FieldType::Boolean),
            ("d", FieldType::String),
        ],
    );
    let mut fixture = open_with(&t);
    fixture.insert(&t, &[row(5, &["x"], &[f(1.0), i(1), NULL, NULL]), row(6, &["x"], &[f(9.0)])]);
    fixture.insert(&t, &[row(5, &["x"], &[f(2.0), NULL, b(true), s("old")])]);
    fixture.insert(&t, &[row(5, &["x"], &[NULL, NULL, b(false), s("new")]), row(5, &["y"], &[f(0.0)])]);
    // The same batch again is a write like any other.
    fixture.insert(&t, &[row(5, &["x"], &[f(2.0), NULL, b(true), s("old")])]);
    let expected = [
        vec![s("x"), i(5), f(2.0), i(1), b(true), s("old")],
        vec![s("y"), i(5), f(0.0), NULL, NULL, NULL],
        vec![s("x"), i(6), f(9.0), NULL, NULL, NULL],
    ];
    assert_eq!(fixture.all_rows(&t, true), expected);
    fixture = fixture.reopen();
    assert_eq!(fixture.all_rows(&t, true), expected);
    fixture.engine.merge_partition(t.id, shard_of(0)).unwrap();
    assert_eq!(fixture.all_rows(&t, false), expected);
    fixture.engine.merge_partition(t.id, shard_of(0)).unwrap();
    fixture.insert(&t, &[row(5, &["x"], &[f(3.0)])]);
    fixture.engine.merge_partition(t.id, shard_of(0)).unwrap();
    assert_eq!(fixture.all_rows(&t, false)[0], [s("x"), i(5), f(3.0), i(1), b(true), s("old")]);
    fixture.engine.sync().unwrap();
}

#[test]
fn merged_parts_are_removed_soon() {
    let t = table(1, &[], &[("v", FieldType::Integer)]);
    let fixture = open_with(&t);
    for value in 0..3 {
        fixture.insert(&t, &[row(value, &[], &[i(value)])]);
    }
    fixture.engine.merge_partition(t.id, shard_of(0)).unwrap();
    let started = std::time::Instant::now();
    let parts = || files(fixture.directory.path(), "", "columns.txt");
    while parts().len() > 1 {
        assert!(started.elapsed().as_secs() < 20, "{} parts", parts().len());
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    assert_eq!(fixture.all_rows(&t, false).len(), 3);
}

#[test]
fn times_at_both_ends_and_partitions() {
    let t = table(1, &[], &[("v", FieldType::Integer)]);
    let fixture = open_with(&t);
    let times = [MIN_TIME, -WEEK - 1, -WEEK, -1, 0, 1, WEEK - 1, WEEK, MAX_TIME];
    let rows_in: Vec<Row> = times.iter().map(|&time| row(time, &[], &[i(time)])).collect();
    fixture.insert(&t, &rows_in);
    let expected: Vec<Vec<FieldValue>> = times.iter().map(|&time| vec![i(time), i(time)]).collect();
    assert_eq!(fixture.all_rows(&t, false), expected);
    assert_eq!(fixture.all_rows(&t, true), expected);

    let mut partitions: Vec<u64> = times.iter().map(|time| shard_of(*time)).collect();
    partitions.dedup();
    let stored = fixture.engine.partitions(None).unwrap();
    assert_eq!(stored.iter().map(|p| p.shard).collect::<Vec<_>>(), partitions);
    assert_eq!(stored.iter().map(|p| p.rows).sum::<u64>(), times.len() as u64);
    assert!(stored.iter().all(|p| p.bytes > 0));
    assert_eq!(fixture.engine.max_times(t.id).unwrap().last(), Some(&(shard_of(MAX_TIME), MAX_TIME)));

    for (min, max, count) in [
        (MIN_TIME, MIN_TIME, 1),
        (MAX_TIME, MAX_TIME, 1),
        (MIN_TIME, -1, 4),
        (-WEEK, -1, 2),
        (0, MAX_TIME, 5),
        (i64::MIN, i64::MAX, 9),
        (1, 0, 0),
    ] {
        let mut scan = rows(&t, RowScan::default());
        scan.time = TimeRange { min, max };
        assert_eq!(fixture.run(&scan).unwrap().len(), count, "{min}..={max}");
    }

    for partition in &partitions {
        fixture.engine.merge_partition(t.id, *partition).unwrap();
    }
    fixture.engine.drop_partitions(t.id, &[shard_of(-1), shard_of(MAX_TIME), 1]).unwrap();
    assert_eq!(fixture.engine.max_times(t.id).unwrap().last(), Some(&(shard_of(WEEK), WEEK)));
    assert_eq!(fixture.all_rows(&t, false).len(), 6);
}

#[test]
fn names_and_values_are_only_data() {
    let long = "x".repeat(64 << 10);
    let control: String = (0u8..=127).map(char::from).collect();
    let names = [
        "'; DROP TABLE x; --",
        "`",
        "``",
        "\\",
        "\\'",
        "'",
        "\"",
        "a\0b",
        "line\nline\r\t",
        "{x:String}",
        "?",
        "%s",
        "--",
        "/*",
        "é漢🦀",
        " ",
        &control,
        &long,
    ];
    let fields: Vec<(&str, FieldType)> = names.iter().map(|n| (*n, FieldType::String)).collect();
    let t = table(1, &names, &fields);
    let fixture = open_with(&t);
    let rows_in: Vec<Row> = (0i64..)
        .zip(&names)
        .map(|(time, name)| row(time, &vec![*name; names.len()], &vec![s(name); names.len()]))
        .collect();
    fixture.insert(&t, &rows_in);
    assert_eq!(fixture.all_rows(&t, true).len(), names.len());

    for (time, name) in (0i64..).zip(&names) {
        let literal = Operand::Literal(s(name));
        for operand in [Operand::Tag(TagId(0)), Operand::Field(FieldId(1))] {
            let filter = Predicate::Compare { left: operand, op: CompareOp::Eq, right: literal.clone() };
            let output = RowScan { tags: vec![TagId(2)], fields: vec![FieldId(3)], ..RowScan::default() };
            let found = fixture.run(&filtered(rows(&t, output), filter.clone())).unwrap();
            assert_eq!(found, [[s(name), i(time), s(name)]]);
            assert_eq!(
                fixture
                    .engine
                    .distinct_series(
                        &t,
                        &RowSelection {
                            filter: Some(filter.clone()),
                            ..RowSelection::of_time(TimeRange::ALL)
                        },
                        &unbounded()
                    )
                    .unwrap()
                    .len(),
                1
            );
        }
        let tag = Operand::Tag(TagId(0));
        let filter = Predicate::Compare { left: tag, op: CompareOp::Eq, right: literal };
        delete(&fixture, &t, TimeRange::ALL, Some(&filter));
        assert_eq!(fixture.all_rows(&t, false).len() as i64, names.len() as i64 - time - 1);
    }
}

fn delete(fixture: &Fixture, t: &Table, time: TimeRange, filter: Option<&Predicate>) {
    let rows = RowSelection { filter: filter.cloned(), ..RowSelection::of_time(time) };
    fixture.engine.delete_rows(t, &rows, &unbounded()).unwrap();
}

fn unbounded() -> hyperbytedb_domain::QueryContext {
    hyperbytedb_domain::QueryContext::unbounded()
}

#[test]
fn deletes() {
    let t = table(1, &["host"], &[("v", FieldType::Float)]);
    let mut fixture = open_with(&t);
    let fill = |fixture: &Fixture| {
        // Twice, so that duplicates are stored apart.
        for _ in 0..2 {
            let rows_in: Vec<Row> = (-8..7)
                .flat_map(|n| ["a", "b"].map(|host| row(n * WEEK / 5, &[host], &[f(n as f64)])))
                .collect();
            fixture.insert(&t, &rows_in);
        }
    };
    let left = |fixture: &Fixture| -> Vec<(i64, FieldValue)> {
        let mut left = Vec::new();
        for row in fixture.all_rows(&t, true) {
            let FieldValue::Integer(time) = row[1] else { panic!("{row:?}") };
            left.push((time * 5 / WEEK, row[0].clone()));
        }
        left
    };
    let host = |name: &str| Predicate::Compare {
        left: Operand::Tag(TagId(0)),
        op: CompareOp::Eq,
        right: Operand::Literal(s(name)),
    };
    let all: Vec<(i64, FieldValue)> = (-8..7).flat_map(|n| [(n, s("a")), (n, s("b"))]).collect();
    let cases = [
        (TimeRange::ALL, None),
        (TimeRange { min: 0, max: WEEK - 1 }, None),
        (TimeRange { min: -WEEK, max: WEEK / 5 }, None),
        (TimeRange { min: -1, max: WEEK / 5 }, None),
        (TimeRange { min: 1, max: 1 }, None),
        (TimeRange { min: 1, max: 0 }, None),
        (TimeRange::ALL, Some(host("a"))),
        (TimeRange { min: -WEEK - 1, max: WEEK }, Some(host("b"))),
        (TimeRange::ALL, Some(host("c"))),
    ];
    for (range, filter) in cases {
        fill(&fixture);
        assert_eq!(left(&fixture), all);
        delete(&fixture, &t, range, filter.as_ref());
        let expected: Vec<_> = all
            .iter()
            .filter(|(n, tag)| {
                let matches = match &filter {
                    None => true,
                    Some(f) => *f == host("a") && *tag == s("a") || *f == host("b") && *tag == s("b"),
                };
                !(range.contains(n * WEEK / 5) && matches)
            })
            .cloned()
            .collect();
        assert_eq!(left(&fixture), expected, "{range:?} {filter:?}");
        if range == TimeRange::ALL {
            fixture = fixture.reopen();
        }
        assert_eq!(left(&fixture), expected, "{range:?} {filter:?}");
    }
    // A point written after the delete stays, also when the parts merge.
    delete(&fixture, &t, TimeRange::ALL, None);
    assert_eq!(fixture.engine.max_times(t.id).unwrap(), []);
    fixture.insert(&t, &[row(1, &["a"], &[f(1.0)]), row(2, &["b"], &[f(2.0)])]);
    delete(&fixture, &t, TimeRange::ALL, Some(&host("a")));
    fixture.insert(&t, &[row(1, &["a"], &[f(3.0)])]);
    fixture.engine.merge_partition(t.id, shard_of(0)).unwrap();
    assert_eq!(fixture.all_rows(&t, false), [[s("a"), i(1), f(3.0)], [s("b"), i(2), f(2.0)]]);
}

/// The engine takes the rows out of its files behind a delete, also after a restart; nothing shows which it did.
#[test]
fn a_delete_is_seen_before_it_is_carried_out() {
    let mut t = table(1, &["host"], &[("v", FieldType::Float)]);
    let mut fixture = open_with(&t);
    let weeks: Vec<Row> =
        (0..60).flat_map(|n| ["a", "b"].map(|host| row(n * WEEK, &[host], &[f(1.0)]))).collect();
    // Twice, so that duplicates are stored apart.
    fixture.insert(&t, &weeks);
    fixture.insert(&t, &weeks);
    let host = |name: &str| Predicate::Compare {
        left: Operand::Tag(TagId(0)),
        op: CompareOp::Eq,
        right: Operand::Literal(s(name)),
    };
    delete(&fixture, &t, TimeRange::ALL, Some(&host("a")));
    let check = |fixture: &Fixture, t: &Arc<Table>| {
        let hosts =
            |merge| fixture.all_rows(t, merge).into_iter().map(|row| row[0].clone()).collect::<Vec<_>>();
        assert_eq!(hosts(true), [vec![s("a")], vec![s("b"); 60]].concat());
        assert_eq!(hosts(false).iter().filter(|h| **h == s("a")).count(), 1);
        let count = AggregateScan {
            aggregates: vec![aggregate(AggregateFunction::Count, 0, false)],
            group_by: vec![TagId(0)],
            ..AggregateScan::default()
        };
        let mut counts = aggregates(t, count);
        counts.merge_duplicates = true;
        assert_eq!(fixture.run(&counts).unwrap().len(), 2);
        let a = RowSelection {
            filter: Some(host("a")),
            ..RowSelection::of_time(TimeRange { min: 1, max: MAX_TIME })
        };
        assert_eq!(fixture.engine.distinct_series(t, &a, &unbounded()).unwrap(), []);
        assert_eq!(fixture.engine.max_times(t.id).unwrap().len(), 60);
    };
    // Written behind the delete, and a column that the delete did not know.
    fixture.insert(&t, &[row(0, &["a"], &[f(2.0)])]);
    check(&fixture, &t);
    t = with_more(&t, "rack", "n", FieldType::Integer);
    fixture.engine.ensure_table(&t).unwrap();
    fixture.engine.merge_partition(t.id, shard_of(0)).unwrap();
    fixture = fixture.reopen();
    let found = fixture.all_rows(&t, true);
    assert_eq!(found.len(), 61, "{found:?}");
    let started = std::time::Instant::now();
    while let [unfinished] = fixture.engine.unfinished_deletes(Some(t.id)).unwrap()[..] {
        assert_eq!((unfinished.table, unfinished.deletes), (t.id, 1));
        assert!(started.elapsed().as_secs() < 60, "{unfinished:?}");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    assert_eq!(fixture.engine.unfinished_deletes(None).unwrap(), []);
    let rows: u64 = fixture.engine.partitions(None).unwrap().iter().map(|partition| partition.rows).sum();
    assert!((61..=121).contains(&rows), "{rows} rows in the files");
    assert_eq!(fixture.all_rows(&t, true).len(), 61);
}

#[test]
fn a_part_cut_short_is_set_aside() {
    let t = table(1, &["host"], &[("v", FieldType::Float)]);
    let fixture = open_with(&t);
    fixture.insert(&t, &[row(1, &["a"], &[f(1.0)])]);
    fixture.insert(&t, &[row(WEEK, &["a"], &[f(2.0)])]);
    let Fixture { engine, directory } = fixture;
    drop(engine);
    let cut = cut_short(&directory.path().join("chdb/store"), &format!("{}_2_2_", shard_of(WEEK)));
    assert!(cut > 0, "the part's files");
    let fixture = Fixture { engine: ChdbEngine::open(options(&directory)).unwrap(), directory };
    assert_eq!(fixture.all_rows(&t, true), [[s("a"), i(1), f(1.0)]]);
    // As a replay of the WAL would.
    fixture.insert(&t, &[row(WEEK, &["a"], &[f(2.0)])]);
    assert_eq!(fixture.all_rows(&t, true).len(), 2);
}

/// Empties the files of the parts whose name begins so. Returns how many.
fn cut_short(directory: &Path, part: &str) -> usize {
    let mut cut = 0;
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.is_symlink() {
            cut += cut_short(&path, part);
        } else if path.parent().is_some_and(|p| name_of(p).starts_with(part)) {
            std::fs::write(&path, "").unwrap();
            cut += 1;
        }
    }
    cut
}

#[test]
fn history_is_compressed_more() {
    let t = table(1, &["host"], &[("v", FieldType::Float)]);
    let fixture = open_with(&t);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos() as i64;
    for time in [WEEK, now] {
        fixture.insert(&t, &[row(time, &["a"], &[f(1.0)])]);
        fixture.insert(&t, &[row(time + 1, &["a"], &[f(2.0)])]);
        fixture.engine.merge_partition(t.id, shard_of(time)).unwrap();
    }
    let store = fixture.directory.path().join("chdb/store");
    let codecs = |time| files(&store, &format!("{}_", shard_of(time)), "default_compression_codec.txt");
    assert!(codecs(WEEK).contains(&"CODEC(ZSTD(1))".to_owned()), "{:?}", codecs(WEEK));
    assert!(codecs(now).iter().all(|codec| codec == "CODEC(LZ4)"), "{:?}", codecs(now));
    assert_eq!(fixture.all_rows(&t, true).len(), 4);
}

/// What the files of this name say, of all parts whose name begins so.
fn files(directory: &Path, part: &str, name: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.is_symlink() {
            found.extend(files(&path, part, name));
        } else if path.ends_with(name) && path.parent().is_some_and(|p| name_of(p).starts_with(part)) {
            found.push(std::fs::read_to_string(&path).unwrap());
        }
    }
    found
}

fn name_of(path: &Path) -> &str {
    path.file_name().and_then(std::ffi::OsStr::to_str).unwrap()
}

/// Each kind of work on a table that nobody has asked for since the start.
#[test]
fn tables_are_opened_when_they_are_asked_for() {
    let tables: Vec<Arc<Table>> =
        (1..=7).map(|id| table(id, &["host"], &[("v", FieldType::Float)])).collect();
    let ids: Vec<TableId> = tables.iter().map(|table| table.id).collect();
    let mut fixture = open();
    for t in &tables {
        fixture.engine.ensure_table(t).unwrap();
        fixture.insert(t, &[row(10, &["a"], &[f(1.0)]), row(20, &["b"], &[f(2.0)])]);
    }
    for _ in 0..2 {
        fixture = fixture.reopen();
        assert_eq!(fixture.engine.existing_tables().unwrap(), ids, "also those that are not open");
    }
    let [read, grown, written, deleted, dropped, merged, partition] = tables.as_slice() else { panic!() };
    assert_eq!(fixture.all_rows(read, false).len(), 2);
    let grown = with_more(grown, "rack", "w", FieldType::Integer);
    fixture.engine.ensure_table(&grown).unwrap();
    assert_eq!(fixture.all_rows(&grown, false).len(), 2);
    fixture.engine.ensure_table(written).unwrap();
    fixture.insert(written, &[row(30, &["c"], &[f(3.0)])]);
    assert_eq!(fixture.all_rows(written, false).len(), 3);
    delete(&fixture, deleted, TimeRange { min: 0, max: 15 }, None);
    assert_eq!(fixture.all_rows(deleted, false).len(), 1);
    fixture.engine.drop_table(dropped.id).unwrap();
    assert_eq!(fixture.engine.max_times(merged.id).unwrap().len(), 1);
    let shard = fixture.engine.partitions(Some(partition.id)).unwrap()[0].shard;
    fixture.engine.drop_partitions(partition.id, &[shard]).unwrap();
    let left = fixture.reopen();
    assert!(!left.engine.existing_tables().unwrap().contains(&dropped.id));
    assert_eq!(left.all_rows(deleted, false).len(), 1);
    assert!(left.all_rows(partition, false).is_empty());
    assert_eq!(left.engine.partitions(None).unwrap().len(), 5, "of tables that are not open, too");
}
