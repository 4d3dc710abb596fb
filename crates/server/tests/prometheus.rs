//! Prometheus itself against the built server: it scrapes itself, writes what it gets to us, and another one, which has
//! nothing of its own, reads it from us.

#![allow(clippy::unwrap_used)] // a test may panic

mod support;

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use support::{Client, Server, free_port, until};

const PATIENCE: Duration = Duration::from_secs(60);

struct Prometheus {
    child: Child,
    port: u16,
}

impl Prometheus {
    fn start(dir: &Path, name: &str, config: impl Fn(u16) -> String) -> Self {
        let port = free_port();
        let file = dir.join(format!("{name}.yml"));
        std::fs::write(&file, config(port)).unwrap();
        let log = std::fs::File::create(dir.join(format!("{name}.log"))).unwrap();
        let child = Command::new("prometheus")
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", dir.join(name).display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let prometheus = Self { child, port };
        let ready = || prometheus.client().get("/-/ready").is_ok_and(|answer| answer.status == 200);
        until("Prometheus is ready", PATIENCE, ready);
        prometheus
    }

    fn client(&self) -> Client {
        Client::new(&format!("http://127.0.0.1:{}", self.port))
    }

    /// The series of an expression.
    fn query(&self, expression: &str) -> Vec<Value> {
        let answer = self.client().get_with("/api/v1/query", &[("query", expression)]).unwrap();
        assert_eq!(answer.status, 200, "{expression}: {}", answer.body);
        answer.json()["data"]["result"].as_array().unwrap().clone()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn is_installed() -> bool {
    let found = Command::new("prometheus").arg("--version").output().is_ok();
    if !found {
        eprintln!("SKIPPED: prometheus is not installed (scripts/setup-test.sh installs it)");
    }
    found
}

#[test]
fn prometheus_writes_and_reads() {
    if !is_installed() {
        return;
    }
    let server = Server::start_with(&[
        ("AUTH__ENABLED", "true"),
        ("AUTH__ADMIN_USER", "adm"),
        ("AUTH__ADMIN_PASSWORD", "secret"),
    ]);
    let influxql = |statement: &str| {
        let query = [("db", "prom"), ("q", statement), ("u", "adm"), ("p", "secret"), ("epoch", "ms")];
        let answer = server.client().post("/query", &query, b"").unwrap();
        assert!(answer.status == 200 && !answer.body.contains("\"error\""), "{statement}: {}", answer.body);
        answer.json()["results"][0]["series"].clone()
    };
    influxql("CREATE DATABASE prom");
    let dir = tempfile::tempdir().unwrap();
    let remote = |path: &str, key: &str| {
        format!(
            "{key}:\n- url: {}/api/v1/prom/{path}?db=prom\n  basic_auth: {{username: adm, password: secret}}\n",
            server.url()
        )
    };
    let writing = Prometheus::start(dir.path(), "writing", |port| {
        format!(
            "global: {{scrape_interval: 1s}}\nscrape_configs:\n- job_name: itself\n  static_configs:\n  \
             - targets: ['127.0.0.1:{port}']\n{}",
            remote("write", "remote_write")
        )
    });
    let samples = || {
        let series = influxql("SELECT count(value) FROM up WHERE job = 'itself' AND value = 1");
        series[0]["values"][0][1].as_i64().unwrap_or(0)
    };
    until("three samples have come", PATIENCE, || samples() >= 3);
    // The name is the measurement and a tag.
    let named = influxql("SELECT last(value) FROM up GROUP BY \"__name__\"");
    assert_eq!(named[0]["tags"]["__name__"], "up");

    let reading = Prometheus::start(dir.path(), "reading", |_| {
        format!("{}  read_recent: true\n", remote("read", "remote_read"))
    });
    let target = format!("127.0.0.1:{}", writing.port);
    let up = reading.query("up");
    assert_eq!(up.len(), 1, "{up:?}");
    let labels = serde_json::json!({ "__name__": "up", "instance": target, "job": "itself" });
    assert_eq!((&up[0]["metric"], &up[0]["value"][1]), (&labels, &Value::from("1")));
    for (expression, series) in [
        ("up{job=\"itself\"}", 1),
        ("up{job!=\"itself\"}", 0),
        ("up{job=~\"it.*\", instance!~\".*:1\"}", 1),
        ("up{job=~\"it\"}", 0),
        ("up{none=\"\"}", 1),
        ("up{none!=\"\"}", 0),
        ("{__name__=~\"up|prometheus_build_info\"}", 2),
        ("{__name__=~\"prometheus_build_.*\", __name__!=\"prometheus_build_info\"}", 0),
        ("{__name__!~\"[^u].*\", job=\"itself\"}", 1),
        ("nothing", 0),
        ("sum(rate(prometheus_tsdb_head_samples_appended_total[30s])) > 0", 1),
    ] {
        let found = reading.query(expression);
        assert_eq!(found.len(), series, "{expression}: {found:?}");
    }
    let written = writing.query("count_over_time(up[10m])");
    let read = reading.query("count_over_time(up[10m])");
    let count = |series: &[Value]| series[0]["value"][1].as_str().unwrap().parse::<i64>().unwrap();
    // What was scraped last may be on its way.
    assert!((count(&written) - count(&read)).abs() <= 10, "{written:?} {read:?}");
}

/// What influxd answers to requests that Prometheus never sends.
#[test]
fn bad_requests_are_refused() {
    let server = Server::start();
    let client = server.client();
    client.query("", "CREATE DATABASE prom");
    for (path, query, body, status, text) in [
        ("write", &[("db", "")][..], &b""[..], 400, "database is required"),
        ("write", &[("db", "prom")], b"", 400, "snappy: corrupt input"),
        ("write", &[("db", "prom")], b"\x05", 400, "snappy: corrupt input"),
        ("write", &[("db", "prom")], b"\x01\x00\xff", 400, "proto: "),
        ("write", &[("db", "none")], b"\x00", 404, "database not found: \\\"none\\\""),
        ("write", &[("db", "prom")], b"\x00", 204, ""),
        ("read", &[("db", "prom")], b"\x05", 400, "snappy: corrupt input"),
        ("read", &[("db", "prom")], b"\x00", 400, "only supports one query at a time"),
        ("read", &[("db", "prom")], b"\x02\x04\x0a\x00", 400, "expected matcher"),
        ("read", &[("db", "none")], b"\x04\x0c\x0a\x02\x1a\x00", 404, "database not found: \\\"none\\\""),
        ("read", &[("db", "prom")], b"\x04\x0c\x0a\x02\x1a\x00", 200, ""),
    ] {
        let answer = client.post(&format!("/api/v1/prom/{path}"), query, body);
        // A snappy answer is no text.
        let Ok(answer) = answer else {
            assert_eq!(status, 200, "{path} {query:?}");
            continue;
        };
        assert_eq!(answer.status, status, "{path} {query:?} {body:?}: {}", answer.body);
        assert!(answer.body.contains(text), "{path} {query:?}: {}", answer.body);
    }
}
