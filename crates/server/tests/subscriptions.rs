//! Subscriptions: every accepted point goes out in order, and a receiver that stalls costs nobody anything.
#![allow(clippy::unwrap_used)]

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use support::{Server, until};

const PATIENCE: Duration = Duration::from_secs(60);

/// How a receiver answers.
#[derive(Clone, Copy, PartialEq)]
enum Answer {
    Status(u16),
    /// Never.
    Stall,
}

#[derive(Default)]
struct Received {
    targets: Vec<String>,
    lines: Vec<String>,
}

/// An HTTP server that remembers what it gets.
struct Receiver {
    url: String,
    answer: Arc<Mutex<Answer>>,
    received: Arc<Mutex<Received>>,
}

impl Receiver {
    fn start(answer: Answer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let answer = Arc::new(Mutex::new(answer));
        let received = Arc::new(Mutex::new(Received::default()));
        let receiver = Self { url, answer: answer.clone(), received: received.clone() };
        // Ends with the test's process.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (answer, received) = (answer.clone(), received.clone());
                std::thread::spawn(move || serve(stream, &answer, &received));
            }
        });
        receiver
    }

    fn lines(&self) -> Vec<String> {
        self.received.lock().unwrap().lines.clone()
    }

    fn wait_for(&self, lines: usize) -> Vec<String> {
        until("all lines have come", PATIENCE, || self.received.lock().unwrap().lines.len() >= lines);
        self.lines()
    }
}

fn serve(stream: TcpStream, answer: &Mutex<Answer>, received: &Mutex<Received>) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    loop {
        let mut target = String::new();
        reader.read_line(&mut target).ok().filter(|read| *read > 0)?;
        let mut length = 0;
        loop {
            let mut header = String::new();
            reader.read_line(&mut header).ok()?;
            let header = header.trim().to_lowercase();
            if header.is_empty() {
                break;
            }
            if let Some(value) = header.strip_prefix("content-length: ") {
                length = value.parse().ok()?;
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        let how = *answer.lock().unwrap();
        let Answer::Status(status) = how else {
            std::thread::sleep(Duration::from_secs(3_600));
            return None;
        };
        if status == 204 {
            let mut received = received.lock().unwrap();
            received.targets.push(target.trim().to_owned());
            received.lines.extend(String::from_utf8(body).ok()?.lines().map(str::to_owned));
        }
        (&stream).write_all(format!("HTTP/1.1 {status} x\r\nContent-Length: 0\r\n\r\n").as_bytes()).ok()?;
    }
}

fn subscribe(server: &Server, mode: &str, destinations: &[&str]) {
    let destinations: Vec<String> = destinations.iter().map(|url| format!("'{url}'")).collect();
    let statement =
        format!("CREATE SUBSCRIPTION s ON d.autogen DESTINATIONS {mode} {}", destinations.join(", "));
    server.client().query("", &statement);
}

fn stat(server: &Server, column: &str) -> u64 {
    let answer = server.client().query("", "SHOW STATS FOR 'subscriber'");
    let all = &answer["results"][0]["series"][0];
    let at = all["columns"].as_array().unwrap().iter().position(|name| name == column).unwrap();
    all["values"][0][at].as_u64().unwrap()
}

#[test]
fn every_accepted_point_is_sent_as_influxdb_does() {
    let server = Server::start();
    let client = server.client();
    client.query("", "CREATE DATABASE d; CREATE RETENTION POLICY other ON d DURATION INF REPLICATION 1");
    client.write("d", "before v=1 1");
    let receiver = Receiver::start(Answer::Status(204));
    let datagrams = UdpSocket::bind("127.0.0.1:0").unwrap();
    datagrams.set_read_timeout(Some(PATIENCE)).unwrap();
    let udp = format!("udp://{}", datagrams.local_addr().unwrap());
    subscribe(&server, "ALL", &[&receiver.url, &udp]);

    let body = b"b,z=1,a=2 v=1,i=2i,s=\"q\\\"x\",t=true 5\n# comment\na v=2 6\nb v=3 7";
    assert_eq!(client.post("/write", &[("db", "d"), ("precision", "s")], body).unwrap().status, 204);
    let refused = client.try_write("d", "a v=\"text\" 8\na v=4 9").unwrap();
    assert_eq!(refused.status, 400);
    client.post("/write", &[("db", "d"), ("rp", "other")], b"elsewhere v=1 1").unwrap();
    client.query("d", "SELECT v INTO target FROM b WHERE time = 7s");
    let expected = [
        "b,a=2,z=1 v=1,i=2i,s=\"q\\\"x\",t=true 5000000000",
        "a v=2 6000000000",
        "b v=3 7000000000",
        "a v=4 9",
        "target v=3 7000000000",
    ];
    assert_eq!(receiver.wait_for(expected.len()), expected);
    let targets = receiver.received.lock().unwrap().targets.clone();
    assert!(
        targets.iter().all(|t| t == "POST /write?consistency=&db=d&precision=ns&rp=autogen HTTP/1.1"),
        "{targets:?}"
    );
    for line in expected {
        let mut buffer = [0; 1_000];
        let read = datagrams.recv(&mut buffer).unwrap();
        assert_eq!(std::str::from_utf8(&buffer[..read]), Ok(line));
    }
    until("the counts are there", PATIENCE, || stat(&server, "pointsWritten") == 10);
    client.query("", "DROP SUBSCRIPTION s ON d.autogen");
    client.write("d", "after v=1 1");
    // What is sent later comes after what would have been sent now.
    subscribe(&server, "ALL", &[&receiver.url]);
    client.write("d", "last v=1 1");
    assert_eq!(receiver.wait_for(expected.len() + 1)[expected.len()..], ["last v=1 1"]);
}

#[test]
fn a_live_receiver_gets_all_in_order_although_another_stalls_and_the_server_is_killed() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start_in(dir.path(), &[]);
    server.client().query("", "CREATE DATABASE d");
    let (live, stalled) = (Receiver::start(Answer::Status(204)), Receiver::start(Answer::Stall));
    subscribe(&server, "ALL", &[&stalled.url, &live.url]);
    let write = |server: &Server, numbers: std::ops::Range<u64>| {
        let client = server.client();
        numbers.for_each(|n| client.write("d", &format!("m v={n} {n}")));
    };
    write(&server, 0..300);
    server.kill();
    let server = Server::start_in(dir.path(), &[]);
    write(&server, 300..600);
    until("the last line has come", PATIENCE, || {
        live.lines().last().is_some_and(|line| line == "m v=599 599")
    });
    // What was sent right before the kill may come twice, from where it was cut off.
    let mut seen = 0;
    for line in live.lines() {
        let number: u64 = line.rsplit_once(' ').unwrap().1.parse().unwrap();
        assert!(number <= seen, "{number} follows {seen} numbers");
        seen = seen.max(number + 1);
    }
    assert_eq!(seen, 600);
    let started = Instant::now();
    assert_eq!(server.stop(), Some(0));
    assert!(started.elapsed() < Duration::from_secs(10), "the stop took {:?}", started.elapsed());
}

#[test]
fn what_a_stalled_receiver_holds_back_is_bounded_and_counted() {
    let settings = [
        ("SUBSCRIBER__MAX_BACKLOG_BYTES", "20000"),
        ("SUBSCRIBER__TIMEOUT_SECS", "20"),
        ("FLUSH__CHECKPOINT_INTERVAL_SECS", "1"),
        ("FLUSH__INTERVAL_SECS", "1"),
        ("FLUSH__SMALL_INTERVAL_SECS", "1"),
    ];
    let server = Server::start_with(&settings);
    let client = server.client();
    client.query("", "CREATE DATABASE d");
    let receiver = Receiver::start(Answer::Stall);
    subscribe(&server, "ALL", &[&receiver.url]);
    for n in 0..400 {
        client.write("d", &format!("m s=\"{}\" {n}", format!("{n}").repeat(60)));
    }
    // The bound acts before the request ends that nobody answers.
    until("points are left out", Duration::from_secs(15), || stat(&server, "pointsDropped") > 0);
    until("the log is short again", PATIENCE, || {
        let answer = client.query("", "SHOW STATS FOR 'wal'");
        answer["results"][0]["series"][0]["values"][0][0].as_u64().is_some_and(|bytes| bytes < 60_000)
    });
    *receiver.answer.lock().unwrap() = Answer::Status(204);
    until("all points are accounted for", PATIENCE, || {
        stat(&server, "pointsDropped") + stat(&server, "pointsWritten") == 400
    });
    assert!(stat(&server, "writeFailures") > 0);
    assert_eq!(receiver.lines().len() as u64, stat(&server, "pointsWritten"));
    let metrics = client.get("/metrics").unwrap().body;
    assert!(!metrics.contains("hyperbytedb_subscriber_points_dropped_total 0"), "{metrics}");
}

#[test]
fn any_goes_round_and_passes_over_who_is_away() {
    let server = Server::start();
    let client = server.client();
    client.query("", "CREATE DATABASE d");
    let first = Receiver::start(Answer::Status(204));
    let (away, second) = (Receiver::start(Answer::Status(503)), Receiver::start(Answer::Status(204)));
    subscribe(&server, "ANY", &[&first.url, &away.url, &second.url]);
    let all = || first.lines().len() + away.lines().len() + second.lines().len();
    for n in 0..30 {
        client.write("d", &format!("m v=1 {n}"));
        until("the line has come", PATIENCE, || all() == n + 1);
    }
    assert!(first.lines().len() >= 10 && second.lines().len() >= 10 && away.lines().is_empty());
    *away.answer.lock().unwrap() = Answer::Status(204);
    until("the third one has its turn", PATIENCE, || {
        client.write("d", "m v=2 1");
        !away.lines().is_empty()
    });
    // What is refused is not sent again.
    for receiver in [&first, &away, &second] {
        *receiver.answer.lock().unwrap() = Answer::Status(400);
    }
    client.write("d", "m v=3 2");
    until("it is counted", PATIENCE, || stat(&server, "pointsDropped") > 0);
}
