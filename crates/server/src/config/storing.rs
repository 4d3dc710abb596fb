//! The settings of what is kept: the engine, the log, the way from one to the other, what is thrown away and what is backed up.

use hyperbytedb_application::backup::BackupOptions;
use hyperbytedb_application::flush::FlushOptions;
use hyperbytedb_application::log::committer::CommitOptions;
use hyperbytedb_engine_chdb::ChdbOptions;
use hyperbytedb_engine_clickhouse::ClickHouseOptions;
use hyperbytedb_line_protocol::ParseOptions;
use hyperbytedb_storage_rocksdb::StorageOptions;
use serde::{Deserialize, Serialize};

use super::Secret;
use super::sections::{KeyDoc, section};

fn storage() -> StorageOptions {
    StorageOptions::in_directory("")
}

fn chdb() -> ChdbOptions {
    ChdbOptions::new("")
}

fn clickhouse() -> ClickHouseOptions {
    ClickHouseOptions::default()
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
    /// Backups of the running server. A snapshot holds disk space that merges and drops would free.
    BackupConfig {
        /// Snapshots at one time.
        max_snapshots: usize = BackupOptions::in_dir("").max_snapshots,
        /// Seconds after which a snapshot that nobody reads is removed.
        expiry_secs: u64 = BackupOptions::in_dir("").expiry.as_secs(),
    }
}
