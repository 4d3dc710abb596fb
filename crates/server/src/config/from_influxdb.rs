//! Says what an `influxdb.conf` of InfluxDB 1.x says in our keys, and what of it has no counterpart.

use std::fmt::Write as _;

use toml::{Table, Value};

use super::Config;

/// What becomes of one of InfluxDB's keys.
enum Rule {
    /// The same value under another name.
    Same(&'static str),
    /// The same number, but 0 has no limit there and none here.
    Limit(&'static str),
    /// A duration, in units of so many milliseconds here.
    Duration(&'static str, i64),
    /// A duration in seconds here; in both, 0 has no limit.
    Timeout(&'static str),
    /// `host:port`, of which the port is a key of its own.
    Address { host: &'static str, port: &'static str },
    /// `host:port`.
    Listener(&'static str),
    /// Taken together with another key.
    Together,
    /// Why nothing need be set.
    Nothing(&'static str),
}

use Rule::{Address, Duration, Limit, Listener, Nothing, Same, Timeout, Together};

const SECOND: i64 = 1_000;
const FOLDERS: &str =
    "our files are others: `hyperbytedb import influxdb` brings the points (docs/migration.md)";
const OWN_ENGINE: &str = "the engine is another";

const RULES: &[(&str, Rule)] = &[
    ("reporting-disabled", Nothing("nothing is reported")),
    ("reporting-enabled", Nothing("nothing is reported")),
    ("bind-address", Nothing("backups go over HTTP")),
    ("meta.dir", Nothing(FOLDERS)),
    ("meta.retention-autocreate", Nothing("every database has the policy autogen")),
    ("meta.logging-enabled", Nothing("see logging.level")),
    ("data.dir", Nothing(FOLDERS)),
    ("data.wal-dir", Nothing(FOLDERS)),
    ("data.wal-fsync-delay", Together),
    ("data.index-version", Nothing("there is one index, on disk")),
    ("data.query-log-enabled", Nothing("see logging.level")),
    ("data.trace-logging-enabled", Nothing("see logging.level")),
    ("data.cache-max-memory-size", Nothing(OWN_ENGINE)),
    ("data.cache-snapshot-memory-size", Nothing(OWN_ENGINE)),
    ("data.cache-snapshot-write-cold-duration", Nothing(OWN_ENGINE)),
    ("data.compact-full-write-cold-duration", Nothing(OWN_ENGINE)),
    ("data.compact-throughput", Nothing(OWN_ENGINE)),
    ("data.compact-throughput-burst", Nothing(OWN_ENGINE)),
    ("data.max-concurrent-compactions", Nothing(OWN_ENGINE)),
    ("data.max-index-log-file-size", Nothing(OWN_ENGINE)),
    ("data.series-id-set-cache-size", Nothing(OWN_ENGINE)),
    ("data.tsm-use-madv-willneed", Nothing(OWN_ENGINE)),
    ("data.max-series-per-database", Same("limits.max_series_per_database")),
    ("data.max-values-per-tag", Same("limits.max_values_per_tag")),
    ("coordinator.write-timeout", Duration("cluster.write_timeout_secs", SECOND)),
    ("coordinator.max-concurrent-queries", Limit("query.max_concurrent")),
    ("coordinator.query-timeout", Timeout("query.timeout_secs")),
    ("coordinator.max-select-point", Same("query.max_select_points")),
    ("coordinator.max-select-series", Same("query.max_select_series")),
    ("coordinator.max-select-buckets", Same("query.max_select_buckets")),
    ("retention.enabled", Same("retention.enabled")),
    ("retention.check-interval", Duration("retention.check_interval_secs", SECOND)),
    ("shard-precreation.enabled", Nothing("a shard group costs nothing to begin")),
    ("shard-precreation.check-interval", Nothing("a shard group costs nothing to begin")),
    ("shard-precreation.advance-period", Nothing("a shard group costs nothing to begin")),
    ("http.enabled", Nothing("HTTP is always on")),
    ("http.bind-address", Address { host: "server.bind_address", port: "server.port" }),
    ("http.auth-enabled", Same("auth.enabled")),
    ("http.ping-auth-enabled", Same("auth.ping_auth_enabled")),
    ("http.realm", Nothing("it is InfluxDB, as clients expect")),
    ("http.shared-secret", Same("auth.shared_secret")),
    ("http.max-row-limit", Same("http.max_row_limit")),
    ("http.max-connection-limit", Limit("server.max_connections")),
    ("http.max-body-size", Limit("http.max_body_bytes")),
    ("http.max-concurrent-write-limit", Limit("http.max_concurrent_writes")),
    ("http.max-enqueued-write-limit", Limit("http.max_queued_writes")),
    ("http.enqueued-write-timeout", Duration("http.queue_timeout_secs", SECOND)),
    ("http.unix-socket-enabled", Together),
    ("http.bind-socket", Together),
    ("http.unix-socket-permissions", Same("http.unix_socket_permissions")),
    ("http.https-enabled", Together),
    ("http.https-certificate", Together),
    ("http.https-private-key", Together),
    ("http.pprof-enabled", Nothing("there are no profiles over HTTP")),
    ("http.debug-pprof-enabled", Nothing("there are no profiles over HTTP")),
    ("tls.min-version", Together),
    ("logging.level", Same("logging.level")),
    ("logging.format", Together),
    ("logging.suppress-logo", Nothing("there is none")),
    ("subscriber.enabled", Same("subscriber.enabled")),
    ("subscriber.http-timeout", Duration("subscriber.timeout_secs", SECOND)),
    ("subscriber.write-concurrency", Nothing("each destination follows the log by itself")),
    ("subscriber.write-buffer-size", Nothing("see subscriber.max_backlog_bytes")),
    ("continuous_queries.enabled", Same("continuous_queries.enabled")),
    ("continuous_queries.run-interval", Duration("continuous_queries.run_interval_secs", SECOND)),
    ("continuous_queries.log-enabled", Same("continuous_queries.log")),
    ("udp.enabled", Same("udp.enabled")),
    ("udp.bind-address", Listener("udp.bind_address")),
    ("udp.database", Same("udp.database")),
    ("udp.retention-policy", Same("udp.retention_policy")),
    ("udp.precision", Same("udp.precision")),
    ("udp.batch-size", Same("udp.batch_size")),
    ("udp.batch-timeout", Duration("udp.batch_timeout_ms", 1)),
    ("udp.batch-pending", Nothing("the receive buffer of the system bounds it")),
    ("udp.read-buffer", Nothing("the receive buffer of the system bounds it")),
    ("graphite.enabled", Same("graphite.enabled")),
    ("graphite.bind-address", Listener("graphite.bind_address")),
    ("graphite.protocol", Same("graphite.protocol")),
    ("graphite.database", Same("graphite.database")),
    ("graphite.retention-policy", Same("graphite.retention_policy")),
    ("graphite.batch-size", Same("graphite.batch_size")),
    ("graphite.batch-timeout", Duration("graphite.batch_timeout_ms", 1)),
    ("graphite.batch-pending", Nothing("senders wait while a batch is written")),
    ("graphite.consistency-level", Nothing("see cluster.write_consistency")),
    ("graphite.udp-read-buffer", Nothing("the receive buffer of the system bounds it")),
    ("graphite.separator", Same("graphite.separator")),
    ("graphite.templates", Same("graphite.templates")),
    ("graphite.tags", Same("graphite.tags")),
    ("opentsdb.enabled", Same("opentsdb.enabled")),
    ("opentsdb.bind-address", Listener("opentsdb.bind_address")),
    ("opentsdb.database", Same("opentsdb.database")),
    ("opentsdb.retention-policy", Same("opentsdb.retention_policy")),
    ("opentsdb.batch-size", Same("opentsdb.batch_size")),
    ("opentsdb.batch-timeout", Duration("opentsdb.batch_timeout_ms", 1)),
    ("opentsdb.batch-pending", Nothing("senders wait while a batch is written")),
    ("opentsdb.consistency-level", Nothing("see cluster.write_consistency")),
    ("opentsdb.tls-enabled", Nothing("the listener has no TLS: put it behind a proxy")),
    ("opentsdb.certificate", Nothing("the listener has no TLS: put it behind a proxy")),
    ("opentsdb.log-point-errors", Nothing("they are logged at the level info")),
    ("monitor.store-enabled", Same("monitor.store_enabled")),
    ("monitor.store-database", Same("monitor.store_database")),
    ("monitor.store-interval", Duration("monitor.store_interval_secs", SECOND)),
];

/// Our configuration file for InfluxDB's. What has no counterpart is a comment in it.
pub fn from_influxdb(text: &str) -> Result<String, String> {
    let theirs: Table = text.parse().map_err(|error| format!("this is not TOML: {error}"))?;
    let mut translation = Translation::default();
    translation.translate(&theirs)?;
    let ours = translation.print();
    Config::from_toml(&ours).map_err(|error| format!("what it says cannot be said here: {error}"))?;
    Ok(ours)
}

#[derive(Default)]
struct Translation {
    /// By section and key.
    ours: std::collections::BTreeMap<&'static str, Table>,
    /// InfluxDB's key and value, and why it is left out.
    left_out: Vec<(String, String)>,
}

impl Translation {
    fn translate(&mut self, theirs: &Table) -> Result<(), String> {
        for (name, value) in theirs {
            match value {
                Value::Table(section) => self.section(name, section)?,
                Value::Array(listeners) => self.listeners(name, listeners)?,
                value => self.key(name.clone(), value)?,
            }
        }
        Ok(())
    }

    fn section(&mut self, name: &str, section: &Table) -> Result<(), String> {
        for (key, value) in section {
            self.key(format!("{name}.{key}"), value)?;
        }
        self.together(name, section)
    }

    /// `[[udp]]`, `[[graphite]]` and their kin: of each kind there may be several.
    fn listeners(&mut self, name: &str, listeners: &[Value]) -> Result<(), String> {
        let is_on = |listener: &&Table| listener.get("enabled") == Some(&Value::Boolean(true));
        for (n, listener) in listeners.iter().filter_map(Value::as_table).filter(is_on).enumerate() {
            match (name, n) {
                ("udp" | "graphite" | "opentsdb", 0) => self.section(name, listener)?,
                ("udp" | "graphite" | "opentsdb", _) => {
                    let why = format!("there is one {name} listener");
                    self.leave_out(format!("[[{name}]] number {}", n + 1), &why);
                }
                _ => self.leave_out(format!("[[{name}]]"), "there is no such listener"),
            }
        }
        Ok(())
    }

    fn key(&mut self, name: String, value: &Value) -> Result<(), String> {
        let failed = |why: &str| format!("{name} = {value}: {why}");
        let Some((_, rule)) = RULES.iter().find(|(known, _)| *known == name) else {
            self.leave_out(format!("{name} = {value}"), "there is no such setting");
            return Ok(());
        };
        match rule {
            Same(ours) => self.set(ours, value.clone()),
            Limit(ours) if value.as_integer() == Some(0) => {
                let why = format!("no limit is no setting here: {ours} stays at its default");
                self.leave_out(format!("{name} = {value}"), &why);
            }
            Limit(ours) => self.set(ours, value.clone()),
            Duration(ours, unit) => {
                let millis = millis(value).ok_or_else(|| failed("this is no duration"))?;
                match millis {
                    0 => self.leave_out(format!("{name} = {value}"), &format!("{ours} stays at its default")),
                    _ => self.set(ours, Value::Integer((millis / unit).max(1))),
                }
            }
            Timeout(ours) => {
                let millis = millis(value).ok_or_else(|| failed("this is no duration"))?;
                self.set(ours, Value::Integer(millis.saturating_add(SECOND - 1) / SECOND));
            }
            Address { host, port } => {
                let (address, number) = address(value).ok_or_else(|| failed("this is no address"))?;
                self.set(host, Value::String(address));
                self.set(port, Value::Integer(number));
            }
            Listener(ours) => {
                let (address, number) = address(value).ok_or_else(|| failed("this is no address"))?;
                self.set(ours, Value::String(format!("{address}:{number}")));
            }
            Nothing(why) => self.leave_out(format!("{name} = {value}"), why),
            Together => {}
        }
        Ok(())
    }

    /// Settings that are one setting here, or the other way round.
    fn together(&mut self, name: &str, section: &Table) -> Result<(), String> {
        let text = |key: &str| section.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let is_on = |key: &str| section.get(key) == Some(&Value::Boolean(true));
        match name {
            "http" if is_on("https-enabled") => {
                let certificate = text("https-certificate");
                let default = "/etc/ssl/influxdb.pem".to_owned();
                let certificate = if certificate.is_empty() { default } else { certificate };
                self.set("tls.certificate", Value::String(certificate));
                self.set("tls.key", Value::String(text("https-private-key")));
            }
            "tls" if !text("min-version").is_empty() => {
                self.set("tls.min_version", Value::String(text("min-version")));
            }
            "logging" if !text("format").is_empty() => {
                let format = if text("format") == "json" { "json" } else { "text" };
                self.set("logging.format", Value::String(format.to_owned()));
            }
            "data" => {
                let delay = section.get("wal-fsync-delay").map_or(Some(0), millis);
                let delay = delay.ok_or("data.wal-fsync-delay: this is no duration")?;
                if delay > 0 {
                    self.set("wal.sync", Value::String("interval".to_owned()));
                    self.set("wal.sync_interval_ms", Value::Integer(delay));
                }
            }
            _ => {}
        }
        if name == "http" && is_on("unix-socket-enabled") {
            let socket = text("bind-socket");
            let default = "/var/run/influxdb.sock".to_owned();
            self.set("http.unix_socket", Value::String(if socket.is_empty() { default } else { socket }));
        }
        Ok(())
    }

    fn set(&mut self, ours: &'static str, value: Value) {
        if let Some((section, key)) = ours.split_once('.') {
            self.ours.entry(section).or_default().insert(key.to_owned(), value);
        }
    }

    fn leave_out(&mut self, what: String, why: &str) {
        self.left_out.push((what, why.to_owned()));
    }

    fn print(&self) -> String {
        let mut text =
            "# Made from an influxdb.conf. What is not here has its default (docs/configuration.md).\n"
                .to_owned();
        for (section, keys) in &self.ours {
            // Writing to a String does not fail.
            let _ = writeln!(text, "\n[{section}]\n{}", keys.to_string().trim_end());
        }
        if !self.left_out.is_empty() {
            text.push_str("\n# Without a counterpart:\n");
        }
        for (what, why) in &self.left_out {
            let _ = writeln!(text, "#   {what}: {why}");
        }
        text
    }
}

/// Of a duration as Go prints it (`1h30m`, `500ms`), or of a number of nanoseconds.
fn millis(value: &Value) -> Option<i64> {
    if let Some(nanoseconds) = value.as_integer() {
        return Some(nanoseconds / 1_000_000);
    }
    let mut rest = value.as_str()?;
    if rest == "0" {
        return Some(0);
    }
    let mut nanoseconds = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        let unit_end = rest[digits..].find(|c: char| c.is_ascii_digit()).map_or(rest.len(), |n| digits + n);
        nanoseconds += number
            * match &rest[digits..unit_end] {
                "ns" => 1.0,
                "us" | "µs" => 1e3,
                "ms" => 1e6,
                "s" => 1e9,
                "m" => 60e9,
                "h" => 3600e9,
                _ => return None,
            };
        rest = &rest[unit_end..];
    }
    Some((nanoseconds / 1e6) as i64)
}

/// Without a host, every address of the machine is meant.
fn address(value: &Value) -> Option<(String, i64)> {
    let (host, port) = value.as_str()?.rsplit_once(':')?;
    let host = if host.is_empty() { "0.0.0.0" } else { host.trim_matches(['[', ']']) };
    Some((host.to_owned(), port.parse::<u16>().ok()?.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const THEIRS: &str = r#"
reporting-disabled = true
[data]
  dir = "/var/lib/influxdb/data"
  wal-fsync-delay = "100ms"
  max-values-per-tag = 0
  some-day = "new"
[coordinator]
  query-timeout = "1m30s"
  max-concurrent-queries = 0
[http]
  bind-address = ":9086"
  auth-enabled = true
  https-enabled = true
  https-certificate = "/etc/ssl/a.pem"
  max-body-size = 1000
  unix-socket-enabled = true
[logging]
  format = "logfmt"
[[udp]]
  enabled = true
  bind-address = ":8089"
  batch-timeout = "250ms"
[[udp]]
  enabled = true
[[graphite]]
  enabled = true
  bind-address = ":2003"
  batch-pending = 10
  templates = ["*.app env.service.measurement"]
[[opentsdb]]
  enabled = true
  bind-address = ":4242"
  batch-timeout = "2s"
  tls-enabled = true
[[collectd]]
  enabled = true
[monitor]
  store-interval = "30s"
[continuous_queries]
  run-interval = "2s"
"#;

    const OURS: &str = r#"# Made from an influxdb.conf. What is not here has its default (docs/configuration.md).

[auth]
enabled = true

[continuous_queries]
run_interval_secs = 2

[graphite]
bind_address = "0.0.0.0:2003"
enabled = true
templates = ["*.app env.service.measurement"]

[http]
max_body_bytes = 1000
unix_socket = "/var/run/influxdb.sock"

[limits]
max_values_per_tag = 0

[logging]
format = "text"

[monitor]
store_interval_secs = 30

[opentsdb]
batch_timeout_ms = 2000
bind_address = "0.0.0.0:4242"
enabled = true

[query]
timeout_secs = 90

[server]
bind_address = "0.0.0.0"
port = 9086

[tls]
certificate = "/etc/ssl/a.pem"
key = ""

[udp]
batch_timeout_ms = 250
bind_address = "0.0.0.0:8089"
enabled = true

[wal]
sync = "interval"
sync_interval_ms = 100

# Without a counterpart:
#   [[collectd]]: there is no such listener
#   coordinator.max-concurrent-queries = 0: no limit is no setting here: query.max_concurrent stays at its default
#   data.dir = "/var/lib/influxdb/data": our files are others: `hyperbytedb import influxdb` brings the points (docs/migration.md)
#   data.some-day = "new": there is no such setting
#   graphite.batch-pending = 10: senders wait while a batch is written
#   opentsdb.tls-enabled = true: the listener has no TLS: put it behind a proxy
#   reporting-disabled = true: nothing is reported
#   [[udp]] number 2: there is one udp listener
"#;

    #[test]
    fn every_key_is_said_or_named() {
        assert_eq!(from_influxdb(THEIRS).unwrap_or_else(|error| error), OURS);
    }

    /// What the file becomes with one byte replaced or a line left out is a configuration or an error.
    #[test]
    fn around_a_valid_file_nothing_panics() {
        let endless = "9999999999999999999999h";
        for (key, value) in [("query-timeout", endless), ("write-timeout", endless), ("query-timeout", "-1s")]
        {
            let _ = from_influxdb(&format!("[coordinator]\n{key} = \"{value}\""));
        }
        let mut taken = 0;
        for place in 0..THEIRS.len() {
            for byte in [0, b'"', b'[', b'.', b'=', b'9', b'\n', b'{'] {
                let mut changed = THEIRS.as_bytes().to_vec();
                changed[place] = byte;
                let text = String::from_utf8(changed).expect("ASCII");
                if let Ok(ours) = from_influxdb(&text) {
                    taken += usize::from(Config::from_toml(&ours).is_ok());
                }
            }
        }
        assert!(taken > 100, "{taken}");
    }

    #[test]
    fn rules_name_keys_that_exist() {
        for (theirs, rule) in RULES {
            let (Same(ours) | Limit(ours) | Duration(ours, _) | Timeout(ours) | Listener(ours)) = rule else {
                continue;
            };
            let Some((section, key)) = ours.split_once('.') else { panic!("{theirs}") };
            let config = toml::Value::try_from(Config::default()).expect("values");
            assert!(
                config.get(section).is_some_and(|section| section.get(key).is_some()),
                "{theirs}: {ours}"
            );
        }
    }

    #[test]
    fn what_is_no_configuration_is_refused() {
        for (text, error) in [
            ("[http\n", "this is not TOML"),
            ("[http]\nbind-address = \"here\"", "http.bind-address = \"here\": this is no address"),
            (
                "[coordinator]\nquery-timeout = \"soon\"",
                "coordinator.query-timeout = \"soon\": this is no duration",
            ),
            ("[logging]\nlevel = 7", "cannot be said here"),
        ] {
            let found = from_influxdb(text).expect_err("nonsense");
            assert!(found.contains(error), "{found}");
        }
    }
}
