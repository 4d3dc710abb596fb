//! The settings of listeners whose senders nobody answers.

use hyperbytedb_graphite::{GraphiteParser, TemplateError};
use serde::{Deserialize, Serialize};

use super::sections::{KeyDoc, section};

section! {
    /// Line protocol over UDP. Senders are not asked who they are, and nobody learns of what is refused but the log.
    UdpConfig {
        /// Whether it is taken.
        enabled: bool = false,
        /// Host and port to listen on.
        bind_address: String = "127.0.0.1:8089".to_owned(),
        /// Where points go; made at the start if need be.
        database: String = "udp".to_owned(),
        /// Empty: the database's default.
        retention_policy: String = String::new(),
        /// Unit of timestamps: n, u, ms, s, m or h; empty: nanoseconds.
        precision: String = String::new(),
        /// Lines that are written at once.
        batch_size: usize = 5000,
        /// Milliseconds that a line waits for others at most.
        batch_timeout_ms: u64 = 1000,
    }
}

section! {
    /// Graphite's plaintext protocol (docs/graphite.md). Senders are not asked who they are, and nobody learns of what is refused but the log.
    GraphiteConfig {
        /// Whether it is taken.
        enabled: bool = false,
        /// Host and port to listen on.
        bind_address: String = "127.0.0.1:2003".to_owned(),
        /// tcp or udp.
        protocol: String = "tcp".to_owned(),
        /// Where points go; made at the start if need be.
        database: String = "graphite".to_owned(),
        /// Empty: the database's default.
        retention_policy: String = String::new(),
        /// Points that are written at once.
        batch_size: usize = 5000,
        /// Milliseconds that a point waits for others at most.
        batch_timeout_ms: u64 = 1000,
        /// What stands between the parts of a name that a template puts together.
        separator: String = ".".to_owned(),
        /// `[filter] template [tag=value,...]`, as InfluxDB's; a name that none is for is a measurement.
        templates: Vec<String> = Vec::new(),
        /// `tag=value` of points that have no such tag.
        tags: Vec<String> = Vec::new(),
        /// TCP connections at one time; more wait in the system's backlog.
        max_connections: usize = 256,
    }
}

section! {
    /// OpenTSDB's telnet lines and `/api/put`, on one port (docs/opentsdb.md). Senders are not asked who they are.
    OpenTsdbConfig {
        /// Whether they are taken.
        enabled: bool = false,
        /// Host and port to listen on.
        bind_address: String = "127.0.0.1:4242".to_owned(),
        /// Where points go; made at the start if need be.
        database: String = "opentsdb".to_owned(),
        /// Empty: the database's default.
        retention_policy: String = String::new(),
        /// Points of telnet that are written at once.
        batch_size: usize = 1000,
        /// Milliseconds that a point of telnet waits for others at most.
        batch_timeout_ms: u64 = 1000,
        /// Connections at one time; more wait in the system's backlog.
        max_connections: usize = 256,
    }
}

impl GraphiteConfig {
    pub fn parser(&self) -> Result<GraphiteParser, TemplateError> {
        GraphiteParser::new(&self.templates, &self.tags, &self.separator)
    }
}
