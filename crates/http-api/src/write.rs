//! `/write`, and `/api/v2/write` as InfluxDB 1.8 has it: line protocol in.

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode};
use hyperbytedb_domain::Precision;
use hyperbytedb_domain::cluster::Consistency;
use hyperbytedb_domain::ports::{BodyFormat, WriteError, WriteRequest, WriteSource};
use hyperbytedb_domain::time::MAX_TIME;
use hyperbytedb_metrics::stats::HTTPD;

use crate::encode::Format;
use crate::error::{ApiError, task_failed};
use crate::form::Form;
use crate::{AppState, admission, auth, body, v2};

/// Where the points of a request go.
struct Target {
    database: String,
    retention_policy: String,
    precision: Precision,
    consistency: Option<Consistency>,
}

pub async fn write(State(state): State<AppState>, request: Request) -> Response<Body> {
    let format = Format::negotiate(request.headers());
    let pretty = Form::from_query(request.uri().query()).is_true("pretty");
    match accept(state, request, v1_target).await {
        Ok(()) => no_content(format),
        Err(error) => error.respond(format, pretty),
    }
}

pub async fn write_v2(State(state): State<AppState>, request: Request) -> Response<Body> {
    match accept(state, request, v2_target).await {
        Ok(()) => no_content(Format::Json),
        Err(error) => error.respond_v2(),
    }
}

fn v1_target(form: &Form) -> Result<Target, ApiError> {
    if form.text("db").is_empty() {
        return Err(WriteError::DatabaseRequired.into());
    }
    let consistency = match form.text("consistency") {
        "" => None,
        level => Some(
            Consistency::parse(level).ok_or_else(|| ApiError::bad_request("invalid consistency level"))?,
        ),
    };
    Ok(Target {
        database: form.text("db").to_owned(),
        retention_policy: form.text("rp").to_owned(),
        precision: Precision::parse(form.text("precision")),
        consistency,
    })
}

fn v2_target(form: &Form) -> Result<Target, ApiError> {
    let precision = match form.text("precision") {
        "us" => Precision::Microsecond,
        known @ ("" | "ns" | "ms" | "s") => Precision::parse(known),
        other => {
            let text = format!("invalid precision {other:?} (use ns, us, ms or s)");
            return Err(ApiError::bad_request(text));
        }
    };
    let (database, retention_policy) = v2::parse_bucket(form.text("bucket"))?;
    Ok(Target {
        database: database.to_owned(),
        retention_policy: retention_policy.to_owned(),
        precision,
        consistency: None,
    })
}

/// What the body is; anything unknown is line protocol, as in InfluxDB.
fn body_format(headers: &HeaderMap) -> BodyFormat {
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    match content_type.split(';').next().unwrap_or_default().trim() {
        "application/vnd.apache.arrow.stream" => BodyFormat::ArrowStream,
        "application/msgpack" | "application/x-msgpack" | "application/vnd.msgpack" => {
            BodyFormat::MessagePack
        }
        _ => BodyFormat::Lines,
    }
}

/// When a proxy took the request.
fn received(headers: &HeaderMap) -> Option<i64> {
    let received = headers.get("x-hyperbytedb-received")?.to_str().ok()?.parse().ok();
    received.filter(|time| (0..MAX_TIME).contains(time))
}

type TargetOf = fn(&Form) -> Result<Target, ApiError>;

fn no_content(format: Format) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(format.content_type()));
    response
}

async fn accept(state: AppState, request: Request, target: TargetOf) -> Result<(), ApiError> {
    let options = &state.http.options;
    let (head, sent) = request.into_parts();
    let form = Form::from_query(head.uri.query());
    let (caller, sent) = auth::enter(&state, &head, sent).await?;
    let mut share = state.body_budget.share();
    let encoded = body::read(&head.headers, sent, &mut share, options).await?;

    let Target { database, retention_policy, precision, consistency } = target(&form)?;
    admission::ready(&state.http.readiness, options.replay_timeout).await?;
    let turn = state.write_gate.enter().await?;

    let format = body_format(&head.headers);
    let gzip = head.headers.get(CONTENT_ENCODING).is_some_and(|v| v.as_bytes() == b"gzip");
    let request = WriteRequest {
        caller,
        database,
        retention_policy,
        precision,
        format,
        measurement: form.text("measurement").to_owned(),
        body: encoded,
        from: WriteSource::Http,
        consistency,
        default_time: received(&head.headers),
    };
    let shared = state.clone();
    let work = move || {
        let _turn = turn;
        let mut request = request;
        if gzip {
            request.body = body::inflate(&request.body, &mut share, &shared.http.options)?;
        }
        HTTPD.write_req_bytes.add(request.body.len() as i64);
        let result = shared.http.ingestion.write(request).map_err(ApiError::from);
        drop(share);
        result
    };
    crate::blocking::spawn(work).await.map_err(task_failed)?
}
