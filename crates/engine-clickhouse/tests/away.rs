//! Servers that are away, hang, come back, or come late.
#![allow(clippy::unwrap_used)]

mod support;

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyperbytedb_clickhouse_node::{Keeper, Nodes};
use hyperbytedb_domain::catalog::Table;
use hyperbytedb_domain::ports::PointsSinkPort;
use hyperbytedb_domain::scan::RowSelection;
use hyperbytedb_domain::{EngineError, FieldType, QueryContext, TimeRange};
use hyperbytedb_engine_clickhouse::{ClickHouseEngine, ClickHouseOptions};
use support::rows::{batch, i, run, table};
use support::{LIMIT, count, measurement, open, options, points, rows_of, try_count, until};

/// The measurement with a field more.
fn wider() -> Arc<Table> {
    let fields = [("v", FieldType::Integer), ("text", FieldType::String), ("w", FieldType::Float)];
    table(7, &["host"], &fields)
}

/// Checks that the error names this server as the one that does not answer.
fn is_away<T: std::fmt::Debug>(result: Result<T, EngineError>, nodes: &Nodes, node: usize) {
    let error = result.unwrap_err();
    let is_named = |text: &str| text.contains(&nodes.url(node)) && text.contains("does not answer");
    assert!(matches!(&error, EngineError::Unavailable(text) if is_named(text)), "{error}");
}

/// With 100 points of the measurement.
fn filled(nodes: &Nodes) -> ClickHouseEngine {
    let (engine, t) = (open(nodes), measurement());
    engine.ensure_table(&t).unwrap();
    engine.insert(&t, batch(&t, &points(100, 1)), 1..=1).unwrap();
    engine
}

/// The points as they are after merges: inserts that some servers have got may have come twice.
fn merged(engine: &ClickHouseEngine, t: &Arc<Table>) -> usize {
    let mut scan = rows_of(t);
    scan.merge_duplicates = true;
    run(engine, &scan, &QueryContext::unbounded()).unwrap().len()
}

/// Also when the engine knows nothing from before.
#[test]
fn readers_do_with_one_server_of_each_shard() {
    let mut nodes = Nodes::start(2, 2);
    let (t, wider) = (measurement(), wider());
    drop(filled(&nodes));
    nodes.kill(1);
    let engine = open(&nodes);
    for _ in 0..4 {
        assert_eq!(count(&engine, &t), i(100));
        assert_eq!(merged(&engine, &wider), 100, "with a column that the servers have not got yet");
    }
    // What changes something needs all of them.
    is_away(engine.ensure_table(&wider), &nodes, 1);
    is_away(engine.insert(&wider, batch(&wider, &points(100, 2)), 2..=2), &nodes, 1);
    let all = RowSelection::of_time(TimeRange::ALL);
    is_away(engine.delete_rows(&t, &all, &QueryContext::unbounded()), &nodes, 1);
    nodes.restart(1);
    nodes.kill(0);
    until("the one that is back is known", || try_count(&engine, &t).is_ok());
    for _ in 0..4 {
        assert_eq!(merged(&engine, &wider), 100, "the one that is back lacks the column");
    }
    nodes.restart(0);
    until("all have the column", || engine.ensure_table(&wider).is_ok());
    engine.insert(&wider, batch(&wider, &points(100, 2)), 2..=2).unwrap();
    let held = nodes.rows("hyperbyte");
    assert!(held[0] == held[1] && held[2] == held[3], "{held:?}");
}

/// The one that answers has lost the table, of which the other one has rows.
#[test]
fn no_rows_is_an_answer_only_when_it_is_known() {
    let mut nodes = Nodes::start(1, 2);
    let t = measurement();
    drop(filled(&nodes));
    nodes.query(0, "DROP TABLE hyperbyte.m7 SYNC");
    nodes.kill(1);
    let engine = open(&nodes);
    is_away(try_count(&engine, &t), &nodes, 1);
    nodes.restart(1);
    until("the loss is noticed", || {
        let is_named = |text: &str| text.contains("has lost the table m7") && text.contains(&nodes.url(0));
        matches!(try_count(&engine, &t), Err(EngineError::Unavailable(text)) if is_named(&text))
    });
}

#[test]
fn a_server_that_hangs_is_not_waited_for() {
    hang(1);
}

/// Here it is another server that asks it.
#[test]
fn a_server_of_two_shards_that_hangs_is_not_waited_for() {
    hang(2);
}

/// Nothing bounds the statements but that the servers are watched.
fn hang(shards: usize) {
    let nodes = Nodes::start(shards, 2);
    let t = measurement();
    drop(filled(&nodes));
    let patient = ClickHouseOptions { request_timeout: Duration::from_secs(3600), ..options(&nodes) };
    let engine = ClickHouseEngine::open(patient.clone()).unwrap();
    assert_eq!(count(&engine, &t), i(100));
    nodes.pause(1);
    let begun = Instant::now();
    (0..10).for_each(|_| assert_eq!(count(&engine, &t), i(100)));
    is_away(engine.insert(&t, batch(&t, &points(100, 2)), 2..=2), &nodes, 1);
    assert!(begun.elapsed() < LIMIT, "{:?}", begun.elapsed());
    let begun = Instant::now();
    (0..10).for_each(|_| assert_eq!(merged(&engine, &t), 100));
    assert!(begun.elapsed() < Duration::from_secs(10), "it is known by now: {:?}", begun.elapsed());
    // One that has not met it before.
    let begun = Instant::now();
    let late = ClickHouseEngine::open(patient).unwrap();
    assert_eq!(merged(&late, &t), 100);
    is_away(late.ensure_table(&wider()), &nodes, 1);
    assert!(begun.elapsed() < LIMIT, "{:?}", begun.elapsed());
    nodes.resume(1);
    until("it is one of them again", || {
        engine.insert(&t, batch(&t, &points(100, 2)), 2..=2).is_ok() && late.ensure_table(&wider()).is_ok()
    });
    assert_eq!(nodes.rows("hyperbyte").iter().sum::<u64>(), 400);
}

/// What it lacks it gets before it gets points.
#[test]
fn a_server_that_answers_late_becomes_one_of_them() {
    let mut nodes = Nodes::start(2, 2);
    let t = measurement();
    nodes.kill(3);
    let engine = open(&nodes);
    is_away(engine.ensure_table(&t), &nodes, 3);
    nodes.restart(3);
    // The table is not made in a database of which nobody has said whose it is.
    until("it has told what it is", || engine.ensure_table(&t).is_ok());
    assert_eq!(nodes.query(3, "EXISTS TABLE hyperbyte.installation"), "1");
    engine.insert(&t, batch(&t, &points(100, 1)), 1..=1).unwrap();
    let held = nodes.rows("hyperbyte");
    assert!(held[2] == held[3] && held[3] > 0, "{held:?}");
}

/// It comes back with a database of somebody else's.
#[test]
fn a_server_that_answers_late_is_left_alone_until_it_has_said_whose_it_is() {
    let mut nodes = Nodes::start(1, 2);
    let t = measurement();
    nodes.query(1, "CREATE DATABASE hyperbyte ENGINE = Atomic");
    let marker = "CREATE TABLE hyperbyte.installation (nothing UInt8) ENGINE = Null COMMENT 'another'";
    nodes.query(1, marker);
    nodes.kill(1);
    let engine = open(&nodes);
    nodes.restart(1);
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(4) {
        is_away(engine.ensure_table(&t), &nodes, 1);
        assert_eq!(nodes.query(1, "EXISTS TABLE hyperbyte.m7"), "0");
    }
}

/// The servers keep each other's rows: one of each shard is enough to make a table, and the others get it when they are back.
#[test]
fn replicated_tables_are_made_where_servers_answer() {
    let Some(keeper) = Keeper::start() else {
        return eprintln!("SKIPPED: ZooKeeper is not installed (Debian's zookeeper)");
    };
    let mut nodes = Nodes::start_with_keeper(2, 2, &keeper);
    nodes.kill(1);
    let replicated = ClickHouseOptions { replicated: true, ..options(&nodes) };
    let engine = ClickHouseEngine::open(replicated).unwrap();
    let (t, other) = (measurement(), table(8, &["host"], &[("v", FieldType::Integer)]));
    engine.ensure_table(&t).unwrap();
    let made = |nodes: &Nodes, node| {
        let tables = "SELECT arraySort(groupArray(engine)) FROM system.tables WHERE name IN ('m7', 'm7_all')";
        nodes.query(node, tables) == "['Distributed','ReplicatedAggregatingMergeTree']"
    };
    assert!([0, 2, 3].iter().all(|node| made(&nodes, *node)));
    nodes.restart(1);
    until("it has the table, too", || engine.ensure_table(&t).is_ok() && made(&nodes, 1));
    nodes.kill(0);
    engine.ensure_table(&other).unwrap();
    nodes.kill(1);
    let third = table(9, &["host"], &[("v", FieldType::Integer)]);
    assert!(
        matches!(engine.ensure_table(&third), Err(EngineError::Unavailable(_))),
        "nobody has their shard"
    );
}

fn remove_parts(folder: &Path) -> usize {
    let mut removed = 0;
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap).filter(|e| e.file_type().unwrap().is_dir())
    {
        if entry.file_name().to_string_lossy().ends_with("_1_1_0") {
            fs::remove_dir_all(entry.path()).unwrap();
            removed += 1;
        } else {
            removed += remove_parts(&entry.path());
        }
    }
    removed
}

/// A server notes the token of an insert before its rows are in place, and may be killed in between.
#[test]
fn a_token_of_before_a_kill_is_not_believed() {
    let mut nodes = Nodes::single();
    let t = measurement();
    let engine = filled(&nodes);
    nodes.kill(0);
    // What was on its way to it may be stored or not.
    is_away(engine.insert(&t, batch(&t, &points(100, 1)), 1..=1), &nodes, 0);
    assert!(remove_parts(&nodes.folder().join("0/data")) > 0);
    nodes.restart(0);
    assert_eq!(nodes.rows("hyperbyte"), [0]);
    for engine in [engine, open(&nodes)] {
        for _ in 0..2 {
            until("it answers", || engine.insert(&t, batch(&t, &points(100, 1)), 1..=1).is_ok());
            assert_eq!(nodes.rows("hyperbyte"), [100]);
        }
    }
}
