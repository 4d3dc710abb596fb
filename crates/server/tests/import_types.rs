//! `import influxdb` of fields that have different types in different shards, and of policies that refuse old points: beside
//! a real influxd, whose answers must come out.

#![allow(clippy::unwrap_used)] // a test may panic

mod support;

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use support::influxd::Influxd;
use support::{Client, Server, until};

const CACHE_BYTES: u32 = 1 << 20;
const WEEK: i64 = 7 * 86_400_000_000_000;
/// 2024-01-01, a Monday: shard groups of a week begin here.
const START: i64 = 1_704_067_200_000_000_000;

/// Whether it ended with success, and what it said.
fn import(server: &Server, path: &Path, more: &[&str]) -> (bool, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_hyperbytedb"))
        .args(["import", "influxdb", "--url", &server.url()])
        .args(more)
        .arg(path)
        .output()
        .unwrap();
    (output.status.success(), String::from_utf8(output.stderr).unwrap())
}

fn assert_says(said: &str, expected: &[&str]) {
    for text in expected {
        assert!(said.contains(text), "{text} in {said}");
    }
}

/// A field of each week has another type; each measurement begins with another one.
fn prepare(client: &Client) {
    client.query("", "CREATE DATABASE d WITH DURATION INF REPLICATION 1 SHARD DURATION 7d NAME p");
    let week = |number: i64| START + number * WEEK;
    client.write(
        "d",
        &format!(
            "m,h=a v=1i,w=1i {0}\nm,h=a v=9007199254740993i {1}\nm,h=b v=7i {1}\n\
             m,h=a v=2.5 {2}\nm,h=a v=\"text\",w=3i {3}\nm,h=b v=\"more\" {3}\nm,h=a v=true {4}\nm,h=c w=4i,v_string=1 {4}\n\
             odd\\ name\\,x,h=a v=true {0}\nodd\\ name\\,x,h=a v=\"s\" {2}\n\
             plain v=1i {0}\nplain v=2i {2}",
            week(0),
            week(0) + 1,
            week(1),
            week(2),
            week(3),
        ),
    );
}

const QUESTIONS: [&str; 7] = [
    "SELECT * FROM m",
    "SELECT v FROM m",
    "SELECT v, w FROM m GROUP BY h",
    "SELECT count(v), max(v), first(v), last(v) FROM m",
    "SELECT count(v), count(w), min(v) FROM m WHERE time >= '2024-01-01T00:00:00Z' AND time < '2024-02-01T00:00:00Z' GROUP BY time(1w)",
    "SELECT * FROM \"odd name,x\"",
    "SELECT sum(v) FROM plain",
];

fn assert_equal(server: &Server, expected: &[serde_json::Value]) {
    for (question, expected) in QUESTIONS.iter().zip(expected) {
        assert_eq!(server.client().query("d", question), *expected, "{question}");
    }
}

#[test]
fn fields_of_several_types_answer_as_in_influxdb() {
    if !Influxd::is_installed() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let influxd = Influxd::start(folder.path(), "tsi1", CACHE_BYTES);
    prepare(&influxd.client());
    let expected = QUESTIONS.map(|question| influxd.client().query("d", question));
    assert!(expected[1].to_string().contains("2.5"), "{}", expected[1]);
    let backup = folder.path().join("backup");
    influxd.backup(&backup);
    influxd.stop();

    let said_of_all = [
        "types differ: d.p.m: field v\n",
        "1 of type float (shards ",
        "3 of type integer (shards ",
        "stored as float; 1 are rounded",
        "2 of type string (shards ",
        "1 of type boolean (shards ",
        ": left out",
        "types differ: d.p.odd\\ name\\,x: field v\n",
        "4 values are not of their field's type and are left out: import once more with --split-types",
    ];
    for path in [folder.path(), &backup] {
        // Whatever the order of the shards.
        for readers in ["1", "4"] {
            let server = Server::start();
            let (succeeded, said) = import(&server, path, &["--readers", readers]);
            assert!(!succeeded && !said.contains("field plain") && !said.contains("refused"), "{said}");
            assert_says(&said, &said_of_all);
            assert_equal(&server, &expected);
        }
    }

    // Nothing is left out.
    let server = Server::start();
    let (succeeded, said) = import(&server, folder.path(), &["--split-types"]);
    assert!(succeeded, "{said}");
    assert_says(
        &said,
        &[
            "2 of type string (shards ",
            ": stored in the field v_string_\n",
            "stored in the field v_boolean\n",
        ],
    );
    let client = server.client();
    assert_eq!(client.query("d", QUESTIONS[1]), expected[1]);
    let apart = client
        .rows("d", "SELECT v_string_, v_boolean, w FROM m WHERE h = 'a' AND time > '2024-01-10T00:00:00Z'");
    let apart: Vec<_> = apart.iter().map(|row| &row[1..]).collect();
    assert_eq!(serde_json::json!(apart), serde_json::json!([["text", null, 3], [null, true, null]]));
}

#[test]
fn a_type_that_the_server_has_stays() {
    if !Influxd::is_installed() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let influxd = Influxd::start(folder.path(), "inmem", CACHE_BYTES);
    prepare(&influxd.client());
    influxd.stop();
    let first_week = ["--until", "2024-01-08T00:00:00Z"];
    let server = Server::start();
    let (succeeded, said) = import(&server, folder.path(), &first_week);
    assert!(succeeded && !said.contains("types differ"), "{said}");
    let (succeeded, said) = import(&server, folder.path(), &[]);
    assert!(!succeeded && !said.contains("refused"), "{said}");
    assert_says(&said, &["1 of type float (shards ", "3 of type integer (shards ", "stored as integer"]);
    assert_eq!(server.client().rows("d", "SELECT count(v), count(w) FROM m")[0][1..], [3, 3]);

    // And integers go where floats are.
    let server = Server::start();
    assert!(!import(&server, folder.path(), &[]).0);
    let (succeeded, said) = import(&server, folder.path(), &first_week);
    // A boolean is not of the type of a string that came before.
    assert!(!succeeded, "{said}");
    assert_says(&said, &["3 of type integer (shards ", "stored as float", "1 of type boolean (shards "]);
}

#[test]
fn a_policy_that_refuses_old_points_is_told_of_before_anything_is_changed() {
    if !Influxd::is_installed() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let influxd = Influxd::start(folder.path(), "inmem", CACHE_BYTES);
    prepare(&influxd.client());
    influxd.client().query("", "CREATE DATABASE another");
    influxd.stop();
    let server = Server::start();
    let client = server.client();
    client.query(
        "",
        "CREATE DATABASE d WITH DURATION INF REPLICATION 1 SHARD DURATION 7d PAST LIMIT 1h NAME p",
    );
    let (succeeded, said) = import(&server, folder.path(), &[]);
    assert!(!succeeded, "{said}");
    assert_says(&said, &["has a PAST LIMIT or FUTURE LIMIT", "nothing was changed"]);
    assert_eq!(client.rows("", "SHOW DATABASES"), [["d"]]);
    let statement = said.split_once("import after ").unwrap().1.trim();
    client.query("", statement);
    let (_, said) = import(&server, folder.path(), &[]);
    assert_says(&said, &["types differ: d.p.m: field v\n"]);
    assert_eq!(client.rows("d", "SELECT sum(v) FROM plain")[0][1], 3);
}

#[test]
fn an_interrupted_import_leaves_out_what_is_through() {
    if !Influxd::is_installed() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let influxd = Influxd::start(folder.path(), "tsi1", CACHE_BYTES);
    let client = influxd.client();
    client.query("", "CREATE DATABASE d WITH DURATION INF REPLICATION 1 SHARD DURATION 7d NAME p");
    client.write("d", &format!("m text=\"a value that is left out\",v=1 {START}"));
    for week in 1..10 {
        let points: String =
            (0..200).map(|at| format!("m v={at},text={at}i {}\n", START + week * WEEK + at)).collect();
        client.write("d", &points);
    }
    influxd.stop();
    let server = Server::start();
    let state = folder.path().join("state");
    let with_state = ["--readers", "1", "--state", state.to_str().unwrap()];
    let mut slow = Command::new(env!("CARGO_BIN_EXE_hyperbytedb"))
        .args(["import", "influxdb", "--url", &server.url(), "--rate", "500", "--batch-lines", "50"])
        .args(with_state)
        .arg(folder.path())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let shards_through = || {
        let text = std::fs::read(&state).ok()?;
        let state: serde_json::Value = serde_json::from_slice(&text).ok()?;
        state["shards"].as_array().map(Vec::len)
    };
    until("two shards are through", Duration::from_secs(60), || shards_through() >= Some(2));
    slow.kill().unwrap();
    slow.wait().unwrap();
    let through = shards_through().unwrap();
    let points = server.client().rows("d", "SELECT count(v) FROM m")[0][1].as_u64().unwrap();
    assert!(points < 1_801, "all {points} are through already");

    // What was written may go: the shards that are through are not read again.
    server.client().query("d", &format!("DELETE FROM m WHERE time < {}", START + WEEK));
    let (succeeded, said) = import(&server, folder.path(), &with_state);
    assert_says(
        &said,
        &[&format!("leaving out {through} shards that are through"), "in earlier runs 1 lines or values"],
    );
    assert!(!succeeded && !state.exists(), "{said}");
    assert_eq!(server.client().rows("d", "SELECT count(v), count(text) FROM m")[0][1..], [1_800, 1_800]);
}
