//! The proxy in front of three real nodes.

mod support;

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use support::cluster::{DB, Nodes, PATIENCE};
use support::{Client, free_port, signal, until};

/// A running proxy. Dropping it kills it.
struct Proxy {
    child: Child,
    url: String,
}

impl Proxy {
    fn start(nodes: &[String]) -> Self {
        let nodes: Vec<String> = nodes.iter().map(|url| format!("{url:?}")).collect();
        let mut child = Command::new(env!("CARGO_BIN_EXE_hyperbytedb"))
            .arg("proxy")
            .env("HYPERBYTEDB__PROXY__BIND_ADDRESS", "127.0.0.1:0")
            .env("HYPERBYTEDB__PROXY__NODES", format!("[{}]", nodes.join(",")))
            .env("HYPERBYTEDB__PROXY__HEALTH_INTERVAL_MS", "100")
            .env("HYPERBYTEDB__PROXY__RETRY_TIMEOUT_SECS", "20")
            .env("HYPERBYTEDB__PROXY__MAX_HELD_BODY_BYTES", "1000000")
            .env("HYPERBYTEDB__LOGGING__LEVEL", "error")
            .stdout(Stdio::piped())
            .spawn()
            .expect("the built server");
        let mut line = String::new();
        let output = child.stdout.take().expect("its output");
        BufReader::new(output).read_line(&mut line).expect("the line that says where it listens");
        let url = line.split_whitespace().find(|word| word.starts_with("http://")).expect("an address");
        Self { child, url: url.trim_end_matches(',').to_owned() }
    }

    fn client(&self) -> Client {
        Client::new(&self.url)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Has the clients end, also when the test fails.
struct Ending<'a>(&'a AtomicBool);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn nodes_are_restarted_one_by_one_and_no_request_fails() {
    let mut nodes = Nodes::start();
    nodes.change(1, "CREATE DATABASE db");
    nodes.agree("SHOW DATABASES", "[\"db\"]");
    let urls: Vec<String> = (1..=3).map(|id| nodes.node(id).url()).collect();
    let proxy = Proxy::start(&urls);
    until("all nodes are ready", PATIENCE, || {
        proxy.client().get("/health").is_ok_and(|answer| answer.body.contains("3 of 3"))
    });
    let (over, is_orderly) = (AtomicBool::new(false), AtomicBool::new(true));
    let written = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let _at_the_end = Ending(&over);
        for writer in 0..2 {
            let (client, over, written) = (proxy.client(), &over, &written);
            scope.spawn(move || {
                for number in 0.. {
                    if over.load(Ordering::Relaxed) {
                        break;
                    }
                    // Half without a time of their own, each a series of its own: one that is sent twice is still one.
                    let (name, time) =
                        if number % 2 == 0 { ("now", String::new()) } else { ("timed", number.to_string()) };
                    let line = format!("{name},w={writer},n={} v=1 {time}", number / 2 % 50);
                    let answer = client.try_write(DB, &line).expect("an answer to a write");
                    assert_eq!(answer.status, 204, "{}", answer.body);
                    written.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for number in 0..2 {
            let (client, over) = (proxy.client(), &over);
            scope.spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    let statement = ["SELECT count(v) FROM timed", "SHOW MEASUREMENTS"][number];
                    let answer = client.query_raw(DB, statement);
                    assert!(
                        answer.status == 200 && !answer.body.contains("error"),
                        "{statement}: {} {}",
                        answer.status,
                        answer.body
                    );
                }
            });
        }
        // What is not repeated: no request may be on a node that is stopped.
        let (changer, is_orderly, over) = (proxy.client(), &is_orderly, &over);
        let changed = scope.spawn(move || {
            let mut number = 0;
            while is_orderly.load(Ordering::Relaxed) && !over.load(Ordering::Relaxed) {
                let answer = changer.query_raw(DB, &format!("CREATE USER u{number} WITH PASSWORD 'p'"));
                assert!(answer.status == 200 && !answer.body.contains("error"), "{number}: {}", answer.body);
                number += 1;
            }
            number
        });
        let is_ready_again = |id: usize| {
            until(&format!("node {id} is ready again"), PATIENCE, || {
                proxy.client().get("/health").is_ok_and(|answer| answer.body.contains("3 of 3"))
            });
        };
        for id in 1..=3 {
            let (status, body) = nodes.ask(1 + id % 3, "drain", id);
            assert_eq!(status, 200, "{body}");
            until("nothing is on it any more", PATIENCE, || {
                let answer = proxy.client().get("/proxy/nodes").expect("an answer").json();
                let node = &answer["nodes"][id - 1];
                node["answers"] == false && node["requests"] == 0
            });
            nodes.stop(id);
            nodes.restart(id);
            is_ready_again(id);
        }
        is_orderly.store(false, Ordering::Relaxed);
        assert!(changed.join().expect("a client") > 10);
        // What runs on a node that is killed breaks off: the proxy must repeat it.
        nodes.kill(2);
        nodes.restart(2);
        is_ready_again(2);
    });
    let written = written.into_inner();
    assert!(written > 100, "{written}");
    for id in 1..=3 {
        let client = nodes.node(id).client();
        until(&format!("node {id} has {written} points"), PATIENCE, || {
            let rows = client.rows(DB, "SELECT count(v) FROM now, timed");
            let counts: Vec<serde_json::Value> = ["now", "timed"]
                .map(|name| client.rows(DB, &format!("SELECT count(v) FROM {name}")))
                .concat()
                .concat();
            let total: u64 = counts.iter().skip(1).step_by(2).filter_map(serde_json::Value::as_u64).sum();
            !rows.is_empty() && total == written as u64
        });
    }
}

#[test]
fn requests_pass_with_all_they_have() {
    let server = support::Server::start_with(&[
        ("AUTH__ENABLED", "true"),
        ("AUTH__ADMIN_USER", "root"),
        ("AUTH__ADMIN_PASSWORD", "secret"),
    ]);
    let gone = format!("http://127.0.0.1:{}", free_port());
    let proxy = Proxy::start(&[gone, server.url()]);
    let client = proxy.client();
    until("the node is ready", PATIENCE, || {
        client.get("/health/ready").is_ok_and(|answer| answer.status == 200)
    });
    let ping = client.get("/ping").expect("an answer");
    assert_eq!((ping.status, ping.headers.contains_key("x-influxdb-version")), (204, true));
    assert_eq!(client.query_raw("", "SHOW DATABASES").status, 401);
    let user = [("u", "root"), ("p", "secret"), ("db", DB)];
    let query = |statement: &str| {
        client.post("/query", &[&user[..], &[("q", statement)]].concat(), b"").expect("an answer").body
    };
    assert!(!query("CREATE DATABASE db").contains("error"));
    // More than is kept, so it goes straight through.
    let lines: String =
        (0..200_000).map(|n| format!("m,series=number-{} value={n}i {n}\n", n % 10)).collect();
    assert!(lines.len() > 1_000_000);
    let written = client.post("/write", &user, lines.as_bytes()).expect("an answer");
    assert_eq!(written.status, 204, "{}", written.body);
    assert!(query("SELECT count(value) FROM m").contains("200000"));
    let refused = client.post("/write", &user, b"m v").expect("an answer");
    assert_eq!((refused.status, refused.body.contains("unable to parse")), (400, true));
    signal(server.pid(), "KILL");
    until("no node is ready", PATIENCE, || {
        client.get("/health/ready").is_ok_and(|answer| answer.status == 503)
    });
}

#[test]
fn a_lone_survivor_is_asked() {
    let mut nodes = Nodes::with(&[("CLUSTER__MAX_STALENESS_SECS", "1")]);
    nodes.change(1, "CREATE DATABASE db");
    assert_eq!(nodes.node(1).client().try_write(DB, "m v=1 1").expect("an answer").status, 204);
    nodes.agree("SELECT count(v) FROM m", ",1]");
    let urls: Vec<String> = (1..=3).map(|id| nodes.node(id).url()).collect();
    let proxy = Proxy::start(&urls);
    let client = proxy.client();
    let health = |status: u16, text: &str| {
        client.get("/health/ready").is_ok_and(|answer| answer.status == status && answer.body.contains(text))
    };
    until("all are ready", PATIENCE, || health(200, "3 of 3"));
    // One that leaves is not asked for that.
    let (status, body) = nodes.ask(1, "drain", 2);
    assert_eq!(status, 200, "{body}");
    nodes.kill(3);
    nodes.kill(1);
    until("none is asked", PATIENCE, || health(503, "0 of 3"));
    nodes.kill(2);
    // Alone, it opens after some seconds.
    nodes.begin(1);
    until("node 1 is asked all the same", PATIENCE, || health(200, "0 of 3"));
    assert_eq!(client.try_write(DB, "m v=1 2").expect("an answer").status, 204);
    assert_eq!(client.rows(DB, "SELECT count(v) FROM m")[0][1], 2);
    nodes.begin(2);
    until("they are a majority", PATIENCE, || health(200, "2 of 3"));
}
