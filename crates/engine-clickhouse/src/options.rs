//! Which servers, and how they are used.

use std::path::PathBuf;
use std::time::Duration;

/// Names in error texts are those of the configuration's `clickhouse` section.
#[derive(Clone)]
pub struct ClickHouseOptions {
    /// HTTP interfaces, one a server.
    pub urls: Vec<String>,
    pub user: String,
    pub password: String,
    pub database: String,
    /// The servers' name of their cluster; empty: one server.
    pub cluster: String,
    /// Whether the servers of a shard keep each other's rows (Keeper); else each gets them from here.
    pub replicated: bool,
    /// How many servers of a shard must have an insert, where they are replicated: a number, or `auto` for most of them.
    pub insert_quorum: String,
    /// Certificates of authorities that sign the servers' own, beside the system's: a PEM file.
    pub ca_certificate: Option<PathBuf>,
    pub connect_timeout: Duration,
    /// Of statements that nobody bounds: inserts, changes of tables.
    pub request_timeout: Duration,
    /// Whether an insert is on disk before it counts as done.
    pub fsync: bool,
    /// Inserts of a table in which a repeated one is recognised.
    pub deduplication_window: u64,
    /// Who the tables belong to.
    pub installation: String,
    /// Whose log the records are of.
    pub origin: u64,
}

impl Default for ClickHouseOptions {
    fn default() -> Self {
        Self {
            urls: vec!["http://127.0.0.1:8123".to_owned()],
            user: "default".to_owned(),
            password: String::new(),
            database: "hyperbyte".to_owned(),
            cluster: String::new(),
            replicated: false,
            insert_quorum: "auto".to_owned(),
            ca_certificate: None,
            connect_timeout: Duration::from_secs(2),
            request_timeout: Duration::from_secs(60),
            fsync: true,
            deduplication_window: 1_000,
            installation: String::new(),
            origin: 0,
        }
    }
}
