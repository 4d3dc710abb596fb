//! How a section of settings is declared, once: where a crate has options of its own, their defaults are the settings'. And the sections of
//! what a server does beside its requests; the others have files of their own.

use hyperbytedb_application::cluster::replication::ReplicationOptions;
use hyperbytedb_application::continuous::ContinuousOptions;
use hyperbytedb_application::statement_summary::StatementSummaryOptions;
use hyperbytedb_application::subscriptions::SubscriberOptions;
use hyperbytedb_application::windows::WindowOptions;
use hyperbytedb_cluster::PROTOCOL;
use serde::{Deserialize, Serialize};

use super::Secret;

/// A key of a section, for the printed configuration.
pub struct KeyDoc {
    pub key: &'static str,
    pub text: &'static str,
}

/// Declares a section: a struct with defaults, and the texts of its keys.
macro_rules! section {
    ($(#[doc = $about:literal])* $name:ident { $($(#[doc = $text:literal])+ $key:ident: $type:ty = $default:expr,)* }) => {
        $(#[doc = $about])*
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        #[serde(deny_unknown_fields, default)]
        pub struct $name {
            $($(#[doc = $text])+ pub $key: $type,)*
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $($key: $default,)* }
            }
        }

        impl $name {
            pub const ABOUT: &'static str = concat!($($about),*);
            pub const KEYS: &'static [KeyDoc] =
                &[$(KeyDoc { key: stringify!($key), text: concat!($($text),+) }),*];
        }
    };
}

pub(super) use section;

fn replication() -> ReplicationOptions {
    ReplicationOptions::default()
}

section! {
    /// A cluster of nodes that each have all the data (docs/cluster.md).
    ClusterConfig {
        /// Whether this server is a node of a cluster.
        enabled: bool = false,
        /// Number of this node, from 1; never given to another node, also not when this one is gone.
        node_id: u64 = 1,
        /// Address and port to listen on for the other nodes.
        bind_address: String = "127.0.0.1:8088".to_owned(),
        /// Address and port at which the other nodes reach this one; empty: `bind_address`.
        advertise_address: String = String::new(),
        /// Address and port at which clients reach this node; empty: those of `server`.
        advertise_http_address: String = String::new(),
        /// Addresses of members, for a node that joins with an empty data folder: any of them will do. Empty: this node founds a cluster.
        join: Vec<String> = Vec::new(),
        /// What all nodes know and nobody else: requests between nodes are signed with it. May be empty only where `bind_address` is on this machine alone.
        secret: Secret = Secret::default(),
        /// PEM file of this node's certificate for the other nodes, with all names and addresses that they use for it, followed by those that it is signed with; empty: no TLS between nodes.
        tls_certificate: String = String::new(),
        /// PEM file of its private key; empty: it is in the certificate's file.
        tls_key: String = String::new(),
        /// PEM file of those who sign the certificates of nodes: a node without such a certificate is not heard.
        tls_ca: String = String::new(),
        /// How many nodes must have a write before it is answered, where the write does not say: `any` and `one` (this one), `quorum`, or `all`.
        write_consistency: String = "one".to_owned(),
        /// Seconds that a write waits for other nodes.
        write_timeout_secs: u64 = replication().write_timeout.as_secs(),
        /// Seconds that a change of the schema waits for a majority.
        propose_timeout_secs: u64 = 10,
        /// Bytes of log that are kept for a node that is away; past that it compares what is stored instead.
        hints_max_bytes: u64 = replication().hints_max_bytes,
        /// Seconds that records are kept for a node that is away.
        hints_max_age_secs: u64 = replication().hints_max_age.as_secs(),
        /// Bytes of records in one request to another node, about.
        batch_bytes: usize = replication().batch_bytes,
        /// Seconds: `/health/ready` says no while this node lacks what another one took longer ago, and when it has not heard from a majority of the nodes for longer; 0: it does not look.
        max_staleness_secs: u64 = 30,
        /// Seconds between two times that a node compares what it has stored with the others, and takes what it lacks; 0: only when asked, and when it has missed records.
        repair_interval_secs: u64 = 24 * 3600,
        /// Rows remembered, about 100 bytes each, until all nodes are past them: of conflicting values beyond it the last to come stays.
        conflict_rows: usize = replication().conflict_rows,
        /// Newest form of messages between nodes that this node uses; the one before only where a cluster must go back to a version that knows no other.
        protocol: u32 = PROTOCOL,
    }
}

section! {
    /// `hyperbytedb proxy`: one address in front of a cluster's nodes (docs/cluster.md). With a certificate under `tls` it speaks HTTPS.
    ProxyConfig {
        /// Address and port to listen on.
        bind_address: String = "127.0.0.1:8087".to_owned(),
        /// Base URLs of the nodes, as `http://10.0.0.1:8086`.
        nodes: Vec<String> = Vec::new(),
        /// PEM file of those who signed the nodes' certificates; empty: whom the system trusts.
        node_ca: String = String::new(),
        /// Milliseconds between two questions whether a node is ready.
        health_interval_ms: u64 = 500,
        /// Milliseconds that a node may take to say so, or to take a connection.
        health_timeout_ms: u64 = 1000,
        /// Seconds for which a request is given to other nodes before it fails.
        retry_timeout_secs: u64 = 10,
        /// Bytes of a request's body up to which it can be given to a second node; more goes to one node only.
        max_held_body_bytes: usize = 8 << 20,
        /// Bytes of all bodies that are kept at one time; further requests wait.
        max_held_bytes: usize = 256 << 20,
    }
}

section! {
    /// Continuous queries.
    ContinuousQueriesConfig {
        /// Whether they run.
        enabled: bool = true,
        /// Seconds between two looks at which are due.
        run_interval_secs: u64 = ContinuousOptions::default().run_interval.as_secs(),
        /// Queries that run at one time; others wait, and then cover what they missed.
        workers: usize = ContinuousOptions::default().workers,
        /// Whether each run is logged.
        log: bool = ContinuousOptions::default().log,
    }
}

section! {
    /// Materialized views, and windows of continuous queries that are computed again.
    ViewsConfig {
        /// Whether they are kept. Views that were not are computed anew when they are again.
        enabled: bool = true,
        /// Milliseconds between two looks at what was written.
        interval_ms: u64 = WindowOptions::default().interval.as_millis() as u64,
        /// Runs at one time.
        workers: usize = WindowOptions::default().workers,
        /// Windows of one run.
        max_windows_per_run: usize = WindowOptions::default().max_windows_per_run,
        /// Points that one run may compute: one with more is divided, down to one window.
        max_points_per_run: usize = WindowOptions::default().max_points_per_run,
        /// Bytes of log that views may hold back: behind more of it they are computed anew.
        max_log_bytes: u64 = WindowOptions::default().max_log_bytes,
    }
}

section! {
    /// Subscriptions. What a destination is behind holds back the log; what it holds back beyond the bounds is left out.
    SubscriberConfig {
        /// Whether points are sent.
        enabled: bool = SubscriberOptions::default().enabled,
        /// Bytes of log that a destination may be behind; at most half of flush.wal_size_bytes.
        max_backlog_bytes: u64 = SubscriberOptions::default().max_backlog_bytes,
        /// Seconds after which points that a destination has not got are left out.
        max_backlog_age_secs: u64 = SubscriberOptions::default().max_backlog_age.as_secs(),
        /// Seconds that a destination may take for one request.
        timeout_secs: u64 = SubscriberOptions::default().timeout.as_secs(),
        /// Destinations at one time.
        max_destinations: usize = SubscriberOptions::default().max_destinations,
    }
}

section! {
    /// What statements have cost, by statement without its literals: `GET /api/v1/statements`.
    StatementSummaryConfig {
        /// Whether it is kept.
        enabled: bool = StatementSummaryOptions::default().enabled,
        /// Statements that are kept, some kilobytes each; of more, those that ran least often are forgotten.
        max_entries: usize = StatementSummaryOptions::default().max_entries,
    }
}

section! {
    /// The server's own statistics as points, which InfluxDB's dashboards read (docs/observability.md).
    MonitorConfig {
        /// Whether what SHOW STATS shows is stored.
        store_enabled: bool = false,
        /// Where; made if need be, with the policy `monitor` of 7 days.
        store_database: String = "_internal".to_owned(),
        /// Seconds between two times.
        store_interval_secs: u64 = 10,
    }
}

section! {
    /// Logs, on standard error.
    LoggingConfig {
        /// Least level: error, warn, info, debug or trace; also a filter such as `info,hyperbytedb_http_api=debug`. The variable `RUST_LOG` goes before it.
        level: String = "info".to_owned(),
        /// text or json.
        format: String = "text".to_owned(),
    }
}

section! {
    /// Traces of requests, sent by OTLP over HTTP (docs/observability.md).
    TracingConfig {
        /// Where spans go, as `http://localhost:4318/v1/traces`; empty: nowhere.
        otlp_endpoint: String = String::new(),
        /// Share of requests that are traced, from 0 to 1.
        sample_ratio: f64 = 1.0,
    }
}
