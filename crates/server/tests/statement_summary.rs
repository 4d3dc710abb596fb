//! `/api/v1/statements` on the built server.

mod support;

use serde_json::{Value, json};
use support::{Client, Server};

fn list(client: &Client, query: &[(&str, &str)]) -> Vec<Value> {
    let answer = client.get_with("/api/v1/statements", query).expect("an answer");
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.json()["statements"].as_array().expect("statements").clone()
}

fn texts(rows: &[Value]) -> Vec<&str> {
    rows.iter().filter_map(|row| row["normalized_query"].as_str()).collect()
}

#[test]
fn every_statement_of_a_request_is_counted() {
    let server = Server::start();
    let client = server.client();
    client.query("", "CREATE DATABASE db");
    client.write("db", "m,host=a v=1 1\nm,host=b v=2 2");
    for host in ["a", "b", "c"] {
        client.query("db", &format!("SELECT v FROM m WHERE host = '{host}'; SHOW MEASUREMENTS"));
    }
    let failed = client.query_raw("db", "SHOW MEASUREMENTS; SELECT mean(v), v FROM m; SHOW SERIES");
    assert!(failed.body.contains("error"), "{}", failed.body);
    client.query("", "CREATE USER u WITH PASSWORD 'hush'");

    let rows = list(&client, &[("sort_by", "exec_count"), ("db", "db")]);
    let expected = ["SHOW MEASUREMENTS", "SELECT v FROM m WHERE host = ?", "SELECT mean(v), v FROM m"];
    assert_eq!(texts(&rows), expected);
    assert_eq!(rows[0]["exec_count"], 4);
    assert_eq!(rows[2]["error_count"], 1);
    let row = &rows[1];
    assert_eq!(row["sample_query"], "SELECT v FROM m WHERE host = 'a'");
    assert_eq!(
        (&row["exec_count"], &row["error_count"], &row["rows_read"]),
        (&json!(3), &json!(0), &json!(2))
    );
    assert!(row["bytes_read"].as_u64() > Some(0), "{row}");
    for (lower, upper) in [
        ("min_latency_us", "avg_latency_us"),
        ("avg_latency_us", "max_latency_us"),
        ("max_latency_us", "sum_latency_us"),
        ("p50_latency_us", "p95_latency_us"),
        ("p95_latency_us", "p99_latency_us"),
        ("p99_latency_us", "max_latency_us"),
    ] {
        assert!(row[lower].as_u64() <= row[upper].as_u64(), "{lower} {upper} {row}");
    }
    assert!(row["first_seen"].as_str() < row["last_seen"].as_str() && row["digest"].as_str().is_some());

    let selects = list(&client, &[("stmt_type", "select"), ("sort_by", "error_count"), ("order", "asc")]);
    assert_eq!(texts(&selects), [expected[1], expected[2]]);
    assert_eq!(list(&client, &[("limit", "1"), ("sort_by", "exec_count")]).len(), 1);
    let users = list(&client, &[("stmt_type", "CREATE USER")]);
    assert_eq!(users[0]["sample_query"], "CREATE USER u WITH PASSWORD [REDACTED]");
    for wrong in [("sort_by", "x"), ("order", "up"), ("limit", "-1")] {
        let answer = client.get_with("/api/v1/statements", &[wrong]).expect("an answer");
        assert!(answer.status == 400 && answer.body.contains(wrong.0), "{}", answer.body);
    }
    assert_eq!(client.delete("/api/v1/statements", &[]).expect("an answer").status, 204);
    assert!(list(&client, &[]).is_empty());
}

#[test]
fn it_is_bounded_and_can_be_off() {
    let server = Server::start_with(&[("STATEMENT_SUMMARY__MAX_ENTRIES", "5")]);
    for number in 0..20 {
        server.client().query_raw("db", &format!("SELECT v FROM m{number}"));
    }
    assert_eq!(list(&server.client(), &[]).len(), 5);
    let server = Server::start_with(&[("STATEMENT_SUMMARY__ENABLED", "false")]);
    let answer = server.client().get("/api/v1/statements").expect("an answer");
    assert!(answer.status == 404 && answer.body.contains("statement_summary.enabled"), "{}", answer.body);
}
