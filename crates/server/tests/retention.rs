//! Retention: points past their policy are not shown from the second of their expiry on, and shard groups past it go.

#![allow(clippy::unwrap_used)] // a test may panic

mod support;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use support::{Client, Server, until};

const SECOND: i64 = 1_000_000_000;
const HOUR: i64 = 3600 * SECOND;
const DAY: i64 = 24 * HOUR;

fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as i64
}

fn count(client: &Client, db: &str) -> u64 {
    client.rows(db, "SELECT count(v) FROM m").first().and_then(|row| row[1].as_u64()).unwrap_or(0)
}

/// The job is off: nobody drops anything.
fn points_go_as_they_expire(head_bytes: &str) {
    let server = Server::start_with(&[("RETENTION__ENABLED", "false"), ("FLUSH__HEAD_BYTES", head_bytes)]);
    let client = server.client();
    client.query("", "CREATE DATABASE db0 WITH DURATION 1h");
    let first = now() - HOUR + 2 * SECOND;
    let times: Vec<i64> = (0..1000).map(|n| first + n * SECOND / 250).collect();
    client.write("db0", &times.iter().map(|time| format!("m v=1 {time}\n")).collect::<String>());
    let visible = |from: i64| times.iter().filter(|&&time| time >= from).count() as u64;
    until("all points have expired", Duration::from_secs(60), || {
        let before = now();
        let counted = count(&client, "db0");
        let rows = client.rows("db0", "SELECT v FROM m").len() as u64;
        let possible = visible(now() - HOUR)..=visible(before - HOUR);
        assert!(possible.contains(&counted) && possible.contains(&rows), "{counted}, {rows}: {possible:?}");
        counted == 0 && rows == 0
    });
}

#[test]
fn points_in_memory_go_as_they_expire() {
    points_go_as_they_expire("100000000");
}

#[test]
fn points_in_the_engine_go_as_they_expire() {
    points_go_as_they_expire("0");
}

#[test]
fn a_shorter_policy_drops_shards_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start_in(dir.path(), &[]);
    let client = server.client();
    client.query("", "CREATE DATABASE db0");
    client.query(
        "",
        "CREATE RETENTION POLICY days ON db0 DURATION INF REPLICATION 1 SHARD DURATION 1d DEFAULT",
    );
    let today = now() / DAY * DAY;
    // One point in the middle of each day.
    let times: Vec<i64> = (0..90).map(|day| today + DAY / 2 - day * DAY - DAY).collect();
    let points = times.iter().map(|time| format!("m,day=d{time} v=1 {time}\n")).collect::<String>();
    client.write("db0", &points);
    let seen = |client: &Client| {
        let series = client.rows("db0", "SHOW SERIES").len() as u64;
        (count(client, "db0"), client.rows("", "SHOW SHARDS").len() as u64, series)
    };
    assert_eq!(seen(&client), (90, 90, 90));

    let before = now();
    client.query("", "ALTER RETENTION POLICY days ON db0 DURATION 60d");
    let visible = |now: i64| times.iter().filter(|&&time| time >= now - 60 * DAY).count() as u64;
    let living = |now: i64| times.iter().filter(|&&time| time + DAY / 2 > now - 60 * DAY).count() as u64;
    let counted = count(&client, "db0");
    assert!((visible(now())..=visible(before)).contains(&counted), "{counted}");
    until("the shards are dropped", Duration::from_secs(30), || {
        let (_, shards, series) = seen(&client);
        (living(now())..=living(before)).contains(&shards) && series == shards
    });
    let (_, shards, series) = seen(&client);

    // What was dropped does not come back when points may be as old as that again.
    client.query("", "ALTER RETENTION POLICY days ON db0 DURATION INF");
    assert_eq!(seen(&client), (shards, shards, series));
    server.kill();
    let server = Server::start_in(dir.path(), &[]);
    assert_eq!(seen(&server.client()), (shards, shards, series));
}
