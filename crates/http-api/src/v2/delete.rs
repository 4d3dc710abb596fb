//! `/api/v2/delete`: points of a bucket between two times, as one DELETE statement.

use std::collections::BTreeMap;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::Response;
use hyperbytedb_application::{Parameter, QueryRequest};
use hyperbytedb_domain::time::{MAX_TIME, MIN_TIME};
use jiff::Timestamp;
use serde::Deserialize;

use super::{from_json, parse_bucket, policy_of, predicate, read};
use crate::error::ApiError;
use crate::form::Form;
use crate::{AppState, collect, status};

/// Both times are included.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Range {
    start: String,
    stop: String,
    predicate: Option<String>,
}

pub async fn delete(State(state): State<AppState>, request: Request) -> Response<Body> {
    match run(&state, request).await {
        Ok(()) => status::no_content(),
        Err(error) => error.respond_v2(),
    }
}

async fn run(state: &AppState, request: Request) -> Result<(), ApiError> {
    let (caller, head, body) = read(state, request).await?;
    let form = Form::from_query(head.uri.query());
    let bucket = form.text("bucket");
    let (database, policy) = parse_bucket(bucket)?;
    let range: Range = from_json(&body)?;
    let (start, stop) = (time("start", &range.start)?, time("stop", &range.stop)?);
    let selection = predicate::parse(range.predicate.as_deref().unwrap_or_default())?;
    let policy = policy_of(state, bucket, database, policy).await?;

    // Names and values are bound, never part of the text.
    let mut parameters = BTreeMap::from([("rp".to_owned(), Parameter::Identifier(policy.name.clone()))]);
    let mut text = match selection.measurement {
        Some(name) => {
            parameters.insert("m".to_owned(), Parameter::Identifier(name));
            "DELETE FROM $rp.$m".to_owned()
        }
        None => "DELETE FROM $rp./.*/".to_owned(),
    };
    text.push_str(&format!(" WHERE time >= {start} AND time <= {stop}"));
    for (i, (key, value)) in selection.tags.into_iter().enumerate() {
        text.push_str(&format!(" AND $k{i} = $v{i}"));
        parameters.insert(format!("k{i}"), Parameter::Identifier(key));
        parameters.insert(format!("v{i}"), Parameter::String(value));
    }
    let database = database.to_owned();
    collect::execute(state, QueryRequest { caller, text, database, parameters, ..QueryRequest::default() })
        .await
}

/// Nanoseconds since 1970. What no point can have is the first or the last time that one can.
fn time(name: &str, text: &str) -> Result<i64, ApiError> {
    let time: Timestamp = text.parse().map_err(|_| {
        ApiError::bad_request(format!(
            "invalid {name} {text:?}: it must be a time such as 2020-01-01T00:00:00Z"
        ))
    })?;
    Ok(time.as_nanosecond().clamp(MIN_TIME.into(), MAX_TIME.into()) as i64)
}
