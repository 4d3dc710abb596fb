//! What the embedded engine may use. The defaults suit two cores and 8 GB of memory.

use std::path::PathBuf;
use std::time::Duration;

use hyperbytedb_clickhouse_sql::Settings;
use hyperbytedb_engine_common::STATEMENT_SETTINGS;

/// How the engine is opened. Names in error texts are those of the configuration's `chdb` section.
#[derive(Debug, Clone, PartialEq)]
pub struct ChdbOptions {
    /// Directory of the engine's data; created when absent. Must be valid UTF-8.
    pub data_path: PathBuf,
    /// Scans at once; each holds a connection until its answer is read, dropped, or on disk.
    pub query_connections: usize,
    /// Inserts, deletes, merges and changes of tables at once.
    pub write_connections: usize,
    /// How long a call without a deadline waits for a free connection.
    pub connection_wait: Duration,
    /// Answers on disk that wait for slow readers while their connections were needed elsewhere, in bytes.
    pub max_spill_bytes: u64,
    /// Memory of the whole engine, in bytes: queries, merges, caches.
    pub max_server_memory_bytes: u64,
    /// Memory of one statement, in bytes, where the query does not say.
    pub max_query_memory_bytes: u64,
    /// Memory of all merges and mutations, in bytes: no further one starts beyond it.
    pub max_merge_memory_bytes: u64,
    /// Threads of one scan, where the query does not say.
    pub max_query_threads: u32,
    /// Cache of index marks, in bytes.
    pub mark_cache_bytes: u64,
    /// Cache of which parts of a table a condition can match, in bytes.
    pub condition_cache_bytes: u64,
    /// Threads that merge parts.
    pub merge_threads: u32,
}

impl ChdbOptions {
    pub fn new(data_path: impl Into<PathBuf>) -> Self {
        Self {
            data_path: data_path.into(),
            query_connections: 8,
            write_connections: 4,
            connection_wait: Duration::from_secs(10),
            max_spill_bytes: 4 << 30,
            max_server_memory_bytes: 4 << 30,
            max_query_memory_bytes: 2 << 30,
            max_merge_memory_bytes: 512 << 20,
            max_query_threads: 2,
            mark_cache_bytes: 64 << 20,
            condition_cache_bytes: 16 << 20,
            merge_threads: 2,
        }
    }

    /// Arguments of a connection: settings of the engine (which only the first connection's apply) and of the
    /// statements it runs. `path` is the data directory.
    pub(crate) fn arguments(&self, path: &str) -> Vec<String> {
        let Self { max_query_threads, merge_threads, .. } = self;
        let own = [
            format!("--path={path}"),
            format!("--max_server_memory_usage={}", self.max_server_memory_bytes),
            format!("--merges_mutations_memory_usage_soft_limit={}", self.max_merge_memory_bytes),
            format!("--mark_cache_size={}", self.mark_cache_bytes),
            format!("--query_condition_cache_size={}", self.condition_cache_bytes),
            format!("--compiled_expression_cache_size={COMPILED_EXPRESSIONS_BYTES}"),
            format!("--background_pool_size={merge_threads}"),
            // A delete rewrites each part of a table. What finds no place in the queue is looked at again a second later.
            format!("--background_merges_mutations_concurrency_ratio={MERGES_QUEUED_PER_THREAD}"),
            // Of those in the queue, only as many are at work as there are threads, so memory does not grow with it.
            "--background_merges_mutations_scheduling_policy=shortest_task_first".into(),
            "--background_move_pool_size=1".into(),
            "--background_fetches_pool_size=1".into(),
            "--background_common_pool_size=2".into(),
            "--background_schedule_pool_size=4".into(),
            "--background_buffer_flush_schedule_pool_size=1".into(),
            "--background_message_broker_schedule_pool_size=1".into(),
            "--background_distributed_schedule_pool_size=1".into(),
            // Files of dropped tables go as soon as nobody reads them.
            "--database_atomic_delay_before_drop_table_sec=0".into(),
            format!("--max_memory_usage={}", self.max_query_memory_bytes),
            format!("--max_bytes_before_external_sort={}", self.max_query_memory_bytes / 4),
            format!("--max_threads={max_query_threads}"),
            "--max_insert_threads=1".into(),
        ];
        let of_statements = STATEMENT_SETTINGS.iter().map(|(name, value)| format!("--{name}={value}"));
        own.into_iter().chain(of_statements).collect()
    }

    /// Settings of every table that depend on how and where the engine runs.
    pub(crate) fn table_settings(&self) -> Settings {
        Settings::default()
            // Tags follow from the series, so they need not be part of the key.
            .with("allow_dimensions_outside_sorting_key", 1)
            // Few large merges: each row is written again once or twice, where the engine's default writes it again with
            // every few parts. What a partition without new parts is left with becomes one part.
            .with("min_parts_to_merge_at_once", PARTS_PER_MERGE_MIN)
            .with("min_age_to_force_merge_seconds", QUIET_BEFORE_LAST_MERGE_SECS)
            .with("min_age_to_force_merge_on_partition_only", 1)
            // A merge replaces parts that a sync made durable, so it must be durable itself; then they can go.
            .with("min_rows_to_fsync_after_merge", 1)
            .with("old_parts_lifetime", 0)
            .with("cleanup_delay_period", CLEANUP_SECS)
            .with("cleanup_delay_period_random_add", CLEANUP_SECS)
            .with("max_cleanup_delay_period", CLEANUP_SECS_MAX)
            // Parts cut short by a power failure were never synced: they are set aside, and the WAL has their rows.
            .with("max_suspicious_broken_parts", BROKEN_PARTS_MAX)
            .with("max_suspicious_broken_parts_bytes", BROKEN_PARTS_BYTES_MAX)
            // ClickHouse's defaults suppose a pool of 16 threads and refuse a smaller one.
            .with("number_of_free_entries_in_pool_to_execute_mutation", 1)
            .with("number_of_free_entries_in_pool_to_lower_max_size_of_merge", 1)
            .with("number_of_free_entries_in_pool_to_execute_optimize_entire_partition", 1)
    }
}

/// Broken parts of one table beyond which it is not opened: more than a crash can leave.
const BROKEN_PARTS_MAX: u64 = 1_000_000;
const BROKEN_PARTS_BYTES_MAX: u64 = 1 << 40;

const PARTS_PER_MERGE_MIN: u64 = 8;
const QUIET_BEFORE_LAST_MERGE_SECS: u64 = 300;

/// Between two looks for parts that a merge has replaced; longer for a table in which nothing is found.
const CLEANUP_SECS: u64 = 3;
const CLEANUP_SECS_MAX: u64 = 10;

const MERGES_QUEUED_PER_THREAD: u32 = 32;

const COMPILED_EXPRESSIONS_BYTES: u64 = 32 << 20;
