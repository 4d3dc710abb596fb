//! `/metrics`: the names of the list and no others, with values that move, in a form that Prometheus's own check accepts.

#![allow(clippy::unwrap_used)] // a test may panic

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use support::{Server, until};

/// Names of the list in the documentation.
fn documented() -> BTreeSet<String> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/metrics.md");
    let list = std::fs::read_to_string(path).unwrap();
    list.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).map(str::to_owned).collect()
}

/// Values by name, without labels; those of several labels added up.
fn values(text: &str) -> BTreeMap<String, f64> {
    let mut values = BTreeMap::new();
    for line in text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        let (name, value) = line.rsplit_once(' ').unwrap();
        let name = name.split('{').next().unwrap();
        *values.entry(name.to_owned()).or_default() += value.parse::<f64>().unwrap();
    }
    values
}

#[test]
fn what_the_server_does_is_in_its_metrics_and_prometheus_accepts_them() {
    let settings = [
        ("FLUSH__INTERVAL_SECS", "1"),
        ("FLUSH__SMALL_INTERVAL_SECS", "1"),
        ("QUERY__MAX_SELECT_POINTS", "2"),
    ];
    let server = Server::start_with(&settings);
    let client = server.client();
    client.query("", "CREATE DATABASE db0");
    client.write("db0", "m,host=a v=1 1000\nm,host=b v=2 2000\nm,host=b v=3 3000\n");
    assert_eq!(client.try_write("db0", "m v=1 1\nm v=\n").unwrap().status, 400);
    client.query("db0", "SELECT mean(v) FROM m");
    assert_eq!(client.query_raw("db0", "SELECT FROM").status, 400);
    let body = client.query_raw("db0", "SELECT v FROM m").body;
    assert!(body.contains("max-select-point"), "{body}");

    let mut metrics = String::new();
    until("the flush and a collection", Duration::from_secs(30), || {
        metrics = client.get("/metrics").unwrap().body;
        let values = values(&metrics);
        values["hyperbytedb_flush_points_total"] >= 4.0 && values["hyperbytedb_engine_memory_bytes"] > 0.0
    });
    let types: Vec<&str> = metrics.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
    let documented = documented();
    for line in types {
        let (name, kind) = line.split_once(' ').unwrap();
        assert!(documented.contains(name), "{name} is not in docs/metrics.md");
        assert!(metrics.contains(&format!("# HELP {name} ")), "{name} has no help text");
        assert_ne!(kind, "summary", "{name}");
    }
    let values = values(&metrics);
    for (name, at_least) in [
        ("hyperbytedb_write_requests_total", 2.0),
        ("hyperbytedb_write_errors_total", 1.0),
        ("hyperbytedb_write_payload_bytes_count", 2.0),
        ("hyperbytedb_write_duration_seconds_count", 2.0),
        ("hyperbytedb_write_parse_duration_seconds_count", 2.0),
        ("hyperbytedb_write_schema_duration_seconds_count", 2.0),
        ("hyperbytedb_write_commit_duration_seconds_count", 2.0),
        ("hyperbytedb_ingestion_points_total", 4.0),
        ("hyperbytedb_ingestion_points_rejected_total", 1.0),
        ("hyperbytedb_series_cache_misses_total", 2.0),
        ("hyperbytedb_query_requests_total", 4.0),
        ("hyperbytedb_query_errors_total", 2.0),
        ("hyperbytedb_query_duration_seconds_count", 3.0),
        ("hyperbytedb_query_plan_duration_seconds_count", 2.0),
        ("hyperbytedb_statements_total", 3.0),
        ("hyperbytedb_scans_memory_total", 1.0),
        ("hyperbytedb_wal_append_duration_seconds_count", 2.0),
        ("hyperbytedb_wal_last_sequence", 3.0),
        ("hyperbytedb_head_apply_duration_seconds_count", 2.0),
        ("hyperbytedb_flush_runs_total", 1.0),
        ("hyperbytedb_flush_duration_seconds_count", 1.0),
        ("hyperbytedb_rocksdb_keys", 1.0),
        ("hyperbytedb_rocksdb_memtable_bytes", 1.0),
        ("hyperbytedb_engine_connections", 1.0),
        ("hyperbytedb_uptime_seconds", 0.001),
        ("process_resident_memory_bytes", 1e6),
        ("process_open_fds", 10.0),
    ] {
        assert!(values.get(name).is_some_and(|value| *value >= at_least), "{name}: {:?}", values.get(name));
    }
    assert_eq!(values["hyperbytedb_queries_active"], 0.0);
    assert_eq!(values["hyperbytedb_http_requests_in_flight"], 1.0, "the one for the metrics");
    assert!(values["hyperbytedb_http_response_bytes_total"] > 100.0);
    let refused = r#"hyperbytedb_http_requests_total{endpoint="/write",method="POST",status="400"} 1"#;
    assert!(metrics.contains(refused), "{metrics}");
    let version = format!("hyperbytedb_build_info{{version=\"{}\"}} 1", env!("CARGO_PKG_VERSION"));
    assert!(metrics.contains(&version), "{metrics}");
    assert_eq!(values["hyperbytedb_flush_errors_total"], 0.0, "there before anything fails");

    let checked = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut check) = checked else {
        return eprintln!("SKIPPED: promtool of Debian's package `prometheus` is not installed");
    };
    check.stdin.take().unwrap().write_all(metrics.as_bytes()).unwrap();
    let answer = check.wait_with_output().unwrap();
    let said = [answer.stdout, answer.stderr].concat();
    assert!(answer.status.success() && said.is_empty(), "{}", String::from_utf8_lossy(&said));
}

/// What an operator watches by itself: which bound was reached.
#[test]
fn a_bound_that_was_reached_is_counted_by_its_setting() {
    let server = Server::start_with(&[("QUERY__MAX_ROWS_READ", "2"), ("WRITE__MAX_TAGS", "1")]);
    let client = server.client();
    client.query("", "CREATE DATABASE db0");
    assert_eq!(client.try_write("db0", "m,a=1,b=2 v=1 1").unwrap().status, 400);
    let metrics = client.get("/metrics").unwrap().body;
    let counted = "hyperbytedb_limit_exceeded_total{limit=\"write.max_tags\"} 1";
    assert!(metrics.contains(counted), "{metrics}");
}

/// Names of metrics in a text, without the endings that Prometheus gives the series of a histogram.
fn names_in(text: &str) -> BTreeSet<String> {
    let is_of_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let words = text.split(|c| !is_of_name(c));
    let names = words.filter(|word| word.starts_with("hyperbytedb_") || word.starts_with("process_"));
    let base = |name: &str| {
        let ending = ["_bucket", "_count", "_sum"].into_iter().find_map(|ending| name.strip_suffix(ending));
        ending.unwrap_or(name).to_owned()
    };
    names.map(base).collect()
}

#[test]
fn dashboard_and_alerts_use_metrics_that_exist() {
    let documented = documented();
    let deploy = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy");
    for file in ["grafana/hyperbytedb.json", "prometheus/alerts.yml"] {
        let text = std::fs::read_to_string(format!("{deploy}/{file}")).unwrap();
        let names = names_in(&text);
        assert!(names.len() > 10, "{file}: {names:?}");
        for name in names {
            assert!(documented.contains(&name), "{file}: {name} is not in docs/metrics.md");
        }
        if file.ends_with(".json") {
            serde_json::from_str::<serde_json::Value>(&text).unwrap();
        }
    }
    let checked = Command::new("promtool")
        .args(["check", "rules"])
        .arg(format!("{deploy}/prometheus/alerts.yml"))
        .output();
    match checked {
        Ok(answer) => assert!(answer.status.success(), "{}", String::from_utf8_lossy(&answer.stderr)),
        Err(_) => eprintln!("SKIPPED: promtool of Debian's package `prometheus` is not installed"),
    }
}
