//! What every answer carries (version, request id, CORS) and what is counted about every request.

use hyperbytedb_metrics as metrics;
use hyperbytedb_metrics::stats::HTTPD;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tracing::Instrument;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::ORIGIN;
use axum::http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use axum::middleware::Next;
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};

use crate::access_log::Entry;
use crate::status::NoEndpoint;
use crate::{AppState, VERSION};

/// Bytes of a client's request id that go into logs.
const LOGGED_ID_BYTES_MAX: usize = 128;
/// What logs say where nobody waited for the answer, as nginx does.
const CLIENT_WENT_AWAY: StatusCode = match StatusCode::from_u16(499) {
    Ok(status) => status,
    Err(_) => StatusCode::BAD_REQUEST,
};
/// 100 ns steps between the start of UUID time (1582) and 1970.
const UUID_EPOCH_OFFSET: u64 = 0x01B2_1DD2_1381_4000;

/// Adds the common headers and counts the request until its answer is complete.
pub async fn common(State(state): State<AppState>, request: Request, next: Next) -> Response<Body> {
    let id = request_id(request.headers());
    let logged_id = logged(&id);
    let meter = Meter::start(state.clone(), &request, logged_id);
    // What is logged while the request is worked on says which one it is.
    let span = tracing::info_span!(
        "request",
        id = logged_id,
        method = meter.method,
        endpoint = meter.endpoint,
        status = tracing::field::Empty
    );
    if let Some(follow) = state.http.follow_trace {
        follow(&span, request.headers());
    }
    let origin = request.headers().get(ORIGIN).cloned();
    let mut response = next.run(request).instrument(span.clone()).await;
    span.record("status", response.status().as_u16());
    let has_endpoint = response.extensions().get::<NoEndpoint>().is_none();
    let headers = response.headers_mut();
    headers.insert("request-id", id.clone());
    headers.insert("x-request-id", id);
    headers.insert("x-influxdb-build", HeaderValue::from_static("OSS"));
    headers.insert("x-influxdb-version", HeaderValue::from_static(VERSION));
    if let Some(origin) = origin.filter(|_| has_endpoint) {
        allow_origin(headers, origin);
    }
    meter.watch(response)
}

fn allow_origin(headers: &mut HeaderMap, origin: HeaderValue) {
    headers.insert("access-control-allow-origin", origin);
    headers
        .insert("access-control-allow-methods", HeaderValue::from_static("DELETE, GET, OPTIONS, POST, PUT"));
    headers.insert(
        "access-control-allow-headers",
        HeaderValue::from_static(
            "Accept, Accept-Encoding, Authorization, Content-Length, Content-Type, X-CSRF-Token, X-HTTP-Method-Override",
        ),
    );
    headers.insert(
        "access-control-expose-headers",
        HeaderValue::from_static("Date, X-InfluxDB-Version, X-InfluxDB-Build"),
    );
}

/// The client's own id, or a new one in the form of a time-based UUID.
fn request_id(headers: &HeaderMap) -> HeaderValue {
    let given = headers.get("x-request-id").or_else(|| headers.get("request-id"));
    if let Some(id) = given.filter(|id| !id.is_empty()) {
        return id.clone();
    }
    static LAST: AtomicU64 = AtomicU64::new(0);
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now = (since_1970.as_nanos() / 100) as u64 + UUID_EPOCH_OFFSET;
    let last = LAST.fetch_max(now, Ordering::AcqRel);
    let time = if now > last { now } else { LAST.fetch_add(1, Ordering::AcqRel) + 1 };
    let (low, mid, high) = (time as u32, (time >> 32) as u16, (time >> 48) as u16 & 0x0fff);
    let text = format!("{low:08x}-{mid:04x}-1{high:03x}-8000-000000000000");
    HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("-"))
}

/// The id as far as logs show it.
fn logged(id: &HeaderValue) -> &str {
    let id = id.to_str().unwrap_or("-");
    &id[..id.len().min(LOGGED_ID_BYTES_MAX)]
}

/// One request under way.
struct Meter {
    state: AppState,
    /// `None`: it is not logged.
    entry: Option<Entry>,
    status: StatusCode,
    bytes: u64,
    endpoint: &'static str,
    method: &'static str,
    started: Instant,
}

impl Meter {
    fn start(state: AppState, request: &Request, id: &str) -> Self {
        metrics::HTTP_IN_FLIGHT.increment();
        HTTPD.req_active.increment();
        let endpoint = match request.uri().path() {
            "/write" | "/api/v2/write" => "/write",
            "/query" => "/query",
            "/ping" => "/ping",
            "/status" => "/status",
            "/metrics" => "/metrics",
            "/api/v1/statements" => "/api/v1/statements",
            "/api/v1/sql" | "/api/v1/chdb" => "/api/v1/sql",
            "/api/v1/prom/write" => "/api/v1/prom/write",
            "/api/v1/prom/read" => "/api/v1/prom/read",
            path if path.starts_with("/api/v2/") => "/api/v2",
            path if path.starts_with("/api/v1/backup") => "/api/v1/backup",
            path if path.starts_with("/health") => "/health",
            _ => "other",
        };
        let method = match *request.method() {
            Method::GET => "GET",
            Method::POST => "POST",
            Method::HEAD => "HEAD",
            Method::DELETE => "DELETE",
            _ => "other",
        };
        if endpoint == "/write" {
            HTTPD.write_req_active.increment();
        }
        let entry = state.http.access_log.as_ref().and_then(|log| log.entry(request, id));
        Self { state, entry, status: CLIENT_WENT_AWAY, bytes: 0, endpoint, method, started: Instant::now() }
    }

    /// What SHOW STATS counts of it, once it has ended.
    fn count(&self, elapsed: Duration) {
        HTTPD.req.increment();
        HTTPD.req_active.add(-1);
        HTTPD.req_duration_ns.add_duration(elapsed);
        match self.status.as_u16() {
            401 => HTTPD.auth_fail.increment(),
            400..500 => HTTPD.client_error.increment(),
            500.. => HTTPD.server_error.increment(),
            _ => {}
        }
        match self.endpoint {
            "/write" => {
                HTTPD.write_req.increment();
                HTTPD.write_req_active.add(-1);
                HTTPD.write_req_duration_ns.add_duration(elapsed);
            }
            "/query" => {
                HTTPD.query_req.increment();
                HTTPD.query_req_duration_ns.add_duration(elapsed);
                HTTPD.query_resp_bytes.add(self.bytes as i64);
            }
            "/ping" => HTTPD.ping_req.increment(),
            "/status" => HTTPD.status_req.increment(),
            "/api/v1/prom/read" => HTTPD.prom_read_req.increment(),
            "/api/v1/prom/write" => HTTPD.prom_write_req.increment(),
            _ => {}
        }
    }

    fn watch(mut self, response: Response<Body>) -> Response<Body> {
        let elapsed = self.started.elapsed();
        metrics::HTTP_REQUESTS.with([self.endpoint, self.method, response.status().as_str()]).increment(1);
        metrics::HTTP_RESPONSE_START.with([self.endpoint, self.method]).record(elapsed);
        self.status = response.status();
        response.map(|body| Body::new(MeteredBody { body, meter: self }))
    }
}

impl Drop for Meter {
    /// The answer is complete, or nobody wants it any more.
    fn drop(&mut self) {
        let elapsed = self.started.elapsed();
        metrics::HTTP_IN_FLIGHT.decrement();
        metrics::HTTP_DURATION.with([self.endpoint, self.method]).record(elapsed);
        self.count(elapsed);
        metrics::HTTP_RESPONSE_BYTES.with([self.endpoint]).increment(self.bytes);
        if let (Some(log), Some(entry)) = (&self.state.http.access_log, &self.entry) {
            log.log(entry, self.status, self.bytes);
        }
    }
}

struct MeteredBody {
    body: Body,
    meter: Meter,
}

impl HttpBody for MeteredBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if let Poll::Ready(Some(Ok(frame))) = &polled {
            self.meter.bytes += frame.data_ref().map_or(0, |data| data.len() as u64);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
