//! What goes wrong at ClickHouse servers: whoever asks and whoever reads the log is told what to do, and no point is lost.
#![allow(clippy::unwrap_used)]

mod support;

use std::time::Duration;

use hyperbytedb_clickhouse_node::Nodes;
use hyperbytedb_test_support::Tmpfs;
use support::{Server, borrowed, database, engine_answers, until};

const LIMIT: Duration = Duration::from_secs(30);

fn start(nodes: &Nodes) -> Server {
    Server::start_with(&borrowed(&engine_answers(nodes.settings())))
}

/// `count` points of a measurement.
fn points(measurement: &str, count: usize) -> String {
    (0..count).map(|n| format!("{measurement},host=h{} v={n}i {n}\n", n % 10)).collect()
}

fn counts(server: &Server, measurement: &str, count: usize) -> bool {
    let query = format!("SELECT count(v) FROM {measurement}");
    server.client().query_raw("db", &query).body.contains(&format!("[0,{count}]"))
}

/// Points come that cannot be stored: queries and the log say why, in `words`. Later all is there, when `mend` has been called.
fn waits(server: &Server, words: &str, mend: impl FnOnce()) {
    let client = server.client();
    client.write("db", &points("m", 200));
    client.write("db", &points("new", 50));
    for measurement in ["m", "new"] {
        let query = format!("SELECT count(v) FROM {measurement}");
        let answer = client.query_raw("db", &query).body;
        assert!(answer.contains("the engine is unavailable") && answer.contains(words), "{answer}");
        assert!(!answer.contains("DB::Exception"), "{answer}");
    }
    until("the log says why", LIMIT, || server.log().contains(words));
    mend();
    until("the points are stored", LIMIT, || counts(server, "m", 200) && counts(server, "new", 50));
}

#[test]
fn points_wait_for_room_on_the_disk() {
    let mut nodes = Nodes::single();
    nodes.kill(0);
    let data = nodes.folder().join("0/data");
    let Some(disk) = Tmpfs::mount(&data) else {
        return eprintln!("SKIPPED: a small file system cannot be mounted (root can)");
    };
    nodes.restart(0);
    let server = start(&nodes);
    server.client().query("", "CREATE DATABASE db");
    server.client().write("db", &(points("m", 100) + &points("new", 1)));
    assert!(counts(&server, "m", 100) && counts(&server, "new", 1));
    disk.fill();
    waits(&server, "has no space left on its disk", || disk.empty());
    nodes.kill(0);
}

#[test]
fn points_wait_for_a_table_that_is_read_only() {
    let nodes = Nodes::start(2, 1);
    let server = start(&nodes);
    server.client().query("", "CREATE DATABASE db");
    server.client().write("db", &(points("m", 100) + &points("new", 1)));
    assert!(counts(&server, "m", 100) && counts(&server, "new", 1));
    let database = database(&server.data_dir);
    let tables =
        format!("SELECT name FROM system.tables WHERE database = '{database}' AND engine LIKE '%MergeTree'");
    let set_read_only = |value: u8| {
        for table in nodes.query(1, &tables).lines() {
            nodes
                .query(1, &format!("ALTER TABLE {database}.{table} MODIFY SETTING table_readonly = {value}"));
        }
    };
    set_read_only(1);
    waits(&server, "has a table that is read-only", || set_read_only(0));
}

#[test]
fn points_wait_for_the_right_password() {
    let nodes = Nodes::single();
    let folder = tempfile::tempdir().unwrap();
    let mut settings = engine_answers(nodes.settings());
    settings.push(("CLICKHOUSE__PASSWORD", "another".to_owned()));
    let server = Server::start_in(folder.path(), &borrowed(&settings));
    server.client().query("", "CREATE DATABASE db");
    server.client().write("db", &points("m", 100));
    let answer = server.client().query_raw("db", "SELECT count(v) FROM m").body;
    assert!(answer.contains("set clickhouse.user and clickhouse.password"), "{answer}");
    assert!(server.log().contains("set clickhouse.user and clickhouse.password"), "{}", server.log());
    server.kill();
    let server = Server::start_in(folder.path(), &borrowed(&engine_answers(nodes.settings())));
    assert!(counts(&server, "m", 100));
}
