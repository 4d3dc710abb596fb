//! The configuration: defaults, then a TOML file, then the environment: `INFLUXDB_HTTP_AUTH_ENABLED`, as InfluxDB's container
//! image knows it, and `HYPERBYTEDB__SECTION__KEY`. Unknown keys are errors wherever they come from.
//!
//! Each section is declared once (`serving.rs`, `storing.rs`, `listeners.rs`, `sections.rs`): its keys, types, defaults and texts. The printed configuration and the
//! reference in `docs/configuration.md` are made from that.

mod cluster;
mod from_influxdb;
mod listeners;
mod machine;
mod print;
mod secret;
mod sections;
mod serving;
mod storing;

use std::path::{Path, PathBuf};

use figment::Figment;
use figment::providers::{Env, Format, Serialized, Toml};
use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use from_influxdb::from_influxdb;
pub use listeners::*;
pub use print::{print_limits, print_markdown, print_toml};
pub use secret::Secret;
pub use sections::*;
pub use serving::*;
pub use storing::*;

const ENVIRONMENT_PREFIX: &str = "HYPERBYTEDB__";
const INFLUXDB_AUTH_ENABLED: &str = "INFLUXDB_HTTP_AUTH_ENABLED";

#[derive(Debug, Error)]
pub enum ConfigError {
    #[error("configuration file {}: {source}", path.display())]
    File { path: PathBuf, source: std::io::Error },
    #[error("configuration: {0}")]
    Invalid(String),
}

/// All settings.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    pub server: ServerConfig,
    pub cluster: ClusterConfig,
    pub proxy: ProxyConfig,
    pub tls: TlsConfig,
    pub storage: StorageConfig,
    pub engine: EngineConfig,
    pub chdb: ChdbConfig,
    pub clickhouse: ClickHouseConfig,
    pub wal: WalConfig,
    pub flush: FlushConfig,
    pub retention: RetentionConfig,
    pub continuous_queries: ContinuousQueriesConfig,
    pub views: ViewsConfig,
    pub backup: BackupConfig,
    pub subscriber: SubscriberConfig,
    pub write: WriteConfig,
    pub query: QueryConfig,
    pub sql: SqlConfig,
    pub statement_summary: StatementSummaryConfig,
    pub limits: LimitsConfig,
    pub http: HttpConfig,
    pub udp: UdpConfig,
    pub graphite: GraphiteConfig,
    pub opentsdb: OpenTsdbConfig,
    pub monitor: MonitorConfig,
    pub auth: AuthConfig,
    pub logging: LoggingConfig,
    pub tracing: TracingConfig,
}

impl Config {
    /// Reads the file, if one is given, and the environment.
    pub fn load(file: Option<&Path>) -> Result<Self, ConfigError> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let defaults = machine::defaults(machine::memory_bytes(), cores);
        let mut figment = Figment::from(Serialized::defaults(defaults));
        if let Some(path) = file {
            // Figment takes a missing file for an empty one.
            std::fs::metadata(path).map_err(|source| ConfigError::File { path: path.to_owned(), source })?;
            figment = figment.merge(Toml::file_exact(path));
        }
        let environment = Env::prefixed(ENVIRONMENT_PREFIX).split("__");
        figment = figment
            .merge(Env::raw().only(&[INFLUXDB_AUTH_ENABLED]).map(|_| "auth.enabled".into()).split("."))
            .merge(environment.clone());
        for (key, text) in environment.iter().filter(|(key, text)| is_text(key.as_str(), text)) {
            figment = figment.merge(Serialized::default(key.as_str(), text));
        }
        let config: Self = figment.extract().map_err(|error| ConfigError::Invalid(explain(&error)))?;
        config.validate()?;
        Ok(config)
    }

    /// Of a file's text alone.
    fn from_toml(text: &str) -> Result<Self, ConfigError> {
        let figment = Figment::from(Serialized::defaults(Self::default())).merge(Toml::string(text));
        let config: Self = figment.extract().map_err(|error| ConfigError::Invalid(explain(&error)))?;
        config.validate()?;
        Ok(config)
    }

    fn validate(&self) -> Result<(), ConfigError> {
        let refuse = |text: String| Err(ConfigError::Invalid(text));
        if !["always", "interval", "off"].contains(&self.wal.sync.as_str()) {
            return refuse(format!("wal.sync is {:?}: it must be always, interval or off", self.wal.sync));
        }
        let access_log = &self.http.access_log;
        if !["auto", "combined", "json", "off"].contains(&access_log.as_str()) {
            return refuse(format!(
                "http.access_log is {access_log:?}: it must be auto, combined, json or off"
            ));
        }
        if !["text", "json"].contains(&self.logging.format.as_str()) {
            return refuse(format!("logging.format is {:?}: it must be text or json", self.logging.format));
        }
        if !(0.0..=1.0).contains(&self.tracing.sample_ratio) {
            return refuse("tracing.sample_ratio must be from 0 to 1".to_owned());
        }
        if !["with-auth", "always", "never"].contains(&self.sql.enabled.as_str()) {
            let text = "it must be with-auth, always or never";
            return refuse(format!("sql.enabled is {:?}: {text}", self.sql.enabled));
        }
        self.validate_auth()?;
        let body_bytes_max = self.http.max_body_bytes.max(self.http.max_inflated_body_bytes);
        self.cluster.validate(self.wal.max_bytes, body_bytes_max)?;
        self.validate_listeners()?;
        self.validate_engine()?;
        if self.continuous_queries.run_interval_secs == 0 || self.continuous_queries.workers == 0 {
            let keys = "continuous_queries.run_interval_secs and continuous_queries.workers";
            return refuse(format!("{keys} must be greater than 0"));
        }
        if self.retention.check_interval_secs == 0 {
            return refuse("retention.check_interval_secs must be greater than 0".to_owned());
        }
        if self.subscriber.max_backlog_bytes > self.flush.wal_size_bytes / 2 {
            // Beyond that size the log has everything flushed early.
            return refuse(
                "subscriber.max_backlog_bytes must be at most half of flush.wal_size_bytes".to_owned(),
            );
        }
        if self.flush.max_rows == 0 || self.flush.memory_limit_bytes == 0 || self.flush.interval_secs == 0 {
            let keys = "flush.max_rows, flush.memory_limit_bytes and flush.interval_secs";
            return refuse(format!("{keys} must be greater than 0"));
        }
        Ok(())
    }

    fn validate_auth(&self) -> Result<(), ConfigError> {
        let auth = &self.auth;
        for (key, secret) in
            [("auth.admin_password", &auth.admin_password), ("auth.shared_secret", &auth.shared_secret)]
        {
            if secret.is_redacted() {
                let text = format!(
                    "{key} is what a printed configuration shows in place of it: put the secret there"
                );
                return Err(ConfigError::Invalid(text));
            }
        }
        if auth.admin_user.is_empty() != auth.admin_password.is_empty() {
            let text = "auth.admin_user and auth.admin_password go together: set both or none";
            return Err(ConfigError::Invalid(text.to_owned()));
        }
        Ok(())
    }

    fn validate_engine(&self) -> Result<(), ConfigError> {
        let refuse = |text: String| Err(ConfigError::Invalid(text));
        if !["chdb", "clickhouse"].contains(&self.engine.kind.as_str()) {
            return refuse(format!("engine.kind is {:?}: it must be chdb or clickhouse", self.engine.kind));
        }
        let clickhouse = &self.clickhouse;
        if clickhouse.password.is_redacted() {
            let text = "clickhouse.password is what a printed configuration shows in place of it: put the secret there";
            return refuse(text.to_owned());
        }
        for url in &clickhouse.urls {
            let address = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
            if !address.is_some_and(|address| !address.is_empty() && !address.contains(['@', '?', '#'])) {
                return refuse(format!(
                    "clickhouse.urls has {url:?}: each must be http://host:8123 or https://host:8443, without a user"
                ));
            }
        }
        let quorum = &clickhouse.insert_quorum;
        // To ClickHouse, 1 means that there is no quorum: a query could ask a server that has not got the rows yet.
        if quorum != "auto" && !quorum.parse::<u32>().is_ok_and(|servers| servers > 1) {
            return refuse(format!(
                "clickhouse.insert_quorum is {quorum:?}: it must be auto or a number from 2"
            ));
        }
        if clickhouse.database.is_empty()
            || clickhouse.request_timeout_secs == 0
            || clickhouse.connect_timeout_ms == 0
        {
            let keys =
                "clickhouse.database, clickhouse.request_timeout_secs and clickhouse.connect_timeout_ms";
            return refuse(format!("{keys} must not be empty or 0"));
        }
        if !self.engine.is_clickhouse() {
            return Ok(());
        }
        if self.cluster.enabled {
            return refuse(
                "cluster.enabled and engine.kind = \"clickhouse\" do not go together yet: ClickHouse keeps the points of one server"
                    .to_owned(),
            );
        }
        match (clickhouse.urls.len(), clickhouse.cluster.is_empty()) {
            (0, _) => refuse("clickhouse.urls is empty: name the HTTP interface of each server".to_owned()),
            (2.., true) => refuse(
                "clickhouse.urls names several servers: set clickhouse.cluster to their name in remote_servers"
                    .to_owned(),
            ),
            (_, true) if clickhouse.replicated => {
                refuse("clickhouse.replicated needs clickhouse.cluster".to_owned())
            }
            _ => Ok(()),
        }
    }

    fn validate_listeners(&self) -> Result<(), ConfigError> {
        let refuse = |text: String| Err(ConfigError::Invalid(text));
        let (tls, permissions) = (&self.tls, &self.http.unix_socket_permissions);
        if tls.certificate.is_empty() && !(tls.key.is_empty() && tls.client_ca.is_empty()) {
            return refuse("tls.key and tls.client_ca are of no use without tls.certificate".to_owned());
        }
        if !["tls1.2", "tls1.3"].contains(&tls.min_version.as_str()) {
            return refuse(format!("tls.min_version is {:?}: it must be tls1.2 or tls1.3", tls.min_version));
        }
        if tls.reload_interval_secs == 0 {
            return refuse("tls.reload_interval_secs must be greater than 0".to_owned());
        }
        let graphite = &self.graphite;
        if !["tcp", "udp"].contains(&graphite.protocol.as_str()) {
            return refuse(format!("graphite.protocol is {:?}: it must be tcp or udp", graphite.protocol));
        }
        if let Err(error) = graphite.parser() {
            return refuse(format!("graphite.templates and graphite.tags: {error}"));
        }
        if graphite.max_connections == 0 || graphite.batch_size == 0 {
            return refuse(
                "graphite.max_connections and graphite.batch_size must be greater than 0".to_owned(),
            );
        }
        if self.opentsdb.max_connections == 0 || self.opentsdb.batch_size == 0 {
            return refuse(
                "opentsdb.max_connections and opentsdb.batch_size must be greater than 0".to_owned(),
            );
        }
        if self.monitor.store_interval_secs == 0 || self.monitor.store_database.is_empty() {
            let keys = "monitor.store_interval_secs and monitor.store_database";
            return refuse(format!("{keys} must not be 0 or empty"));
        }
        if !u32::from_str_radix(permissions, 8).is_ok_and(|mode| mode <= 0o777) {
            let key = "http.unix_socket_permissions";
            return refuse(format!("{key} is {permissions:?}: it must be octal, as 0660"));
        }
        Ok(())
    }

    /// Number of this node in log records.
    pub fn node_id(&self) -> u64 {
        if self.cluster.enabled { self.cluster.node_id } else { self.server.node_id }
    }

    /// Raft's log.
    pub fn raft_dir(&self) -> PathBuf {
        self.dir("", "raft")
    }

    pub fn wal_dir(&self) -> PathBuf {
        self.dir(&self.storage.wal_dir, "wal")
    }

    pub fn meta_dir(&self) -> PathBuf {
        self.dir(&self.storage.meta_dir, "meta")
    }

    pub fn engine_dir(&self) -> PathBuf {
        self.dir(&self.chdb.session_data_path, "chdb")
    }

    /// Within the engine's folder: snapshots are links to its files.
    pub fn snapshots_dir(&self) -> PathBuf {
        self.engine_dir().join("snapshots")
    }

    fn dir(&self, own: &str, name: &str) -> PathBuf {
        if own.is_empty() { Path::new(&self.storage.data_dir).join(name) } else { PathBuf::from(own) }
    }
}

/// Whether a variable that looks like a number or a truth value sets a text: `0660` is one, and so may be a password.
fn is_text(key: &str, value: &str) -> bool {
    let Some((section, key)) = key.split_once('.') else { return false };
    let defaults = toml::Value::try_from(Config::default()).ok();
    let default = defaults.as_ref().and_then(|all| all.get(section)?.get(key));
    let looks_like_text = matches!(value.parse(), Ok(figment::value::Value::String(..)));
    default.is_some_and(toml::Value::is_str) && !looks_like_text
}

/// What is wrong, where it was said, and how to find out what is right.
fn explain(error: &figment::Error) -> String {
    let lines: Vec<String> = error
        .clone()
        .into_iter()
        .map(|e| {
            let place = e.metadata.as_ref().map_or_else(String::new, |m| format!(" in {}", m.name));
            let path = if e.path.is_empty() { String::new() } else { format!("{}: ", e.path.join(".")) };
            format!("{path}{}{place}", e.kind)
        })
        .collect();
    format!("{} (`hyperbytedb config` lists all keys)", lines.join("; "))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn load(toml: &str) -> Result<Config, ConfigError> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(toml.as_bytes()).unwrap();
        Config::load(Some(file.path()))
    }

    #[test]
    fn the_printed_configuration_is_a_configuration() {
        let config = Config::default();
        assert_eq!(load(&print_toml(&config)).unwrap(), config);
    }

    #[test]
    fn unknown_keys_and_wrong_types_are_errors_that_name_the_key() {
        for (toml, expected) in [
            ("[server]\nprot = 1", "prot"),
            ("[nonsense]\na = 1", "nonsense"),
            ("[server]\nport = \"x\"", "server.port"),
            ("[wal]\nsync = \"sometimes\"", "wal.sync"),
            ("[logging]\nformat = \"xml\"", "logging.format"),
            ("[http]\naccess_log = \"xml\"", "http.access_log"),
            ("[sql]\nenabled = \"yes\"", "sql.enabled"),
            ("[auth]\nadmin_user = \"x\"", "auth.admin_password"),
            ("[cluster]\nenabled = true\nnode_id = 0", "cluster.node_id"),
            ("[cluster]\nenabled = true\nwrite_consistency = \"most\"", "cluster.write_consistency"),
            ("[cluster]\nenabled = true\nbind_address = \"0.0.0.0:8088\"", "cluster.secret"),
            (
                "[cluster]\nenabled = true\nsecret = \"s\"\nbind_address = \"0.0.0.0:8088\"",
                "set cluster.advertise_address",
            ),
            (
                "[cluster]\nenabled = true\nsecret = \"s\"\nadvertise_address = \"[::]:8088\"",
                "set cluster.advertise_address",
            ),
            ("[cluster]\nenabled = true\nprotocol = 3", "cluster.protocol"),
            ("[cluster]\nenabled = true\ntls_ca = \"x\"", "cluster.tls_certificate"),
            ("[engine]\nkind = \"x\"", "engine.kind"),
            ("[engine]\nkind = \"clickhouse\"\n[clickhouse]\nurls = []", "clickhouse.urls"),
            (
                "[engine]\nkind = \"clickhouse\"\n[clickhouse]\nurls = [\"http://a\", \"http://b\"]",
                "clickhouse.cluster",
            ),
            ("[engine]\nkind = \"clickhouse\"\n[clickhouse]\nreplicated = true", "clickhouse.replicated"),
            ("[engine]\nkind = \"clickhouse\"\n[cluster]\nenabled = true", "cluster.enabled"),
            ("[clickhouse]\nurls = [\"http://u:p@h:8123\"]", "without a user"),
            ("[clickhouse]\nurls = [\"h:8123\"]", "clickhouse.urls"),
            ("[clickhouse]\ninsert_quorum = \"most\"", "clickhouse.insert_quorum"),
            ("[clickhouse]\ninsert_quorum = \"1\"", "clickhouse.insert_quorum"),
            ("[clickhouse]\npassword = \"[REDACTED]\"", "clickhouse.password"),
            ("[tls]\nkey = \"x\"", "tls.certificate"),
            ("[tls]\nmin_version = \"tls1.1\"", "tls.min_version"),
            ("[tls]\nreload_interval_secs = 0", "tls.reload_interval_secs"),
            ("[http]\nunix_socket_permissions = \"rw\"", "http.unix_socket_permissions"),
            ("[auth]\nshared_secret = \"[REDACTED]\"", "auth.shared_secret"),
        ] {
            let error = load(toml).unwrap_err().to_string();
            assert!(error.contains(expected), "{toml}: {error}");
        }
    }

    #[test]
    fn secrets_are_not_printed() {
        let config = load("[auth]\nadmin_user = \"x\"\nadmin_password = \"s3cret\"").unwrap();
        assert_eq!(config.auth.admin_password.reveal(), "s3cret");
        assert!(!print_toml(&config).contains("s3cret") && !format!("{config:?}").contains("s3cret"));
    }

    #[test]
    fn a_missing_file_is_an_error() {
        assert!(matches!(
            Config::load(Some(Path::new("/nonexistent/x.toml"))),
            Err(ConfigError::File { .. })
        ));
    }

    #[test]
    fn folders_follow_the_data_folder() {
        let config = load("[storage]\ndata_dir = \"/d\"\nwal_dir = \"/w\"").unwrap();
        assert_eq!(config.wal_dir(), Path::new("/w"));
        assert_eq!(config.meta_dir(), Path::new("/d/meta"));
        assert_eq!(config.engine_dir(), Path::new("/d/chdb"));
    }

    #[test]
    fn engine_and_queries_agree_on_the_memory_of_a_query() {
        let engine = hyperbytedb_engine_chdb::ChdbOptions::new("");
        assert_eq!(engine.max_query_memory_bytes, Config::default().query.max_memory_bytes);
    }

    #[test]
    fn the_keys_that_errors_name_exist() {
        let settings = toml::Value::try_from(Config::default()).unwrap();
        for key in hyperbytedb_domain::settings::ALL {
            let (section, name) = key.split_once('.').unwrap();
            assert!(settings[section].get(name).is_some(), "{key}");
        }
    }

    #[test]
    fn the_reference_is_current() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/configuration.md");
        let written = std::fs::read_to_string(path).unwrap_or_default();
        assert_eq!(written, print_markdown(&Config::default()), "run `make docs`");
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/limits.md");
        let written = std::fs::read_to_string(path).unwrap_or_default();
        assert_eq!(written, print_limits(&Config::default()), "run `make docs`");
    }
}
