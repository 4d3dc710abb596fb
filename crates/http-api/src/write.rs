//! `/write`: line protocol in.

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use axum::http::{HeaderValue, Response, StatusCode};
use hyperbytedb_domain::Precision;
use hyperbytedb_domain::ports::{WriteError, WriteRequest};

use crate::encode::Format;
use crate::error::{ApiError, panicked};
use crate::form::Form;
use crate::{AppState, admission, auth, body};

const CONSISTENCY_LEVELS: [&str; 5] = ["", "any", "one", "quorum", "all"];

pub async fn write(State(state): State<AppState>, request: Request) -> Response<Body> {
    let format = Format::negotiate(request.headers());
    let pretty = Form::from_query(request.uri().query()).is_true("pretty");
    match accept(state, request).await {
        Ok(()) => {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::NO_CONTENT;
            let content_type = HeaderValue::from_static(format.content_type());
            response.headers_mut().insert(CONTENT_TYPE, content_type);
            response
        }
        Err(error) => error.respond(format, pretty),
    }
}

async fn accept(state: AppState, request: Request) -> Result<(), ApiError> {
    let options = &state.http.options;
    let (head, sent) = request.into_parts();
    let form = Form::from_query(head.uri.query());
    let mut share = state.body_budget.share();
    let encoded = body::read(&head.headers, sent, &mut share, options).await?;
    metrics::counter!("hyperbytedb_http_write_bytes_total").increment(encoded.len() as u64);

    auth::authenticate(state.http.auth.as_deref(), &head.headers, &form)?;
    if form.text("db").is_empty() {
        return Err(WriteError::DatabaseRequired.into());
    }
    if !CONSISTENCY_LEVELS.iter().any(|level| form.text("consistency").eq_ignore_ascii_case(level)) {
        return Err(ApiError::bad_request("invalid consistency level"));
    }
    admission::ready(&state.http.readiness, options.replay_timeout).await?;
    let turn = state.write_gate.enter().await?;

    let gzip = head.headers.get(CONTENT_ENCODING).is_some_and(|v| v.as_bytes() == b"gzip");
    let request = WriteRequest {
        database: form.text("db").to_owned(),
        retention_policy: form.text("rp").to_owned(),
        precision: Precision::parse(form.text("precision")),
        body: encoded,
    };
    let shared = state.clone();
    let work = move || {
        let _turn = turn;
        let mut request = request;
        if gzip {
            request.body = body::inflate(&request.body, &mut share, &shared.http.options)?;
        }
        let result = shared.http.ingestion.write(request).map_err(ApiError::from);
        drop(share);
        result
    };
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(failure) => Err(match failure.try_into_panic() {
            Ok(panic) => panicked(&*panic),
            Err(_) => ApiError::overloaded("the server is stopping", 1),
        }),
    }
}
