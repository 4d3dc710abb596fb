//! SHOW STATS, SHOW DIAGNOSTICS, `/debug/vars` and `_internal`: the same modules, columns and tags as those of a real influxd.

#![allow(clippy::unwrap_used)] // a test may panic

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::Value;
use support::influxd::Influxd;
use support::{Client, Server, free_port, until};

/// What a shard has here is no part of it alone, and nothing is compacted as there.
const THEIRS_ONLY: [&str; 4] = ["shard", "tsm1_engine", "tsm1_filestore", "config-precreator"];
/// Some of their columns.
const IN_PART: [&str; 2] = ["tsm1_cache", "tsm1_wal"];
const OURS_ONLY: [&str; 3] = ["catalog", "memtable", "wal"];

struct Module {
    name: String,
    tags: BTreeSet<String>,
    columns: Vec<String>,
    values: Vec<Value>,
}

fn modules(client: &Client, statement: &str) -> Vec<Module> {
    let answer = client.query_raw("", statement).json();
    let list =
        |value: &Value| value.as_array().unwrap().iter().map(|v| v.as_str().unwrap().to_owned()).collect();
    let series = answer["results"][0]["series"].as_array().cloned().unwrap_or_default();
    let module = |series: &Value| Module {
        name: series["name"].as_str().unwrap().to_owned(),
        tags: series["tags"].as_object().into_iter().flatten().map(|(key, _)| key.clone()).collect(),
        columns: list(&series["columns"]),
        // Diagnostics of connections may have none.
        values: series["values"][0].as_array().cloned().unwrap_or_default(),
    };
    series.iter().map(module).collect()
}

/// What both are asked.
fn prepare(client: &Client) {
    client.query("", "CREATE DATABASE d");
    client.query("", "CREATE SUBSCRIPTION s ON d.autogen DESTINATIONS ANY 'udp://127.0.0.1:9'");
    client.write("d", "m,t=a v=1 1\nm,t=b v=2 2");
}

impl Module {
    fn value(&self, column: &str) -> i64 {
        let at = self.columns.iter().position(|known| known == column).unwrap();
        self.values[at].as_i64().unwrap()
    }
}

fn value(modules: &[Module], name: &str, column: &str) -> i64 {
    modules.iter().find(|module| module.name == name).unwrap().value(column)
}

#[test]
fn modules_are_influxdbs() {
    let (udp, graphite) = (free_port(), free_port());
    let server = Server::start_with(&[
        ("UDP__ENABLED", "true"),
        ("UDP__BIND_ADDRESS", &format!("127.0.0.1:{udp}")),
        ("GRAPHITE__ENABLED", "true"),
        ("GRAPHITE__BIND_ADDRESS", &format!("127.0.0.1:{graphite}")),
        ("STATEMENT_SUMMARY__ENABLED", "true"),
    ]);
    let client = server.client();
    prepare(&client);
    // While the server started it may have been asked whether it is ready.
    let server_errors = value(&modules(&client, "SHOW STATS FOR 'httpd'"), "httpd", "serverError");
    let refused = client.post("/write", &[("db", "d")], b"m v=\"text\" 3\nm v=3 4");
    assert_eq!(refused.unwrap().status, 400);
    for path in ["/api/v1/prom/write", "/api/v1/prom/read"] {
        assert_eq!(client.post(path, &[("db", "d")], b"none").unwrap().status, 400, "{path}");
    }
    assert_eq!(client.get("/ping").unwrap().status, 204);
    // A request is counted once its answer is complete.
    let counted = [
        ("writeReq", 2),
        ("writeReqActive", 0),
        ("clientError", 3),
        ("serverError", server_errors),
        ("pingReq", 1),
        ("promWriteReq", 1),
        ("promReadReq", 1),
    ];
    until("the requests are counted", Duration::from_secs(20), || {
        let now = modules(&client, "SHOW STATS FOR 'httpd'");
        counted.iter().all(|(column, expected)| value(&now, "httpd", column) == *expected)
    });
    let ours = modules(&client, "SHOW STATS");
    let one = modules(&client, "SHOW STATS FOR 'httpd'");
    assert_eq!(one.iter().map(|module| module.name.as_str()).collect::<Vec<_>>(), ["httpd"]);
    // The listeners have databases of their own.
    let of_all = |column| -> i64 {
        ours.iter().filter(|module| module.name == "database").map(|module| module.value(column)).sum()
    };
    assert_eq!(["numMeasurements", "numSeries"].map(of_all), [1, 3]);
    for (column, expected) in [("pointsWrittenOK", 3), ("pointsWrittenDropped", 1), ("writeReqActive", 0)] {
        assert_eq!(value(&ours, "httpd", column), expected, "{column}");
    }
    assert_eq!(value(&ours, "write", "pointReq"), 4);
    assert_eq!(value(&ours, "write", "writeDrop"), 1);
    assert_eq!(value(&ours, "queryExecutor", "queriesActive"), 1);
    assert!(value(&ours, "queryExecutor", "queriesFinished") >= 2);
    assert!(value(&one, "httpd", "reqDurationNs") > 0 && value(&one, "httpd", "queryReq") >= 2);
    assert!(value(&one, "httpd", "queryRespBytes") > 100 && value(&one, "httpd", "writeReqBytes") > 30);
    until("the process is looked at", Duration::from_secs(20), || {
        value(&modules(&client, "SHOW STATS FOR 'runtime'"), "runtime", "Sys") > 0
    });

    until("the subscription is known", Duration::from_secs(20), || {
        client.get("/debug/vars").unwrap().body.contains("\"subscriber:d:")
    });
    let vars = client.get("/debug/vars").unwrap().json();
    let keys: BTreeSet<&str> = vars.as_object().unwrap().keys().map(String::as_str).collect();
    for key in ["database:d", "write", "runtime", &format!("graphite:tcp:127.0.0.1:{graphite}")] {
        assert!(keys.contains(key), "{key}: {keys:?}");
    }
    assert!(keys.contains("subscriber:d:autogen:s:udp://127.0.0.1:9"), "{keys:?}");
    telegraf_reads(vars.as_object().unwrap());
    assert_eq!(vars["httpd:".to_owned() + &server.url()["http://".len()..]]["values"]["pointsWrittenOK"], 3);

    if !Influxd::is_installed() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let listeners = format!(
        "[[graphite]]\nenabled = true\nbind-address = \"127.0.0.1:{}\"\n[[udp]]\nenabled = true\nbind-address = \"127.0.0.1:{}\"\n",
        free_port(),
        free_port()
    );
    let influxd = Influxd::start_configured(folder.path(), &listeners);
    prepare(&influxd.client());
    for statement in ["SHOW STATS", "SHOW DIAGNOSTICS"] {
        compare(&modules(&client, statement), &modules(&influxd.client(), statement), statement);
    }
    let nothing =
        |client: &Client| client.query_raw("", "SHOW STATS FOR 'nope'; SHOW DIAGNOSTICS FOR 'nope'").body;
    assert_eq!(nothing(&client), nothing(&influxd.client()));
}

/// As `inputs.influxdb` does: memory is a measurement, every other key a point, which is left out where it is none.
fn telegraf_reads(vars: &serde_json::Map<String, Value>) {
    let memory = &vars["memstats"];
    assert!(memory["Sys"].as_u64() > Some(0) && memory["HeapAlloc"].is_u64(), "{memory}");
    for (key, point) in vars.iter().filter(|(key, _)| *key != "memstats") {
        let tags = point["tags"].as_object().unwrap_or_else(|| panic!("{key}: {point}"));
        let values = point["values"].as_object().unwrap_or_else(|| panic!("{key}: {point}"));
        assert!(!values.is_empty() && tags.values().all(Value::is_string), "{key}: {point}");
        assert!(
            point["name"].as_str().is_some_and(|name| key.starts_with(name) && !name.is_empty()),
            "{key}: {point}"
        );
    }
}

/// Theirs, in their order; ours behind them.
fn compare(ours: &[Module], theirs: &[Module], statement: &str) {
    let shared = |module: &&Module| {
        // A connection is a module there.
        !THEIRS_ONLY.contains(&module.name.as_str()) && !module.name.starts_with("graphite:")
    };
    let mut theirs: Vec<&Module> = theirs.iter().filter(shared).collect();
    let names = |modules: &[&Module]| modules.iter().map(|module| module.name.clone()).collect::<Vec<_>>();
    let (mut shared, own): (Vec<&Module>, Vec<&Module>) =
        ours.iter().partition(|module| !OURS_ONLY.contains(&module.name.as_str()));
    // The listeners have made their databases here, not yet there.
    for modules in [&mut shared, &mut theirs] {
        modules.dedup_by(|a, b| a.name == b.name && a.tags == b.tags);
    }
    assert_eq!(names(&shared), names(&theirs), "{statement}");
    assert_eq!(names(&own), if statement == "SHOW STATS" { &OURS_ONLY[..] } else { &[] }, "{statement}");
    for (ours, theirs) in shared.into_iter().zip(theirs) {
        if IN_PART.contains(&theirs.name.as_str()) {
            assert!(ours.columns.iter().all(|column| theirs.columns.contains(column)), "{}", ours.name);
            continue;
        }
        let known: Vec<_> =
            ours.columns.iter().filter(|column| *column != "pointsDropped").cloned().collect();
        assert_eq!((&ours.tags, known), (&theirs.tags, theirs.columns.clone()), "{statement}: {}", ours.name);
        let kinds = |values: &[Value]| values.iter().map(kind).collect::<Vec<_>>();
        if known_columns_are_all(ours) {
            assert_eq!(kinds(&ours.values), kinds(&theirs.values), "{statement}: {}", ours.name);
        }
    }
}

fn known_columns_are_all(module: &Module) -> bool {
    !module.columns.iter().any(|column| column == "pointsDropped")
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Number(_) => "number",
        Value::String(_) => "text",
        Value::Bool(_) => "boolean",
        _ => "other",
    }
}

#[test]
fn the_monitor_stores_them() {
    let server =
        Server::start_with(&[("MONITOR__STORE_ENABLED", "true"), ("MONITOR__STORE_INTERVAL_SECS", "1")]);
    let client = server.client();
    prepare(&client);
    let stored = |text: &str| client.query_raw("_internal", text).json()["results"][0]["series"].clone();
    let series_of = |name: &str| stored(&format!("SHOW SERIES FROM {name}"))[0]["values"].clone();
    let has =
        |name: &str, count: usize| series_of(name).as_array().is_some_and(|series| series.len() == count);
    until("both databases are there", Duration::from_secs(30), || has("\"database\"", 2));
    // Its own row, and that of the subscription, which comes behind the database.
    until("the subscription is there", Duration::from_secs(30), || has("subscriber", 2));
    let tags: BTreeMap<&str, &[&str]> = [
        ("cq", &["hostname"][..]),
        ("database", &["database", "hostname"]),
        ("httpd", &["bind", "hostname"]),
        ("queryExecutor", &["hostname"]),
        ("runtime", &["hostname"]),
        ("subscriber", &["database", "destination", "hostname", "mode", "name", "retention_policy"]),
        ("write", &["hostname"]),
    ]
    .into();
    for (measurement, expected) in tags {
        let keys = stored(&format!("SHOW TAG KEYS FROM \"{measurement}\""))[0]["values"].clone();
        let keys: Vec<_> =
            keys.as_array().unwrap().iter().map(|row| row[0].as_str().unwrap().to_owned()).collect();
        assert_eq!(keys, expected, "{measurement}");
    }
    let last = stored(
        "SELECT last(numSeries), \"database\" FROM _internal.monitor.\"database\" WHERE \"database\" = 'd'",
    );
    assert_eq!(last[0]["values"][0][1], 2, "{last}");
    let time = last[0]["values"][0][0].as_i64().unwrap();
    assert_eq!(time % 1_000_000_000, 0, "the times are those of the interval");
    let policy = stored("SHOW RETENTION POLICIES")[0]["values"][0].clone();
    assert_eq!(
        (&policy[0], &policy[1], &policy[2], policy.as_array().unwrap().last().unwrap()),
        (&"monitor".into(), &"168h0m0s".into(), &"24h0m0s".into(), &true.into())
    );
    assert_eq!(stored("SHOW FIELD KEYS FROM runtime")[0]["values"].as_array().unwrap().len(), 15);
}

#[test]
fn who_is_refused_is_counted() {
    let server = Server::start_with(&[
        ("AUTH__ENABLED", "true"),
        ("AUTH__ADMIN_USER", "root"),
        ("AUTH__ADMIN_PASSWORD", "right"),
    ]);
    let client = server.client();
    let ask = |password| {
        let query = [("q", "SHOW STATS FOR 'httpd'"), ("u", "root"), ("p", password)];
        client.get_with("/query", &query).unwrap()
    };
    until("the admin is there", Duration::from_secs(20), || ask("right").status == 200);
    let refused = || {
        let series = &ask("right").json()["results"][0]["series"][0];
        let at = series["columns"].as_array().unwrap().iter().position(|column| column == "authFail");
        series["values"][0][at.unwrap()].as_i64().unwrap()
    };
    let before = refused();
    assert_eq!(ask("wrong").status, 401);
    until("it is counted", Duration::from_secs(20), || refused() == before + 1);
}

#[test]
fn nothing_is_stored_by_default() {
    let server = Server::start();
    let databases = server.client().query_raw("", "SHOW DATABASES").json();
    assert_eq!(databases["results"][0]["series"][0]["values"], Value::Null);
}
