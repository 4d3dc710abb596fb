//! The InfluxDB v1 HTTP interface: `/write`, `/query`, `/ping` and the server's own health and metrics.
//!
//! Handlers translate: a request into a call of the application's ports, what comes back into InfluxDB's
//! status codes, headers and bodies. Everything a client can make large or slow is bounded by an
//! [`HttpOptions`] field, and past the bound the answer names it.

mod access_log;
mod admission;
mod auth;
mod backup;
mod bind;
mod blocking;
mod body;
mod cluster;
mod collect;
mod debug_vars;
mod encode;
mod error;
mod form;
mod go_json;
mod listener;
mod logins;
mod middleware;
mod options;
mod prometheus;
mod query;
mod rates;
mod sql;
mod statements;
mod status;
mod stream;
pub mod tls;
mod turn;
#[doc(hidden)]
pub mod untrusted;
mod v2;
mod write;

#[cfg(test)]
mod tests;

use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::http::HeaderMap;
use axum::routing::{MethodRouter, delete, get, post};
use hyperbytedb_application::sql::SqlApi;
use hyperbytedb_application::statement_summary::StatementSummary;
use hyperbytedb_application::{QueryApi, Readiness};
use hyperbytedb_domain::ports::{AuthPort, BackupPort, ClusterPort, IngestionPort, SchemaPort};
use hyperbytedb_domain::settings;
use metrics_exporter_prometheus::PrometheusHandle;
use tower_http::CompressionLevel;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;

use crate::admission::{BodyBudget, Bounded, Gate};
use crate::logins::Logins;
use crate::rates::Rates;
pub use access_log::{AccessLog, AccessLogFormat, AccessLogOptions};
pub use listener::{BoundedListener, ConnectionLimits, Socket};
pub use options::HttpOptions;
pub use rates::Peer;

/// The version that InfluxDB's clients are told: the 1.x release whose behaviour this is, then our own.
pub const VERSION: &str = concat!("1.8.10+hyperbytedb.", env!("CARGO_PKG_VERSION"));

/// Makes a request's span part of the trace that its headers name, if they name one.
pub type FollowTrace = fn(&tracing::Span, &HeaderMap);

/// What the handlers work with.
pub struct HttpState {
    pub ingestion: Arc<dyn IngestionPort>,
    pub queries: Arc<dyn QueryApi>,
    pub schema: Arc<dyn SchemaPort>,
    /// `None`: SQL is not enabled.
    pub sql: Option<Arc<dyn SqlApi>>,
    /// `None`: there are none.
    pub backups: Option<Arc<dyn BackupPort>>,
    /// Empty on a node of its own, and until the cluster is there.
    pub cluster: Arc<OnceLock<Arc<dyn ClusterPort>>>,
    pub statement_summary: Arc<StatementSummary>,
    pub readiness: Arc<Readiness>,
    /// `None`: every request is let in and may do everything.
    pub auth: Option<Arc<dyn AuthPort>>,
    /// `None`: requests are not logged.
    pub access_log: Option<AccessLog>,
    /// `None`: requests are not traced.
    pub follow_trace: Option<FollowTrace>,
    /// Renders `/metrics`.
    pub metrics: PrometheusHandle,
    pub options: HttpOptions,
}

struct Shared {
    http: HttpState,
    write_gate: Gate,
    query_gate: Gate,
    sql_gate: Gate,
    body_budget: BodyBudget,
    rates: Rates,
    logins: Arc<Logins>,
}

type AppState = Arc<Shared>;

/// All endpoints.
pub fn router(http: HttpState) -> Router {
    let options = &http.options;
    let write_gate = Gate::new(
        options.max_concurrent_writes,
        options.max_queued_writes,
        options.queue_timeout,
        Bounded {
            what: "writes",
            working: settings::HTTP_MAX_CONCURRENT_WRITES,
            waiting: settings::HTTP_MAX_QUEUED_WRITES,
        },
    );
    let query_gate = Gate::new(
        options.max_concurrent_queries,
        options.max_queued_queries,
        options.queue_timeout,
        Bounded {
            what: "queries",
            working: settings::HTTP_MAX_CONCURRENT_QUERIES,
            waiting: settings::HTTP_MAX_QUEUED_QUERIES,
        },
    );
    let sql_gate = Gate::new(
        options.max_concurrent_sql,
        options.max_queued_sql,
        options.queue_timeout,
        Bounded {
            what: "SQL statements",
            working: settings::SQL_MAX_CONCURRENT,
            waiting: settings::SQL_MAX_QUEUED,
        },
    );
    let body_budget = BodyBudget::new(options.max_inflight_body_bytes);
    let logins = Logins::new(options.hashing_threads, options.max_queued_logins, options.queue_timeout);
    let rates = Rates::new(options);
    let state: AppState =
        Arc::new(Shared { http, write_gate, query_gate, sql_gate, body_budget, rates, logins });

    let ping = get(status::ping).head(status::ping);
    let summary = get(statements::statements).delete(statements::statements);
    let buckets = get(v2::buckets).post(v2::buckets);
    let bucket = get(v2::bucket).patch(v2::bucket).delete(v2::bucket);
    let liveness = get(status::status).head(status::status);
    Router::new()
        .route("/ping", only(ping, "GET, HEAD"))
        .route("/status", only(liveness, "GET, HEAD"))
        .route("/health", only(get(status::health), "GET, HEAD"))
        .route("/health/ready", only(get(status::ready), "GET, HEAD"))
        .route("/metrics", only(get(status::metrics), "GET, HEAD"))
        .route("/debug/vars", only(get(debug_vars::debug_vars), "GET, HEAD"))
        .route("/write", only(post(write::write).options(status::options), "OPTIONS, POST"))
        .route("/api/v2/write", only(post(write::write_v2).options(status::options), "OPTIONS, POST"))
        .route("/api/v1/sql", only(get(sql::sql).post(sql::sql), "GET, HEAD, POST"))
        .route("/api/v1/chdb", only(get(sql::sql).post(sql::sql), "GET, HEAD, POST"))
        .route("/api/v1/prom/write", only(post(prometheus::write), "POST"))
        .route("/api/v1/prom/read", only(post(prometheus::read), "POST"))
        .route("/api/v2/delete", only(post(v2::delete), "POST"))
        .route("/api/v2/query", only(post(v2::query), "POST"))
        .route("/api/v2/buckets", only(buckets, "GET, HEAD, POST"))
        .route("/api/v2/buckets/{*id}", only(bucket, "DELETE, GET, HEAD, PATCH"))
        .route("/api/v1/backup", only(post(backup::create), "POST"))
        .route("/api/v1/backup/{id}", only(delete(backup::remove), "DELETE"))
        .route("/api/v1/backup/{id}/files", only(get(backup::file), "GET"))
        .route("/api/v1/statements", only(summary, "DELETE, GET, HEAD"))
        .route("/cluster/nodes", only(get(cluster::nodes), "GET, HEAD"))
        .route("/cluster/leader", only(get(cluster::leader), "GET, HEAD"))
        .route("/cluster/metrics", only(get(status::cluster_metrics), "GET, HEAD"))
        .route("/cluster/repair", only(get(cluster::repair).post(cluster::repair), "GET, HEAD, POST"))
        .route("/cluster/membership/remove/{id}", only(post(cluster::remove), "POST"))
        .route("/cluster/membership/drain/{id}", only(post(cluster::drain), "POST"))
        .route("/query", only(query_methods(), QUERY_METHODS))
        .fallback(status::not_found)
        .layer(axum::middleware::from_fn_with_state(state.clone(), rates::by_address))
        .layer(CatchPanicLayer::custom(error::panic_response))
        .layer(CompressionLayer::new().quality(CompressionLevel::Fastest))
        .layer(axum::middleware::from_fn_with_state(state.clone(), middleware::common))
        .with_state(state)
}

const QUERY_METHODS: &str = "GET, OPTIONS, POST";

fn query_methods() -> MethodRouter<AppState> {
    // `get` alone would answer HEAD too, which InfluxDB refuses.
    let refused = || status::method_not_allowed(QUERY_METHODS);
    get(query::query).head(refused).post(query::query).options(status::options)
}

/// Any other method: 405 with InfluxDB's text.
fn only(methods: MethodRouter<AppState>, allowed: &'static str) -> MethodRouter<AppState> {
    methods.fallback(move || status::method_not_allowed(allowed))
}
