//! SHOW QUERIES and KILL QUERY act at once, wherever a query stands.

#![allow(clippy::unwrap_used)] // a test may panic

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use support::{Answer, Client, Server, until};

const PATIENCE: Duration = Duration::from_secs(20);
/// What "at once" means. Other tests run beside this one, so the best of some tries counts.
const AT_ONCE: Duration = Duration::from_millis(300);
const TRIES: usize = 10;
const INTERRUPTED: &str = "query interrupted";

/// Ids and status of the queries other than the one that asks.
fn queries(client: &Client) -> Vec<(u64, String)> {
    let rows = client.rows("", "SHOW QUERIES");
    let others = rows.iter().filter(|row| row[1].as_str() != Some("SHOW QUERIES"));
    others.map(|row| (row[0].as_u64().unwrap(), row[4].as_str().unwrap().to_owned())).collect()
}

fn wait_for_query(client: &Client, status: &str) -> u64 {
    let mut found = None;
    until(&format!("a query is {status}"), PATIENCE, || {
        found = queries(client).into_iter().find(|(_, s)| s == status).map(|(id, _)| id);
        found.is_some()
    });
    found.unwrap()
}

/// Kills a query; how long it then takes until its client has the answer.
fn kill(client: &Client, id: u64, answers: &mpsc::Receiver<Answer>) -> Duration {
    let started = Instant::now();
    client.query("", &format!("KILL QUERY {id}"));
    let answer = answers.recv_timeout(PATIENCE).unwrap();
    assert!(answer.body.contains(INTERRUPTED), "{}", answer.body.get(..200).unwrap_or(&answer.body));
    started.elapsed()
}

/// Sends a statement of a database.
fn ask(client: &Client, statement: &str) -> Answer {
    client.query_raw("db0", statement)
}

/// Starts a statement again and again, kills it once it is `status`, and wants it to end at once.
fn killed_at_once(server: &Server, what: &str, statement: &str, status: &str) {
    let client = server.client();
    at_once(what, || {
        let (sender, answers) = mpsc::channel();
        let (its_client, statement) = (server.client(), statement.to_owned());
        let thread = std::thread::spawn(move || {
            sender.send(ask(&its_client, &statement)).expect("somebody waits");
        });
        let id = wait_for_query(&client, status);
        let took = kill(&client, id, &answers);
        thread.join().unwrap();
        took
    });
}

/// Tries until it takes no longer than "at once".
fn at_once(what: &str, mut kill: impl FnMut() -> Duration) {
    let mut took = Vec::new();
    while took.len() < TRIES {
        took.push(kill());
        if took.last().is_some_and(|last| *last <= AT_ONCE) {
            println!("{what}: {took:?}");
            return;
        }
    }
    panic!("{what}: killed queries ended after {took:?}");
}

fn load(client: &Client, rows: u64) {
    client.query("", "CREATE DATABASE db0");
    for first in (0..rows).step_by(50_000) {
        let line = |i| format!("m,host=h{} text=\"row {i} of a table {i:>200}\",v={i}i {i}000000\n", i % 100);
        client.write("db0", &(first..(first + 50_000).min(rows)).map(line).collect::<String>());
    }
}

/// Reads the first bytes of an answer, and no more.
fn stalled(server: &Server) -> TcpStream {
    let mut stream = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
    let request = "GET /query?db=db0&chunked=true&q=SELECT+text,v+FROM+m HTTP/1.0\r\n\r\n";
    stream.write_all(request.as_bytes()).unwrap();
    stream.read_exact(&mut [0; 1000]).unwrap();
    stream
}

#[test]
fn in_the_queue_while_sending_and_in_the_head() {
    let server = Server::start_with(&[("HTTP__MAX_CONCURRENT_QUERIES", "1"), ("WAL__SYNC", "off")]);
    let client = server.client();
    load(&client, 300_000);
    let scan = "SELECT stddev(v) FROM (SELECT v FROM m WHERE text =~ /x.*y/ OR v > 0) GROUP BY time(1ms)";
    killed_at_once(&server, "in the head", scan, "running");

    // Killed, it is gone; nobody reads its answer.
    at_once("while sending", || {
        let _stream = stalled(&server);
        let sending = wait_for_query(&client, "running");
        let killed = Instant::now();
        client.query("", &format!("KILL QUERY {sending}"));
        until("the query that sends is gone", PATIENCE, || queries(&client).is_empty());
        killed.elapsed()
    });

    let _stream = stalled(&server);
    let started = Instant::now();
    let sending = wait_for_query(&client, "running");
    killed_at_once(&server, "in the queue", "SELECT v FROM m", "waiting");
    // The queue is of no concern to who looks at it.
    let looked = Instant::now();
    assert_eq!(queries(&client), [(sending, "running".to_owned())]);
    assert!(looked.elapsed() < Duration::from_secs(5), "{:?} of {:?}", looked.elapsed(), started.elapsed());
    client.query("", &format!("KILL QUERY {sending}"));
    until("the query that sends is gone", PATIENCE, || queries(&client).is_empty());
    // What waited for its place goes on.
    assert_eq!(client.rows("db0", "SELECT count(v) FROM m")[0][1], 300_000);
}

#[test]
fn in_the_engine() {
    let settings = [("FLUSH__HEAD_BYTES", "0"), ("WAL__SYNC", "off")];
    let server = Server::start_with(&settings);
    load(&server.client(), 300_000);
    assert_eq!(server.client().rows("db0", "SELECT count(v) FROM m")[0][1], 300_000);
    let conditions: Vec<_> = (0..50).map(|i| format!("text =~ /(1|2|3).*(4|5|6).*(7|8|9).*x{i}/")).collect();
    let scan = format!("SELECT count(v) FROM m WHERE {}", conditions.join(" OR "));
    killed_at_once(&server, "in the engine", &scan, "running");
}

#[test]
fn in_planning() {
    let server = Server::start();
    let client = server.client();
    client.query("", "CREATE DATABASE db0");
    let fields = |m| (0..5).map(|f| format!("f{m}_{f}=1")).collect::<Vec<_>>().join(",");
    client.write("db0", &(0..2_000).map(|m| format!("m{m} {} 1\n", fields(m))).collect::<String>());
    killed_at_once(&server, "in planning", "EXPLAIN SELECT * FROM /.*/", "running");
}

#[test]
fn in_operators_and_while_writing() {
    let server = Server::start_with(&[("WAL__SYNC", "off"), ("QUERY__MAX_SELECT_BUCKETS", "1000000")]);
    let client = server.client();
    load(&client, 300_000);
    let fit =
        "SELECT holt_winters(mean(v), 10, 100) FROM m WHERE time >= 0 AND time < 300s GROUP BY time(1ms)";
    killed_at_once(&server, "in a function", fit, "running");
    killed_at_once(&server, "while writing", "SELECT text, v INTO copy FROM m GROUP BY *", "running");
}

#[test]
fn while_waiting_for_a_place_among_heavy_ones() {
    let settings = [("QUERY__MAX_HEAVY", "1"), ("QUERY__HEAVY_AFTER_MS", "1"), ("WAL__SYNC", "off")];
    let server = Server::start_with(&settings);
    let client = server.client();
    load(&client, 100_000);
    let conditions: Vec<_> = (0..50).map(|i| format!("text =~ /(1|2|3).*(4|5|6).*(7|8|9).*x{i}/")).collect();
    let scan = format!("SELECT count(v) FROM m WHERE {}", conditions.join(" OR "));
    let waits = || {
        let metrics = client.get("/metrics").unwrap().body;
        let line =
            metrics.lines().find(|line| line.contains("limit=\"query.max_heavy\"")).unwrap_or("0").to_owned();
        line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()
    };
    std::thread::scope(|threads| {
        let first = threads.spawn(|| ask(&server.client(), &scan));
        let heavy = wait_for_query(&client, "running");
        at_once("waiting for a place", || {
            let before = waits();
            let (sender, answers) = mpsc::channel();
            let (its_client, scan) = (server.client(), &scan);
            let thread = threads.spawn(move || sender.send(ask(&its_client, scan)).expect("somebody waits"));
            until("the second one waits", PATIENCE, || waits() > before);
            let second = queries(&client).into_iter().map(|(id, _)| id).find(|id| *id != heavy).unwrap();
            let took = kill(&client, second, &answers);
            thread.join().unwrap();
            took
        });
        client.query("", &format!("KILL QUERY {heavy}"));
        assert!(first.join().unwrap().body.contains(INTERRUPTED), "the first one held its place");
    });
}

#[test]
fn sql() {
    let server = Server::start_with(&[("SQL__ENABLED", "always")]);
    let client = server.client();
    client.query("", "CREATE DATABASE db0");
    at_once("SQL", || {
        let (sender, answers) = mpsc::channel();
        let its_client = server.client();
        let thread = std::thread::spawn(move || {
            let text = b"SELECT max(sipHash64(number)) FROM numbers(1000000000000)";
            let answer = its_client.post("/api/v1/sql", &[("database", "db0")], text);
            sender.send(answer.unwrap()).expect("somebody waits");
        });
        let id = wait_for_query(&client, "running");
        let took = kill(&client, id, &answers);
        thread.join().unwrap();
        took
    });
}
