//! Endpoints about the server itself, and the answers to requests that have no endpoint.

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{ALLOW, CONTENT_TYPE};
use axum::http::{HeaderValue, Response, StatusCode};
use hyperbytedb_application::Phase;
use hyperbytedb_application::disk_space::DISK;

use crate::encode::Format;
use crate::form::Form;
use crate::{AppState, VERSION, auth};

const METRICS_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// 204, or with `verbose` the version as JSON.
pub async fn ping(State(state): State<AppState>, request: Request) -> Response<Body> {
    let (head, _) = request.into_parts();
    if state.http.options.ping_auth
        && let Err(error) = auth::caller(&state, &head).await
    {
        return error.respond(Format::Json, false);
    }
    match Form::from_query(head.uri.query()).text("verbose") {
        "" | "0" | "false" => no_content(),
        _ => json(StatusCode::OK, &serde_json::json!({ "version": VERSION })),
    }
}

/// 204.
pub async fn status() -> Response<Body> {
    no_content()
}

/// Whether all that works in the background does: 200, or 503 with what does not.
pub async fn health(State(state): State<AppState>) -> Response<Body> {
    let readiness = &state.http.readiness;
    let failing = readiness.failing();
    let check = |(name, message): &(String, String)| serde_json::json!({ "name": name, "message": message, "status": "fail" });
    let checks: Vec<_> = failing.iter().map(check).collect();
    let (code, status, message) = match readiness.failure().or_else(|| named(&failing)) {
        Some(reason) => (StatusCode::SERVICE_UNAVAILABLE, "fail", reason),
        None => (StatusCode::OK, "pass", "ready for queries and writes".to_owned()),
    };
    json(
        code,
        &serde_json::json!({
            "checks": checks,
            "message": message,
            "name": "influxdb",
            "status": status,
            "version": VERSION,
        }),
    )
}

/// All that fails, in a line.
fn named(failing: &[(String, String)]) -> Option<String> {
    let lines: Vec<String> = failing.iter().map(|(name, message)| format!("{name}: {message}")).collect();
    (!lines.is_empty()).then(|| lines.join("; "))
}

/// Whether requests would be served now: 200 or 503.
pub async fn ready(State(state): State<AppState>) -> Response<Body> {
    let readiness = &state.http.readiness;
    // Without disk space queries are answered, and the deletes that make space must get through.
    let mut failing = readiness.failing();
    failing.retain(|(part, _)| part != DISK);
    if let Some(reason) = readiness.failure().or_else(|| named(&failing)) {
        return json(
            StatusCode::SERVICE_UNAVAILABLE,
            &serde_json::json!({ "status": "failed", "message": reason }),
        );
    }
    let (code, name) = match state.http.readiness.phase() {
        Phase::Ready => (StatusCode::OK, "ready"),
        Phase::Replaying => (StatusCode::SERVICE_UNAVAILABLE, "replaying"),
        Phase::Stopping => (StatusCode::SERVICE_UNAVAILABLE, "stopping"),
    };
    if code == StatusCode::OK
        && let Some(unready) = state.http.cluster.get().and_then(|cluster| cluster.unready())
    {
        // The proxy asks an unready node where no other is ready, and a leaving one never.
        let status = if unready.is_leaving { "leaving" } else { "unready" };
        let answer = serde_json::json!({ "status": status, "message": unready.reason });
        return json(StatusCode::SERVICE_UNAVAILABLE, &answer);
    }
    json(code, &serde_json::json!({ "status": name }))
}

/// Prometheus text.
pub async fn metrics(State(state): State<AppState>, request: Request) -> Response<Body> {
    let (head, _) = request.into_parts();
    if state.http.options.metrics_auth
        && let Err(error) = auth::caller(&state, &head).await
    {
        return error.respond(Format::Json, false);
    }
    text(StatusCode::OK, METRICS_TYPE, state.http.metrics.render())
}

/// What of it is about the cluster, for the same callers.
pub async fn cluster_metrics(State(state): State<AppState>, request: Request) -> Response<Body> {
    let (head, _) = request.into_parts();
    if state.http.options.metrics_auth
        && let Err(error) = auth::caller(&state, &head).await
    {
        return error.respond(Format::Json, false);
    }
    let all = state.http.metrics.render();
    let is_clusters = |line: &&str| {
        let name = line.trim_start_matches("# TYPE ").trim_start_matches("# HELP ");
        name.starts_with("hyperbytedb_cluster_")
    };
    let lines: String = all.lines().filter(is_clusters).flat_map(|line| [line, "\n"]).collect();
    text(StatusCode::OK, METRICS_TYPE, lines)
}

pub async fn options() -> StatusCode {
    StatusCode::OK
}

pub async fn not_found() -> Response<Body> {
    plain_error(StatusCode::NOT_FOUND, "404 page not found\n")
}

pub async fn method_not_allowed(allowed: &'static str) -> Response<Body> {
    let mut response = plain_error(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed\n");
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    response
}

/// Marks the answer to a request that has no endpoint.
#[derive(Debug, Clone, Copy)]
pub struct NoEndpoint;

pub fn no_content() -> Response<Body> {
    let mut response = text(StatusCode::NO_CONTENT, "application/json", String::new());
    *response.body_mut() = Body::empty();
    response
}

pub fn json(code: StatusCode, value: &serde_json::Value) -> Response<Body> {
    text(code, "application/json", format!("{value}\n"))
}

fn plain_error(code: StatusCode, body: &str) -> Response<Body> {
    let mut response = text(code, "text/plain; charset=utf-8", body.to_owned());
    response.headers_mut().insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    response.extensions_mut().insert(NoEndpoint);
    response
}

fn text(code: StatusCode, content_type: &'static str, body: String) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = code;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
