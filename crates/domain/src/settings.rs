//! The configuration's keys, as error texts name them: a bound that is reached says which setting moves it.
//!
//! Values and defaults are the server's, where a test sees to it that every key here is one of the configuration.

macro_rules! keys {
    ($($name:ident = $key:literal;)*) => {
        $(pub const $name: &str = $key;)*
        /// Every key of this module.
        pub const ALL: &[&str] = &[$($key),*];
    };
}

keys! {
    AUTH_HASHING_THREADS = "auth.hashing_threads";
    AUTH_MAX_QUEUED_LOGINS = "auth.max_queued_logins";
    BACKUP_EXPIRY_SECS = "backup.expiry_secs";
    BACKUP_MAX_SNAPSHOTS = "backup.max_snapshots";
    CHDB_MAX_SERVER_MEMORY_BYTES = "chdb.max_server_memory_bytes";
    CHDB_MAX_SPILL_BYTES = "chdb.max_spill_bytes";
    CHDB_QUERY_CONNECTIONS = "chdb.query_connections";
    CHDB_WRITE_CONNECTIONS = "chdb.write_connections";
    FLUSH_MEMORY_LIMIT_BYTES = "flush.memory_limit_bytes";
    GRAPHITE_BIND_ADDRESS = "graphite.bind_address";
    GRAPHITE_MAX_CONNECTIONS = "graphite.max_connections";
    OPENTSDB_BIND_ADDRESS = "opentsdb.bind_address";
    OPENTSDB_MAX_CONNECTIONS = "opentsdb.max_connections";
    HTTP_BODY_TIMEOUT_SECS = "http.body_timeout_secs";
    HTTP_MAX_BODY_BYTES = "http.max_body_bytes";
    HTTP_MAX_BUFFERED_ANSWER_BYTES = "http.max_buffered_answer_bytes";
    HTTP_MAX_CONCURRENT_QUERIES = "http.max_concurrent_queries";
    HTTP_MAX_CONCURRENT_WRITES = "http.max_concurrent_writes";
    HTTP_MAX_INFLATED_BODY_BYTES = "http.max_inflated_body_bytes";
    HTTP_MAX_INFLIGHT_BODY_BYTES = "http.max_inflight_body_bytes";
    HTTP_MAX_QUEUED_QUERIES = "http.max_queued_queries";
    HTTP_MAX_QUEUED_WRITES = "http.max_queued_writes";
    HTTP_MAX_ROW_LIMIT = "http.max_row_limit";
    HTTP_QUEUE_TIMEOUT_SECS = "http.queue_timeout_secs";
    HTTP_SEND_TIMEOUT_SECS = "http.send_timeout_secs";
    LIMITS_MAX_MEASUREMENTS_PER_DATABASE = "limits.max_measurements_per_database";
    LIMITS_MAX_SERIES_PER_DATABASE = "limits.max_series_per_database";
    LIMITS_MAX_VALUES_PER_TAG = "limits.max_values_per_tag";
    LIMITS_REQUESTS_PER_SECOND_BY_ADDRESS = "limits.requests_per_second_by_address";
    LIMITS_REQUESTS_PER_SECOND_BY_USER = "limits.requests_per_second_by_user";
    QUERY_MAX_BUFFERED_POINTS = "query.max_buffered_points";
    QUERY_MAX_CONCURRENT = "query.max_concurrent";
    QUERY_MAX_HEAVY = "query.max_heavy";
    QUERY_MAX_MEMORY_BYTES = "query.max_memory_bytes";
    QUERY_MAX_ROWS_READ = "query.max_rows_read";
    QUERY_MAX_SELECT_BUCKETS = "query.max_select_buckets";
    QUERY_MAX_SELECT_POINTS = "query.max_select_points";
    QUERY_MAX_SELECT_SERIES = "query.max_select_series";
    QUERY_MAX_SORT_BYTES = "query.max_sort_bytes";
    QUERY_MAX_SORT_ROWS = "query.max_sort_rows";
    QUERY_TIMEOUT_SECS = "query.timeout_secs";
    SERVER_MAX_CONNECTIONS = "server.max_connections";
    SERVER_SHUTDOWN_TIMEOUT_SECS = "server.shutdown_timeout_secs";
    SQL_ENABLED = "sql.enabled";
    SQL_MAX_CONCURRENT = "sql.max_concurrent";
    SQL_MAX_QUEUED = "sql.max_queued";
    SQL_MAX_RESULT_BYTES = "sql.max_result_bytes";
    STATEMENT_SUMMARY_ENABLED = "statement_summary.enabled";
    STORAGE_MIN_FREE_BYTES = "storage.min_free_bytes";
    STORAGE_WARN_FREE_BYTES = "storage.warn_free_bytes";
    VIEWS_MAX_POINTS_PER_RUN = "views.max_points_per_run";
    WAL_MAX_BYTES = "wal.max_bytes";
    WAL_QUEUE_LENGTH = "wal.queue_length";
    WRITE_MAX_ABSENT_VALUES = "write.max_absent_values";
    WRITE_MAX_FIELDS = "write.max_fields";
    WRITE_MAX_LINE_BYTES = "write.max_line_bytes";
    WRITE_MAX_POINTS = "write.max_points";
    WRITE_MAX_TAGS = "write.max_tags";
}
