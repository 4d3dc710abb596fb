//! Points move between the embedded engine and ClickHouse servers.
#![allow(clippy::unwrap_used)]

mod support;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use hyperbytedb_clickhouse_node::Nodes;
use support::{Client, Server, borrowed, database, engine_answers};

const HOUR: i64 = 3_600_000_000_000;
const TO_CLICKHOUSE: [&str; 4] = ["--from", "chdb", "--to", "clickhouse"];
const TO_EMBEDDED: [&str; 4] = ["--from", "clickhouse", "--to", "chdb"];
const QUERIES: [&str; 3] =
    ["SELECT * FROM /.*/", "SELECT count(*), sum(v), last(text) FROM /.*/ GROUP BY host", "SHOW SERIES"];

fn settings(nodes: &Nodes, kind: &str) -> Vec<(&'static str, String)> {
    let mut settings = engine_answers(nodes.settings());
    settings.push(("ENGINE__KIND", kind.to_owned()));
    settings
}

fn start(dir: &Path, nodes: &Nodes, kind: &str) -> Server {
    Server::start_in(dir, &borrowed(&settings(nodes, kind)))
}

fn spawn_copy(dir: &Path, nodes: &Nodes, arguments: &[&str]) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hyperbytedb"));
    command.args(["engine", "copy"]).args(arguments);
    command
        .env("HYPERBYTEDB__STORAGE__DATA_DIR", dir.join("data"))
        .env("HYPERBYTEDB__CLICKHOUSE__DATABASE", database(dir))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    for (key, value) in settings(nodes, "chdb") {
        command.env(format!("HYPERBYTEDB__{key}"), value);
    }
    command.spawn().unwrap()
}

/// Whether it went well, and what it said.
fn try_copy(dir: &Path, nodes: &Nodes, arguments: &[&str]) -> (bool, String) {
    let output = spawn_copy(dir, nodes, arguments).wait_with_output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

fn copy(dir: &Path, nodes: &Nodes, arguments: &[&str]) -> String {
    let (went_well, said) = try_copy(dir, nodes, arguments);
    assert!(went_well, "{said}");
    said
}

fn refused(dir: &Path, nodes: &Nodes, arguments: &[&str]) -> String {
    let (went_well, said) = try_copy(dir, nodes, arguments);
    assert!(!went_well, "{said}");
    said
}

/// The copies of a running server's points name it.
fn online<'a>(arguments: &[&'a str], url: &'a str) -> Vec<&'a str> {
    [arguments, &["--url", url]].concat()
}

fn switch<'a>(arguments: &[&'a str]) -> Vec<&'a str> {
    [arguments, &["--switch"]].concat()
}

/// `count` points of 40 series in as many hours as there are shard groups.
fn points(measurement: &str, hours: i64, count: i64, value: i64) -> String {
    let line = |n: i64| {
        let (host, time) = (n % 40, (n % hours) * HOUR + n);
        format!(
            "{measurement},host=h{host},zone=z{} v={value}i,w={n}.5,text=\"t{n}\",ok=true {time}\n",
            n % 3
        )
    };
    (0..count).map(line).collect()
}

fn answers(client: &Client) -> Vec<String> {
    QUERIES.iter().map(|query| client.query_raw("db", query).body).collect()
}

fn create(client: &Client) {
    client.query("", "CREATE DATABASE db WITH DURATION INF SHARD DURATION 1h");
}

/// Late points, other values, another column, and points that go.
fn change(client: &Client, hours: i64) {
    client.write("db", "m,host=h1,zone=z1 v=7i,late=3i 5\nm,host=new v=1i 3600000000007");
    client.write("db", &points("m", hours, 60, 9));
    client.write("db", &points("other", 2, 10, 1));
    client.query("db", "DELETE FROM m WHERE host = 'h2'");
    client.query("db", &format!("DELETE FROM m WHERE time >= {} AND time < {}", 3 * HOUR, 4 * HOUR));
    client.query("db", "DROP MEASUREMENT gone");
}

fn table(nodes: &Nodes, database: &str) -> String {
    let statement =
        format!("SELECT min(name) FROM system.tables WHERE database = '{database}' AND name LIKE 'm%'");
    nodes.query(0, &statement).trim_end_matches("_all").to_owned()
}

fn moves_there_and_back(nodes: &Nodes) {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    let database = database(dir);
    let server = start(dir, nodes, "chdb");
    let client = server.client();
    create(&client);
    client.write("db", &points("m", 5, 400, 1));
    client.write("db", &points("m", 5, 100, 2));
    client.write("db", &points("gone", 2, 10, 1));
    assert!(answers(&client)[0].contains("t399"));
    // The server goes on while its points are copied, and has them afterwards.
    let said = copy(dir, nodes, &online(&TO_CLICKHOUSE, &server.url()));
    assert!(said.contains("db.autogen.m, shard") && said.contains("7 copied"), "{said}");
    assert!(nodes.rows(&database).iter().all(|rows| *rows > 0));
    assert!(copy(dir, nodes, &online(&TO_CLICKHOUSE, &server.url())).contains("7 were the same, 0 copied"));
    let said = refused(dir, nodes, &switch(&TO_CLICKHOUSE));
    assert!(said.contains("stop it"), "{said}");
    change(&client, 5);
    // What is not as it was there: rows too many, another value, another partition, another table, rows that are missing.
    let m = format!("{database}.{}", table(nodes, &database));
    let last = nodes.len() - 1;
    nodes.query(last, &format!("INSERT INTO {m} SELECT * FROM {m} LIMIT 3"));
    nodes.query(
        last,
        &format!("INSERT INTO {m} (time, sid, shard, f0) SELECT time, sid, shard, 77 FROM {m} LIMIT 1"),
    );
    nodes.query(0, &format!("INSERT INTO {m} (time, sid, shard) VALUES (1, 2, 99999)"));
    nodes.query(0, &format!("CREATE TABLE {database}.m999 AS {m}"));
    nodes.query(0, &format!("DELETE FROM {m} WHERE time < {HOUR} AND sid % 5 = 0"));
    let expected = answers(&client);
    server.stop();
    let said = copy(dir, nodes, &switch(&TO_CLICKHOUSE));
    assert!(said.contains("engine.kind = \"clickhouse\""), "{said}");
    assert_eq!(
        nodes.query(
            0,
            &format!("SELECT count() FROM system.tables WHERE database = '{database}' AND name = 'm999'")
        ),
        "0"
    );
    assert!(refused(dir, nodes, &TO_CLICKHOUSE).contains("in ClickHouse already"));

    let server = start(dir, nodes, "clickhouse");
    let client = server.client();
    assert_eq!(answers(&client), expected);
    client.write("db", &points("m", 6, 80, 3));
    client.query("db", "DELETE FROM m WHERE host = 'h3'");
    assert_ne!(answers(&client), expected);
    let said = copy(dir, nodes, &TO_EMBEDDED);
    assert!(said.contains("copied"), "{said}");
    client.write("db", &points("m", 2, 50, 4));
    client.query("db", "DELETE FROM m WHERE host = 'h4'");
    let expected = answers(&client);
    client.write("db", "m,host=last v=5i 9");
    // What is in its log alone stays there.
    server.kill();
    copy(dir, nodes, &switch(&TO_EMBEDDED));
    let server = start(dir, nodes, "chdb");
    let client = server.client();
    client.query("db", "DELETE FROM m WHERE host = 'last'");
    assert_eq!(answers(&client), expected);
}

#[test]
fn points_move_to_one_server_and_back() {
    moves_there_and_back(&Nodes::single());
}

#[test]
fn points_move_to_two_shards_and_back() {
    moves_there_and_back(&Nodes::start(2, 1));
}

#[test]
fn points_move_to_replicas_and_back() {
    moves_there_and_back(&Nodes::start(2, 2));
}

/// kill -9 when it has seen to some of the partitions.
fn kill_in_the_middle(dir: &Path, nodes: &Nodes, arguments: &[&str], seen: usize) {
    let mut child = spawn_copy(dir, nodes, arguments);
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let lines: Vec<String> = lines.take(seen).collect::<Result<_, _>>().unwrap();
    child.kill().unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(lines.len() == seen && output.status.code().is_none(), "it ended by itself: {said}: {lines:?}");
}

#[test]
fn a_copy_that_is_killed_goes_on() {
    const HOURS: i64 = 60;
    let nodes = Nodes::start(2, 1);
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    let server = start(dir, &nodes, "chdb");
    let client = server.client();
    create(&client);
    client.write("db", &points("m", HOURS, 6_000, 1));
    let expected = answers(&client);
    let url = server.url();
    for seen in [3, 9, 20] {
        kill_in_the_middle(dir, &nodes, &online(&TO_CLICKHOUSE, &url), seen);
        assert_eq!(answers(&client), expected);
    }
    change(&client, HOURS);
    let expected = answers(&client);
    server.stop();
    kill_in_the_middle(dir, &nodes, &switch(&TO_CLICKHOUSE), 30);
    let said = copy(dir, &nodes, &switch(&TO_CLICKHOUSE));
    assert!(said.contains("is there"), "{said}");
    let server = start(dir, &nodes, "clickhouse");
    assert_eq!(answers(&server.client()), expected);
    // Back, into an engine that has nothing.
    std::fs::remove_dir_all(dir.join("data/chdb")).unwrap();
    for seen in [2, 10] {
        kill_in_the_middle(dir, &nodes, &TO_EMBEDDED, seen);
    }
    change(&server.client(), HOURS);
    let expected = answers(&server.client());
    server.stop();
    kill_in_the_middle(dir, &nodes, &switch(&TO_EMBEDDED), 30);
    copy(dir, &nodes, &switch(&TO_EMBEDDED));
    let server = start(dir, &nodes, "chdb");
    assert_eq!(answers(&server.client()), expected);
}

#[test]
fn what_cannot_be_copied_is_said() {
    let nodes = Nodes::single();
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    assert!(refused(dir, &nodes, &TO_CLICKHOUSE).contains("not a data folder"));
    let server = start(dir, &nodes, "chdb");
    create(&server.client());
    server.client().write("db", &points("m", 2, 10, 1));
    assert!(refused(dir, &nodes, &TO_EMBEDDED).contains("in the embedded engine already"));
    assert!(refused(dir, &nodes, &["--from", "chdb", "--to", "chdb"]).contains("the same engine"));
    let other = tempfile::tempdir().unwrap();
    let elsewhere = start(other.path(), &nodes, "chdb");
    let said = refused(dir, &nodes, &online(&TO_CLICKHOUSE, &elsewhere.url()));
    assert!(said.contains("does not run on"), "{said}");
    // Tables of others are left alone.
    let database = database(dir);
    nodes.query(0, &format!("CREATE DATABASE {database} ENGINE = Atomic"));
    nodes.query(0, &format!("CREATE TABLE {database}.m1 (x UInt8) ENGINE = MergeTree ORDER BY x"));
    let said = refused(dir, &nodes, &online(&TO_CLICKHOUSE, &server.url()));
    assert!(said.contains("none of HyperbyteDB's, m1"), "{said}");
    nodes.query(0, &format!("DROP TABLE {database}.m1"));
    copy(dir, &nodes, &online(&TO_CLICKHOUSE, &server.url()));
}
