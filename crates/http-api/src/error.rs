//! The one place where an error becomes a status code, headers and a body.

use std::any::Any;
use std::fmt::Display;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, Response, StatusCode};
use hyperbytedb_application::{QueryError, StatementError};
use hyperbytedb_domain::catalog::CatalogError;
use hyperbytedb_domain::ports::WriteError;
use hyperbytedb_domain::{limits, settings};
use hyperbytedb_metrics::stats::HTTPD;

use crate::admission::RETRY_AFTER_SECS;
use crate::encode::{Format, error_body};

/// Bytes of an error text that go into the `X-Influxdb-Error` header, as in InfluxDB.
const HEADER_TEXT_MAX: usize = 1024;

/// A request that failed before its answer began.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct ApiError {
    pub status: StatusCode,
    pub text: String,
    pub retry_after_secs: Option<u64>,
}

impl ApiError {
    pub fn new(status: StatusCode, text: impl Into<String>) -> Self {
        Self { status, text: text.into(), retry_after_secs: None }
    }

    pub fn bad_request(text: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, text)
    }

    pub fn internal(text: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, text)
    }

    /// A bound is reached; the client should come again.
    pub fn overloaded(text: impl Into<String>, retry_after_secs: u64) -> Self {
        Self {
            status: StatusCode::SERVICE_UNAVAILABLE,
            text: text.into(),
            retry_after_secs: Some(retry_after_secs),
        }
    }

    /// The limit of a setting is reached; the client should come again.
    pub fn limit_reached(setting: &'static str, text: impl Into<String>) -> Self {
        limits::exceeded(setting);
        Self::overloaded(text, RETRY_AFTER_SECS)
    }

    /// The request asks for more than a setting allows.
    pub fn too_much(status: StatusCode, setting: &'static str, text: impl Into<String>) -> Self {
        limits::exceeded(setting);
        Self::new(status, text)
    }

    pub fn respond(&self, format: Format, pretty: bool) -> Response<Body> {
        self.with_body(format.content_type(), error_body(format, pretty, &self.text))
    }

    /// As InfluxDB 2's clients read it, and those of 1.x.
    pub fn respond_v2(&self) -> Response<Body> {
        let body = serde_json::json!({
            "code": v2_code(self.status),
            "error": self.text,
            "message": self.text,
        });
        self.with_body("application/json", format!("{body}\n").into_bytes())
    }

    fn with_body(&self, content_type: &'static str, body: Vec<u8>) -> Response<Body> {
        if self.status.is_server_error() {
            tracing::warn!(status = self.status.as_u16(), "request failed: {}", self.text);
        }
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        if let Some(value) = header_text(&self.text) {
            headers.insert("x-influxdb-error", value);
        }
        if let Some(seconds) = self.retry_after_secs {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"InfluxDB\""));
        }
        response
    }
}

/// InfluxDB 2's names of errors.
fn v2_code(status: StatusCode) -> &'static str {
    match status {
        StatusCode::BAD_REQUEST => "invalid",
        StatusCode::UNAUTHORIZED => "unauthorized",
        StatusCode::FORBIDDEN => "forbidden",
        StatusCode::NOT_FOUND => "not found",
        StatusCode::PAYLOAD_TOO_LARGE => "request too large",
        StatusCode::UNPROCESSABLE_ENTITY => "unprocessable entity",
        StatusCode::TOO_MANY_REQUESTS => "too many requests",
        StatusCode::SERVICE_UNAVAILABLE => "unavailable",
        _ => "internal error",
    }
}

/// An error text as a header value: cut, and without the control characters that headers cannot carry.
fn header_text(text: &str) -> Option<HeaderValue> {
    let bytes: Vec<u8> =
        text.bytes().take(HEADER_TEXT_MAX).map(|b| if b < 0x20 || b == 0x7f { b' ' } else { b }).collect();
    HeaderValue::from_bytes(&bytes).ok()
}

impl From<WriteError> for ApiError {
    fn from(error: WriteError) -> Self {
        if let WriteError::Storage(details) = &error {
            return Self::internal(internal_text(details));
        }
        let text = error.to_string();
        match error {
            WriteError::DatabaseRequired | WriteError::Rejected(_) => Self::bad_request(text),
            WriteError::TooManyPoints { .. } => Self::new(StatusCode::PAYLOAD_TOO_LARGE, text),
            WriteError::DatabaseNotFound(_) => Self::new(StatusCode::NOT_FOUND, text),
            WriteError::UserRequired(_) | WriteError::Forbidden { .. } => {
                Self::new(StatusCode::FORBIDDEN, text)
            }
            WriteError::RetentionPolicyNotFound(_) | WriteError::Unconfirmed(_) | WriteError::Storage(_) => {
                Self::internal(text)
            }
            WriteError::Stopping => Self::overloaded(text, RETRY_AFTER_SECS),
            WriteError::Overloaded { retry_after_secs, .. } => Self::overloaded(text, retry_after_secs),
        }
    }
}

impl From<QueryError> for ApiError {
    fn from(error: QueryError) -> Self {
        let text = error.to_string();
        match error {
            QueryError::Parse(_) => Self::bad_request(text),
            QueryError::Refused(_) => Self::new(StatusCode::FORBIDDEN, text),
            QueryError::TooManyQueries { .. } => Self::limit_reached(settings::QUERY_MAX_CONCURRENT, text),
        }
    }
}

/// What a client reads of a failed statement.
pub fn statement_text(error: &StatementError) -> String {
    match error {
        StatementError::Into { error, written } if error.is_internal() => {
            format!("{} ({written} points were written before)", statement_text(error))
        }
        error if error.is_internal() => internal_text(error),
        error => error.to_string(),
    }
}

/// A failed statement where its request is answered with nothing else.
pub fn statement_error(error: &StatementError) -> ApiError {
    let status = match error {
        error if error.is_internal() => StatusCode::INTERNAL_SERVER_ERROR,
        StatementError::Catalog(CatalogError::DatabaseNotFound(_)) => StatusCode::NOT_FOUND,
        error if error.is_unavailable() => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::BAD_REQUEST,
    };
    ApiError::new(status, statement_text(error))
}

/// Logs what the engine or a store said, which is not for clients. They get a number to ask about.
pub fn internal_text(details: &(impl Display + ?Sized)) -> String {
    static LAST: AtomicU64 = AtomicU64::new(0);
    let number = LAST.fetch_add(1, Ordering::Relaxed) + 1;
    let started = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let id = format!("{started:x}-{number}");
    tracing::error!(id, "internal error: {details}");
    format!("internal error {id}: see the server's log")
}

/// The answer of a handler that panicked.
pub fn panic_response(panic: Box<dyn Any + Send + 'static>) -> Response<Body> {
    panicked(&*panic).respond(Format::Json, false)
}

/// Work on a thread of its own that did not end.
pub fn task_failed(failure: tokio::task::JoinError) -> ApiError {
    match failure.try_into_panic() {
        Ok(panic) => panicked(&*panic),
        Err(_) => ApiError::overloaded("the server is stopping", RETRY_AFTER_SECS),
    }
}

/// The panic's message goes to the log only.
pub fn panicked(panic: &(dyn Any + Send)) -> ApiError {
    let message = panic
        .downcast_ref::<&str>()
        .map(|s| (*s).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_default();
    HTTPD.recovered_panics.increment();
    tracing::error!("panic while serving a request: {message}");
    ApiError::internal("internal error: the request failed unexpectedly; the server's log has the details")
}
