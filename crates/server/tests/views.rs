//! Materialized views: the target is what the statement answers, whatever happens to the source, also through kill -9.

#![allow(clippy::unwrap_used)] // a test may panic

mod support;

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::Value;
use support::{Client, Server, until};

const SECOND: u64 = 1_000_000_000;
const MINUTE: u64 = 60 * SECOND;
const LIMIT: Duration = Duration::from_secs(60);
/// 2020-01-01, a Wednesday.
const START: u64 = 1_577_836_800 * SECOND;

fn create(client: &Client, name: &str, text: &str) {
    client.query("db0", &format!("CREATE MATERIALIZED VIEW {name} ON db0 {text}"));
}

/// The series of a statement, without the measurement's name.
fn series(client: &Client, statement: &str) -> Vec<Value> {
    let answer = client.query("db0", statement);
    let mut series = answer["results"][0]["series"].as_array().cloned().unwrap_or_default();
    for one in &mut series {
        one.as_object_mut().unwrap().remove("name");
    }
    series.sort_by_key(Value::to_string);
    series
}

/// Waits until the target is what the statement answers.
fn agree(client: &Client, target: &str, statement: &str) {
    let mut sides = (Vec::new(), Vec::new());
    let deadline = Instant::now() + LIMIT;
    while Instant::now() < deadline {
        sides = (series(client, target), series(client, statement));
        if sides.0 == sides.1 && !is_dirty(client) {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let views = client.query_raw("", "SHOW MATERIALIZED VIEWS").body;
    panic!("{target}: {:?}\n{statement}: {:?}\n{views}", sides.0, sides.1);
}

fn is_dirty(client: &Client) -> bool {
    let stats = client.query("", "SHOW STATS FOR 'materializedView'");
    let all = stats["results"][0]["series"].as_array().cloned().unwrap_or_default();
    all.iter().any(|one| one["values"][0][0] != 0 || one["values"][0][1] != 0)
}

fn show(client: &Client, column: &str) -> Value {
    let answer = client.query("", "SHOW MATERIALIZED VIEWS");
    let series = &answer["results"][0]["series"][0];
    let position = series["columns"].as_array().unwrap().iter().position(|name| name == column).unwrap();
    series["values"][0][position].clone()
}

/// One point each second for some hosts.
fn points(hosts: &[&str], from: u64, to: u64, value: impl Fn(u64) -> u64) -> String {
    let line = |host: &&str, n: u64| format!("m,host={host} v={} {}\n", value(n), START + n * SECOND);
    (from..to).flat_map(|n| hosts.iter().map(move |host| (host, n))).map(|(host, n)| line(host, n)).collect()
}

const TARGET: &str = "SELECT mean FROM t GROUP BY host";
const DIRECT: &str = "SELECT mean(v) FROM m GROUP BY time(1m), host fill(none)";

#[test]
fn late_overwritten_and_deleted_points_come_out_right() {
    let server = Server::start();
    let client = server.client();
    client.query("", "CREATE DATABASE db0");
    client.write("db0", &points(&["a", "b"], 0, 300, |n| n));
    create(&client, "v", "WITH BACKFILL AS SELECT mean(v) INTO t FROM m GROUP BY time(1m), host");
    agree(&client, TARGET, DIRECT);
    assert_eq!(series(&client, TARGET).len(), 2);
    client.write("db0", &points(&["a", "c"], 300, 900, |n| n));
    agree(&client, TARGET, DIRECT);
    // Late, overwritten, deleted: a point, a window, a series, all.
    client.write("db0", &format!("m,host=a v=1000 {}\n", START + MINUTE + 1));
    agree(&client, TARGET, DIRECT);
    client.write("db0", &points(&["b"], 30, 90, |n| 3 * n));
    agree(&client, TARGET, DIRECT);
    client.query("db0", &format!("DELETE FROM m WHERE time = {}", START + 5 * SECOND));
    agree(&client, TARGET, DIRECT);
    client.query(
        "db0",
        &format!("DELETE FROM m WHERE time >= {} AND time < {}", START + 2 * MINUTE, START + 4 * MINUTE),
    );
    agree(&client, TARGET, DIRECT);
    client.query("db0", "DROP SERIES FROM m WHERE host = 'c'");
    agree(&client, TARGET, DIRECT);
    assert_eq!(series(&client, TARGET).len(), 2);
    client.query("db0", "DROP MEASUREMENT m");
    agree(&client, TARGET, DIRECT);
    assert_eq!(series(&client, TARGET), [] as [Value; 0]);
    client.write("db0", &points(&["d"], 0, 10, |n| n));
    agree(&client, TARGET, DIRECT);
    client.query("db0", "DROP MATERIALIZED VIEW v ON db0");
    client.write("db0", &points(&["e"], 0, 10, |n| n));
    client.write("db0", &points(&["e"], 10, 20, |n| n));
    assert_eq!(series(&client, TARGET).len(), 1);
}

#[test]
fn a_point_that_loses_a_field_loses_it_in_the_target() {
    let server = Server::start();
    let client = server.client();
    client.query("", "CREATE DATABASE db0");
    create(&client, "v", "AS SELECT max(v) AS v, max(w) AS w INTO t FROM m GROUP BY time(1m)");
    client.write("db0", &format!("m,host=a v=1 {START}\nm,host=b w=2 {START}\n"));
    let (target, direct) =
        ("SELECT v, w FROM t", "SELECT max(v) AS v, max(w) AS w FROM m GROUP BY time(1m) fill(none)");
    agree(&client, target, direct);
    client.query("db0", "DELETE FROM m WHERE host = 'b'");
    agree(&client, target, direct);
    assert_eq!(client.rows("db0", target), [vec![Value::from(START), 1.into(), Value::Null]]);
}

#[test]
fn views_read_views_expressions_and_other_zones() {
    let server = Server::start();
    let client = server.client();
    client.query("", "CREATE DATABASE db0");
    client.query("db0", "CREATE RETENTION POLICY long ON db0 DURATION INF REPLICATION 1");
    create(
        &client,
        "minutes",
        "AS SELECT sum(v) AS v INTO long.:MEASUREMENT FROM /^[mn]$/ GROUP BY time(1m), *",
    );
    create(
        &client,
        "hours",
        "BEGIN SELECT sum(v) AS v INTO h FROM long.m, long.n GROUP BY time(1h, 10m), host, rack END",
    );
    create(
        &client,
        "days",
        "AS SELECT max(v) AS v INTO d FROM h GROUP BY time(1d), host tz('Europe/Berlin')",
    );
    create(
        &client,
        "sub",
        "AS SELECT max(x) INTO s FROM (SELECT mean(v) AS x FROM m GROUP BY time(10s), host fill(none)) GROUP BY time(1m)",
    );
    client.write("db0", &points(&["a", "b"], 0, 7200, |n| n % 17));
    client.write("db0", &points(&["a"], 0, 3000, |n| n % 13).replace("m,", "n,rack=r,"));
    let check = |client: &Client| {
        agree(
            client,
            "SELECT v FROM long.m GROUP BY *",
            "SELECT sum(v) AS v FROM m GROUP BY time(1m), * fill(none)",
        );
        agree(
            client,
            "SELECT v FROM long.n GROUP BY *",
            "SELECT sum(v) AS v FROM n GROUP BY time(1m), * fill(none)",
        );
        agree(
            client,
            "SELECT v FROM h GROUP BY host, rack",
            "SELECT sum(v) AS v FROM m, n GROUP BY time(1h, 10m), host, rack fill(none)",
        );
        agree(
            client,
            "SELECT v FROM d GROUP BY host",
            "SELECT max(v) AS v FROM h GROUP BY time(1d), host fill(none) tz('Europe/Berlin')",
        );
        agree(
            client,
            "SELECT max FROM s",
            "SELECT max(x) FROM (SELECT mean(v) AS x FROM m GROUP BY time(10s), host fill(none)) GROUP BY time(1m) fill(none)",
        );
    };
    check(&client);
    client.query("db0", "DELETE FROM n");
    client.write("db0", &points(&["b"], 100, 200, |_| 99));
    check(&client);
}

#[test]
fn statements_that_cannot_be_kept_are_refused() {
    let server = Server::start();
    let client = server.client();
    client.query("", "CREATE DATABASE db0");
    create(&client, "v", "AS SELECT mean(v) INTO t FROM m GROUP BY time(1m)");
    for (text, expected) in [
        ("v ON db0 AS SELECT max(v) INTO x FROM m GROUP BY time(1m)", "materialized view already exists"),
        ("w ON db0 AS SELECT max(v) FROM m GROUP BY time(1m)", "expected INTO"),
        ("w ON db0 AS SELECT max(v) INTO x FROM m GROUP BY host", "GROUP BY time(...)"),
        (
            "w ON nope AS SELECT max(v) INTO db0.autogen.x FROM db0.autogen.m GROUP BY time(1m)",
            "database not found: nope",
        ),
        (
            "w ON db0 AS SELECT max(v) INTO nope.autogen.x FROM m GROUP BY time(1m)",
            "database not found: nope",
        ),
        (
            "w ON db0 AS SELECT max(v) INTO x FROM nope.m GROUP BY time(1m)",
            "retention policy not found: db0.nope",
        ),
        (
            "w ON db0 AS SELECT max(v) INTO x FROM m WHERE time > now() - 1h GROUP BY time(1m)",
            "no time in its WHERE",
        ),
        ("w ON db0 AS SELECT max(v) INTO t FROM n GROUP BY time(1m)", "view v has this target"),
        ("w ON db0 AS SELECT max(mean) INTO m FROM t GROUP BY time(1m)", "read what it writes: w, v, w"),
        (
            "w ON db0 AS SELECT max(v, 2) INTO x FROM m GROUP BY time(1m)",
            "invalid number of arguments for max",
        ),
    ] {
        let answer = client.query_raw("db0", &format!("CREATE MATERIALIZED VIEW {text}"));
        assert!(answer.body.contains(expected), "{text}: {}", answer.body);
    }
    let views = client.query("", "SHOW MATERIALIZED VIEWS");
    assert_eq!(views["results"][0]["series"][0]["values"].as_array().unwrap().len(), 1);
    assert_eq!(
        show(&client, "query"),
        "CREATE MATERIALIZED VIEW v ON db0 AS SELECT mean(v) INTO db0.autogen.t FROM db0.autogen.m GROUP BY time(1m)"
    );
}

#[test]
fn an_error_is_shown_and_goes_when_its_cause_does() {
    let server = Server::start();
    let client = server.client();
    client.query("", "CREATE DATABASE db0");
    client.write("db0", "t mean=\"text\" 1\n");
    create(&client, "v", "AS SELECT mean(v) INTO t FROM m GROUP BY time(1m), host");
    client.write("db0", &points(&["a"], 0, 100, |n| n));
    let error = |client: &Client| show(client, "lastError").as_str().unwrap().to_owned();
    until("the error is shown", LIMIT, || error(&client).contains("field type conflict"));
    assert_ne!(show(&client, "dirtyWindows"), 0);
    let lag = || show(&client, "lag").as_str().unwrap().to_owned();
    until("the view lags by a second", LIMIT, || lag() != "0s" && !lag().ends_with("ms"));
    client.query("db0", "DROP MEASUREMENT t");
    agree(&client, TARGET, DIRECT);
    assert_eq!((lag().as_str(), show(&client, "dirtyWindows")), ("0s", 0.into()));
    assert_eq!(error(&client), "");
    // A policy that is gone is an error, too.
    client.query("db0", "CREATE RETENTION POLICY rp ON db0 DURATION INF REPLICATION 1");
    client.query("db0", "DROP MATERIALIZED VIEW v ON db0");
    create(&client, "w", "AS SELECT mean(v) INTO rp.u FROM m GROUP BY time(1m)");
    client.query("db0", "DROP RETENTION POLICY rp ON db0");
    client.write("db0", &points(&["a"], 0, 10, |n| n));
    until("the error is shown", LIMIT, || error(&client).contains("retention policy not found"));
}

#[test]
fn a_view_is_fresh_within_a_second_of_the_write() {
    let server = Server::start();
    let client = server.client();
    client.query("", "CREATE DATABASE db0");
    create(&client, "v", "AS SELECT sum(v) AS s INTO t FROM m GROUP BY time(1m)");
    client.write("db0", &format!("m v=1 {START}\n"));
    until("the view begins", LIMIT, || client.rows("db0", "SELECT s FROM t").len() == 1);
    let mut late = 0;
    for n in 2..12u64 {
        let written = Instant::now();
        client.write("db0", &format!("m v=1 {}\n", START + n));
        until("the write is seen", LIMIT, || client.rows("db0", "SELECT s FROM t")[0][1] == n as f64);
        late += u32::from(written.elapsed() > Duration::from_secs(1));
    }
    assert!(late <= 3, "on a machine that does other things, too: {late} of 10");
}

#[test]
fn what_expires_in_the_source_stays_in_the_target() {
    let server = Server::start_with(&[("RETENTION__CHECK_INTERVAL_SECS", "1")]);
    let client = server.client();
    client.query("", "CREATE DATABASE db0");
    client.query("db0", "CREATE RETENTION POLICY long ON db0 DURATION INF REPLICATION 1");
    create(&client, "v", "AS SELECT count(v) AS c INTO long.t FROM m GROUP BY time(1m)");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let lines: String = (0..200).map(|n| format!("m v=1 {}\n", (now - 7200 - n) * SECOND)).collect();
    client.write("db0", &lines);
    let count = |client: &Client| {
        client.rows("db0", "SELECT sum(c) FROM long.t").first().and_then(|row| row[1].as_f64())
    };
    until("all are counted", LIMIT, || count(&client) == Some(200.0) && !is_dirty(&client));
    client.query("db0", "ALTER RETENTION POLICY autogen ON db0 DURATION 1h SHARD DURATION 1h");
    until("they expire", LIMIT, || client.rows("db0", "SELECT v FROM m").is_empty());
    client.write("db0", &format!("m v=1 {}\n", now * SECOND));
    until("the view goes on", LIMIT, || count(&client) == Some(201.0) && !is_dirty(&client));
}

/// Beyond InfluxDB: continuous queries that look at late points, and backfills.
#[test]
fn late_points_and_backfills_of_continuous_queries() {
    let server = Server::start();
    let client = server.client();
    client.query("", "CREATE DATABASE db0");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
    let hour = now / (60 * MINUTE) * 60 * MINUTE - 60 * MINUTE;
    client.write("db0", &format!("m v=1 {hour}\nm v=2 {}\n", hour + 1));
    client.query(
        "db0",
        "CREATE CONTINUOUS QUERY late ON db0 RESAMPLE EVERY 1s LATE 3h \
         BEGIN SELECT sum(v) AS s INTO t FROM m GROUP BY time(1m) END",
    );
    client.query(
        "db0",
        "CREATE CONTINUOUS QUERY q ON db0 BEGIN SELECT sum(v) AS s INTO u FROM m GROUP BY time(1m) END",
    );
    let sum = |target: &str, time: u64| {
        let rows = client.rows("db0", &format!("SELECT s FROM {target} WHERE time = {time}"));
        rows.first().and_then(|row| row[1].as_f64())
    };
    // A late point has its window computed, one that is too old does not.
    let old = hour - 300 * MINUTE;
    client.write("db0", &format!("m v=4 {}\nm v=8 {old}\n", hour + 2));
    until("the late window is computed", LIMIT, || sum("t", hour) == Some(7.0));
    assert_eq!((sum("t", old), sum("u", hour)), (None, None));
    client.query("db0", &format!("BACKFILL CONTINUOUS QUERY q ON db0 FROM {old} TO {}", hour + 60 * MINUTE));
    until("the range is computed", LIMIT, || (sum("u", old), sum("u", hour)) == (Some(8.0), Some(7.0)));
    client.query("db0", "BACKFILL CONTINUOUS QUERY late ON db0 FROM now() - 10h TO now()");
    until("the range is computed", LIMIT, || sum("t", old) == Some(8.0));
}

/// Without the log there is no telling which windows are dirty: all are.
#[test]
fn views_that_were_not_kept_or_are_too_far_behind_are_computed_anew() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start_in(dir.path(), &[]);
    let client = server.client();
    client.query("", "CREATE DATABASE db0");
    create(&client, "v", "AS SELECT mean(v) INTO t FROM m GROUP BY time(1m), host");
    client.write("db0", &points(&["a", "b"], 0, 600, |n| n));
    agree(&client, TARGET, DIRECT);
    assert_eq!(server.stop(), Some(0));
    let server = Server::start_in(dir.path(), &[("VIEWS__ENABLED", "false")]);
    let client = server.client();
    client.write("db0", &points(&["a"], 60, 180, |n| 7 * n));
    client.query("db0", "DELETE FROM m WHERE host = 'b'");
    assert_eq!(show(&client, "lastError"), "views are switched off");
    assert_eq!(server.stop(), Some(0));
    let server = Server::start_in(dir.path(), &[("VIEWS__MAX_LOG_BYTES", "1")]);
    let client = server.client();
    agree(&client, TARGET, DIRECT);
    assert_eq!(series(&client, TARGET).len(), 1);
    client.write("db0", &points(&["c"], 0, 60, |n| n));
    agree(&client, TARGET, DIRECT);
    assert!(server.log().contains("too far behind"), "{}", server.log());
}

#[test]
fn kills_leave_no_window_behind() {
    let dir = tempfile::tempdir().unwrap();
    let settings = [("VIEWS__MAX_WINDOWS_PER_RUN", "20")];
    let mut server = Server::start_in(dir.path(), &settings);
    let client = server.client();
    client.query("", "CREATE DATABASE db0");
    client.write("db0", &points(&["a", "b", "c"], 0, 6000, |n| n % 101));
    create(&client, "v", "WITH BACKFILL AS SELECT mean(v) INTO t FROM m GROUP BY time(1m), host");
    for round in 0..4u64 {
        let client = server.client();
        let from = 6000 + round * 600;
        client.write("db0", &points(&["a", "b"], from, from + 600, |n| n));
        client.write("db0", &points(&["c"], round * 700, round * 700 + 60, |n| n + round));
        client.query(
            "db0",
            &format!(
                "DELETE FROM m WHERE host = 'b' AND time >= {} AND time < {}",
                START + round * 11 * MINUTE,
                START + round * 11 * MINUTE + 90 * SECOND
            ),
        );
        std::thread::sleep(Duration::from_millis(100 * round));
        server.kill();
        server = Server::start_in(dir.path(), &settings);
    }
    agree(&server.client(), TARGET, DIRECT);
    assert_eq!(show(&server.client(), "backfill"), "");
}
