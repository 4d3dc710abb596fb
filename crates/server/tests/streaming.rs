//! Long answers: memory stays flat however many rows come, and the work stops with the client that it is for.

#![allow(clippy::unwrap_used)] // a test may panic

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use support::{Client, Server, until};

const SERIES: i64 = 200;
/// 2025-01-01; rows of four weeks, so that there are several shards.
const START_NS: i64 = 1_735_689_600_000_000_000;
const SPAN_NS: i64 = 28 * 86_400_000_000_000;
const BODY_ROWS: i64 = 60_000;
/// What "soon" means for an end that was asked for.
const SOON: Duration = Duration::from_secs(10);

/// Makes a scan of all rows many slices.
const SMALL_SLICES: [(&str, &str); 3] =
    [("FLUSH__HEAD_BYTES", "0"), ("QUERY__MAX_SORT_ROWS", "60000"), ("WAL__SYNC", "off")];

/// Row `i` is of series `i % SERIES`, at its own time, and its value is `i`.
fn time_of(i: i64, rows: i64) -> i64 {
    START_NS + i * (SPAN_NS / rows)
}

fn load(client: &Client, rows: i64) {
    client.query("", "CREATE DATABASE db0");
    for first in (0..rows).step_by(BODY_ROWS as usize) {
        let mut body = String::new();
        for i in first..(first + BODY_ROWS).min(rows) {
            let (host, time) = (i % SERIES, time_of(i, rows));
            body.push_str(&format!("m,host=h{host:03} text=\"row {i} of a table {i:>200}\",v={i}i {time}\n"));
        }
        client.write("db0", &body);
    }
}

/// A server that has done nothing yet, on a folder with rows.
fn loaded(dir: &Path, rows: i64, settings: &[(&str, &str)]) -> (Server, Client) {
    let server = Server::start_in(dir, settings);
    load(&server.client(), rows);
    assert_eq!(server.stop(), Some(0));
    let server = Server::start_in(dir, settings);
    let client = server.client();
    assert_eq!(client.rows("db0", "SELECT count(v) FROM m")[0][1].as_i64(), Some(rows));
    // What is used once by every answer is there before memory is measured.
    client.rows("db0", "SELECT text, v FROM m LIMIT 10");
    (server, client)
}

/// An answer that is read as the test likes.
fn open(server: &Server, statement: &str, accept: &str) -> BufReader<TcpStream> {
    let mut stream = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let statement: String = statement.bytes().map(|b| format!("%{b:02x}")).collect();
    // HTTP/1.0: the body is what comes until the connection ends.
    let request = format!(
        "GET /query?db=db0&epoch=ns&chunked=true&chunk_size=1000&q={statement} HTTP/1.0\r\nAccept: {accept}\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).unwrap();
    BufReader::new(stream)
}

fn skip_head(stream: &mut BufReader<TcpStream>) {
    let mut line = String::new();
    while stream.read_line(&mut line).unwrap() > 2 {
        line.clear();
    }
}

/// Opens an answer and reads its first bytes only.
fn stalled(server: &Server, statement: &str) -> BufReader<TcpStream> {
    let mut stream = open(server, statement, "application/json");
    skip_head(&mut stream);
    stream.read_exact(&mut [0; 1000]).unwrap();
    stream
}

/// A field of the process in /proc, in kB.
fn memory_kb(server: &Server, field: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with(field)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// CPU time of the process, in ticks of 10 ms.
fn cpu_ticks(server: &Server) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", server.pid())).unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

/// Runs `work` and returns by how many kB memory grew at most meanwhile.
fn growth_kb(server: &Server, work: impl FnOnce()) -> u64 {
    let before = memory_kb(server, "VmRSS");
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let sampler = scope.spawn(|| {
            let mut peak = before;
            while !done.load(Ordering::Acquire) {
                peak = peak.max(memory_kb(server, "VmRSS"));
                std::thread::sleep(Duration::from_millis(10));
            }
            peak
        });
        // The sampler also ends when the work fails.
        let worked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        done.store(true, Ordering::Release);
        let peak = sampler.join().unwrap();
        worked.unwrap();
        peak - before
    })
}

/// Ids of the running queries other than the one that asks.
fn running(client: &Client) -> Vec<u64> {
    let rows = client.rows("", "SHOW QUERIES");
    let others = rows.iter().filter(|row| !row[1].as_str().unwrap().starts_with("SHOW"));
    others.map(|row| row[0].as_u64().unwrap()).collect()
}

/// Waits until the server does nothing any more, though a query runs.
fn wait_until_idle(server: &Server) {
    until("the server does nothing", Duration::from_secs(20), || {
        let before = cpu_ticks(server);
        std::thread::sleep(Duration::from_millis(300));
        cpu_ticks(server) - before <= 3
    });
}

/// Reads an answer in CSV and checks each row against `expected`: its number, and thereby its values.
fn check_rows(server: &Server, statement: &str, rows: i64, expected: impl Iterator<Item = i64>) {
    let mut stream = open(server, statement, "application/csv");
    skip_head(&mut stream);
    let mut expected = expected.peekable();
    for line in stream.lines() {
        let line = line.unwrap();
        let Some(time) = line.split(',').nth(2).and_then(|time| time.parse::<i64>().ok()) else {
            // A header or an empty line, between series.
            continue;
        };
        let i = expected.next().unwrap_or_else(|| panic!("{statement}: one row too many: {line}"));
        assert_eq!(time, time_of(i, rows), "{statement}: row {i}: {line}");
        assert!(line.ends_with(&format!(",{i}")), "{statement}: row {i}: {line}");
    }
    assert_eq!(expected.next(), None, "{statement}: rows are missing");
}

#[test]
fn memory_is_flat_and_a_client_that_stops_reading_stops_the_work() {
    const ROWS: i64 = 1_000_000;
    let dir = tempfile::tempdir().unwrap();
    let (server, client) = loaded(dir.path(), ROWS, &SMALL_SLICES);

    let by_series = (0..SERIES).flat_map(|series| (series..ROWS).step_by(SERIES as usize));
    let growth = growth_kb(&server, || {
        check_rows(&server, "SELECT text, v FROM m", ROWS, 0..ROWS);
        check_rows(&server, "SELECT text, v FROM m GROUP BY *", ROWS, by_series);
        check_rows(&server, "SELECT text, v FROM m ORDER BY time DESC", ROWS, (0..ROWS).rev());
        let even = (0..ROWS).filter(|i| i % 1000 < 500 || *i < 750_000);
        let halves = "SELECT text, v FROM m WHERE v % 1000 < 500 OR v < 750000";
        check_rows(&server, halves, ROWS, even);
    });
    // Sorted at one time, all rows take more than 700 MB.
    assert!(growth < 350_000, "memory grew by {growth} kB");

    stalled_reader(&server, &client, ROWS);
    hang_up(&server, &client);
    kill(&server, &client);
}

fn stalled_reader(server: &Server, client: &Client, rows: i64) {
    let mut stream = stalled(server, "SELECT text, v FROM m");
    wait_until_idle(server);
    assert_eq!(running(client).len(), 1);
    let growth = growth_kb(server, || {
        // Nobody else is held up, also not by a new column.
        client.write("db0", "m,host=h000 late=1 0\n");
        assert_eq!(client.rows("db0", "SELECT late FROM m").len(), 1);
        wait_until_idle(server);
    });
    assert!(growth < 20_000, "memory grew by {growth} kB behind a stalled client");
    let mut rest = String::new();
    stream.read_to_string(&mut rest).unwrap();
    assert!(
        rest.trim_end().ends_with(&format!(",{}]]}}]}}]}}", rows - 1)),
        "{:?}",
        rest.get(rest.len() - 200..)
    );
    assert!(rest.contains(&format!("row {} of", rows / 2)));
    until("the query ends", SOON, || running(client).is_empty());
    client.query("db0", "DELETE FROM m WHERE time < 10");
}

fn hang_up(server: &Server, client: &Client) {
    drop(stalled(server, "SELECT text, v FROM m"));
    until("a query ends after its client hung up", SOON, || running(client).is_empty());
    // Before anything was answered: the engine works on the first rows.
    let stream = open(server, "SELECT text, v FROM m GROUP BY *", "application/json");
    until("the query runs", SOON, || !running(client).is_empty());
    drop(stream);
    until("a query ends before its first row", SOON, || running(client).is_empty());
    wait_until_idle(server);
}

fn kill(server: &Server, client: &Client) {
    let mut stream = stalled(server, "SELECT text, v FROM m");
    let [id] = running(client)[..] else { panic!("one query") };
    client.query("", &format!("KILL QUERY {id}"));
    until("a killed query ends", SOON, || running(client).is_empty());
    let mut rest = String::new();
    stream.read_to_string(&mut rest).unwrap();
    assert!(rest.ends_with("{\"results\":[{\"statement_id\":0,\"error\":\"query interrupted\"}]}\n"));
}

#[test]
fn a_stalled_client_outlasts_neither_the_query_timeout_nor_the_server() {
    const ROWS: i64 = 120_000;
    let dir = tempfile::tempdir().unwrap();
    let settings = [("QUERY__TIMEOUT_SECS", "10"), SMALL_SLICES[0], SMALL_SLICES[1]];
    let (server, client) = loaded(dir.path(), ROWS, &settings);
    let mut stream = stalled(&server, "SELECT text, v FROM m");
    assert_eq!(running(&client).len(), 1);
    until("the query times out", Duration::from_secs(10) + SOON, || running(&client).is_empty());
    let mut rest = String::new();
    stream.read_to_string(&mut rest).unwrap();
    assert!(rest.ends_with("\"error\":\"query-timeout limit exceeded\"}]}\n"));

    let _stream = stalled(&server, "SELECT text, v FROM m");
    let started = Instant::now();
    assert_eq!(server.stop(), Some(0));
    assert!(started.elapsed() < Duration::from_secs(15), "{:?}", started.elapsed());
}

#[test]
fn a_client_that_takes_nothing_is_cut_off() {
    const ROWS: i64 = 120_000;
    let dir = tempfile::tempdir().unwrap();
    let (server, client) = loaded(dir.path(), ROWS, &[("HTTP__SEND_TIMEOUT_SECS", "1"), SMALL_SLICES[1]]);
    let mut stream = stalled(&server, "SELECT text, v FROM m");
    until("the query ends", Duration::from_secs(1) + SOON, || running(&client).is_empty());
    let mut rest = Vec::new();
    // What had been sent is there, and then the connection is not.
    let _ = stream.read_to_end(&mut rest);
    assert!(!rest.ends_with(b"]]}]}]}\n"));
}
