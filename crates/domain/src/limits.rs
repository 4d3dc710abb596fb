//! The server's limits in one list: the setting of each, what happens past it, and the text that tells a client.
//!
//! Each time that one stops something it is counted under the name of its setting, so one metric says which limit is too low
//! or who asks for too much. `docs/limits.md` is made from the list.

use hyperbytedb_metrics as metrics;

use crate::settings::*;

/// A limit.
#[derive(Debug, Clone, Copy)]
pub struct Limit {
    pub setting: &'static str,
    /// What happens past it.
    pub effect: &'static str,
    /// What a client reads; empty: nothing.
    pub text: &'static str,
}

/// Limits of one kind.
#[derive(Debug, Clone, Copy)]
pub struct Group {
    pub name: &'static str,
    pub limits: &'static [Limit],
}

/// Notes that the limit of a setting has stopped something.
pub fn exceeded(setting: &'static str) {
    metrics::LIMIT_EXCEEDED.with([setting]).increment(1);
}

/// Shows every limit in the metrics, with what it has stopped so far.
pub fn register() {
    for limit in GROUPS.iter().flat_map(|group| group.limits) {
        metrics::LIMIT_EXCEEDED.with([limit.setting]).increment(0);
    }
}

/// All limits.
pub const GROUPS: &[Group] = &[
    Group { name: "Requests", limits: REQUESTS },
    Group { name: "Writes", limits: WRITES },
    Group { name: "Queries", limits: QUERIES },
    Group { name: "Cardinality", limits: CARDINALITY },
    Group { name: "Disk space", limits: DISK },
];

const REQUESTS: &[Limit] = &[
    Limit {
        setting: SERVER_MAX_CONNECTIONS,
        effect: "further connections wait in the system's backlog",
        text: "",
    },
    Limit {
        setting: GRAPHITE_MAX_CONNECTIONS,
        effect: "further connections wait in the system's backlog",
        text: "",
    },
    Limit {
        setting: OPENTSDB_MAX_CONNECTIONS,
        effect: "further connections wait in the system's backlog",
        text: "",
    },
    Limit {
        setting: LIMITS_REQUESTS_PER_SECOND_BY_ADDRESS,
        effect: "429 with `Retry-After`",
        text: "too many requests from ADDRESS: more than N a second (limits.requests_per_second_by_address)",
    },
    Limit {
        setting: LIMITS_REQUESTS_PER_SECOND_BY_USER,
        effect: "429 with `Retry-After`",
        text: "too many requests of user \"NAME\": more than N a second (limits.requests_per_second_by_user)",
    },
    Limit { setting: HTTP_MAX_BODY_BYTES, effect: "413, nothing is kept", text: "Request Entity Too Large" },
    Limit {
        setting: HTTP_MAX_INFLATED_BODY_BYTES,
        effect: "413, nothing is kept",
        text: "Request Entity Too Large: the body inflates to more than N bytes (http.max_inflated_body_bytes)",
    },
    Limit {
        setting: HTTP_MAX_INFLIGHT_BODY_BYTES,
        effect: "503 with `Retry-After`",
        text: "request bodies already take the N bytes they may (http.max_inflight_body_bytes)",
    },
    Limit {
        setting: HTTP_BODY_TIMEOUT_SECS,
        effect: "408, nothing is kept",
        text: "the request body took too long to arrive (http.body_timeout_secs)",
    },
    Limit { setting: HTTP_SEND_TIMEOUT_SECS, effect: "the connection is closed, its query ends", text: "" },
    Limit {
        setting: AUTH_MAX_QUEUED_LOGINS,
        effect: "503 with `Retry-After`",
        text: "too many logins (auth.hashing_threads, auth.max_queued_logins)",
    },
];

const WRITES: &[Limit] = &[
    Limit {
        setting: HTTP_MAX_QUEUED_WRITES,
        effect: "beyond `http.max_concurrent_writes` at work and these in the queue 503 with `Retry-After`",
        text: "too many writes (http.max_concurrent_writes, http.max_queued_writes)",
    },
    Limit {
        setting: HTTP_QUEUE_TIMEOUT_SECS,
        effect: "503 with `Retry-After`; also for queries",
        text: "timed out waiting for other writes (http.max_concurrent_writes, http.max_queued_writes)",
    },
    Limit {
        setting: WRITE_MAX_POINTS,
        effect: "413, nothing is kept",
        text: "more than N points in one request (write.max_points)",
    },
    Limit {
        setting: WRITE_MAX_LINE_BYTES,
        effect: "400, the other lines are kept",
        text: "unable to parse 'LINE': line of N bytes is longer than M (write.max_line_bytes)",
    },
    Limit {
        setting: WRITE_MAX_TAGS,
        effect: "400, the other lines are kept",
        text: "unable to parse 'LINE': more than N tags (write.max_tags)",
    },
    Limit {
        setting: WRITE_MAX_FIELDS,
        effect: "400, the other lines are kept",
        text: "unable to parse 'LINE': more than N fields (write.max_fields)",
    },
    Limit {
        setting: WRITE_MAX_ABSENT_VALUES,
        effect: "400, the other lines are kept",
        text: "unable to parse 'LINE': too many different fields: over N absent values in one request \
               (write.max_absent_values)",
    },
    Limit {
        setting: FLUSH_MEMORY_LIMIT_BYTES,
        effect: "waits 5 seconds for the flush, then 503 with `Retry-After`",
        text: "points in memory have reached flush.memory_limit_bytes: retry later",
    },
    Limit {
        setting: WAL_MAX_BYTES,
        effect: "waits 5 seconds for the flush, then 503 with `Retry-After`",
        text: "the write-ahead log has reached wal.max_bytes, for the engine does not take its points: retry later",
    },
    Limit {
        setting: WAL_QUEUE_LENGTH,
        effect: "503 with `Retry-After`",
        text: "the queue to the write-ahead log is full (wal.queue_length)",
    },
];

const QUERIES: &[Limit] = &[
    Limit {
        setting: HTTP_MAX_QUEUED_QUERIES,
        effect: "beyond `http.max_concurrent_queries` at work and these in the queue 503 with `Retry-After`",
        text: "too many queries (http.max_concurrent_queries, http.max_queued_queries)",
    },
    Limit {
        setting: QUERY_MAX_CONCURRENT,
        effect: "503 with `Retry-After`",
        text: "max-concurrent-queries limit exceeded (N, N) (query.max_concurrent)",
    },
    Limit {
        setting: QUERY_MAX_HEAVY,
        effect: "queries that have worked for `query.heavy_after_ms` go on by turns, this many at one time; short ones never wait",
        text: "",
    },
    Limit {
        setting: QUERY_TIMEOUT_SECS,
        effect: "the statement fails, the engine stops",
        text: "query-timeout limit exceeded",
    },
    Limit {
        setting: QUERY_MAX_MEMORY_BYTES,
        effect: "the statement fails",
        text: "query memory limit exceeded (query.max_memory_bytes)",
    },
    Limit {
        setting: CHDB_MAX_SERVER_MEMORY_BYTES,
        effect: "the statement fails",
        text: "query memory limit exceeded (chdb.max_server_memory_bytes)",
    },
    Limit {
        setting: CHDB_QUERY_CONNECTIONS,
        effect: "further scans wait; after `chdb.connection_wait_secs` or their deadline the statement fails",
        text: "all N connections of the engine are in use (chdb.query_connections)",
    },
    Limit {
        setting: CHDB_MAX_SPILL_BYTES,
        effect: "the statement fails",
        text: "internal error ID: see the server's log (there: answers that wait for slow readers take more than N bytes \
               (chdb.max_spill_bytes))",
    },
    Limit {
        setting: QUERY_MAX_ROWS_READ,
        effect: "the statement fails",
        text: "query row limit exceeded (query.max_rows_read)",
    },
    Limit {
        setting: QUERY_MAX_SELECT_POINTS,
        effect: "the statement fails",
        text: "max-select-point limit exceeded: (N/M)",
    },
    Limit {
        setting: QUERY_MAX_SELECT_SERIES,
        effect: "the statement fails",
        text: "max-select-series limit exceeded: (N/M)",
    },
    Limit {
        setting: QUERY_MAX_SELECT_BUCKETS,
        effect: "the statement fails",
        text: "max-select-buckets limit exceeded: (N/M)",
    },
    Limit {
        setting: QUERY_MAX_BUFFERED_POINTS,
        effect: "the statement fails",
        text: "query.max_buffered_points limit exceeded: (N/M)",
    },
    Limit {
        setting: HTTP_MAX_ROW_LIMIT,
        effect: "the answer is cut, its last series has `\"partial\":true`",
        text: "",
    },
    Limit {
        setting: HTTP_MAX_BUFFERED_ANSWER_BYTES,
        effect: "the request fails",
        text: "the answer is larger than N bytes (http.max_buffered_answer_bytes): use chunked=true",
    },
    Limit {
        setting: SQL_MAX_QUEUED,
        effect: "beyond `sql.max_concurrent` at work and these in the queue 503 with `Retry-After`",
        text: "too many SQL statements (sql.max_concurrent, sql.max_queued)",
    },
    Limit {
        setting: SQL_MAX_RESULT_BYTES,
        effect: "the request fails",
        text: "the answer is larger than sql.max_result_bytes",
    },
];

const CARDINALITY: &[Limit] = &[
    Limit {
        setting: LIMITS_MAX_MEASUREMENTS_PER_DATABASE,
        effect: "400, points of known measurements are kept",
        text: "partial write: max-measurements-per-database limit exceeded: (N) dropped=D",
    },
    Limit {
        setting: LIMITS_MAX_SERIES_PER_DATABASE,
        effect: "400, points of known series are kept",
        text: "partial write: max-series-per-database limit exceeded: (N) dropped=D",
    },
    Limit {
        setting: LIMITS_MAX_VALUES_PER_TAG,
        effect: "400, points with known values are kept",
        text: "partial write: max-values-per-tag limit exceeded (N/M): measurement=\"…\" tag=\"…\" value=\"…\" dropped=D",
    },
];

const DISK: &[Limit] = &[
    Limit {
        setting: STORAGE_WARN_FREE_BYTES,
        effect: "a warning in the log, `hyperbytedb_disk_free_bytes` shows it",
        text: "",
    },
    Limit {
        setting: STORAGE_MIN_FREE_BYTES,
        effect: "writes get 503 with `Retry-After`; queries, deletes and drops go on",
        text: "the server is read-only, for only N bytes of disk space are free (storage.min_free_bytes): delete or drop \
               what is not needed, or add space",
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_limit_stands_once() {
        let mut settings: Vec<_> =
            GROUPS.iter().flat_map(|group| group.limits).map(|limit| limit.setting).collect();
        let count = settings.len();
        settings.sort_unstable();
        settings.dedup();
        assert_eq!(settings.len(), count);
        assert!(settings.iter().all(|setting| ALL.contains(setting)));
    }
}
