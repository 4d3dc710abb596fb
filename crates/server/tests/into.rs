//! SELECT INTO of many points: types and tags are kept, and a failure half-way tells what was written.

mod support;

use support::Server;

#[test]
fn many_points_are_copied_as_they_are() {
    let server = Server::start();
    let client = server.client();
    client.query("", "CREATE DATABASE d; CREATE RETENTION POLICY other ON d DURATION INF REPLICATION 1");
    // Doubles that a shorter text would not bring back.
    let line = |n: u64| {
        let value = 0.1 + n as f64 / 3.0;
        format!("m,host=h{},odd=\\ a f={value},i={n}i,b={},s=\"x\\\"{n}\" {n}\n", n % 7, n.is_multiple_of(2))
    };
    client.write("d", &(0..35_000).map(line).collect::<String>());
    let answer = client.query("d", "SELECT * INTO d.other.:MEASUREMENT FROM m GROUP BY *");
    assert_eq!(answer["results"][0]["series"][0]["values"][0][1], 35_000);
    for statement in ["SELECT * FROM m GROUP BY *", "SHOW FIELD KEYS", "SHOW SERIES"] {
        let of = |policy: &str| {
            let query = [("db", "d"), ("rp", policy), ("q", statement), ("epoch", "ns")];
            client.post("/query", &query, b"").expect("query").body
        };
        assert!(of("other") == of("autogen"), "{statement} differs");
    }
}

#[test]
fn a_failure_half_way_tells_what_was_written() {
    let server = Server::start();
    let client = server.client();
    client.query("", "CREATE DATABASE d; CREATE DATABASE e");
    let points = |measurement: &str, count: usize| -> String {
        (0..count).map(|n| format!("{measurement} v={n} {n}\n")).collect()
    };
    client.write("d", &(points("a", 20_000) + &points("b", 10)));
    client.write("e", "b v=\"text\" 1");
    let answer = client.query_raw("d", "SELECT v INTO e.autogen.:MEASUREMENT FROM a, b").json();
    let error = answer["results"][0]["error"].as_str().unwrap_or_default();
    assert!(
        error.starts_with("partial write: field type conflict")
            && error.ends_with("(20000 points were written before)"),
        "{answer}"
    );
    assert_eq!(client.rows("e", "SELECT count(v) FROM a")[0][1], 20_000);
    // Nothing was written before: the text is InfluxDB's.
    let answer = client.query_raw("d", "SELECT v INTO e.autogen.b FROM b").json();
    let error = answer["results"][0]["error"].as_str().unwrap_or_default();
    assert!(error.starts_with("partial write") && error.ends_with("dropped=10"), "{answer}");
}

/// Line protocol has no text for infinite floats: a database must not have any, or exports and copies would lack them.
#[test]
fn infinite_floats_are_not_stored() {
    let server = Server::start();
    let client = server.client();
    client.query("", "CREATE DATABASE d");
    client.write("d", "m v=1e308 1\nm v=2 2");
    let refused = client.post("/write", &[("db", "d")], b"m v=+Inf 3").expect("an answer");
    assert_eq!(refused.status, 400);
    client.query("d", "SELECT v * 10 AS large, v INTO t FROM m");
    client.query("d", "SELECT v * 10 AS large INTO alone FROM m");
    let rows = client.rows("d", "SELECT large, v FROM t");
    assert_eq!(rows, [serde_json::json!([1, null, 1e308]), serde_json::json!([2, 20, 2])].map(row));
    assert_eq!(client.rows("d", "SELECT large FROM alone"), [serde_json::json!([2, 20])].map(row));
}

fn row(values: serde_json::Value) -> Vec<serde_json::Value> {
    values.as_array().cloned().unwrap_or_default()
}
