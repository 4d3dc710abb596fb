//! The configuration: defaults, then a TOML file, then `HYPERBYTEDB__SECTION__KEY` in the environment. Unknown keys are
//! errors wherever they come from.
//!
//! Each section is declared once (`sections.rs`): its keys, types, defaults and texts. The printed configuration and the
//! reference in `docs/configuration.md` are made from that.

mod print;
mod sections;

use std::path::{Path, PathBuf};

use figment::Figment;
use figment::providers::{Env, Format, Serialized, Toml};
use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use print::{print_markdown, print_toml};
pub use sections::*;

const ENVIRONMENT_PREFIX: &str = "HYPERBYTEDB__";

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
    pub storage: StorageConfig,
    pub chdb: ChdbConfig,
    pub wal: WalConfig,
    pub flush: FlushConfig,
    pub retention: RetentionConfig,
    pub continuous_queries: ContinuousQueriesConfig,
    pub views: ViewsConfig,
    pub write: WriteConfig,
    pub query: QueryConfig,
    pub limits: LimitsConfig,
    pub http: HttpConfig,
    pub logging: LoggingConfig,
}

impl Config {
    /// Reads the file, if one is given, and the environment.
    pub fn load(file: Option<&Path>) -> Result<Self, ConfigError> {
        let mut figment = Figment::from(Serialized::defaults(Self::default()));
        if let Some(path) = file {
            // Figment takes a missing file for an empty one.
            std::fs::metadata(path).map_err(|source| ConfigError::File { path: path.to_owned(), source })?;
            figment = figment.merge(Toml::file_exact(path));
        }
        let config: Self = figment
            .merge(Env::prefixed(ENVIRONMENT_PREFIX).split("__"))
            .extract()
            .map_err(|error| ConfigError::Invalid(explain(&error)))?;
        config.validate()?;
        Ok(config)
    }

    fn validate(&self) -> Result<(), ConfigError> {
        let refuse = |text: String| Err(ConfigError::Invalid(text));
        if !["always", "interval", "off"].contains(&self.wal.sync.as_str()) {
            return refuse(format!("wal.sync is {:?}: it must be always, interval or off", self.wal.sync));
        }
        if !["text", "json"].contains(&self.logging.format.as_str()) {
            return refuse(format!("logging.format is {:?}: it must be text or json", self.logging.format));
        }
        if self.continuous_queries.run_interval_secs == 0 || self.continuous_queries.workers == 0 {
            let keys = "continuous_queries.run_interval_secs and continuous_queries.workers";
            return refuse(format!("{keys} must be greater than 0"));
        }
        if self.retention.check_interval_secs == 0 {
            return refuse("retention.check_interval_secs must be greater than 0".to_owned());
        }
        if self.flush.max_rows == 0 || self.flush.memory_limit_bytes == 0 || self.flush.interval_secs == 0 {
            let keys = "flush.max_rows, flush.memory_limit_bytes and flush.interval_secs";
            return refuse(format!("{keys} must be greater than 0"));
        }
        Ok(())
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

    fn dir(&self, own: &str, name: &str) -> PathBuf {
        if own.is_empty() { Path::new(&self.storage.data_dir).join(name) } else { PathBuf::from(own) }
    }
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
        ] {
            let error = load(toml).unwrap_err().to_string();
            assert!(error.contains(expected), "{toml}: {error}");
        }
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
    }
}
