//! What is counted of a batch that a server refuses in part. The server answers as HyperbyteDB and InfluxDB do.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};

use super::*;
use crate::client::{Connection as Address, Login, Target};

/// Points before this time have expired.
const OLDEST: i64 = 1000;

/// Takes lines; those with `text` conflict in their type, and those with `broken` cannot be read.
fn judge(body: &str) -> Option<String> {
    let (mut first, mut dropped, mut unreadable) = (None, 0, Vec::new());
    for line in body.lines() {
        let time: i64 = line.rsplit(' ').next().unwrap().parse().unwrap();
        let reason = if line.contains("broken") {
            unreadable.push(format!("unable to parse '{line}': invalid number"));
            continue;
        } else if time < OLDEST {
            "points beyond retention policy"
        } else if line.contains("text") {
            "field type conflict"
        } else {
            continue;
        };
        first.get_or_insert(reason);
        dropped += 1;
    }
    let reason =
        first.map(str::to_owned).or_else(|| (!unreadable.is_empty()).then(|| unreadable.join("\\n")));
    reason.map(|reason| format!("{{\"error\":\"partial write: {reason} dropped={dropped}\"}}"))
}

fn answer(stream: TcpStream) -> std::io::Result<()> {
    let mut reader = BufReader::new(&stream);
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let line = line.trim().to_ascii_lowercase();
        if let Some(text) = line.strip_prefix("content-length:") {
            length = text.trim().parse().unwrap();
        }
        if line.is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let (status, text) = match judge(&String::from_utf8(body).unwrap()) {
        None => ("204 No Content", String::new()),
        Some(text) => ("400 Bad Request", text),
    };
    let length = text.len();
    write!(&stream, "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{text}")
}

/// Sends lines as one batch; what was accepted, had expired, and was refused.
fn sent(lines: &[String]) -> (u64, u64, u64) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || listener.incoming().try_for_each(|stream| answer(stream?)));
    let address = Address { url, login: Login::default(), unsafe_ssl: false, retry_secs: 5 };
    let server = Server::new(&address).unwrap();
    let options = WriteOptions { connections: 1, batch_lines: 1000, batch_bytes: 1 << 20, rate: None };
    let report = Arc::new(Report::default());
    let pool = Pool::start(&server, &options, Lanes::Any, &report, |_| {});
    let mut batch = Batch::new(&Arc::new(Target::default()), 0);
    for line in lines {
        batch.body.extend_from_slice(line.as_bytes());
        batch.body.push(b'\n');
        batch.end_line();
    }
    pool.submit(0, batch).unwrap();
    pool.finish().unwrap();
    (report.accepted(), report.expired(), report.refused())
}

fn points(times: std::ops::Range<i64>, tags: &str, value: &str) -> Vec<String> {
    times.map(|time| format!("m{tags} v={value} {time}")).collect()
}

#[test]
fn points_that_expired_are_counted_beside_those_that_did_not() {
    assert_eq!(sent(&points(1000..1100, "", "1")), (100, 0, 0));
    assert_eq!(sent(&points(0..100, "", "1")), (0, 100, 0));
    let two_series = [points(970..1010, "", "1"), points(980..1020, ",h=x", "1")].concat();
    assert_eq!(sent(&two_series), (30, 50, 0));
}

#[test]
fn what_is_refused_beside_points_that_expired_is_not_counted_as_these() {
    // The first one has expired.
    let conflicts = [points(990..1010, "", "1"), points(1000..1005, ",h=x", "text")].concat();
    assert_eq!(sent(&conflicts), (10, 10, 5));
    let all_refused = [points(990..1000, "", "1"), points(1000..1005, ",h=x", "text")].concat();
    assert_eq!(sent(&all_refused), (0, 10, 5));
    // The server does not name what it cannot read beside what it drops.
    let unreadable = [points(990..1010, "", "1"), points(1000..1003, "", "broken")].concat();
    assert_eq!(sent(&unreadable), (10, 10, 3));
}
