//! The engine on real servers.
#![allow(clippy::unwrap_used)]

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use arrow::ipc::writer::StreamWriter;
use hyperbytedb_clickhouse_node::Nodes;
use hyperbytedb_domain::catalog::Table;
use hyperbytedb_domain::ports::{PointsSinkPort, QueryPort};
use hyperbytedb_domain::scan::{RowScan, RowSelection, Scan};
use hyperbytedb_domain::{CancelToken, EngineError, FieldType, QueryContext, TimeRange};
use hyperbytedb_engine_clickhouse::{ClickHouseEngine, ClickHouseOptions};
use support::rows::{batch, i, row, rows, run, s, table};
use support::{count, measurement, open, options, points, rows_of, until};

/// Rows that take long to read: nothing can be sorted away.
fn endless(t: &Arc<Table>) -> Scan {
    rows(t, RowScan { tags: Vec::new(), ..RowScan::default() })
}

fn running(nodes: &Nodes) -> String {
    nodes.query(
        0,
        "SELECT count() FROM system.processes WHERE query LIKE 'SELECT%m7%' AND query_id LIKE 'hyper%'",
    )
}

#[test]
fn an_insert_that_is_repeated_stores_nothing_twice() {
    let mut nodes = Nodes::start(2, 1);
    let engine = open(&nodes);
    let t = measurement();
    engine.ensure_table(&t).unwrap();
    let rows = batch(&t, &points(100, 1));
    for _ in 0..2 {
        engine.insert(&t, rows.clone(), 1..=9).unwrap();
    }
    assert_eq!(nodes.rows("hyperbyte").iter().sum::<u64>(), 100);
    // Also when its second half was lost, its server has gone meanwhile, and there is another column.
    nodes.kill(1);
    let rows = batch(&t, &points(100, 2));
    let error = engine.insert(&t, rows.clone(), 10..=12).unwrap_err();
    assert!(matches!(&error, EngineError::Unavailable(text) if text.contains(&nodes.url(1))), "{error}");
    nodes.restart(1);
    let wider = table(
        7,
        &["host"],
        &[("v", FieldType::Integer), ("text", FieldType::String), ("w", FieldType::Float)],
    );
    engine.ensure_table(&wider).unwrap();
    for engine in [engine, open(&nodes)] {
        engine.insert(&wider, rows.clone(), 10..=12).unwrap();
        assert_eq!(nodes.rows("hyperbyte").iter().sum::<u64>(), 200);
        assert_eq!(count(&engine, &t), i(200));
        let mut scan = rows_of(&t);
        scan.merge_duplicates = true;
        assert_eq!(run(&engine, &scan, &QueryContext::unbounded()).unwrap().len(), 100);
    }
    // The same content of other records is another insert: 1, 2, 1 ends as 1.
    let engine = open(&nodes);
    engine.insert(&t, batch(&t, &points(100, 1)), 13..=13).unwrap();
    let mut scan = rows_of(&wider);
    scan.merge_duplicates = true;
    let found = run(&engine, &scan, &QueryContext::unbounded()).unwrap();
    assert!(found.iter().all(|row| row[2] == i(1)), "{:?}", found[0]);
    let deleted = RowSelection::of_time(TimeRange { min: 0, max: 49 });
    engine.delete_rows(&t, &deleted, &QueryContext::unbounded()).unwrap();
    assert_eq!(run(&engine, &scan, &QueryContext::unbounded()).unwrap().len(), 50);
}

/// A server that was killed carries out a delete of its log again, and then stores again what was written after it.
#[test]
fn rows_that_come_again_behind_a_delete_are_stored() {
    let nodes = Nodes::start(2, 1);
    let t = measurement();
    let all = RowSelection::of_time(TimeRange::ALL);
    let mut engine = open(&nodes);
    engine.ensure_table(&t).unwrap();
    for _ in 0..3 {
        engine.delete_rows(&t, &all, &QueryContext::unbounded()).unwrap();
        engine.insert(&t, batch(&t, &points(100, 1)), 5..=9).unwrap();
        assert_eq!(count(&engine, &t), i(100));
        engine = open(&nodes);
    }
}

/// Without its own rows its answers would be wrong, and an empty table in the lost one's place would hide that.
#[test]
fn a_server_that_has_lost_a_table_is_named() {
    let nodes = Nodes::start(2, 1);
    let engine = open(&nodes);
    let t = measurement();
    engine.ensure_table(&t).unwrap();
    engine.insert(&t, batch(&t, &points(100, 1)), 1..=1).unwrap();
    nodes.query(1, "DROP TABLE hyperbyte.m7_all SYNC");
    let again = open(&nodes);
    assert_eq!(count(&again, &t), i(100), "what stands for all rows is made anew");
    nodes.query(1, "DROP TABLE hyperbyte.m7 SYNC");
    let is_named = |result: Result<(), EngineError>| {
        let error = result.unwrap_err();
        let is_lost = |text: &String| text.contains("has lost the table m7") && text.contains(&nodes.url(1));
        assert!(matches!(&error, EngineError::Unavailable(text) if is_lost(text)), "{error}");
    };
    for engine in [&engine, &open(&nodes)] {
        is_named(read_all(engine, &rows_of(&t), &QueryContext::unbounded()));
        is_named(engine.ensure_table(&t));
        let all = RowSelection::of_time(TimeRange::ALL);
        is_named(engine.delete_rows(&t, &all, &QueryContext::unbounded()));
        is_named(engine.distinct_series(&t, &all, &QueryContext::unbounded()).map(drop));
    }
    assert_eq!(nodes.query(0, "SELECT count() > 0 FROM hyperbyte.m7").trim(), "1");
    assert_eq!(nodes.query(1, "EXISTS TABLE hyperbyte.m7").trim(), "0");
}

/// The first of two servers has rows of an insert that the second has not got.
#[test]
fn what_one_server_of_a_shard_has_is_known() {
    let mut nodes = Nodes::start(1, 2);
    let engine = open(&nodes);
    let t = measurement();
    engine.ensure_table(&t).unwrap();
    engine.insert(&t, batch(&t, &points(10, 1)), 1..=1).unwrap();
    nodes.kill(1);
    let later = batch(&t, &[row(500, &["h1"], &[i(1), s("x")])]);
    assert!(engine.insert(&t, later, 2..=2).is_err());
    assert!(engine.max_times(t.id).is_err(), "the second may have later ones");
    nodes.restart(1);
    for _ in 0..4 {
        assert_eq!(engine.max_times(t.id).unwrap().last().unwrap().1, 500);
        let rows: u64 = engine.partitions(Some(t.id)).unwrap().iter().map(|partition| partition.rows).sum();
        assert_eq!(rows, 11);
    }
}

#[test]
fn all_servers_of_a_shard_have_its_rows() {
    let mut nodes = Nodes::start(2, 2);
    let engine = open(&nodes);
    let t = measurement();
    engine.ensure_table(&t).unwrap();
    engine.insert(&t, batch(&t, &points(100, 1)), 1..=1).unwrap();
    let held = nodes.rows("hyperbyte");
    assert!(held[0] == held[1] && held[2] == held[3] && held[0] + held[2] == 100, "{held:?}");
    nodes.kill(0);
    for _ in 0..4 {
        assert_eq!(count(&engine, &t), i(100));
    }
    // What it lacks it gets before the insert counts.
    assert!(engine.insert(&t, batch(&t, &points(100, 2)), 2..=2).is_err());
    nodes.restart(0);
    engine.insert(&t, batch(&t, &points(100, 2)), 2..=2).unwrap();
    let held = nodes.rows("hyperbyte");
    assert!(held[0] == held[1] && held[2] == held[3] && held[0] + held[2] == 200, "{held:?}");
    assert_eq!(engine.partitions(None).unwrap().iter().map(|p| p.rows).sum::<u64>(), 200);
    for shard in engine.max_times(t.id).unwrap() {
        engine.merge_partition(t.id, shard.0).unwrap();
        assert_eq!(shard.1, 99);
    }
    assert_eq!(count(&engine, &t), i(100));
}

fn insert_a_million(nodes: &Nodes) {
    nodes.query(
        0,
        "INSERT INTO hyperbyte.m7 (time, sid, shard, t0, f0, f1) \
         SELECT number, 1, 1, 'h', number, repeat('x', 100) FROM numbers(1000000)",
    );
}

fn read_all(engine: &ClickHouseEngine, scan: &Scan, context: &QueryContext) -> Result<(), EngineError> {
    let mut stream = engine.scan(scan, context)?;
    while stream.next_batch()?.is_some() {}
    Ok(())
}

#[test]
fn statements_end_with_those_who_wait_for_them() {
    let nodes = Nodes::single();
    let engine = open(&nodes);
    let t = measurement();
    engine.ensure_table(&t).unwrap();
    insert_a_million(&nodes);
    // A reader that goes.
    let mut stream = engine.scan(&endless(&t), &QueryContext::unbounded()).unwrap();
    assert!(stream.next_batch().unwrap().is_some());
    assert_eq!(running(&nodes), "1");
    drop(stream);
    until("the statement is gone", || running(&nodes) == "0");
    // A query that is killed, and one that has no time left.
    let cancel = CancelToken::default();
    let context = QueryContext { cancel: cancel.clone(), ..QueryContext::unbounded() };
    let mut stream = engine.scan(&endless(&t), &context).unwrap();
    assert!(stream.next_batch().unwrap().is_some());
    cancel.cancel();
    assert!(matches!(stream.next_batch(), Err(EngineError::Cancelled)));
    drop(stream);
    until("the statement is gone", || running(&nodes) == "0");
    let soon = QueryContext { deadline: Some(Instant::now()), ..QueryContext::unbounded() };
    assert!(matches!(engine.scan(&endless(&t), &soon).err(), Some(EngineError::Timeout)));
    let poor = QueryContext { max_memory_bytes: 1_000_000, ..QueryContext::unbounded() };
    let end = read_all(&engine, &endless(&t), &poor);
    assert!(matches!(end, Err(EngineError::MemoryLimit { .. })), "{end:?}");
    let few = QueryContext { max_rows_read: 1_000, ..QueryContext::unbounded() };
    let end = read_all(&engine, &endless(&t), &few);
    assert!(matches!(end, Err(EngineError::RowLimit)), "{end:?}");
}

#[test]
fn an_answer_that_breaks_off_is_an_error() {
    let mut nodes = Nodes::single();
    let engine = open(&nodes);
    let t = measurement();
    engine.ensure_table(&t).unwrap();
    insert_a_million(&nodes);
    let mut stream = engine.scan(&endless(&t), &QueryContext::unbounded()).unwrap();
    assert!(stream.next_batch().unwrap().is_some());
    nodes.kill(0);
    let end = loop {
        match stream.next_batch() {
            Ok(Some(_)) => {}
            end => break end,
        }
    };
    assert!(matches!(end, Err(EngineError::Unavailable(_))), "{end:?}");
}

#[test]
fn what_is_wrong_is_said() {
    let nodes = Nodes::start(2, 1);
    let refused = |options: ClickHouseOptions| ClickHouseEngine::open(options).err().map(|e| e.to_string());
    let text = refused(ClickHouseOptions { cluster: "x".into(), ..options(&nodes) }).unwrap();
    assert!(text.contains("clickhouse.cluster"), "{text}");
    let text = refused(ClickHouseOptions { urls: vec![nodes.url(0)], ..options(&nodes) }).unwrap();
    assert!(text.contains("shard 2"), "{text}");
    assert_eq!(refused(options(&nodes)), None);
    let text = refused(ClickHouseOptions { installation: "another".into(), ..options(&nodes) }).unwrap();
    assert!(text.contains("belongs to installation"), "{text}");

    // What another configuration would mend is no reason to lose points: whoever needs the engine is told.
    let told = |options: ClickHouseOptions| {
        let error = ClickHouseEngine::open(options).unwrap().ensure_table(&measurement()).unwrap_err();
        assert!(matches!(error, EngineError::Unavailable(_)), "{error}");
        error.to_string()
    };
    let text = told(ClickHouseOptions { password: "no".into(), ..options(&nodes) });
    assert!(text.contains("clickhouse.password") && !text.contains("Authentication"), "{text}");
    let viewer = ClickHouseOptions { user: "viewer".into(), password: String::new(), ..options(&nodes) };
    assert!(told(viewer).contains("readonly"));
    let urls = vec!["http://no-such-host.invalid:8123".to_owned()];
    let text = told(ClickHouseOptions { urls, cluster: String::new(), ..options(&nodes) });
    assert!(text.contains("no-such-host") && text.contains("clickhouse.urls"), "{text}");
}

/// Reads a request and answers with a body.
fn answer(mut stream: TcpStream, body: &[u8]) -> std::io::Result<()> {
    let mut request = BufReader::new(stream.try_clone()?);
    let (mut line, mut length) = (String::new(), 0);
    while request.read_line(&mut line)? > 2 {
        if let Some(number) = line.to_lowercase().strip_prefix("content-length:") {
            length = number.trim().parse().unwrap();
        }
        line.clear();
    }
    request.read_exact(&mut vec![0; length])?;
    write!(stream, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len())?;
    stream.write_all(body)
}

/// A server that answers this text to all that it is asked.
fn parrot(text: &str) -> String {
    let column: ArrayRef = Arc::new(StringArray::from(vec![text]));
    let batch = RecordBatch::try_from_iter([("text", column)]).unwrap();
    let mut writer = StreamWriter::try_new(Vec::new(), &batch.schema()).unwrap();
    writer.write(&batch).unwrap();
    let body = writer.into_inner().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || listener.incoming().try_for_each(|stream| answer(stream?, &body)));
    url
}

#[test]
fn a_server_that_is_too_old_is_refused() {
    for (version, is_refused) in [("24.3.12.75", true), ("23.12.1.1", true), ("24.8.1.1", false)] {
        let options = ClickHouseOptions { urls: vec![parrot(version)], ..ClickHouseOptions::default() };
        let text = ClickHouseEngine::open(options).err().unwrap().to_string();
        assert_eq!(text.contains(&format!("is {version}: it must be 24.8 or newer")), is_refused, "{text}");
    }
}
