//! A disk that is full while the engine writes: it waits, and nothing is lost.
#![allow(clippy::unwrap_used)]

mod common;

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use arrow::array::{Float64Array, Int64Array, RecordBatch, UInt64Array};
use common::*;
use hyperbytedb_domain::catalog::Table;
use hyperbytedb_domain::field::FieldValue;
use hyperbytedb_domain::ports::PointsSinkPort;
use hyperbytedb_domain::scan::AggregateFunction::Count;
use hyperbytedb_domain::scan::AggregateScan;
use hyperbytedb_domain::{FieldType, QueryContext};
use hyperbytedb_engine_chdb::{ChdbEngine, ChdbOptions, writes_that_wait};
use hyperbytedb_test_support::Tmpfs;

const PARTS: i64 = 4;
const ROWS: i64 = 400_000;
const PATIENCE: Duration = Duration::from_secs(60);

fn part(number: i64) -> RecordBatch {
    let times = (0..ROWS).map(|row| (row * PARTS + number) * 1_000_000_000);
    RecordBatch::try_from_iter([
        ("time", Arc::new(Int64Array::from_iter_values(times)) as _),
        ("sid", Arc::new(UInt64Array::from(vec![1; ROWS as usize])) as _),
        ("shard", Arc::new(UInt64Array::from(vec![shard_of(0); ROWS as usize])) as _),
        ("f0", Arc::new(Float64Array::from_iter_values((0..ROWS).map(|row| (row as f64).sin()))) as _),
    ])
    .unwrap()
}

fn count(engine: &ChdbEngine, table: &Arc<Table>) -> FieldValue {
    let output = AggregateScan { aggregates: vec![aggregate(Count, 0, false)], ..Default::default() };
    run(engine, &aggregates(table, output), &QueryContext::unbounded()).unwrap()[0][1].clone()
}

/// Returns as soon as a merge has begun to write.
fn wait_for_merge(store: &Path, started: Instant) {
    let is_merging = || Command::new("find").arg(store).args(["-name", "tmp_merge_*"]).output().unwrap();
    while is_merging().stdout.is_empty() {
        assert!(started.elapsed() < PATIENCE, "nothing is merged");
    }
}

#[test]
fn a_merge_waits_for_space() {
    let directory = tempfile::tempdir().unwrap();
    let Some(disk) = Tmpfs::mount(directory.path()) else {
        return eprintln!("SKIPPED: a small file system cannot be mounted (root can)");
    };
    let table = table(1, &[], &[("v", FieldType::Float)]);
    let data = directory.path().join("chdb");
    let engine = ChdbEngine::open(ChdbOptions::new(data.clone())).unwrap();
    engine.ensure_table(&table).unwrap();
    for number in 0..PARTS {
        engine.insert(&table, part(number), 1..=1).unwrap();
    }
    let started = Instant::now();
    thread::scope(|scope| {
        let merging = scope.spawn(|| engine.merge_partition(table.id, shard_of(0)));
        wait_for_merge(&data.join("store"), started);
        disk.fill();
        while writes_that_wait() == 0 {
            assert!(started.elapsed() < PATIENCE, "no write waits");
            assert!(!merging.is_finished(), "merged: {:?}", count(&engine, &table));
        }
        assert_eq!(count(&engine, &table), i(PARTS * ROWS), "queries go on");
        disk.empty();
        merging.join().unwrap().unwrap();
    });
    assert_eq!(writes_that_wait(), 0);
    assert_eq!(count(&engine, &table), i(PARTS * ROWS));
    drop(engine);
    let engine = ChdbEngine::open(ChdbOptions::new(data)).unwrap();
    assert_eq!(count(&engine, &table), i(PARTS * ROWS), "also from its files");
}
