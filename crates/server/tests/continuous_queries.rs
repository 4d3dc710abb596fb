//! Continuous queries: what they write, also of late points, also after a restart.

#![allow(clippy::unwrap_used)] // a test may panic

mod support;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use support::{Client, Server, until};

const SECOND: u64 = 1_000_000_000;
const LIMIT: Duration = Duration::from_secs(60);

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64
}

fn create(client: &Client, name: &str, resample: &str, select: &str) {
    client
        .query("db0", &format!("CREATE CONTINUOUS QUERY {name} ON db0 {resample} BEGIN SELECT {select} END"));
}

/// Whether the target is what the statement answers for the windows that the target has, from a time on.
fn agrees(client: &Client, target: &str, statement: &str, from: u64) -> bool {
    let written = client.rows("db0", &format!("SELECT * FROM {target} WHERE time >= {from}"));
    let Some(last) = written.last().map(|row| row[0].clone()) else { return false };
    let expected = client.rows("db0", &statement.replace("FROM m", &format!("FROM m WHERE time >= {from}")));
    let expected: Vec<_> = expected.into_iter().filter(|row| row[0].as_str() <= last.as_str()).collect();
    assert!(!expected.is_empty());
    written == expected
}

fn statistic(client: &Client, module: &str, column: usize) -> i64 {
    let rows = client.rows("", &format!("SHOW STATS FOR '{module}'"));
    rows.first().and_then(|row| row[column].as_i64()).unwrap_or(0)
}

#[test]
fn windows_are_written_as_they_end_and_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start_in(dir.path(), &[]);
    let client = server.client();
    client.query("", "CREATE DATABASE db0");
    let start = now() / SECOND * SECOND;
    let points = |from: u64, to: u64| {
        (from..to).map(|n| format!("m v={n} {}\n", start + n * SECOND / 2)).collect::<String>()
    };
    // Points of the next minutes: each window is complete before it ends.
    client.write("db0", &points(0, 400));
    create(&client, "sums", "", "sum(v) AS s INTO t FROM m GROUP BY time(2s)");
    create(
        &client,
        "again",
        "RESAMPLE EVERY 1s FOR 20s",
        "count(v) AS c INTO u FROM m GROUP BY time(2s) fill(none)",
    );
    let from = start + 4 * SECOND;
    let sums = "SELECT sum(v) FROM m GROUP BY time(2s)";
    until("windows are written", LIMIT, || {
        client.rows("db0", "SELECT * FROM t").len() >= 2 && client.rows("db0", "SELECT * FROM u").len() >= 2
    });
    let first = client.rows("db0", "SELECT s FROM t LIMIT 1");
    assert!(first[0][0].is_string());
    assert!(statistic(&client, "cq", 1) >= 2);

    // A late point is counted by the query that looks back.
    let before = now() / (2 * SECOND) * 2 * SECOND - 4 * SECOND;
    let count = |client: &Client| {
        let rows = client.rows("db0", &format!("SELECT c FROM u WHERE time = {before}"));
        rows.first().and_then(|row| row[1].as_i64())
    };
    until("the window has been counted", LIMIT, || count(&client).is_some());
    let counted = count(&client).unwrap();
    client.write("db0", &format!("m v=1 {}\n", before + 1));
    until("the late point is counted", LIMIT, || count(&client) == Some(counted + 1));

    server.kill();
    let down = now();
    // Windows end while the server is down.
    until("windows end", LIMIT, || now() > down + 5 * SECOND);
    let server = Server::start_in(dir.path(), &[]);
    let client = server.client();
    until("nothing is left out", LIMIT, || {
        let rows = client.rows("db0", &format!("SELECT s FROM t WHERE time > {}", down + 5 * SECOND));
        !rows.is_empty() && agrees(&client, "t", sums, from)
    });
}

#[test]
fn a_query_that_fails_keeps_its_windows() {
    let server = Server::start();
    let client = server.client();
    client.query("", "CREATE DATABASE db0");
    client.write("db0", "t s=\"text\" 1\n");
    let start = now() / SECOND * SECOND;
    let points = (0..200).map(|n| format!("m v={n} {}\n", start + n * SECOND / 2)).collect::<String>();
    client.write("db0", &points);
    create(&client, "q", "", "sum(v) AS s INTO t FROM m GROUP BY time(1s)");
    until("it fails", LIMIT, || statistic(&client, "cq", 0) >= 1);
    let error = client.rows("", "SHOW STATS FOR 'continuousQuery'")[0][4].as_str().unwrap().to_owned();
    assert!(error.contains("field type conflict"), "{error}");
    let failed = now();
    client.query("db0", "DROP MEASUREMENT t");
    until("the windows are written", LIMIT, || {
        let rows = client.rows("db0", &format!("SELECT s FROM t WHERE time <= {}", failed - SECOND));
        !rows.is_empty()
            && agrees(&client, "t", "SELECT sum(v) FROM m GROUP BY time(1s)", failed - 2 * SECOND)
    });
}

#[test]
fn a_dropped_query_runs_no_more() {
    let server = Server::start();
    let client = server.client();
    client.query("", "CREATE DATABASE db0");
    let start = now() / SECOND * SECOND;
    let points = (0..200).map(|n| format!("m,h=a v={n} {}\n", start + n * SECOND / 2)).collect::<String>();
    client.write("db0", &points);
    create(
        &client,
        "all_of_them",
        "",
        "mean(*) INTO db0.autogen.:MEASUREMENT FROM /^m$/ GROUP BY time(1s), *",
    );
    until("windows are written", LIMIT, || {
        !client.rows("db0", "SELECT mean_v FROM m WHERE h = 'a'").is_empty()
    });
    client.query("db0", "DROP CONTINUOUS QUERY all_of_them ON db0");
    let runs = statistic(&client, "cq", 1);
    let seen = now();
    until("time passes", LIMIT, || now() > seen + 4 * SECOND);
    assert!(statistic(&client, "cq", 1) <= runs + 1, "one may have been on its way");
    assert_eq!(client.rows("", "SHOW STATS FOR 'continuousQuery'").len(), 0);
}
