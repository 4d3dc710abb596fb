//! The examples in `deploy/` name files, settings, services and databases: all of them are there.

#![allow(clippy::unwrap_used)] // a test may panic

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

fn deploy(path: &str) -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy")).join(path)
}

fn text(path: &str) -> String {
    std::fs::read_to_string(deploy(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn yaml(path: &str) -> Value {
    serde_yaml_ng::from_str(&text(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn strings(list: &Value) -> Vec<&str> {
    list.as_array().into_iter().flatten().map(|item| item.as_str().unwrap()).collect()
}

/// What is mounted in a service: what of this machine or which volume, where, and how.
fn mounts(service: &Value) -> Vec<(&str, &str, Option<&str>)> {
    let split = |volume| {
        let mut parts = str::split(volume, ':');
        (parts.next().unwrap(), parts.next().unwrap(), parts.next())
    };
    strings(&service["volumes"]).into_iter().map(split).collect()
}

/// The variables that set each of our settings.
fn variables() -> BTreeSet<String> {
    let printed = Command::new(env!("CARGO_BIN_EXE_hyperbytedb")).arg("config").output().unwrap();
    let settings: toml::Table = String::from_utf8(printed.stdout).unwrap().parse().unwrap();
    let of_section = |(section, keys): (&String, &toml::Value)| {
        let keys = keys.as_table().unwrap().keys();
        let names = keys.map(|key| format!("HYPERBYTEDB__{section}__{key}").to_uppercase());
        names.collect::<Vec<_>>()
    };
    settings.iter().flat_map(of_section).collect()
}

fn is_variable(name: &str, known: &BTreeSet<String>) -> bool {
    let influxdbs = ["INFLUXDB_DB", "INFLUXDB_ADMIN_USER", "INFLUXDB_ADMIN_PASSWORD"];
    known.contains(name) || influxdbs.contains(&name)
}

#[test]
fn services_mount_what_there_is() {
    let compose = yaml("container/compose.yml");
    let services = compose["services"].as_object().unwrap();
    for (name, service) in services {
        for (source, target, mode) in mounts(service) {
            assert!(target.starts_with('/'), "{name}: {target}");
            if source.starts_with('.') {
                let path = deploy("container").join(source);
                assert!(path.exists(), "{name}: {source} is not there");
                assert_eq!(mode, Some("ro"), "{name}: {source}");
            } else {
                assert!(compose["volumes"].as_object().unwrap().contains_key(source), "{name}: {source}");
            }
        }
        for other in strings(&service["depends_on"]) {
            assert!(services.contains_key(other), "{name} depends on {other}");
        }
        // Nobody has to log in: other machines do not reach it.
        for port in strings(&service["ports"]) {
            assert!(port.starts_with("127.0.0.1:"), "{name}: {port}");
        }
        match service["image"].as_str() {
            Some(image) => {
                let (_, version) = image.rsplit_once(':').unwrap_or_else(|| panic!("{name}: {image}"));
                assert!(version.contains('.') && version.contains(|c: char| c.is_ascii_digit()), "{image}");
            }
            None => {
                let build = &service["build"];
                let context = build["context"].as_str().unwrap();
                assert_eq!(context, "../../target/dist", "where make dist puts it");
                // The context is made by make dist; two levels above it is the repository.
                let file = build["dockerfile"].as_str().unwrap().strip_prefix("../../deploy/").unwrap();
                assert!(deploy(file).exists(), "{name}: {file} is not there");
            }
        }
    }
}

#[test]
fn variables_are_settings() {
    let known = variables();
    assert!(known.contains("HYPERBYTEDB__STORAGE__DATA_DIR"), "{known:?}");
    let compose = yaml("container/compose.yml");
    for name in compose["services"]["hyperbytedb"]["environment"].as_object().unwrap().keys() {
        assert!(is_variable(name, &known), "compose.yml: {name}");
    }
    let container = text("container/Containerfile");
    let words = container.split_whitespace().filter(|word| word.starts_with("HYPERBYTEDB__"));
    let set: Vec<_> = words.filter_map(|word| word.split_once('=')).collect();
    assert!(set.len() >= 2, "{set:?}");
    for (name, _) in &set {
        assert!(is_variable(name, &known), "Containerfile: {name}");
    }
    // The volume is where the data goes, in both files.
    let folder = set.iter().find(|(name, _)| *name == "HYPERBYTEDB__STORAGE__DATA_DIR").unwrap().1;
    assert!(container.contains(&format!("\nVOLUME {folder}\n")));
    let mounted = mounts(&compose["services"]["hyperbytedb"]);
    assert_eq!(mounted, [("hyperbytedb", folder, None)]);
}

/// Telegraf writes where Grafana reads, and each is told the other's name and port.
#[test]
fn services_find_each_other() {
    let compose = yaml("container/compose.yml");
    let database = compose["services"]["hyperbytedb"]["environment"]["INFLUXDB_DB"].as_str().unwrap();
    let telegraf: toml::Table = text("container/telegraf.conf").parse().unwrap();
    let output = &telegraf["outputs"]["influxdb"][0];
    assert_eq!(output["urls"][0].as_str(), Some("http://hyperbytedb:8086"));
    assert_eq!(output["database"].as_str(), Some(database));
    assert!(telegraf["inputs"].as_table().unwrap().len() >= 3, "points to look at");

    let sources = yaml("grafana/provisioning/datasources/hyperbytedb.yml");
    let of_type = |kind: &str| {
        let mut all = sources["datasources"].as_array().unwrap().iter();
        all.find(|source| source["type"] == kind).unwrap().clone()
    };
    let influxdb = of_type("influxdb");
    assert_eq!(influxdb["url"], "http://hyperbytedb:8086");
    assert_eq!(influxdb["jsonData"]["dbName"], database);
    // Its default is InfluxQL.
    assert_eq!(influxdb["jsonData"].get("version"), None);
    let prometheus = of_type("prometheus");
    assert_eq!(
        (&prometheus["url"], &prometheus["isDefault"]),
        (&"http://prometheus:9090".into(), &true.into())
    );

    let scraped = yaml("container/prometheus.yml");
    let targets = &scraped["scrape_configs"][0]["static_configs"][0]["targets"];
    assert_eq!(strings(targets), ["hyperbytedb:8086"]);
}

#[test]
fn grafana_gets_the_dashboard() {
    let compose = yaml("container/compose.yml");
    let mounted = mounts(&compose["services"]["grafana"]);
    let providers = yaml("grafana/provisioning/dashboards/hyperbytedb.yml");
    let folder = providers["providers"][0]["options"]["path"].as_str().unwrap();
    let source = mounted.iter().find(|(_, target, _)| *target == format!("{folder}/hyperbytedb.json"));
    assert_eq!(source.unwrap().0, "../grafana/hyperbytedb.json");
    assert!(mounted.contains(&("../grafana/provisioning", "/etc/grafana/provisioning", Some("ro"))));
    // Each panel asks the source that is chosen, which is of Prometheus.
    let dashboard: Value = serde_json::from_str(&text("grafana/hyperbytedb.json")).unwrap();
    assert_eq!(dashboard["templating"]["list"][0]["query"], "prometheus");
    for panel in dashboard["panels"].as_array().unwrap().iter().filter(|panel| panel["type"] != "row") {
        assert_eq!(panel["datasource"]["uid"], "${datasource}", "{}", panel["title"]);
        assert!(!panel["targets"].as_array().unwrap().is_empty(), "{}", panel["title"]);
    }
}

/// Prometheus' own check, with the alerts where the container has them.
#[test]
fn prometheus_takes_its_configuration() {
    for config in ["container/prometheus.yml", "prometheus/prometheus.yml"] {
        let folder = tempfile::tempdir().unwrap();
        std::fs::copy(deploy(config), folder.path().join("prometheus.yml")).unwrap();
        std::fs::copy(deploy("prometheus/alerts.yml"), folder.path().join("alerts.yml")).unwrap();
        let checked = Command::new("promtool")
            .args(["check", "config"])
            .arg(folder.path().join("prometheus.yml"))
            .output();
        let Ok(answer) = checked else {
            return eprintln!("SKIPPED: promtool of Debian's package `prometheus` is not installed");
        };
        let said = String::from_utf8_lossy(&answer.stdout);
        assert!(answer.status.success() && said.contains("rules found"), "{config}: {said}{answer:?}");
    }
    let compose = yaml("container/compose.yml");
    let targets: Vec<_> =
        mounts(&compose["services"]["prometheus"]).into_iter().map(|mount| mount.1).collect();
    assert_eq!(targets, ["/etc/prometheus/prometheus.yml", "/etc/prometheus/alerts.yml"]);
}
