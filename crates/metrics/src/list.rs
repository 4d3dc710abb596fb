//! The list. Names follow Prometheus's conventions: the unit is part of the name, counters end in `_total`.

use crate::handle::{Counter, Gauge, Histogram, LabelledCounter, LabelledGauge, LabelledHistogram};
use crate::{Description, Group, Kind};

/// Declares the handles, their descriptions and their registration.
macro_rules! list {
    ($($title:literal { $($kind:ident $handle:ident: $type:ty = $name:literal [$($label:literal),*] $help:literal;)* })*) => {
        $($(#[doc = $help] pub static $handle: $type = <$type>::new($name, [$($label),*]);)*)*

        pub const GROUPS: &[Group] = &[
            $(Group {
                title: $title,
                metrics: &[$(Description {
                    name: $name,
                    kind: Kind::$kind,
                    labels: &[$($label),*],
                    help: $help,
                }),*],
            }),*
        ];

        /// Makes metrics without labels appear, at zero, once there is a recorder.
        pub fn register() {
            $($($handle.register();)*)*
        }
    };
}

list! {
    "Requests over HTTP" {
        Counter HTTP_REQUESTS: LabelledCounter<3> = "hyperbytedb_http_requests_total" ["endpoint", "method", "status"]
            "Requests answered.";
        Gauge HTTP_IN_FLIGHT: Gauge = "hyperbytedb_http_requests_in_flight" []
            "Requests whose answer is not complete.";
        Histogram HTTP_RESPONSE_START: LabelledHistogram<2> = "hyperbytedb_http_response_start_seconds" ["endpoint", "method"]
            "Time from a request to the start of its answer.";
        Histogram HTTP_DURATION: LabelledHistogram<2> = "hyperbytedb_http_request_duration_seconds" ["endpoint", "method"]
            "Time from a request to the end of its answer.";
        Counter HTTP_RESPONSE_BYTES: LabelledCounter<1> = "hyperbytedb_http_response_bytes_total" ["endpoint"]
            "Bytes of answers, before compression.";
        Counter ACCESS_LOG_DROPPED: Counter = "hyperbytedb_access_log_dropped_lines_total" []
            "Lines of the access log that were left out because they could not be written fast enough.";
        Histogram HTTP_QUEUE_WAIT: LabelledHistogram<1> = "hyperbytedb_http_queue_wait_seconds" ["what"]
            "Time that requests waited for their turn, where they had to.";
        Counter LIMIT_EXCEEDED: LabelledCounter<1> = "hyperbytedb_limit_exceeded_total" ["limit"]
            "What the server's limits have stopped, by setting (docs/limits.md).";
        Counter AUTH_FAILURES: Counter = "hyperbytedb_auth_failures_total" []
            "Requests with a wrong user, password or token.";
        Counter AUTH_CACHE_HITS: Counter = "hyperbytedb_auth_cache_hits_total" []
            "Passwords that were known from an earlier request.";
        Counter AUTH_CACHE_MISSES: Counter = "hyperbytedb_auth_cache_misses_total" []
            "Passwords that had to be hashed.";
    }
    "Writes" {
        Counter WRITE_REQUESTS: Counter = "hyperbytedb_write_requests_total" []
            "Writes taken, from clients and from what the server itself runs.";
        Counter WRITE_ERRORS: Counter = "hyperbytedb_write_errors_total" []
            "Writes that were refused or failed, wholly or in part.";
        Histogram WRITE_PAYLOAD_BYTES: Histogram = "hyperbytedb_write_payload_bytes" []
            "Bytes of a write's line protocol, uncompressed.";
        Histogram WRITE_DURATION: Histogram = "hyperbytedb_write_duration_seconds" []
            "Time of a write from its body to its answer.";
        Histogram WRITE_PARSE: Histogram = "hyperbytedb_write_parse_duration_seconds" []
            "Stage of a write: parsing line protocol.";
        Histogram WRITE_SCHEMA: Histogram = "hyperbytedb_write_schema_duration_seconds" []
            "Stage of a write: types, series and shard groups.";
        Histogram WRITE_COMMIT: Histogram = "hyperbytedb_write_commit_duration_seconds" []
            "Stage of a write: queueing for the log, its sync, and the points in memory.";
        Histogram WRITE_CONFIRM: Histogram = "hyperbytedb_write_confirm_duration_seconds" []
            "Stage of a write: waiting for other nodes of the cluster.";
        Counter INGESTED_POINTS: Counter = "hyperbytedb_ingestion_points_total" []
            "Points accepted.";
        Counter REJECTED_POINTS: Counter = "hyperbytedb_ingestion_points_rejected_total" []
            "Points refused: unreadable, of another type, or past a bound.";
        Counter WRITES_REFUSED: Counter = "hyperbytedb_writes_refused_total" []
            "Writes refused because memory or the log were full.";
        Counter SERIES_CACHE_HITS: Counter = "hyperbytedb_series_cache_hits_total" []
            "Series of written points that were known in memory.";
        Counter SERIES_CACHE_MISSES: Counter = "hyperbytedb_series_cache_misses_total" []
            "Series of written points that were looked up on disk.";
        Counter UDP_LINES: Counter = "hyperbytedb_udp_lines_total" []
            "Lines taken over UDP.";
        Counter UDP_WRITE_ERRORS: Counter = "hyperbytedb_udp_write_errors_total" []
            "Batches of UDP lines that could not be written.";
        Counter GRAPHITE_LINES: Counter = "hyperbytedb_graphite_lines_total" []
            "Lines taken by the Graphite listener.";
        Counter GRAPHITE_READ_ERRORS: Counter = "hyperbytedb_graphite_read_errors_total" []
            "Datagrams of Graphite that could not be received.";
        Counter GRAPHITE_WRITE_ERRORS: Counter = "hyperbytedb_graphite_write_errors_total" []
            "Batches of Graphite points that could not be written.";
        Counter OPENTSDB_LINES: Counter = "hyperbytedb_opentsdb_lines_total" []
            "Telnet lines taken by the OpenTSDB listener.";
        Counter OPENTSDB_WRITE_ERRORS: Counter = "hyperbytedb_opentsdb_write_errors_total" []
            "Batches of OpenTSDB points that could not be written.";
        Counter PROMETHEUS_DROPPED_SAMPLES: Counter = "hyperbytedb_prometheus_dropped_samples_total" []
            "Samples of Prometheus that InfluxDB's fields cannot hold (NaN, infinities).";
    }
    "Log and memory" {
        Counter WAL_APPENDED_BYTES: Counter = "hyperbytedb_wal_appended_bytes_total" []
            "Bytes appended to the log.";
        Histogram WAL_APPEND: Histogram = "hyperbytedb_wal_append_duration_seconds" []
            "Time to append a group of records, with its sync.";
        Histogram WAL_GROUP_RECORDS: Histogram = "hyperbytedb_wal_group_records" []
            "Records that were appended together.";
        Gauge WAL_QUEUED_RECORDS: Gauge = "hyperbytedb_wal_queued_records" []
            "Changes that waited for the log when the last group was taken.";
        Gauge WAL_BYTES: Gauge = "hyperbytedb_wal_bytes" []
            "Bytes of log records that are kept.";
        Gauge WAL_LAST_SEQUENCE: Gauge = "hyperbytedb_wal_last_sequence" []
            "Number of the log's last record.";
        Histogram HEAD_APPLY: Histogram = "hyperbytedb_head_apply_duration_seconds" []
            "Time in which a group's points came into head and memtables.";
        Gauge HEAD_BYTES: Gauge = "hyperbytedb_head_bytes" []
            "Bytes of the head: the newest points, in memory.";
        Counter HEAD_FILLED_ROWS: Counter = "hyperbytedb_head_filled_rows_total" []
            "Rows that filled the head from the engine after the start.";
        Gauge MEMTABLE_BYTES: Gauge = "hyperbytedb_memtable_bytes" []
            "Bytes of points that wait for their flush.";
    }
    "Flush" {
        Counter FLUSH_RUNS: Counter = "hyperbytedb_flush_runs_total" []
            "Memtables flushed.";
        Counter FLUSH_ERRORS: Counter = "hyperbytedb_flush_errors_total" []
            "Flushes and removals that failed and are tried again.";
        Counter FLUSH_POINTS: Counter = "hyperbytedb_flush_points_total" []
            "Points flushed to the engine.";
        Histogram FLUSH_DURATION: Histogram = "hyperbytedb_flush_duration_seconds" []
            "Time of a memtable's flush: sorting and insert.";
        Histogram FLUSH_SORT: Histogram = "hyperbytedb_flush_sort_duration_seconds" []
            "Stage of a flush: sorting and folding the points.";
        Histogram FLUSH_INSERT: Histogram = "hyperbytedb_flush_insert_duration_seconds" []
            "Stage of a flush: the engine's insert.";
        Histogram CHECKPOINT_DURATION: Histogram = "hyperbytedb_checkpoint_duration_seconds" []
            "Time of a checkpoint: syncs, then truncation of the log.";
        Counter CHECKPOINT_ERRORS: Counter = "hyperbytedb_checkpoint_errors_total" []
            "Checkpoints that failed.";
        Gauge UNFINISHED_DELETES: Gauge = "hyperbytedb_unfinished_deletes" []
            "Deletes that the engine still carries out.";
        Gauge UNFINISHED_DELETE_PARTS: Gauge = "hyperbytedb_unfinished_delete_parts" []
            "Parts of the engine that these deletes have not reached.";
        Counter MERGED_PARTITIONS: Counter = "hyperbytedb_merged_partitions_total" []
            "Partitions merged because they held points twice, or because their shard group has ended.";
        Counter MERGE_ERRORS: Counter = "hyperbytedb_merge_errors_total" []
            "Such merges that failed.";
        Counter RETENTION_DROPPED: Counter = "hyperbytedb_retention_dropped_shard_groups_total" []
            "Shard groups dropped at the end of their retention.";
        Counter RETENTION_ERRORS: Counter = "hyperbytedb_retention_errors_total" []
            "Such drops that failed.";
    }
    "Queries" {
        Counter QUERY_REQUESTS: Counter = "hyperbytedb_query_requests_total" []
            "Query requests, from clients and from what the server itself runs.";
        Counter QUERY_ERRORS: Counter = "hyperbytedb_query_errors_total" []
            "Query requests that were refused or had a statement that failed.";
        Histogram QUERY_DURATION: Histogram = "hyperbytedb_query_duration_seconds" []
            "Time of a query request, from its turn until its last row was taken.";
        Counter QUERIES_REFUSED: Counter = "hyperbytedb_queries_refused_total" []
            "Query requests refused because too many ran.";
        Gauge QUERIES_ACTIVE: Gauge = "hyperbytedb_queries_active" []
            "Query requests that run.";
        Counter SLOW_QUERIES: Counter = "hyperbytedb_slow_queries_total" []
            "Query requests that took longer than the slow-query log's threshold.";
        Counter STATEMENTS: LabelledCounter<1> = "hyperbytedb_statements_total" ["kind"]
            "Statements run, by their kind.";
        Histogram QUERY_PARSE: Histogram = "hyperbytedb_query_parse_duration_seconds" []
            "Stage of a query: parsing its text and checking privileges.";
        Histogram QUERY_PLAN: Histogram = "hyperbytedb_query_plan_duration_seconds" []
            "Stage of a SELECT: planning.";
        Histogram QUERY_FIRST_BLOCK: Histogram = "hyperbytedb_query_first_block_seconds" []
            "Stage of a SELECT: from its plan to its first rows.";
        Histogram QUERY_EXECUTE: Histogram = "hyperbytedb_query_execute_duration_seconds" []
            "Stage of a SELECT: from its plan to its last rows, encoding and waiting for the client included.";
        Counter QUERY_ROWS_READ: Counter = "hyperbytedb_query_rows_read_total" []
            "Rows that statements read.";
        Counter QUERY_BYTES_READ: Counter = "hyperbytedb_query_bytes_read_total" []
            "Bytes that statements read.";
        Counter SCANS_MEMORY: Counter = "hyperbytedb_scans_memory_total" []
            "Scans answered from memory.";
        Counter SCANS_BOTH: Counter = "hyperbytedb_scans_both_total" []
            "Scans answered by the engine up to a time, and from memory behind it.";
        Counter SCANS_ENGINE: Counter = "hyperbytedb_scans_engine_total" []
            "Scans answered by the engine.";
    }
    "Engine" {
        Gauge ENGINE_CONNECTIONS: LabelledGauge<1> = "hyperbytedb_engine_connections" ["pool"]
            "Open connections to the engine.";
        Histogram ENGINE_CONNECTION_WAIT: Histogram = "hyperbytedb_engine_connection_wait_seconds" []
            "Time that statements waited for a connection, where they had to.";
        Gauge ENGINE_SPILLED_BYTES: Gauge = "hyperbytedb_engine_spilled_bytes" []
            "Bytes on disk of answers that wait for slow clients.";
        Gauge ENGINE_MEMORY_BYTES: Gauge = "hyperbytedb_engine_memory_bytes" []
            "Memory of the engine, by its own count.";
        Gauge ENGINE_MERGES: Gauge = "hyperbytedb_engine_merges" []
            "Merges that the engine runs.";
        Gauge ENGINE_MUTATIONS: Gauge = "hyperbytedb_engine_mutations" []
            "Mutations of parts that the engine runs.";
        Gauge ENGINE_QUERIES: Gauge = "hyperbytedb_engine_queries" []
            "Statements that the engine runs.";
        Gauge ENGINE_PARTS: Gauge = "hyperbytedb_engine_parts" []
            "Active parts of opened tables.";
        Gauge ENGINE_MARK_CACHE_BYTES: Gauge = "hyperbytedb_engine_mark_cache_bytes" []
            "Bytes of the cache of index marks.";
        Counter CLICKHOUSE_UNREACHABLE: Counter = "hyperbytedb_clickhouse_unreachable_total" []
            "Requests that a ClickHouse server did not take or answer.";
    }
    "RocksDB" {
        Gauge ROCKSDB_MEMTABLE_BYTES: LabelledGauge<1> = "hyperbytedb_rocksdb_memtable_bytes" ["database"]
            "Bytes of memtables: `log`, or `meta` (catalogue and series index).";
        Gauge ROCKSDB_TABLE_BYTES: LabelledGauge<1> = "hyperbytedb_rocksdb_table_bytes" ["database"]
            "Bytes of tables on disk.";
        Gauge ROCKSDB_BLOCK_CACHE_BYTES: LabelledGauge<1> = "hyperbytedb_rocksdb_block_cache_bytes" ["database"]
            "Bytes in the block cache.";
        Gauge ROCKSDB_KEYS: LabelledGauge<1> = "hyperbytedb_rocksdb_keys" ["database"]
            "Keys, estimated.";
        Gauge ROCKSDB_PENDING_COMPACTION_BYTES: LabelledGauge<1> = "hyperbytedb_rocksdb_pending_compaction_bytes" ["database"]
            "Bytes that compactions still have to rewrite, estimated.";
        Gauge ROCKSDB_COMPACTIONS: LabelledGauge<1> = "hyperbytedb_rocksdb_compactions" ["database"]
            "Compactions that run.";
        Gauge ROCKSDB_FLUSHES: LabelledGauge<1> = "hyperbytedb_rocksdb_flushes" ["database"]
            "Flushes that run.";
        Gauge ROCKSDB_BACKGROUND_ERRORS: LabelledGauge<1> = "hyperbytedb_rocksdb_background_errors" ["database"]
            "Errors in the background since the start.";
        Gauge ROCKSDB_WRITES_STOPPED: LabelledGauge<1> = "hyperbytedb_rocksdb_writes_stopped" ["database"]
            "1 while RocksDB takes no writes.";
    }
    "What runs by itself" {
        Histogram CONTINUOUS_QUERY_DURATION: LabelledHistogram<2> = "hyperbytedb_continuous_query_duration_seconds" ["database", "query"]
            "Time of a run of a continuous query.";
        Gauge CONTINUOUS_QUERY_LAST_RUN: LabelledGauge<2> = "hyperbytedb_continuous_query_last_run_timestamp_seconds" ["database", "query"]
            "When a continuous query last ran, since 1970.";
        Counter CONTINUOUS_QUERY_POINTS: LabelledCounter<2> = "hyperbytedb_continuous_query_points_written_total" ["database", "query"]
            "Points written by a continuous query.";
        Counter CONTINUOUS_QUERY_ERRORS: LabelledCounter<2> = "hyperbytedb_continuous_query_errors_total" ["database", "query"]
            "Runs of a continuous query that failed.";
        Histogram VIEW_RUN_DURATION: LabelledHistogram<2> = "hyperbytedb_view_run_duration_seconds" ["database", "name"]
            "Time of a run over a view's windows.";
        Counter VIEW_POINTS_WRITTEN: LabelledCounter<2> = "hyperbytedb_view_points_written_total" ["database", "name"]
            "Points written by a view.";
        Counter VIEW_POINTS_REMOVED: LabelledCounter<2> = "hyperbytedb_view_points_removed_total" ["database", "name"]
            "Points removed by a view.";
        Counter VIEW_ERRORS: LabelledCounter<2> = "hyperbytedb_view_errors_total" ["database", "name"]
            "Runs over a view's windows that failed.";
        Gauge VIEW_DIRTY_WINDOWS: LabelledGauge<2> = "hyperbytedb_view_dirty_windows" ["database", "name"]
            "Windows of a view that are to be computed.";
        Gauge VIEWS_LOG_RECORDS_BEHIND: Gauge = "hyperbytedb_views_log_records_behind" []
            "Log records that the views have not seen.";
        Counter SUBSCRIBER_POINTS_WRITTEN: Counter = "hyperbytedb_subscriber_points_written_total" []
            "Points sent to destinations of subscriptions.";
        Counter SUBSCRIBER_WRITE_FAILURES: Counter = "hyperbytedb_subscriber_write_failures_total" []
            "Requests to them that failed or were refused.";
        Counter SUBSCRIBER_POINTS_DROPPED: Counter = "hyperbytedb_subscriber_points_dropped_total" []
            "Points that were not sent: refused, or too far behind.";
        Counter THREAD_PANICS: LabelledCounter<1> = "hyperbytedb_thread_panics_total" ["thread"]
            "Panics of background threads.";
    }
    "Cluster" {
        Counter REPLICATION_WRITES: LabelledCounter<1> = "hyperbytedb_replication_writes_total" ["node"]
            "Log records sent to another node.";
        Counter REPLICATION_ERRORS: LabelledCounter<1> = "hyperbytedb_replication_errors_total" ["node"]
            "Requests to another node that failed.";
        Histogram REPLICATION_DURATION: LabelledHistogram<1> = "hyperbytedb_replication_duration_seconds" ["node"]
            "Time of a request to another node.";
        Gauge CLUSTER_LAG_RECORDS: LabelledGauge<1> = "hyperbytedb_cluster_lag_records" ["node"]
            "Records of the log that another node has not taken.";
        Gauge CLUSTER_LAG_BYTES: LabelledGauge<1> = "hyperbytedb_cluster_lag_bytes" ["node"]
            "Bytes of the log that another node has not taken.";
        Gauge CLUSTER_LAG_SECONDS: LabelledGauge<1> = "hyperbytedb_cluster_lag_seconds" ["node"]
            "Age of the first record that another node has not taken.";
        Gauge CLUSTER_LEADER: Gauge = "hyperbytedb_cluster_leader" []
            "Number of the node that leads the schema's changes; 0 where there is none.";
        Gauge CLUSTER_NODES: Gauge = "hyperbytedb_cluster_nodes" []
            "Nodes of the cluster.";
        Gauge CLUSTER_NODES_UP: Gauge = "hyperbytedb_cluster_nodes_up" []
            "Nodes of the cluster that answer.";
        Gauge CLUSTER_PEERS_ACTIVE: Gauge = "hyperbytedb_cluster_peers_active" []
            "Other nodes that take records.";
        Counter CLUSTER_CONFLICTS: Counter = "hyperbytedb_cluster_conflicts_total" []
            "Records of other nodes that lost values against later ones.";
        Counter CLUSTER_ROWS_UNGUARDED: Counter = "hyperbytedb_cluster_rows_unguarded_total" []
            "Rows forgotten before all nodes were past them.";
        Counter CLUSTER_REPAIRED_ROWS: Counter = "hyperbytedb_cluster_repaired_rows_total" []
            "Rows taken from other nodes to repair what differed.";
    }
    "Process" {
        Gauge FAILED_HEALTH_CHECKS: Gauge = "hyperbytedb_failed_health_checks" []
            "Checks that `/health` names as failed.";
        Gauge DISK_FREE_BYTES: Gauge = "hyperbytedb_disk_free_bytes" []
            "Free disk space, of the folder that has the least.";
        Gauge DISK_READ_ONLY: Gauge = "hyperbytedb_disk_read_only" []
            "1 while the server takes no writes because disk space runs out.";
        Counter TRACE_EXPORT_ERRORS: Counter = "hyperbytedb_trace_export_errors_total" []
            "Batches of spans that the collector did not take.";
        Gauge BUILD_INFO: LabelledGauge<1> = "hyperbytedb_build_info" ["version"]
            "1.";
        Gauge UPTIME: Gauge = "hyperbytedb_uptime_seconds" []
            "Time since the start.";
        Gauge PROCESS_RESIDENT_BYTES: Gauge = "process_resident_memory_bytes" []
            "Resident memory of the process.";
        Gauge PROCESS_OPEN_FILES: Gauge = "process_open_fds" []
            "Files that the process has open.";
    }
}
