//! Bounds and cancellation: each acts soon, says what it was, and leaves the engine usable.
#![allow(clippy::unwrap_used)]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use arrow::array::{
    AsArray, DictionaryArray, Float64Array, Int64Array, RecordBatch, StringArray, UInt64Array,
};
use arrow::datatypes::{Int32Type, Int64Type};
use common::*;
use hyperbytedb_domain::catalog::Table;
use hyperbytedb_domain::ports::{BatchStream, PointsSinkPort, QueryPort};
use hyperbytedb_domain::scan::AggregateFunction::{Count, First, Median, Percentile};
use hyperbytedb_domain::scan::{
    AggregateScan, CompareOp, FieldId, Operand, Predicate, RowScan, RowSelection, Scan, SortBound, TagId,
};
use hyperbytedb_domain::time::TimeRange;
use hyperbytedb_domain::{EngineError, FieldType, QueryContext, SeriesId};
use hyperbytedb_engine_chdb::ChdbEngine;

const SERIES: i64 = 1_000;
const ROWS_PER_SERIES: i64 = 1_000;
const ROWS: usize = (SERIES * ROWS_PER_SERIES) as usize;

/// Ends a test that hangs with a useful message.
const PATIENCE: Duration = Duration::from_secs(60);

fn big_table() -> Arc<Table> {
    table(1, &["host"], &[("v", FieldType::Float)])
}

/// A million rows of a thousand series.
fn fill(engine: &ChdbEngine, t: &Table) {
    let (mut time, mut series, mut hosts, mut values) = (vec![], vec![], vec![], vec![]);
    for n in 0..SERIES {
        for m in 0..ROWS_PER_SERIES {
            time.push(m * 1_000_000_000);
            series.push(n as u64);
            hosts.push(n as i32);
            values.push((n * m) as f64 * 0.37);
        }
    }
    let names = StringArray::from_iter_values((0..SERIES).map(|n| format!("host-{n}")));
    let hosts = DictionaryArray::<Int32Type>::new(hosts.into(), Arc::new(names));
    let batch = RecordBatch::try_from_iter([
        ("time", Arc::new(Int64Array::from(time)) as _),
        ("sid", Arc::new(UInt64Array::from(series)) as _),
        ("shard", Arc::new(UInt64Array::from(vec![shard_of(0); ROWS])) as _),
        ("t0", Arc::new(hosts) as _),
        ("f0", Arc::new(Float64Array::from(values)) as _),
    ])
    .unwrap();
    engine.insert(t, batch, 1..=1).unwrap();
}

fn big() -> (Fixture, Arc<Table>) {
    let t = big_table();
    let fixture = open_with(&t);
    fill(&fixture.engine, &t);
    (fixture, t)
}

/// Sorts everything by time: nothing comes out before all is read.
fn slow_scan(t: &Arc<Table>) -> Scan {
    rows(t, RowScan::default())
}

fn count(engine: &ChdbEngine, t: &Arc<Table>) -> i64 {
    let output = AggregateScan { aggregates: vec![aggregate(Count, 0, false)], ..Default::default() };
    match run(engine, &aggregates(t, output), &QueryContext::unbounded()).unwrap()[0][1] {
        hyperbytedb_domain::field::FieldValue::Integer(n) => n,
        ref other => panic!("{other:?}"),
    }
}

#[test]
fn a_cancelled_scan_ends_at_once() {
    let (fixture, t) = big();
    for delay_ms in [0, 1, 5, 20, 50] {
        let mut reactions = (0..5).map(|_| reaction(&fixture.engine, &t, Duration::from_millis(delay_ms)));
        // On a busy machine one or the other may be late.
        assert!(reactions.any(|reaction| reaction < Duration::from_millis(500)), "{delay_ms}");
    }
    assert_eq!(count(&fixture.engine, &t), SERIES * ROWS_PER_SERIES);
}

/// How long a scan goes on that is cancelled after the delay.
fn reaction(engine: &ChdbEngine, t: &Arc<Table>, delay: Duration) -> Duration {
    let context = QueryContext::unbounded();
    let cancel = context.cancel.clone();
    let canceller = thread::spawn(move || {
        thread::sleep(delay);
        cancel.cancel();
        Instant::now()
    });
    // Until it is cancelled: one after the other.
    let error = loop {
        if let Err(error) = run(engine, &slow_scan(t), &context) {
            break error;
        }
    };
    assert!(matches!(error, EngineError::Cancelled), "{error}");
    canceller.join().unwrap().elapsed()
}

#[test]
fn a_scan_that_would_sort_too_much_fails_before_its_first_batch() {
    let (fixture, t) = big();
    for bound in [SortBound { rows: 100_000, bytes: 0 }, SortBound { rows: 0, bytes: 1 << 20 }] {
        let output = RowScan { sort_bound: Some(bound), ..RowScan::default() };
        let mut stream = fixture.engine.scan(&rows(&t, output.clone()), &QueryContext::unbounded()).unwrap();
        assert!(matches!(stream.next_batch(), Err(EngineError::SortLimit)));
        // What is sorted counts, not what is read.
        let series = Some([SeriesId(3), SeriesId(5)].into());
        let few = RowScan { series, ..output };
        assert_eq!(fixture.run(&rows(&t, few)).unwrap().len() as i64, 2 * ROWS_PER_SERIES);
    }
    let rows_by_series = AggregateScan {
        group_by: vec![TagId(0)],
        count_rows: true,
        series: Some([SeriesId(3), SeriesId(5)].into()),
        ..AggregateScan::default()
    };
    let counts = fixture.run(&aggregates(&t, rows_by_series)).unwrap();
    assert_eq!(counts, [[s("host-3"), i(0), i(ROWS_PER_SERIES)], [s("host-5"), i(0), i(ROWS_PER_SERIES)]]);
}

/// Works for long before its first batch.
fn long_scan(t: &Arc<Table>) -> Scan {
    let conditions = (0..400).map(|n| Predicate::Compare {
        left: Operand::Field(FieldId(0)),
        op: CompareOp::Ne,
        right: Operand::Literal(f(f64::from(n) + 0.001)),
    });
    let output = AggregateScan { aggregates: vec![aggregate(Count, 0, false)], ..Default::default() };
    filtered(aggregates(t, output), Predicate::And(conditions.collect()))
}

#[test]
fn a_busy_statement_is_stopped() {
    let directory = tempfile::tempdir().unwrap();
    let mut settings = options(&directory);
    settings.query_connections = 1;
    settings.connection_wait = PATIENCE;
    let engine = ChdbEngine::open(settings).unwrap();
    let t = big_table();
    engine.ensure_table(&t).unwrap();
    fill(&engine, &t);

    let started = Instant::now();
    assert_eq!(run(&engine, &long_scan(&t), &QueryContext::unbounded()).unwrap().len(), 1);
    let whole = started.elapsed();
    for with_deadline in [true, false] {
        let mut tries = (0..5).map(|_| {
            let mut context = QueryContext::unbounded();
            context.deadline = with_deadline.then(|| Instant::now() + whole / 10);
            let stream = engine.scan(&long_scan(&t), &context).unwrap();
            let started = Instant::now();
            if with_deadline {
                assert!(matches!(collect(stream), Err(EngineError::Timeout)));
            } else {
                drop(stream);
            }
            assert_eq!(count(&engine, &t), SERIES * ROWS_PER_SERIES);
            started.elapsed()
        });
        // The only connection is free again long before the statement would have ended. On a busy machine one or the other
        // may be late.
        assert!(tries.any(|took| took < whole), "{whole:?}");
    }
}

#[test]
fn a_deadline_ends_a_scan() {
    let (fixture, t) = big();
    for millis in [0, 1, 10, 40] {
        let mut context = QueryContext::unbounded();
        let deadline = Instant::now() + Duration::from_millis(millis);
        context.deadline = Some(deadline);
        let error = loop {
            if let Err(error) = run(&fixture.engine, &slow_scan(&t), &context) {
                break error;
            }
        };
        assert!(matches!(error, EngineError::Timeout), "{error}");
        assert!(deadline.elapsed() < Duration::from_millis(500), "{:?}", deadline.elapsed());
    }
    assert_eq!(count(&fixture.engine, &t), SERIES * ROWS_PER_SERIES);
}

#[test]
fn memory_and_rows_are_bounded() {
    let (fixture, t) = big();
    let percentile = AggregateScan {
        aggregates: vec![aggregate(Percentile(50.0), 0, true), aggregate(Median, 0, false)],
        ..Default::default()
    };
    let heavy = aggregates(&t, percentile);
    let mut context = QueryContext::unbounded();
    context.max_memory_bytes = 4 << 20;
    let error = run(&fixture.engine, &heavy, &context).unwrap_err();
    assert!(matches!(error, EngineError::MemoryLimit { .. }), "{error}");

    let mut context = QueryContext::unbounded();
    context.max_rows_read = 10_000;
    let error = run(&fixture.engine, &heavy, &context).unwrap_err();
    assert!(matches!(error, EngineError::RowLimit), "{error}");

    let mut context = QueryContext::unbounded();
    (context.max_memory_bytes, context.max_rows_read, context.max_threads) = (1 << 30, 10_000_000, 1);
    assert_eq!(run(&fixture.engine, &heavy, &context).unwrap().len(), 1);
    assert_eq!(count(&fixture.engine, &t), SERIES * ROWS_PER_SERIES);
}

/// An engine with so many connections, and a million rows in its table.
fn with_connections(connections: usize, wait: Duration) -> (Fixture, Arc<Table>) {
    let directory = tempfile::tempdir().unwrap();
    let mut settings = options(&directory);
    (settings.query_connections, settings.connection_wait) = (connections, wait);
    let engine = ChdbEngine::open(settings).unwrap();
    let t = big_table();
    engine.ensure_table(&t).unwrap();
    fill(&engine, &t);
    (Fixture { engine, directory }, t)
}

fn rows_left(stream: &mut dyn BatchStream) -> i64 {
    let mut rows = 0;
    while let Some(batch) = stream.next_batch().unwrap() {
        rows += batch.num_rows() as i64;
    }
    rows
}

#[test]
fn connections_are_bounded_and_come_back() {
    let (fixture, t) = with_connections(2, Duration::from_millis(20));
    let engine = &fixture.engine;
    for _ in 0..3 {
        let unbounded = QueryContext::unbounded();
        // Those of the round before may be on their way back.
        let patient = QueryContext { deadline: Some(Instant::now() + PATIENCE), ..unbounded.clone() };
        let first = engine.scan(&long_scan(&t), &patient).unwrap();
        let second = engine.scan(&long_scan(&t), &patient).unwrap();
        let refused = engine.scan(&slow_scan(&t), &unbounded).err().unwrap().to_string();
        assert_eq!(refused, "all 2 connections of the engine are in use (chdb.query_connections)");
        let context = QueryContext::unbounded();
        context.cancel.cancel();
        assert!(matches!(engine.scan(&slow_scan(&t), &context).err(), Some(EngineError::Cancelled)));
        // Writing does not need one.
        engine.ensure_table(&table(2, &[], &[])).unwrap();
        engine.sync().unwrap();
        // Dropped early, and at the end: both come back.
        drop(first);
        drop(second);
        let give_up = Instant::now() + PATIENCE;
        let mut again =
            engine.scan(&slow_scan(&t), &QueryContext { deadline: Some(give_up), ..unbounded }).unwrap();
        assert_eq!(rows_left(again.as_mut()), SERIES * ROWS_PER_SERIES);
        assert!(again.next_batch().unwrap().is_none(), "the end stays the end");
    }
}

/// As a SELECT does that merges the rows of many subqueries.
#[test]
fn one_reader_reads_more_scans_by_turns_than_there_are_connections() {
    let (fixture, t) = with_connections(2, PATIENCE);
    let mut context = QueryContext::unbounded();
    context.deadline = Some(Instant::now() + PATIENCE);
    let mut streams = Vec::new();
    let mut rows_read = Vec::new();
    for _ in 0..5 {
        let mut stream = fixture.engine.scan(&slow_scan(&t), &context).unwrap();
        rows_read.push(stream.next_batch().unwrap().unwrap().num_rows() as i64);
        streams.push(stream);
    }
    for (stream, rows_read) in streams.iter_mut().zip(rows_read) {
        assert_eq!(rows_read + rows_left(stream.as_mut()), SERIES * ROWS_PER_SERIES);
    }
}

#[test]
fn readers_that_stand_still_stall_nobody() {
    let (fixture, t) = with_connections(2, PATIENCE);
    let unbounded = QueryContext::unbounded();
    let mut slow: Vec<_> = (0..2).map(|_| fixture.engine.scan(&slow_scan(&t), &unbounded).unwrap()).collect();
    let first: Vec<_> = slow.iter_mut().map(|stream| stream.next_batch().unwrap().unwrap()).collect();
    let started = Instant::now();
    assert_eq!(count(&fixture.engine, &t), SERIES * ROWS_PER_SERIES);
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    // What the readers get is what they would have got.
    let times = |batch: &RecordBatch| batch.column(1).as_primitive::<Int64Type>().values().to_vec();
    let mut previous = times(&first[0]).last().copied().unwrap();
    let mut rows_read = first[0].num_rows() as i64;
    while let Some(batch) = slow[0].next_batch().unwrap() {
        for time in times(&batch) {
            assert!(previous <= time);
            previous = time;
        }
        rows_read += batch.num_rows() as i64;
    }
    assert_eq!(rows_read, SERIES * ROWS_PER_SERIES);
}

#[test]
fn answers_on_disk_are_bounded() {
    let directory = tempfile::tempdir().unwrap();
    let mut settings = options(&directory);
    (settings.query_connections, settings.max_spill_bytes) = (1, 100_000);
    let engine = ChdbEngine::open(settings).unwrap();
    let t = big_table();
    engine.ensure_table(&t).unwrap();
    fill(&engine, &t);
    let mut slow = engine.scan(&slow_scan(&t), &QueryContext::unbounded()).unwrap();
    assert!(slow.next_batch().unwrap().is_some());
    assert_eq!(count(&engine, &t), SERIES * ROWS_PER_SERIES);
    let error = loop {
        if let Err(error) = slow.next_batch() {
            break error.to_string();
        }
    };
    assert!(error.contains("slow readers take more than 100000 bytes (chdb.max_spill_bytes)"), "{error}");
    assert_eq!(count(&engine, &t), SERIES * ROWS_PER_SERIES);
}

#[test]
fn errors_leave_the_connection_usable() {
    let t = table(1, &["host"], &[("s", FieldType::String)]);
    let fixture = open_with(&t);
    fixture.insert(&t, &[row(1, &["a"], &[s("x")])]);
    for _ in 0..20 {
        // A median of strings does not exist.
        let output = AggregateScan { aggregates: vec![aggregate(Median, 0, false)], ..Default::default() };
        let error = fixture.run(&aggregates(&t, output)).unwrap_err();
        assert!(matches!(error, EngineError::Failed { .. }), "{error}");
        assert_eq!(fixture.all_rows(&t, false), [[s("a"), i(1), s("x")]]);
    }
}

#[test]
fn scans_and_inserts_run_side_by_side() {
    let t = big_table();
    let fixture = open_with(&t);
    let engine = &fixture.engine;
    let stop = AtomicBool::new(false);
    let batches = 20;
    thread::scope(|scope| {
        let readers: Vec<_> = (0..4)
            .map(|n| {
                let (stop, t) = (&stop, &t);
                scope.spawn(move || {
                    let mut scans = 0;
                    while !stop.load(Ordering::Acquire) || scans == 0 {
                        let mut scan = if n % 2 == 0 {
                            rows(t, RowScan::default())
                        } else {
                            aggregates(
                                t,
                                AggregateScan {
                                    group_by: vec![TagId(0)],
                                    aggregates: vec![aggregate(First, 0, true)],
                                    ..Default::default()
                                },
                            )
                        };
                        scan.merge_duplicates = n >= 2;
                        let answer = run(engine, &scan, &QueryContext::unbounded()).unwrap();
                        assert_eq!(answer.len() % 100, 0, "whole batches only");
                        scans += 1;
                    }
                    scans
                })
            })
            .collect();
        let writers: Vec<_> = (0..2)
            .map(|w| {
                let t = &t;
                scope.spawn(move || {
                    for n in 0..batches {
                        let host = format!("w{w}");
                        let rows_in: Vec<Row> =
                            (0..100).map(|m| row(n, &[&format!("{host}-{m}")], &[f(m as f64)])).collect();
                        engine.insert(t, batch(t, &rows_in), 1..=1).unwrap();
                        if n % 7 == 0 {
                            engine.merge_partition(t.id, shard_of(0)).unwrap();
                        }
                    }
                })
            })
            .collect();
        for writer in writers {
            writer.join().unwrap();
        }
        stop.store(true, Ordering::Release);
        for reader in readers {
            assert!(reader.join().unwrap() > 0);
        }
    });
    assert_eq!(count(engine, &t), 2 * 100 * batches);
}

#[test]
fn a_scan_outlives_the_engine_handle() {
    let (fixture, t) = big();
    let Fixture { engine, directory } = fixture;
    let mut stream = engine.scan(&slow_scan(&t), &QueryContext::unbounded()).unwrap();
    assert!(stream.next_batch().unwrap().is_some());
    let closing = thread::spawn(move || drop(engine));
    while stream.next_batch().unwrap().is_some() {}
    drop(stream);
    closing.join().unwrap();
    drop(directory);
}

#[test]
fn writers_do_not_wait_for_readers() {
    let (fixture, t) = big();
    let engine = &fixture.engine;
    let mut stream = engine.scan(&slow_scan(&t), &QueryContext::unbounded()).unwrap();
    let mut rows_read = stream.next_batch().unwrap().unwrap().num_rows() as i64;
    let mut wider = (*t).clone();
    wider.tags.push("dc".into());
    let writing = || {
        engine.ensure_table(&wider)?;
        engine.insert(&wider, batch(&wider, &[row(-1, &["x", "y"], &[f(1.0)])]), 1..=1)?;
        engine.merge_partition(t.id, shard_of(0))?;
        let first = RowSelection::of_time(TimeRange { min: 0, max: 1_000_000_000 });
        engine.delete_rows(&t, &first, &QueryContext::unbounded())?;
        engine.drop_partitions(t.id, &[shard_of(-1)])?;
        engine.drop_table(t.id)
    };
    let waited = thread::scope(|scope| {
        let writing = scope.spawn(writing);
        let give_up = Instant::now() + PATIENCE;
        while !writing.is_finished() && Instant::now() < give_up {
            thread::sleep(Duration::from_millis(5));
        }
        let waited = !writing.is_finished();
        while let Some(batch) = stream.next_batch().unwrap() {
            rows_read += batch.num_rows() as i64;
        }
        writing.join().unwrap().unwrap();
        waited
    });
    assert!(!waited);
    assert_eq!(rows_read, SERIES * ROWS_PER_SERIES, "a reader sees what was there when it began");
    assert_eq!(engine.existing_tables().unwrap(), []);
    assert!(run(engine, &slow_scan(&t), &QueryContext::unbounded()).unwrap().is_empty());
    drop(stream);
    // The files of the dropped table go by themselves.
    let store = fixture.directory.path().join("chdb/store");
    let give_up = Instant::now() + PATIENCE;
    while size(&store) > 1_000_000 {
        assert!(Instant::now() < give_up, "{} bytes left", size(&store));
        thread::sleep(Duration::from_millis(20));
    }
}

/// Bytes of the files below a directory; those that vanish meanwhile do not count.
fn size(path: &std::path::Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(path) else {
        return path.metadata().map_or(0, |m| m.len());
    };
    entries.flatten().map(|e| size(&e.path())).sum()
}

#[test]
fn a_sort_that_does_not_fit_in_memory_goes_to_disk() {
    let (fixture, t) = big();
    let mut context = QueryContext::unbounded();
    context.max_memory_bytes = 80 << 20;
    let mut previous = i64::MIN;
    let mut rows_read = 0;
    let mut stream = fixture.engine.scan(&slow_scan(&t), &context).unwrap();
    while let Some(batch) = stream.next_batch().unwrap() {
        for time in batch.column(1).as_primitive::<Int64Type>().values() {
            assert!(previous <= *time);
            previous = *time;
        }
        rows_read += batch.num_rows() as i64;
    }
    assert_eq!(rows_read, SERIES * ROWS_PER_SERIES);
}
