//! `import influxdb`: what a real influxd wrote, its data folder and its portable backup, must give the answers that it gave.

#![allow(clippy::unwrap_used)] // a test may panic

mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use serde_json::Value;
use support::influxd::{Influxd, files_below};
use support::{Client, Server, until};

const CACHE_BYTES: u32 = 30_000;
const DAY: i64 = 86_400_000_000_000;
/// 2024-01-01, a Monday: shard groups of a week begin here.
const START: i64 = 1_704_067_200_000_000_000;

fn import(server: &Server, path: &Path, more: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_hyperbytedb"))
        .args(["import", "influxdb", "--url", &server.url()])
        .args(more)
        .arg(path)
        .output()
        .unwrap()
}

/// Imports all databases; a field of one has two types.
fn import_all(server: &Server, path: &Path) {
    let output = import(server, path, &["--readers", "1"]);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && text.contains("types differ: types.autogen.m: field v"), "{text}");
    assert!(!text.contains("refused"), "{text}");
}

/// Points of all types but the unsigned, whose times and values take every encoding of InfluxDB's files.
fn first_points() -> String {
    let mut lines = String::new();
    let mut random = 1u64;
    let mut next = move || {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        random >> 33
    };
    for day in [0, 1, 8, 20] {
        for at in 0..1500 {
            let time = START + day * DAY + at * 10_000_000_000;
            let host = at % 3;
            lines += &format!(
                "cpu,host=h{host},region=eu usage={},idle={}.5,constant=1,n={}i {time}\n",
                next() as f64 / 1e3,
                next() % 100,
                at / 7,
            );
            // Irregular times, fields that come and go, jumps that do not pack.
            let time = time + (next() % 1_000_000) as i64;
            let jump = if next() % 2 == 0 { i64::MAX } else { i64::MIN };
            lines += &format!("mixed,k=a b={},i={}i {time}\n", next() % 2 == 0, next() % 5);
            lines += &format!("mixed,k=b f=-{}e-300,i={jump}i {}\n", next(), time + 1);
            lines += &format!("mixed,k=a s=\"text {}\",f=0.1 {}\n", next() % 50, time + (next() % 3) as i64);
            lines += &format!("counter c={at}i,same=42i {}\n", START + day * DAY + at * 1_000_000_000);
        }
    }
    lines += &format!(
        "odd\\ name\\,x,tag\\ k=v\\,\\ \\=x,z=ü field\\ \\,\\=k=\"a \\\"quoted\\\" \\\\ \nline\" {START}\n"
    );
    lines += &format!("odd\\ name\\,x,tag\\ k=v2 plain=\"\",e=\"é\" {}\n", START + 1);
    lines += "ages v=1 -8520336000000000000\nages v=2,w=t 9214646400000000000\nages w=false -1\n";
    lines
}

/// Overwrites, deletes, and points behind them.
fn change(influxd: &Influxd, round: i64) {
    let client = influxd.client();
    let mut lines = String::new();
    for at in (0..1500).step_by(11) {
        let time = START + at * 10_000_000_000;
        lines += &format!("cpu,host=h{},region=eu usage={round}{at}.25,extra={round}i {time}\n", at % 3);
    }
    client.write("d", &lines);
    influxd.wait_for_rest(CACHE_BYTES);
    let until = START + 3_000_000_000_000;
    client.query("d", &format!("DELETE FROM cpu WHERE host = 'h1' AND time >= {START} AND time < {until}"));
    client.query(
        "d",
        &format!("DELETE FROM mixed WHERE time > {} AND time < {}", START + DAY, START + DAY + until % DAY),
    );
    client.query("d", "DROP MEASUREMENT counter");
    client.write("d", &format!("counter c={round}i,same=1.5 {}\n", START + 5 * DAY + round));
    client.write("d", &format!("cpu,host=h1,region=eu usage={round} {}\n", START + 2_000_000_000_000));
}

fn prepare(influxd: &Influxd, folder: &Path) {
    let client = influxd.client();
    for statement in [
        "CREATE DATABASE d WITH DURATION INF REPLICATION 1 SHARD DURATION 7d NAME weeks",
        "CREATE RETENTION POLICY days ON d DURATION INF REPLICATION 1 SHARD DURATION 1d",
        "CREATE DATABASE other",
        "CREATE DATABASE \"empty\"",
        "CREATE DATABASE types",
        "CREATE CONTINUOUS QUERY cq ON d BEGIN SELECT mean(usage) INTO days.cpu_1h FROM cpu GROUP BY time(1h), * END",
        "CREATE USER root WITH PASSWORD 'secret' WITH ALL PRIVILEGES",
        "CREATE USER reader WITH PASSWORD 'secret'",
        "GRANT READ ON d TO reader",
    ] {
        client.query("d", statement);
    }
    client.write("d", &first_points());
    let days = client.post("/write", &[("db", "d"), ("rp", "days")], first_points().as_bytes()).unwrap();
    assert_eq!(days.status, 204, "{}", days.body);
    client.write("other", "m v=1 1\nm v=2 2");
    client.write("types", &format!("m v=1 1\nm v=2i,w=1i {START}"));
    let data = folder.join("data/d/weeks");
    until("influxd writes its first files", Duration::from_secs(60), || files_below(&data, "tsm").len() >= 3);
    // Twice: once for what gets into files, once for what stays in the WAL.
    change(influxd, 1);
    let points = first_points();
    let second: Vec<&str> = points.lines().filter(|line| line.starts_with("cpu")).collect();
    client.write("d", &second.join("\n").replace("usage=", "second="));
    let files = files_below(&data, "tsm").len();
    until("influxd writes more files", Duration::from_secs(60), || files_below(&data, "tsm").len() > files);
    change(influxd, 2);
}

/// What a server answers about all points, by policy and measurement.
fn answers(client: &Client) -> BTreeMap<String, Value> {
    let mut found = BTreeMap::new();
    for (database, policy) in [("d", "weeks"), ("d", "days"), ("other", "autogen"), ("types", "autogen")] {
        for measurement in ["cpu", "mixed", "counter", "odd name,x", "ages", "m"] {
            let statement = format!("SELECT * FROM \"{policy}\".\"{measurement}\" GROUP BY *");
            let mut answer = client.query(database, &statement)["results"][0]["series"].take();
            // With the index `inmem`, there are empty tags that only other policies have.
            for series in answer.as_array_mut().into_iter().flatten() {
                let tags = series["tags"].as_object_mut();
                tags.into_iter().for_each(|tags| tags.retain(|_, value| value != ""));
            }
            found.insert(format!("{database}.{policy}.{measurement}"), answer);
        }
    }
    found
}

fn assert_equal(server: &Server, expected: &BTreeMap<String, Value>) {
    for (name, found) in answers(&server.client()) {
        let expected = &expected[&name];
        if found != *expected {
            let first =
                format!("{found:#}").lines().zip(format!("{expected:#}").lines()).position(|(a, b)| a != b);
            panic!("{name} differs, first in line {first:?}:\n{found}\n{expected}");
        }
    }
}

fn imports_of(index: &str) {
    if !Influxd::is_installed() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let influxd = Influxd::start(folder.path(), index, CACHE_BYTES);
    prepare(&influxd, folder.path());
    // What it deleted while it wrote a snapshot of its cache comes back when it starts again.
    influxd.stop();
    let influxd = Influxd::start(folder.path(), index, CACHE_BYTES);
    let expected = answers(&influxd.client());
    assert!(expected.values().filter(|answer| !answer.is_null()).count() >= 10);
    influxd.stop();
    assert!(!files_below(folder.path(), "tombstone").is_empty());
    assert!(!files_below(&folder.path().join("wal"), "wal").is_empty());

    let server = Server::start();
    import_all(&server, folder.path());
    assert_equal(&server, &expected);
    schema_is_taken_over(&server.client());
    // Once more: everything is there already.
    import_all(&server, folder.path());
    assert_equal(&server, &expected);

    let influxd = Influxd::start(folder.path(), index, CACHE_BYTES);
    let backup = folder.path().join("backup");
    influxd.backup(&backup);
    let server = Server::start();
    import_all(&server, &backup);
    assert_equal(&server, &expected);
}

fn schema_is_taken_over(client: &Client) {
    let policies = client.rows("", "SHOW RETENTION POLICIES ON d");
    let policies: Vec<_> =
        policies.iter().map(|row| (&row[0], &row[1], &row[2], row.last().unwrap())).collect();
    let expected = serde_json::json!([["weeks", "0s", "168h0m0s", true], ["days", "0s", "24h0m0s", false]]);
    assert_eq!(serde_json::json!(policies), expected);
    let queries = client.query("", "SHOW CONTINUOUS QUERIES").to_string();
    assert!(
        queries.contains("CREATE CONTINUOUS QUERY cq ON d BEGIN SELECT mean(usage) INTO d.days.cpu_1h"),
        "{queries}"
    );
    assert_eq!(client.rows("", "SHOW GRANTS FOR reader"), [["d", "READ"]]);
    assert_eq!(client.rows("", "SHOW USERS").len(), 2);
    // To make a user again is an error unless the password is the same.
    client.query("", "CREATE USER reader WITH PASSWORD 'secret'");
    let other = client.query_raw("", "CREATE USER reader WITH PASSWORD 'other'").body;
    assert!(other.contains("user already exists"), "{other}");
    let databases = client.query("", "SHOW DATABASES").to_string();
    assert!(databases.contains("empty"), "{databases}");
}

#[test]
fn imports_of_inmem() {
    imports_of("inmem");
}

#[test]
fn imports_of_tsi1() {
    imports_of("tsi1");
}

#[test]
fn a_part_is_imported() {
    if !Influxd::is_installed() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let influxd = Influxd::start(folder.path(), "tsi1", CACHE_BYTES);
    prepare(&influxd, folder.path());
    let condition = "time >= '2024-01-02T00:30:00Z' AND time < '2024-01-09T01:00:00Z'";
    let statement = format!("SELECT * FROM days.mixed WHERE {condition} GROUP BY *");
    let expected = influxd.client().query("d", &statement);
    influxd.stop();
    let server = Server::start();
    let part = ["--since", "2024-01-02T00:30:00Z", "--until", "2024-01-09T01:00:00Z"];
    let only = ["--database", "d", "--retention-policy", "days"];
    let output = import(&server, folder.path(), &[&only[..], &part[..]].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let client = server.client();
    assert_eq!(client.query("d", "SELECT * FROM days.mixed GROUP BY *"), expected);
    assert_eq!(client.rows("", "SHOW RETENTION POLICIES ON d").len(), 2);
    assert!(client.rows("", "SHOW USERS").is_empty());

    // A policy that differs: nothing is changed.
    client.query("", "ALTER RETENTION POLICY days ON d SHARD DURATION 2d");
    let refused = import(&server, folder.path(), &["--database", "d"]);
    let text = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && text.contains("retention policy days on d exists"), "{text}");
    assert!(client.rows("d", "SELECT * FROM days.cpu WHERE time < '2024-01-01T00:10:00Z'").is_empty());
}

#[test]
fn what_is_no_influxdb_is_refused() {
    let server = Server::start();
    let folder = tempfile::tempdir().unwrap();
    let refused = import(&server, folder.path(), &[]);
    let text = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && text.contains("neither a folder with meta/meta.db"), "{text}");
    std::fs::create_dir_all(folder.path().join("meta")).unwrap();
    std::fs::create_dir_all(folder.path().join("data")).unwrap();
    std::fs::write(folder.path().join("meta/meta.db"), [0xff; 100]).unwrap();
    let refused = import(&server, folder.path(), &[]);
    let text = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && text.contains("meta.db: no InfluxDB metadata"), "{text}");
}
