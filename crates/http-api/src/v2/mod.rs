//! InfluxDB 2's endpoints as far as InfluxDB 1.x has them, for clients of both: a bucket is a database and a retention
//! policy, a token is `user:password`, and there are no organizations.

mod buckets;
mod delete;
pub mod predicate;

use std::sync::Arc;

use axum::body::Body;
use axum::extract::Request;
use axum::http::request::Parts;
use axum::http::{Response, StatusCode};
use bytes::Bytes;
use hyperbytedb_domain::catalog::RetentionPolicy;
use hyperbytedb_domain::ports::Caller;
use serde::de::DeserializeOwned;

use crate::error::ApiError;
use crate::{AppState, admission, auth, body};

pub use buckets::{bucket, buckets};
pub use delete::delete;

/// `database` or `database/retention-policy`; an empty policy is the default one. InfluxDB's texts.
pub fn parse_bucket(bucket: &str) -> Result<(&str, &str), ApiError> {
    let not_found = |text: String| ApiError::new(StatusCode::NOT_FOUND, text);
    match bucket.split_once('/') {
        Some(("", _)) => {
            Err(not_found(format!("bucket name {bucket:?} is in db/rp form but has an empty database")))
        }
        Some(parts) => Ok(parts),
        None if bucket.is_empty() => Err(not_found(
            "bucket name \"\" is missing a slash; not in \"database/retention-policy\" format".to_owned(),
        )),
        None => Ok((bucket, "")),
    }
}

/// The policy that a bucket is. `name` empty: the default one.
async fn policy_of(
    state: &AppState,
    bucket: &str,
    database: &str,
    name: &str,
) -> Result<Arc<RetentionPolicy>, ApiError> {
    admission::ready(&state.http.readiness, state.http.options.replay_timeout).await?;
    let catalog = state.http.schema.catalog();
    let policy = catalog.database(database).and_then(|database| database.retention_policy(name));
    policy.cloned().ok_or_else(|| no_bucket(bucket))
}

fn no_bucket(bucket: &str) -> ApiError {
    ApiError::new(StatusCode::NOT_FOUND, format!("bucket {bucket:?} not found"))
}

/// Flux is another language.
pub async fn query(request: Request) -> Response<Body> {
    body::discard(request.into_body()).await;
    let text = "Flux is not supported: send InfluxQL to /query";
    ApiError::new(StatusCode::FORBIDDEN, text).respond_v2()
}

/// Whom a request is from, and its body. Bodies of these endpoints are small.
async fn read(state: &AppState, request: Request) -> Result<(Caller, Parts, Bytes), ApiError> {
    let (head, sent) = request.into_parts();
    let (caller, sent) = auth::enter(state, &head, sent).await?;
    let mut share = state.body_budget.share();
    let bytes = body::read(&head.headers, sent, &mut share, &state.http.options).await?;
    Ok((caller, head, bytes))
}

fn from_json<T: DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    serde_json::from_slice(body)
        .map_err(|error| ApiError::bad_request(format!("error decoding json body: {error}")))
}
