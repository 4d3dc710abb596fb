//! `/api/v2/buckets`: retention policies as buckets, named and identified by `database/retention-policy`.

use std::collections::BTreeMap;

use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::{Method, Response, StatusCode};
use hyperbytedb_application::auth::access::Access;
use hyperbytedb_application::{Parameter, QueryRequest};
use hyperbytedb_domain::catalog::{Database, RetentionPolicy};
use hyperbytedb_domain::ports::Caller;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{from_json, parse_bucket, policy_of, read};
use crate::error::ApiError;
use crate::form::Form;
use crate::{AppState, admission, collect, status};

const DEFAULT_POLICY: &str = "autogen";
const DEFAULT_LIMIT: usize = 20;
const LIMIT_MAX: usize = 100;
const NANOSECONDS: i64 = 1_000_000_000;
/// Clients want one.
const NO_ORGANIZATION: &str = "0000000000000000";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Rule {
    #[serde(default)]
    every_seconds: i64,
    shard_group_duration_seconds: Option<i64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Change {
    name: Option<String>,
    #[serde(default)]
    retention_rules: Vec<Rule>,
}

/// GET lists the buckets that the caller may see, POST makes one.
pub async fn buckets(State(state): State<AppState>, request: Request) -> Response<Body> {
    let is_post = request.method() == Method::POST;
    let answer = async {
        let (caller, head, body) = read(&state, request).await?;
        if is_post {
            create(&state, caller, from_json(&body)?).await
        } else {
            list(&state, &caller, &Form::from_query(head.uri.query())).await
        }
    };
    answer.await.unwrap_or_else(|error| error.respond_v2())
}

/// GET shows a bucket, PATCH changes its retention, DELETE drops its policy.
pub async fn bucket(
    State(state): State<AppState>,
    Path(id): Path<String>,
    request: Request,
) -> Response<Body> {
    let method = request.method().clone();
    let answer = async {
        let (caller, _, body) = read(&state, request).await?;
        match method {
            Method::DELETE => remove(&state, caller, &id).await,
            Method::PATCH => update(&state, caller, &id, from_json(&body)?).await,
            _ => {
                let (database, name) = parse_bucket(&id)?;
                let policy = policy_of(&state, &id, database, name).await?;
                let visible = Access::of(&caller, &state.http.schema.catalog()).may_see(database);
                if !visible {
                    return Err(super::no_bucket(&id));
                }
                Ok(status::json(StatusCode::OK, &described(database, &policy)))
            }
        }
    };
    answer.await.unwrap_or_else(|error| error.respond_v2())
}

async fn list(state: &AppState, caller: &Caller, form: &Form) -> Result<Response<Body>, ApiError> {
    admission::ready(&state.http.readiness, state.http.options.replay_timeout).await?;
    let number = |name: &str, default: usize| match form.text(name) {
        "" => Ok(default),
        text => text.parse().map_err(|_| ApiError::bad_request(format!("invalid {name} {text:?}"))),
    };
    let (offset, limit) = (number("offset", 0)?, number("limit", DEFAULT_LIMIT)?);
    if limit == 0 || limit > LIMIT_MAX {
        return Err(ApiError::bad_request(format!("invalid limit {limit}: it must be 1 to {LIMIT_MAX}")));
    }
    let catalog = state.http.schema.catalog();
    let access = Access::of(caller, &catalog);
    let visible = catalog.databases_in_order().into_iter().filter(|db| access.may_see(&db.name));
    let wanted = |database: &Database, policy: &RetentionPolicy| {
        let is = |text: &str| {
            parse_bucket(text).is_ok_and(|(name, rp)| {
                let rp = if rp.is_empty() { database.default_retention_policy.as_str() } else { rp };
                name == database.name && rp == policy.name
            })
        };
        form.get("name").is_none_or(is)
            && form.get("id").is_none_or(is)
            && form.get("after").is_none_or(|after| name(&database.name, policy).as_str() > after)
    };
    let mut found: Vec<(String, Value)> = Vec::new();
    for database in visible {
        for policy in database.policies_in_order() {
            if wanted(database, policy) {
                found.push((name(&database.name, policy), described(&database.name, policy)));
            }
        }
    }
    // In an order that `after` can go on in.
    found.sort_by(|a, b| a.0.cmp(&b.0));
    let page: Vec<Value> = found.into_iter().skip(offset).take(limit).map(|(_, bucket)| bucket).collect();
    Ok(status::json(StatusCode::OK, &json!({ "links": { "self": "/api/v2/buckets" }, "buckets": page })))
}

async fn create(state: &AppState, caller: Caller, change: Change) -> Result<Response<Body>, ApiError> {
    admission::ready(&state.http.readiness, state.http.options.replay_timeout).await?;
    let bucket = change.name.clone().unwrap_or_default();
    let (database, policy) = parse_bucket(&bucket)?;
    let policy = if policy.is_empty() { DEFAULT_POLICY } else { policy };
    let (duration, shard_duration) = durations(&change)?;
    let (duration, shard) = (duration.unwrap_or(0), shard_clause(shard_duration));
    let catalog = state.http.schema.catalog();
    let text = match catalog.database(database) {
        Some(found) if found.retention_policies.contains_key(policy) => {
            let text = format!("bucket with name {database}/{policy} already exists");
            return Err(ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, text));
        }
        Some(found) => {
            let default = if found.retention_policies.is_empty() { " DEFAULT" } else { "" };
            format!(
                "CREATE RETENTION POLICY $rp ON $db DURATION {} REPLICATION 1{shard}{default}",
                literal(duration)
            )
        }
        None => {
            format!("CREATE DATABASE $db WITH DURATION {} REPLICATION 1{shard} NAME $rp", literal(duration))
        }
    };
    run(state, caller, text, database, policy).await?;
    let made = policy_of(state, &bucket, database, policy).await?;
    Ok(status::json(StatusCode::CREATED, &described(database, &made)))
}

async fn update(
    state: &AppState,
    caller: Caller,
    id: &str,
    change: Change,
) -> Result<Response<Body>, ApiError> {
    let (database, policy) = parse_bucket(id)?;
    let policy = policy_of(state, id, database, policy).await?;
    if change.name.as_ref().is_some_and(|new| *new != name(database, &policy)) {
        return Err(ApiError::bad_request("a bucket cannot be renamed"));
    }
    let (duration, shard_duration) = durations(&change)?;
    if let Some(duration) = duration {
        let shard = shard_clause(shard_duration);
        let text = format!("ALTER RETENTION POLICY $rp ON $db DURATION {}{shard}", literal(duration));
        run(state, caller, text, database, &policy.name).await?;
    }
    let changed = policy_of(state, id, database, &policy.name).await?;
    Ok(status::json(StatusCode::OK, &described(database, &changed)))
}

async fn remove(state: &AppState, caller: Caller, id: &str) -> Result<Response<Body>, ApiError> {
    let (database, policy) = parse_bucket(id)?;
    let policy = policy_of(state, id, database, policy).await?;
    run(state, caller, "DROP RETENTION POLICY $rp ON $db".to_owned(), database, &policy.name).await?;
    Ok(status::no_content())
}

async fn run(
    state: &AppState,
    caller: Caller,
    text: String,
    database: &str,
    policy: &str,
) -> Result<(), ApiError> {
    let name = |text: &str| Parameter::Identifier(text.to_owned());
    let parameters = BTreeMap::from([("db".to_owned(), name(database)), ("rp".to_owned(), name(policy))]);
    collect::execute(state, QueryRequest { caller, text, parameters, ..QueryRequest::default() }).await
}

/// The retention and the shard duration in seconds, where they are given.
fn durations(change: &Change) -> Result<(Option<i64>, Option<i64>), ApiError> {
    let rule = match change.retention_rules.as_slice() {
        [] => return Ok((None, None)),
        [rule] => rule,
        _ => return Err(ApiError::bad_request("a bucket has one retention rule at most")),
    };
    let shard = rule.shard_group_duration_seconds;
    if [rule.every_seconds, shard.unwrap_or(0)].iter().any(|s| !(0..=i64::MAX / NANOSECONDS).contains(s)) {
        return Err(ApiError::bad_request("invalid retention rule: seconds are out of range"));
    }
    Ok((Some(rule.every_seconds), shard.filter(|&seconds| seconds > 0)))
}

fn shard_clause(seconds: Option<i64>) -> String {
    seconds.map_or_else(String::new, |seconds| format!(" SHARD DURATION {seconds}s"))
}

/// As a statement has it; 0 is for ever.
fn literal(seconds: i64) -> String {
    if seconds == 0 { "INF".to_owned() } else { format!("{seconds}s") }
}

fn name(database: &str, policy: &RetentionPolicy) -> String {
    format!("{database}/{}", policy.name)
}

fn described(database: &str, policy: &RetentionPolicy) -> Value {
    let name = name(database, policy);
    let rule = json!({
        "type": "expire",
        "everySeconds": policy.duration / NANOSECONDS,
        "shardGroupDurationSeconds": policy.shard_duration / NANOSECONDS,
    });
    json!({
        "id": name,
        "orgID": NO_ORGANIZATION,
        "type": "user",
        "name": name,
        "rp": policy.name,
        "retentionRules": [rule],
        "labels": [],
    })
}
