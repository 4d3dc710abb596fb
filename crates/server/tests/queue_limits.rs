//! Queues are bounded: who finds one full, or waits too long in it, hears which settings bound it, and that he may come again.

#![allow(clippy::unwrap_used)] // a test may panic

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use support::{Answer, Client, Server, until};

const PATIENCE: Duration = Duration::from_secs(20);

fn refused(client: &Client, answer: &Answer, text: &str, setting: &str) {
    assert!(answer.status == 503 && answer.headers.contains_key("retry-after"), "{}", answer.body);
    assert!(answer.body.contains(text), "{text}: {}", answer.body);
    let metrics = client.get("/metrics").unwrap().body;
    let name = format!("hyperbytedb_limit_exceeded_total{{limit=\"{setting}\"}} ");
    let count = metrics.lines().find_map(|line| line.strip_prefix(&name)).expect(setting);
    assert_ne!(count, "0", "{setting}");
}

/// A query that goes on until what is returned is dropped: nobody reads on, and no buffer takes 200 MB.
fn endless(server: &Server) -> TcpStream {
    let client = server.client();
    client.query("", "CREATE DATABASE db");
    client.write("db", &(0..10_000).map(|i| format!("m text=\"row {i:>900}\" {i}\n")).collect::<String>());
    let mut stream = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
    let columns = ["text"; 24].join(",");
    let request =
        format!("GET /query?db=db&chunked=true&chunk_size=100&q=SELECT+{columns}+FROM+m HTTP/1.0\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    stream.read_exact(&mut [0; 1000]).unwrap();
    stream
}

fn count(client: &Client) -> Answer {
    client.query_raw("db", "SELECT count(text) FROM m")
}

/// The text of the query that waits for its turn.
fn waiting(client: &Client) -> Option<String> {
    let rows = client.rows("", "SHOW QUERIES");
    rows.iter().find(|row| row[4].as_str() == Some("waiting")).map(|row| row[1].as_str().unwrap().to_owned())
}

#[test]
fn of_queries() {
    let server = Server::start_with(&[
        ("HTTP__MAX_CONCURRENT_QUERIES", "1"),
        ("HTTP__MAX_QUEUED_QUERIES", "1"),
        ("HTTP__QUEUE_TIMEOUT_SECS", "3"),
        ("WAL__SYNC", "off"),
    ]);
    let stream = endless(&server);
    let client = server.client();
    std::thread::scope(|threads| {
        let second = threads.spawn(|| server.client().query_raw("db", "CREATE USER u WITH PASSWORD 'hush'"));
        until("the second one waits", PATIENCE, || waiting(&client).is_some());
        assert_eq!(waiting(&client).as_deref(), Some("CREATE USER u WITH PASSWORD [REDACTED]"));
        let text = "too many queries (http.max_concurrent_queries, http.max_queued_queries)";
        refused(&client, &count(&client), text, "http.max_queued_queries");
        let text =
            "timed out waiting for other queries (http.max_concurrent_queries, http.max_queued_queries)";
        refused(&client, &second.join().unwrap(), text, "http.queue_timeout_secs");
    });
    drop(stream);
    until("there is room again", PATIENCE, || count(&client).status == 200);
}

#[test]
fn of_queries_whatever_they_come_from() {
    let server = Server::start_with(&[("QUERY__MAX_CONCURRENT", "1"), ("WAL__SYNC", "off")]);
    let stream = endless(&server);
    let client = server.client();
    let text = "max-concurrent-queries limit exceeded (1, 1) (query.max_concurrent)";
    refused(&client, &count(&client), text, "query.max_concurrent");
    drop(stream);
    until("there is room again", PATIENCE, || count(&client).status == 200);
}

#[test]
fn of_sql() {
    let settings = [("SQL__ENABLED", "always"), ("SQL__MAX_CONCURRENT", "1"), ("SQL__MAX_QUEUED", "0")];
    let server = Server::start_with(&settings);
    let client = server.client();
    client.query("", "CREATE DATABASE db");
    let sql = |client: &Client, text: &str| {
        client.post("/api/v1/sql", &[("database", "db")], text.as_bytes()).unwrap()
    };
    let running = || {
        let rows = client.rows("", "SHOW QUERIES");
        rows.iter()
            .find(|row| row[1].as_str().is_some_and(|text| text.contains("sipHash64")))
            .map(|row| row[0].clone())
    };
    std::thread::scope(|threads| {
        let long = "SELECT max(sipHash64(number)) FROM numbers(1000000000000)";
        let first = threads.spawn(|| sql(&server.client(), long));
        until("it runs", PATIENCE, || running().is_some());
        let text = "too many SQL statements (sql.max_concurrent, sql.max_queued)";
        refused(&client, &sql(&client, "SELECT 1"), text, "sql.max_queued");
        client.query("", &format!("KILL QUERY {}", running().unwrap()));
        first.join().unwrap();
    });
    assert_eq!(sql(&client, "SELECT 1").status, 200);
}
