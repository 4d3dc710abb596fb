//! What InfluxDB's SHOW STATS counts of a whole server, by its names and in its order.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

/// A number of one module.
pub struct Count(AtomicI64);

impl Count {
    pub fn add(&self, more: i64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    pub fn increment(&self) {
        self.add(1);
    }

    pub fn set(&self, value: i64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// Adds nanoseconds.
    pub fn add_duration(&self, duration: Duration) {
        self.add(i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX));
    }

    pub fn value(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Declares the modules with their columns.
macro_rules! modules {
    ($($(#[doc = $about:literal])* $module:ident: $type:ident = $name:literal { $($field:ident $column:literal,)* })*) => {
        $(
            $(#[doc = $about])*
            pub struct $type { $(pub $field: Count,)* }

            pub static $module: $type = $type { $($field: Count(AtomicI64::new(0)),)* };

            impl $type {
                pub const NAME: &'static str = $name;
                pub const COLUMNS: &'static [&'static str] = &[$($column),*];

                /// In the order of the columns.
                pub fn values(&self) -> Vec<i64> {
                    vec![$(self.$field.value()),*]
                }
            }
        )*
    };
}

modules! {
    /// The process. What only Go has stays 0.
    RUNTIME: Runtime = "runtime" {
        alloc "Alloc",
        frees "Frees",
        heap_alloc "HeapAlloc",
        heap_idle "HeapIdle",
        heap_in_use "HeapInUse",
        heap_objects "HeapObjects",
        heap_released "HeapReleased",
        heap_sys "HeapSys",
        lookups "Lookups",
        mallocs "Mallocs",
        num_gc "NumGC",
        num_goroutine "NumGoroutine",
        pause_total_ns "PauseTotalNs",
        sys "Sys",
        total_alloc "TotalAlloc",
    }
    /// Requests with queries.
    QUERY_EXECUTOR: QueryExecutor = "queryExecutor" {
        queries_active "queriesActive",
        queries_executed "queriesExecuted",
        queries_finished "queriesFinished",
        query_duration_ns "queryDurationNs",
        recovered_panics "recoveredPanics",
    }
    /// Writes from wherever they come.
    WRITE: Write = "write" {
        point_req "pointReq",
        point_req_local "pointReqLocal",
        req "req",
        sub_write_drop "subWriteDrop",
        sub_write_ok "subWriteOk",
        write_drop "writeDrop",
        write_error "writeError",
        write_ok "writeOk",
        write_timeout "writeTimeout",
    }
    /// Requests over HTTP.
    HTTPD: Httpd = "httpd" {
        auth_fail "authFail",
        client_error "clientError",
        ping_req "pingReq",
        points_written_dropped "pointsWrittenDropped",
        points_written_fail "pointsWrittenFail",
        points_written_ok "pointsWrittenOK",
        prom_read_req "promReadReq",
        prom_write_req "promWriteReq",
        query_req "queryReq",
        query_req_duration_ns "queryReqDurationNs",
        query_resp_bytes "queryRespBytes",
        recovered_panics "recoveredPanics",
        req "req",
        req_active "reqActive",
        req_duration_ns "reqDurationNs",
        server_error "serverError",
        status_req "statusReq",
        write_req "writeReq",
        write_req_active "writeReqActive",
        write_req_bytes "writeReqBytes",
        write_req_duration_ns "writeReqDurationNs",
    }
    /// The Graphite listener.
    GRAPHITE: Graphite = "graphite" {
        batches_tx "batchesTx",
        batches_tx_fail "batchesTxFail",
        bytes_rx "bytesRx",
        conns_active "connsActive",
        conns_handled "connsHandled",
        points_nan_fail "pointsNaNFail",
        points_parse_fail "pointsParseFail",
        points_rx "pointsRx",
        points_tx "pointsTx",
    }
    /// The OpenTSDB listener. What begins with `tl` is of telnet.
    OPENTSDB: OpenTsdb = "opentsdb" {
        batches_tx "batchesTx",
        batches_tx_fail "batchesTxFail",
        conns_active "connsActive",
        conns_handled "connsHandled",
        dropped_points_invalid "droppedPointsInvalid",
        http_conns_handled "httpConnsHandled",
        points_tx "pointsTx",
        tl_bad_float "tlBadFloat",
        tl_bad_line "tlBadLine",
        tl_bad_tag "tlBadTag",
        tl_bad_time "tlBadTime",
        tl_bytes_rx "tlBytesRx",
        tl_conns_active "tlConnsActive",
        tl_conns_handled "tlConnsHandled",
        tl_points_rx "tlPointsRx",
        tl_read_err "tlReadErr",
    }
    /// The UDP listener.
    UDP: Udp = "udp" {
        batches_tx "batchesTx",
        batches_tx_fail "batchesTxFail",
        bytes_rx "bytesRx",
        points_parse_fail "pointsParseFail",
        points_rx "pointsRx",
        points_tx "pointsTx",
        read_fail "readFail",
    }
}
