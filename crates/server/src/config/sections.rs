//! The settings: one declaration a section. Where a crate has options of its own, their defaults are the settings'.

use hyperbytedb_application::auth::AuthOptions;
use hyperbytedb_application::backup::BackupOptions;
use hyperbytedb_application::cluster::replication::ReplicationOptions;
use hyperbytedb_application::continuous::ContinuousOptions;
use hyperbytedb_application::flush::FlushOptions;
use hyperbytedb_application::log::committer::CommitOptions;
use hyperbytedb_application::statement_summary::StatementSummaryOptions;
use hyperbytedb_application::statements::QueryOptions;
use hyperbytedb_application::subscriptions::SubscriberOptions;
use hyperbytedb_application::windows::WindowOptions;
use hyperbytedb_engine_chdb::ChdbOptions;
use hyperbytedb_engine_clickhouse::ClickHouseOptions;
use hyperbytedb_http_api::HttpOptions;
use hyperbytedb_line_protocol::ParseOptions;
use hyperbytedb_storage_rocksdb::StorageOptions;
use serde::{Deserialize, Serialize};

use super::Secret;

fn chdb() -> ChdbOptions {
    ChdbOptions::new("")
}

fn clickhouse() -> ClickHouseOptions {
    ClickHouseOptions::default()
}

fn replication() -> ReplicationOptions {
    ReplicationOptions::default()
}

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
        /// Seconds: `/health/ready` says no while this node lacks what another one took longer ago; 0: it does not look.
        max_staleness_secs: u64 = 30,
        /// Seconds between two times that a node compares what it has stored with the others, and takes what it lacks; 0: only when asked, and when it has missed records.
        repair_interval_secs: u64 = 24 * 3600,
        /// Rows remembered, about 100 bytes each, until all nodes are past them: of conflicting values beyond it the last to come stays.
        conflict_rows: usize = replication().conflict_rows,
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
    /// Where the data lives.
    StorageConfig {
        /// Folder of all data.
        data_dir: String = "./data".to_owned(),
        /// Folder of the write-ahead log; empty: `wal` in the data folder.
        wal_dir: String = String::new(),
        /// Folder of the catalogue and the series index; empty: `meta` in the data folder.
        meta_dir: String = String::new(),
        /// Bytes of log records kept in memory before they are written a second time.
        wal_write_buffer_bytes: usize = storage().wal_write_buffer_bytes,
        /// Bytes of new series kept in memory before they are written out.
        meta_write_buffer_bytes: usize = storage().meta_write_buffer_bytes,
        /// Bytes of series index kept in memory for reading.
        meta_cache_bytes: usize = storage().meta_cache_bytes,
        /// Series known without a look-up on disk, about 60 bytes each.
        series_cache_entries: usize = storage().series_cache_entries,
        /// Free bytes of disk space below which the log warns; 0 = none.
        warn_free_bytes: u64 = FlushOptions::default().disk_space.warn_free_bytes,
        /// Free bytes of disk space below which writes are refused; queries, deletes and drops go on. 0 = none.
        min_free_bytes: u64 = FlushOptions::default().disk_space.min_free_bytes,
        /// Files that the log and the catalogue may each hold open.
        max_open_files: u32 = storage().max_open_files,
    }
}

section! {
    /// Where the points are stored.
    EngineConfig {
        /// `chdb`: in the data folder, by the embedded engine. `clickhouse`: in ClickHouse servers (docs/clickhouse.md). A data folder keeps to one of them.
        kind: String = "chdb".to_owned(),
    }
}

impl EngineConfig {
    pub fn is_clickhouse(&self) -> bool {
        self.kind == "clickhouse"
    }
}

section! {
    /// ClickHouse servers as the engine (docs/clickhouse.md).
    ClickHouseConfig {
        /// HTTP interfaces, one a server: `http://host:8123` or `https://host:8443`.
        urls: Vec<String> = clickhouse().urls,
        /// User, and what he may do: docs/clickhouse.md.
        user: String = clickhouse().user,
        /// Password of the user.
        password: Secret = Secret::default(),
        /// Database of the tables; made where it is not.
        database: String = clickhouse().database,
        /// Name of the servers' cluster, as in their `remote_servers`; empty: one server.
        cluster: String = clickhouse().cluster,
        /// Whether the servers of a shard have a Keeper and keep each other's rows; else each of them gets all rows of its shard from here.
        replicated: bool = clickhouse().replicated,
        /// Where they do: how many servers of a shard must have an insert before it counts, a number or `auto` for most of them.
        insert_quorum: String = clickhouse().insert_quorum,
        /// File of certificates (PEM) of authorities that sign those of the servers, beside the system's.
        ca_certificate: String = String::new(),
        /// Milliseconds to reach a server.
        connect_timeout_ms: u64 = clickhouse().connect_timeout.as_millis() as u64,
        /// Seconds that an insert or a change of a table may take before it is tried again. Queries have `query.timeout_secs`.
        request_timeout_secs: u64 = clickhouse().request_timeout.as_secs(),
        /// Whether an insert must be on the server's disk before it counts. Of tables that are made from then on.
        fsync: bool = clickhouse().fsync,
        /// Inserts of a table among which a repeated one is recognised. Of tables that are made from then on.
        deduplication_window: u64 = clickhouse().deduplication_window,
    }
}

section! {
    /// The embedded ClickHouse engine.
    ChdbConfig {
        /// Folder of the engine's data; empty: `chdb` in the data folder.
        session_data_path: String = String::new(),
        /// Scans at one time; each holds a connection until its answer is read, dropped, or on disk.
        query_connections: usize = chdb().query_connections,
        /// Inserts, deletes, merges and changes of tables at one time.
        write_connections: usize = chdb().write_connections,
        /// Seconds that a statement without a deadline waits for a free connection.
        connection_wait_secs: u64 = chdb().connection_wait.as_secs(),
        /// Bytes on disk of answers that wait for slow clients while their connections were needed elsewhere.
        max_spill_bytes: u64 = chdb().max_spill_bytes,
        /// Bytes of memory of the whole engine: queries, merges, caches.
        max_server_memory_bytes: u64 = chdb().max_server_memory_bytes,
        /// Bytes of memory of all merges and mutations: no further one starts beyond it.
        max_merge_memory_bytes: u64 = chdb().max_merge_memory_bytes,
        /// Bytes of the cache of index marks.
        mark_cache_bytes: u64 = chdb().mark_cache_bytes,
        /// Threads that merge parts.
        merge_threads: u32 = chdb().merge_threads,
        /// Threads of one scan.
        max_query_threads: u32 = chdb().max_query_threads,
    }
}

section! {
    /// The write-ahead log.
    WalConfig {
        /// When a write is on disk: `always` before it is answered; `interval` every `sync_interval_ms`; `off` when the operating system sees fit. A crash of the process loses nothing in any mode; a power failure loses what was not synced.
        sync: String = "always".to_owned(),
        /// Milliseconds between syncs in mode `interval`.
        sync_interval_ms: u64 = 200,
        /// Writes that may wait for the log.
        queue_length: usize = CommitOptions::default().queue_length,
        /// Writes in one log batch at most.
        group_writes_max: usize = CommitOptions::default().group_records_max,
        /// Bytes of line protocol in one log batch, about.
        group_bytes_max: usize = CommitOptions::default().group_bytes_max,
        /// Bytes of the log beyond which writes are refused: the engine does not take its points.
        max_bytes: u64 = FlushOptions::default().wal_size_bytes_max,
    }
}

section! {
    /// Moving points from memory to the engine.
    FlushConfig {
        /// Seconds after which a memtable is flushed.
        interval_secs: u64 = FlushOptions::default().limits.age.as_secs(),
        /// Rows of a memtable that make it due.
        max_rows: usize = FlushOptions::default().limits.rows,
        /// Bytes of a memtable that make it due.
        max_bytes: usize = FlushOptions::default().limits.bytes,
        /// Memtables with fewer rows than this wait `small_interval_secs` instead of `interval_secs`.
        small_rows: usize = FlushOptions::default().limits.small_rows,
        /// Seconds after which a small memtable is flushed.
        small_interval_secs: u64 = FlushOptions::default().limits.small_age.as_secs(),
        /// Bytes of all memtables past which writes get HTTP 503 with Retry-After.
        memory_limit_bytes: usize = FlushOptions::default().memory_limit_bytes,
        /// Seconds between checkpoints: the engine's files are synced and the log is truncated. What is left of the log is replayed after a crash.
        checkpoint_interval_secs: u64 = FlushOptions::default().checkpoint_interval.as_secs(),
        /// Bytes of the log, flushed since the last checkpoint, that bring the next one forward.
        checkpoint_bytes: u64 = FlushOptions::default().checkpoint_bytes,
        /// Bytes of the log beyond which memtables are flushed whatever their size and age.
        wal_size_bytes: u64 = FlushOptions::default().wal_size_bytes,
        /// Seconds that a partition with duplicates must be left alone before it is merged.
        merge_quiet_secs: u64 = FlushOptions::default().merge_quiet.as_secs(),
        /// Seconds that the partition of a shard group whose time is over must be left alone before its parts become one; 0: only by the engine's own rules, minutes later.
        ended_quiet_secs: u64 = FlushOptions::default().ended_quiet.unwrap_or_default().as_secs(),
        /// Series of a table whose last flushed time is remembered, about 50 bytes each.
        overlap_series_max: usize = FlushOptions::default().overlap_series_max,
        /// Bytes of points that stay in memory behind their flush: queries of their range are answered without the engine. The oldest times leave first; 0 = none.
        head_bytes: usize = FlushOptions::default().head_bytes,
        /// Tables that are flushed at one time.
        workers: usize = FlushOptions::default().workers,
        /// Seconds that an orderly stop spends on flushing; what is left then stays in the log.
        stop_timeout_secs: u64 = FlushOptions::default().stop_timeout.as_secs(),
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
    /// Dropping what is past its retention policy.
    RetentionConfig {
        /// Whether shard groups past their policy are dropped. Their points are not shown in any case.
        enabled: bool = true,
        /// Seconds between two checks; a policy that gets another duration is checked at once.
        check_interval_secs: u64 = 1800,
    }
}

section! {
    /// Line protocol.
    WriteConfig {
        /// Points of one request.
        max_points: usize = ParseOptions::DEFAULT_MAX_POINTS,
        /// Bytes of one line.
        max_line_bytes: usize = ParseOptions::DEFAULT_MAX_LINE_BYTES,
        /// Tags on one line.
        max_tags: usize = ParseOptions::DEFAULT_MAX_TAGS,
        /// Fields on one line.
        max_fields: usize = ParseOptions::DEFAULT_MAX_FIELDS,
        /// Empty cells that lines with different fields may cause in the columns of one request.
        max_absent_values: usize = ParseOptions::DEFAULT_MAX_ABSENT_VALUES,
        /// Accept unsigned integers (`1u`), as InfluxDB built with uint support does; without, they are an invalid number.
        uint_support: bool = false,
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
    /// Backups of the running server. A snapshot holds disk space that merges and drops would free.
    BackupConfig {
        /// Snapshots at one time.
        max_snapshots: usize = BackupOptions::in_dir("").max_snapshots,
        /// Seconds after which a snapshot that nobody reads is removed.
        expiry_secs: u64 = BackupOptions::in_dir("").expiry.as_secs(),
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
