//! The settings of what clients meet: addresses, TLS, users, limits, queries.

use hyperbytedb_application::auth::AuthOptions;
use hyperbytedb_application::statements::QueryOptions;
use hyperbytedb_http_api::HttpOptions;
use hyperbytedb_storage_rocksdb::StorageOptions;
use serde::{Deserialize, Serialize};

use super::Secret;
use super::sections::{KeyDoc, section};

fn storage() -> StorageOptions {
    StorageOptions::in_directory("")
}

/// Writes, and what is asked for every few seconds.
fn access_log_exclude() -> Vec<String> {
    let paths = [
        "/write",
        "/api/v2/write",
        "/api/v1/prom/write",
        "/ping",
        "/health",
        "/status",
        "/metrics",
        "/debug/vars",
    ];
    paths.map(str::to_owned).into()
}

section! {
    /// Where the server listens.
    ServerConfig {
        /// Address to listen on.
        bind_address: String = "127.0.0.1".to_owned(),
        /// Port to listen on; 0 lets the system choose one, which the start-up line names.
        port: u16 = 8086,
        /// Connections at one time; more wait in the system's backlog.
        max_connections: usize = 4096,
        /// Seconds that running requests get at a stop before they are cut off.
        shutdown_timeout_secs: u64 = 30,
        /// Number of this node in log records; matters once there are several.
        node_id: u64 = 1,
    }
}

section! {
    /// TLS: with a certificate the port speaks HTTPS only. The files are read again when they change, and at SIGHUP; if they cannot be used, those that were read before stay in use.
    TlsConfig {
        /// PEM file of the certificate, followed by those that it is signed with; empty: no TLS.
        certificate: String = String::new(),
        /// PEM file of the private key; empty: it is in the certificate's file.
        key: String = String::new(),
        /// PEM file of those who sign the certificates of clients; empty: clients are asked for none.
        client_ca: String = String::new(),
        /// Whether a client without a certificate is refused, where `client_ca` is set.
        client_required: bool = true,
        /// Least version of TLS: tls1.2 or tls1.3.
        min_version: String = "tls1.2".to_owned(),
        /// Seconds between two looks whether the files have changed.
        reload_interval_secs: u64 = 60,
    }
}

section! {
    /// Queries; 0 = no limit.
    QueryConfig {
        /// Queries at one time.
        max_concurrent: usize = QueryOptions::default().max_concurrent,
        /// Queries at work at one time of those that have worked for `heavy_after_ms`; the others of them wait, so that short queries find room.
        max_heavy: usize = 2,
        /// Milliseconds of work after which a query is heavy.
        heavy_after_ms: u64 = 100,
        /// Seconds that one request's statements may take together.
        timeout_secs: u64 = QueryOptions::default().timeout.map_or(0, |timeout| timeout.as_secs()),
        /// Milliseconds after which a query is logged as slow; 0: never (InfluxDB's log-queries-after).
        slow_threshold_ms: u64 = 0,
        /// Bytes of engine memory for one scan.
        max_memory_bytes: u64 = QueryOptions::default().max_memory_bytes,
        /// Rows that one scan may read.
        max_rows_read: u64 = QueryOptions::default().max_rows_read,
        /// Windows of one GROUP BY time (InfluxDB's max-select-buckets).
        max_select_buckets: usize = QueryOptions::default().max_select_buckets,
        /// Points that one SELECT may read (InfluxDB's max-select-point).
        max_select_points: usize = QueryOptions::default().max_select_points,
        /// Series that one SELECT may read of a measurement (InfluxDB's max-select-series).
        max_select_series: u64 = QueryOptions::default().max_select_series,
        /// Points, and groups of points, that the operators of one SELECT may hold at one time: to put them in order, or for
        /// functions that need all values of a window.
        max_buffered_points: usize = QueryOptions::default().max_buffered_points,
        /// Rows that the engine sorts at one time for a scan of rows: a longer one is read in slices.
        max_sort_rows: u64 = QueryOptions::default().sort_bound.rows,
        /// Bytes of the rows that the engine sorts at one time for a scan of rows.
        max_sort_bytes: u64 = QueryOptions::default().sort_bound.bytes,
    }
}

section! {
    /// ClickHouse's SQL for operators: see `docs/sql.md`. Queries' bounds hold for it too.
    SqlConfig {
        /// Who may send it: `with-auth`, admins where authentication is on and else nobody; `always`, where it is off also everybody; `never`.
        enabled: String = "with-auth".to_owned(),
        /// Statements run at one time.
        max_concurrent: usize = HttpOptions::default().max_concurrent_sql,
        /// Statements that wait for their turn.
        max_queued: usize = HttpOptions::default().max_queued_sql,
        /// Bytes of an answer, which is held in memory.
        max_result_bytes: u64 = HttpOptions::default().max_sql_result_bytes,
    }
}

section! {
    /// Cardinality and rates; 0 = no limit. All limits: `docs/limits.md`.
    LimitsConfig {
        /// Measurements of one database: each is a table of the engine.
        max_measurements_per_database: usize = 10_000,
        /// Series of one database.
        max_series_per_database: u64 = storage().max_series_per_database,
        /// Distinct values of one tag of a measurement.
        max_values_per_tag: u64 = storage().max_values_per_tag,
        /// Requests a second from one address (IPv6: from one network of 64 bits). Health and metrics do not count.
        requests_per_second_by_address: u32 = HttpOptions::default().requests_per_second_by_address,
        /// Requests a second of one user, where authentication is on.
        requests_per_second_by_user: u32 = HttpOptions::default().requests_per_second_by_user,
        /// Seconds' worth of requests that may come at once.
        request_burst_secs: u32 = HttpOptions::default().request_burst_secs,
    }
}

section! {
    /// The HTTP interface.
    HttpConfig {
        /// Path of a unix socket to listen on as well, without TLS; empty: none.
        unix_socket: String = String::new(),
        /// Permissions of the unix socket, octal.
        unix_socket_permissions: String = "0660".to_owned(),
        /// The log of requests: `combined` (Apache's format, then request id and microseconds), `json`, `auto` (as `logging.format`) or `off`.
        access_log: String = "auto".to_owned(),
        /// File that the log of requests is appended to; empty: standard error.
        access_log_path: String = String::new(),
        /// Beginnings of paths whose requests are not logged.
        access_log_exclude: Vec<String> = access_log_exclude(),
        /// Bytes of a request body as sent.
        max_body_bytes: usize = HttpOptions::default().max_body_bytes,
        /// Bytes of a gzip'ed request body once inflated.
        max_inflated_body_bytes: usize = HttpOptions::default().max_inflated_body_bytes,
        /// Bytes of all request bodies held at one time.
        max_inflight_body_bytes: usize = HttpOptions::default().max_inflight_body_bytes,
        /// Seconds that a client may take to send a body.
        body_timeout_secs: u64 = HttpOptions::default().body_timeout.as_secs(),
        /// Seconds that a client may take nothing of what is sent to it before its connection is closed.
        send_timeout_secs: u64 = 300,
        /// Writes worked on at one time.
        max_concurrent_writes: usize = HttpOptions::default().max_concurrent_writes,
        /// Writes that wait for their turn.
        max_queued_writes: usize = HttpOptions::default().max_queued_writes,
        /// Queries run at one time.
        max_concurrent_queries: usize = HttpOptions::default().max_concurrent_queries,
        /// Queries that wait for their turn.
        max_queued_queries: usize = HttpOptions::default().max_queued_queries,
        /// Seconds that a request may wait for its turn.
        queue_timeout_secs: u64 = HttpOptions::default().queue_timeout.as_secs(),
        /// Seconds that a request may wait for the end of the replay at start.
        replay_timeout_secs: u64 = HttpOptions::default().replay_timeout.as_secs(),
        /// Greatest chunk_size granted, in rows.
        max_chunk_rows: usize = HttpOptions::default().max_chunk_rows,
        /// Rows of an answer that is not chunked, marked as partial when cut; 0 = all.
        max_row_limit: usize = HttpOptions::default().max_row_limit,
        /// Bytes of an answer that cannot be streamed: MessagePack that is not chunked, Prometheus remote read.
        max_buffered_answer_bytes: usize = HttpOptions::default().max_buffered_answer_bytes,
    }
}

impl ServerConfig {
    /// Host and port that are listened on.
    pub fn address(&self) -> String {
        format!("{}:{}", self.bind_address, self.port)
    }
}

section! {
    /// Users, passwords and privileges: see `docs/authentication.md`.
    AuthConfig {
        /// Whether requests must say who sends them, and may do only what that user may. Also `INFLUXDB_HTTP_AUTH_ENABLED`.
        enabled: bool = false,
        /// At each start this user is made, if need be, an admin with the password below; empty: none. Also the way back in when no admin is left.
        admin_user: String = String::new(),
        /// The password of `admin_user`.
        admin_password: Secret = Secret::default(),
        /// What bearer tokens (JWT, HS256 to HS512) are signed with; empty: they are refused.
        shared_secret: Secret = Secret::default(),
        /// Whether `/ping` asks who is there.
        ping_auth_enabled: bool = HttpOptions::default().ping_auth,
        /// Whether `/metrics` asks who is there.
        metrics_auth_enabled: bool = HttpOptions::default().metrics_auth,
        /// Seconds after its last use that a verified password is forgotten and hashed anew.
        cache_ttl_secs: u64 = AuthOptions::default().cache_ttl.as_secs(),
        /// Verified passwords that are remembered, as digests.
        cache_entries: usize = AuthOptions::default().cache_entries,
        /// Passwords hashed at one time; each takes a core and 19 MiB.
        hashing_threads: usize = HttpOptions::default().hashing_threads,
        /// Requests that wait for a password to be hashed, an eighth of them under one name.
        max_queued_logins: usize = HttpOptions::default().max_queued_logins,
    }
}
