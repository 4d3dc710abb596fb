//! The limits of the server: each says what it is, counts what it stops, and keeps nothing of what it refuses.

#![allow(clippy::unwrap_used)] // a test may panic

mod support;

use std::time::Duration;

use support::{Answer, Client, Server, until};

/// How often a limit has stopped something.
fn exceeded(client: &Client, setting: &str) -> u64 {
    let metrics = client.get("/metrics").unwrap().body;
    let name = format!("hyperbytedb_limit_exceeded_total{{limit=\"{setting}\"}} ");
    let count = metrics.lines().find_map(|line| line.strip_prefix(&name)).expect(setting);
    count.parse().unwrap()
}

fn error_of(answer: &Answer) -> String {
    let json = answer.json();
    let error = json["error"].as_str().or_else(|| json["results"][0]["error"].as_str());
    error.unwrap_or_default().to_owned()
}

#[test]
fn each_limit_has_its_text_and_is_counted() {
    let server = Server::start_with(&[
        ("HTTP__MAX_BODY_BYTES", "1000"),
        ("WRITE__MAX_POINTS", "5"),
        ("WRITE__MAX_TAGS", "2"),
        ("LIMITS__MAX_MEASUREMENTS_PER_DATABASE", "3"),
        ("LIMITS__MAX_SERIES_PER_DATABASE", "8"),
        ("LIMITS__MAX_VALUES_PER_TAG", "4"),
        ("QUERY__MAX_SELECT_SERIES", "2"),
        ("QUERY__MAX_SELECT_POINTS", "3"),
        ("QUERY__MAX_SELECT_BUCKETS", "4"),
    ]);
    let client = server.client();
    client.query("", "CREATE DATABASE db0");
    client
        .write("db0", "m,a=v1 f=1 1000000000\nm,a=v2 f=1 2000000000\nm,a=v3 f=1 3000000000\nm,a=v4 f=1 1\n");
    client.write("db0", "rows f=1 1\nrows f=1 2\nrows f=1 3\nrows f=1 4");
    let big = "x".repeat(1001);
    for (setting, body, status, text) in [
        ("http.max_body_bytes", big.as_str(), 413, "Request Entity Too Large"),
        (
            "write.max_points",
            "p f=1\np f=1\np f=1\np f=1\np f=1\np f=1",
            413,
            "more than 5 points in one request (write.max_points)",
        ),
        (
            "write.max_tags",
            "m,a=1,b=1,c=1 f=1",
            400,
            "unable to parse 'm,a=1,b=1,c=1 f=1': more than 2 tags (write.max_tags)",
        ),
        (
            "limits.max_values_per_tag",
            "m,a=v5 f=1 1",
            400,
            "partial write: max-values-per-tag limit exceeded (4/4): measurement=\"m\" tag=\"a\" value=\"v5\" dropped=1",
        ),
        (
            "limits.max_measurements_per_database",
            "third,a=1 f=1 1\nfourth f=1 1\nfourth f=2 2\nfourth f=3 3",
            400,
            "partial write: max-measurements-per-database limit exceeded: (3) dropped=3",
        ),
        (
            "limits.max_series_per_database",
            "rows,a=1 f=1\nrows,a=2 f=1\nrows,a=3 f=1",
            400,
            "partial write: max-series-per-database limit exceeded: (8) dropped=3",
        ),
    ] {
        let answer = client.try_write("db0", body).unwrap();
        assert_eq!((answer.status, error_of(&answer).as_str()), (status, text), "{setting}");
        assert!(exceeded(&client, setting) >= 1, "{setting}");
    }
    assert_eq!(
        serde_json::to_string(&client.rows("db0", "SHOW MEASUREMENTS")).unwrap(),
        r#"[["m"],["rows"],["third"]]"#
    );
    for (setting, statement, text) in [
        ("query.max_select_series", "SELECT f FROM m", "max-select-series limit exceeded: (3/2)"),
        (
            "query.max_select_series",
            "SELECT count(f) FROM m GROUP BY a",
            "max-select-series limit exceeded: (3/2)",
        ),
        (
            "query.max_select_series",
            "SELECT f FROM m WHERE a != 'v1'",
            "max-select-series limit exceeded: (3/2)",
        ),
        ("query.max_select_series", "SELECT f FROM m WHERE f > 9", "max-select-series limit exceeded: (3/2)"),
        ("query.max_select_points", "SELECT f FROM rows", "max-select-point limit exceeded: (4/3)"),
        (
            "query.max_select_buckets",
            "SELECT count(f) FROM rows WHERE time >= 0 AND time < 10s GROUP BY time(1s)",
            "max-select-buckets limit exceeded: (10/4)",
        ),
    ] {
        let before = exceeded(&client, setting);
        assert_eq!(error_of(&client.query_raw("db0", statement)), text, "{statement}");
        assert_eq!(exceeded(&client, setting), before + 1, "{setting}");
    }
    for statement in [
        "SELECT f FROM m WHERE a = 'v1' OR a = 'v2'",
        "SELECT f FROM m WHERE a =~ /v[12]/ AND f > 0",
        "SELECT f FROM m WHERE a != 'v1' AND a !~ /3/",
    ] {
        assert_eq!(client.rows("db0", statement).len(), 2, "{statement}");
    }
}

#[test]
fn with_little_disk_space_only_writes_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start_in(dir.path(), &[]);
    let client = server.client();
    client.query("", "CREATE DATABASE db0");
    client.write("db0", "m,a=x f=1 1\nm,a=y f=1 2\ngone f=1 1");
    assert_eq!(server.stop(), Some(0));

    // No disk has that much.
    let settings = [("STORAGE__MIN_FREE_BYTES", "1152921504606846976"), ("STORAGE__WARN_FREE_BYTES", "1")];
    let server = Server::start_in(dir.path(), &settings);
    let client = server.client();
    let answer = client.try_write("db0", "m f=1").unwrap();
    assert!(error_of(&answer).contains("(storage.min_free_bytes)"), "{}", answer.body);
    assert!(answer.status == 503 && answer.headers.contains_key("retry-after"));
    let into = client.query_raw("db0", "SELECT f INTO copy FROM m");
    assert!(error_of(&into).contains("(storage.min_free_bytes)"), "{}", into.body);
    assert_eq!(client.rows("db0", "SELECT f FROM m WHERE a = 'x'").len(), 1);
    client.query("db0", "DELETE FROM m WHERE a = 'x'");
    client.query("db0", "DROP MEASUREMENT gone");
    assert_eq!(client.rows("db0", "SELECT f FROM m").len(), 1);
    assert!(exceeded(&client, "storage.min_free_bytes") >= 2);
    assert!(client.get("/metrics").unwrap().body.contains("hyperbytedb_disk_read_only 1"));
    client.query("", "DROP DATABASE db0");
}

#[test]
fn addresses_and_users_have_rates() {
    let server = Server::start_with(&[
        ("AUTH__ENABLED", "true"),
        ("AUTH__ADMIN_USER", "root"),
        ("AUTH__ADMIN_PASSWORD", "pw"),
        ("LIMITS__REQUESTS_PER_SECOND_BY_USER", "3"),
        ("LIMITS__REQUESTS_PER_SECOND_BY_ADDRESS", "40"),
        ("LIMITS__REQUEST_BURST_SECS", "1"),
    ]);
    let client = server.client();
    let ask = |user| client.get_with("/query", &[("q", "SHOW DATABASES"), ("u", user), ("p", "pw")]).unwrap();
    let refused = |answer: &Answer| answer.status == 429 && answer.headers.contains_key("retry-after");
    // The first login takes time, in which tokens come back.
    let answer = (0..40).map(|_| ask("root")).find(|answer| answer.status != 200).unwrap();
    assert!(refused(&answer), "{}", answer.body);
    assert_eq!(
        error_of(&answer),
        "too many requests of user \"root\": more than 3 a second (limits.requests_per_second_by_user)"
    );
    let is_of_address = |answer: &Answer| error_of(answer).contains("from 127.0.0.1: more than 40 a second");
    let write = || client.try_write("db0", "m f=1").unwrap();
    let answer = (0..400).map(|_| write()).find(|answer| answer.status != 401).unwrap();
    assert!(refused(&answer) && is_of_address(&answer), "{}", answer.body);
    assert_eq!(client.get("/ping").unwrap().status, 204);
    assert!(exceeded(&client, "limits.requests_per_second_by_user") >= 1);
    assert!(exceeded(&client, "limits.requests_per_second_by_address") >= 1);
    until("tokens come back", Duration::from_secs(10), || write().status == 401);
}
