//! What the server logs of requests: the access log, ids, slow queries, and nothing secret.

#![allow(clippy::unwrap_used)] // a test may panic

mod support;

use std::time::Duration;

use serde_json::Value;
use support::{Server, until};

const PATIENCE: Duration = Duration::from_secs(20);

/// The log has a line with all of these.
fn has_line(server: &Server, parts: &[&str]) -> bool {
    server.log().lines().any(|line| parts.iter().all(|part| line.contains(part)))
}

#[test]
fn requests_are_logged_with_their_ids_and_without_secrets() {
    let server = Server::start_with(&[("QUERY__SLOW_THRESHOLD_MS", "1")]);
    let client = server.client();
    client.query("", "CREATE DATABASE db0");
    client.write("db0", "m v=1 1");
    let answer = ureq::get(format!("{}/query?db=db0&u=joe&p=hush1&q=SELECT%20v%20FROM%20m", server.url()))
        .header("X-Request-Id", "id-of-the-client")
        .header("User-Agent", "a \"test\"")
        .header("X-Forwarded-For", "192.0.2.7")
        .call()
        .unwrap();
    for name in ["x-request-id", "request-id"] {
        assert_eq!(answer.headers()[name], "id-of-the-client");
    }
    let user = [("q", "CREATE USER u WITH PASSWORD 'hush2'")];
    assert_eq!(client.get_with("/query", &user).unwrap().status, 200);
    let parts = [
        "192.0.2.7,127.0.0.1 - joe [",
        "\"GET /query?db=db0&u=joe&p=%5BREDACTED%5D&q=SELECT+v+FROM+m HTTP/1.1\" 200 ",
        "\"-\" \"a \\\"test\\\"\" id-of-the-client ",
    ];
    until("the request is logged", PATIENCE, || has_line(&server, &parts));
    until("the other one too", PATIENCE, || has_line(&server, &["GET /query?q=CREATE+USER+u+WITH+PASSWORD"]));
    assert!(!has_line(&server, &["\"POST /write"]), "writes are not logged by default");
    assert!(!has_line(&server, &["\"GET /health"]), "nor is what asks for the health");
    // Creating a user hashes a password, which takes longer than a millisecond.
    until("the slow one is logged", PATIENCE, || {
        has_line(&server, &["slow query", "request{id=", "CREATE USER u WITH PASSWORD [REDACTED]"])
    });
    assert!(!server.log().contains("hush"), "{}", server.log());
    let metrics = client.get("/metrics").unwrap().body;
    assert!(!metrics.contains("hyperbytedb_slow_queries_total 0"), "{metrics}");
}

#[test]
fn the_access_log_as_json_in_a_file_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("access.log");
    let settings = [
        ("HTTP__ACCESS_LOG", "json"),
        ("HTTP__ACCESS_LOG_PATH", file.to_str().unwrap()),
        ("HTTP__ACCESS_LOG_EXCLUDE", "[\"/health\"]"),
    ];
    let server = Server::start_in(dir.path(), &settings);
    assert_eq!(server.client().try_write("nosuch", "m v=1 1").unwrap().status, 404);
    let lines = || std::fs::read_to_string(&file).unwrap_or_default();
    until("a line", PATIENCE, || lines().ends_with("}\n"));
    let line: Value = serde_json::from_str(lines().trim()).unwrap();
    let said = ["method", "uri", "status", "remote", "protocol"].map(|key| line[key].to_string());
    assert_eq!(said, ["\"POST\"", "\"/write?db=nosuch\"", "404", "\"127.0.0.1\"", "\"HTTP/1.1\""]);
    assert!(line["bytes"].as_u64() > Some(0) && line["duration_us"].as_u64() > Some(0), "{line}");
    assert_eq!(line["request_id"].as_str().map(str::len), Some(36));
    assert!(!server.log().contains("/write?db"), "{}", server.log());
}

#[test]
fn rust_log_goes_before_the_settings() {
    let output = |filter: &str| {
        std::process::Command::new(env!("CARGO_BIN_EXE_hyperbytedb"))
            .arg("serve")
            .env("RUST_LOG", filter)
            .env("HYPERBYTEDB__STORAGE__DATA_DIR", "/dev/null/no-folder")
            .output()
            .unwrap()
    };
    let said = String::from_utf8(output("no=such=filter").stderr).unwrap();
    assert!(said.contains("RUST_LOG is \"no=such=filter\""), "{said}");
    let said = String::from_utf8(output("debug").stderr).unwrap();
    assert!(said.contains("data folder /dev/null/no-folder"), "{said}");
}
