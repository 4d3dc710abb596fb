//! The bounds of the HTTP interface.

use std::time::Duration;

/// Each bound is named after its setting in the `http` section of the configuration.
#[derive(Debug, Clone)]
pub struct HttpOptions {
    /// Bytes of a request body as sent. Default 25,000,000, as in InfluxDB.
    pub max_body_bytes: usize,
    /// Bytes of a gzip'ed request body once inflated. Default 100,000,000.
    pub max_inflated_body_bytes: usize,
    /// Bytes of all request bodies held at one time. Default 512 MiB.
    pub max_inflight_body_bytes: usize,
    /// Time that a client may take to send a body. Default 2 minutes.
    pub body_timeout: Duration,
    /// Passwords hashed at one time. Default 1.
    pub hashing_threads: usize,
    /// Requests that wait for a password to be hashed. Default 256.
    pub max_queued_logins: usize,
    /// Whether `/ping` asks who is there. Default no.
    pub ping_auth: bool,
    /// Whether `/metrics` asks who is there. Default no.
    pub metrics_auth: bool,
    /// Requests a second from one address; 0 = any. Default 0.
    pub requests_per_second_by_address: u32,
    /// Requests a second of one user; 0 = any. Default 0.
    pub requests_per_second_by_user: u32,
    /// Seconds' worth of requests that may come at once. Default 5.
    pub request_burst_secs: u32,
    /// Writes worked on at one time. Default 64.
    pub max_concurrent_writes: usize,
    /// Writes that wait for their turn. Default 256.
    pub max_queued_writes: usize,
    /// Queries run at one time. Default 64.
    pub max_concurrent_queries: usize,
    /// Queries that wait for their turn. Default 256.
    pub max_queued_queries: usize,
    /// SQL statements run at one time. Default 2.
    pub max_concurrent_sql: usize,
    /// SQL statements that wait for their turn. Default 16.
    pub max_queued_sql: usize,
    /// Bytes of the answer to an SQL statement. Default 64 MiB.
    pub max_sql_result_bytes: u64,
    /// Time that a request may wait for its turn. Default 30 seconds.
    pub queue_timeout: Duration,
    /// Time that a request may wait for the end of the replay at start. Default 10 seconds.
    pub replay_timeout: Duration,
    /// Greatest `chunk_size` granted. Default 100,000 rows.
    pub max_chunk_rows: usize,
    /// Rows of an answer that is not chunked, marked as partial when cut; 0 = all. Default 0, as in InfluxDB.
    pub max_row_limit: usize,
    /// Bytes of an answer that cannot be streamed: MessagePack that is not chunked, Prometheus remote read. Default 64 MiB.
    pub max_buffered_answer_bytes: usize,
}

impl Default for HttpOptions {
    fn default() -> Self {
        Self {
            max_body_bytes: 25_000_000,
            max_inflated_body_bytes: 100_000_000,
            max_inflight_body_bytes: 512 << 20,
            body_timeout: Duration::from_secs(120),
            hashing_threads: 1,
            max_queued_logins: 256,
            ping_auth: false,
            metrics_auth: false,
            requests_per_second_by_address: 0,
            requests_per_second_by_user: 0,
            request_burst_secs: 5,
            max_concurrent_writes: 64,
            max_queued_writes: 256,
            max_concurrent_queries: 64,
            max_queued_queries: 256,
            max_concurrent_sql: 2,
            max_queued_sql: 16,
            max_sql_result_bytes: 64 << 20,
            queue_timeout: Duration::from_secs(30),
            replay_timeout: Duration::from_secs(10),
            max_chunk_rows: 100_000,
            max_row_limit: 0,
            max_buffered_answer_bytes: 64 << 20,
        }
    }
}
