//! `/health` names what fails, and passes again when it works.

#![allow(clippy::unwrap_used)] // a test may panic

mod support;

use std::time::Duration;

use hyperbytedb_test_support::Tmpfs;
use support::{Client, Server, until};

const PATIENCE: Duration = Duration::from_secs(30);

/// Whether `/health` says that this part fails, and nothing else.
fn fails(client: &Client, part: &str) -> bool {
    let health = client.get("/health").unwrap();
    let checks = health.json()["checks"].clone();
    health.status == 503
        && health.json()["message"].as_str().unwrap().starts_with(part)
        && checks.as_array().is_some_and(|checks| checks.len() == 1 && checks[0]["name"] == part)
}

fn passes(client: &Client) -> bool {
    ["/health", "/health/ready"].iter().all(|path| client.get(path).unwrap().status == 200)
}

#[test]
fn a_log_that_cannot_be_written_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    let Some(disk) = Tmpfs::mount(&log) else {
        return eprintln!("SKIPPED: a small file system cannot be mounted (root can)");
    };
    let settings = [
        ("STORAGE__WAL_DIR", log.to_str().unwrap()),
        ("STORAGE__MIN_FREE_BYTES", "0"),
        ("STORAGE__WARN_FREE_BYTES", "0"),
    ];
    let server = Server::start_in(dir.path(), &settings);
    let client = server.client();
    client.query("", "CREATE DATABASE db0");
    client.write("db0", "m v=1 1");
    assert!(passes(&client));
    disk.fill();
    let body: String = (0..2000).map(|n| format!("big,tag=a{n} v=\"{}\" {n}\n", "x".repeat(100))).collect();
    until("a write fails", PATIENCE, || client.try_write("db0", &body).unwrap().status == 500);
    until("the log is named", PATIENCE, || fails(&client, "log"));
    let ready = client.get("/health/ready").unwrap();
    assert!(ready.status == 503 && ready.body.contains("log: the write-ahead log"), "{}", ready.body);
    disk.empty();
    // RocksDB looks for space every 5 seconds.
    until("writes go on", PATIENCE, || client.try_write("db0", "m v=3 3").unwrap().status == 204);
    until("the log is no longer named", PATIENCE, || passes(&client));
    server.kill();
    let server = Server::start_in(dir.path(), &settings);
    let client = server.client();
    assert!(passes(&client));
    client.write("db0", "m v=2 2");
    assert_eq!(client.rows("db0", "SELECT v FROM m").len(), 3);
    drop(server);
}

#[test]
fn a_disk_without_space_is_named() {
    let server = Server::start_with(&[("STORAGE__MIN_FREE_BYTES", "1000000000000000")]);
    let client = server.client();
    until("the disk is named", PATIENCE, || fails(&client, "disk"));
    assert_eq!(client.get("/health/ready").unwrap().status, 200, "deletes must get through");
    let metrics = client.get("/metrics").unwrap().body;
    assert!(metrics.contains("hyperbytedb_disk_read_only 1"), "{metrics}");
    until("it is counted", PATIENCE, || {
        client.get("/metrics").unwrap().body.contains("hyperbytedb_failed_health_checks 1")
    });
}
