//! Remote read: matchers to one SELECT, its series to samples.

use std::collections::BTreeMap;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use axum::http::{HeaderValue, Response, StatusCode};
use hyperbytedb_application::{Parameter, QueryRequest};
use hyperbytedb_domain::catalog::RetentionPolicy;
use hyperbytedb_domain::result::SeriesBlock;
use hyperbytedb_domain::time::{MAX_TIME, MIN_TIME};
use hyperbytedb_domain::{FieldType, FieldValue, Precision, settings};
use prost::Message;
use regex::Regex;

use super::messages::{
    Label, MatchType, Matcher, Query, QueryResult, ReadRequest, ReadResponse, Sample, TimeSeries,
};
use super::{FIELD, NAME_LABEL, decode};
use crate::encode::Format;
use crate::error::{ApiError, task_failed};
use crate::form::Form;
use crate::{AppState, admission, auth, body, collect};

/// Bytes that a sample and a series take besides their texts.
const SAMPLE_BYTES: usize = size_of::<Sample>();
const SERIES_BYTES: usize = size_of::<TimeSeries>();

pub async fn read(State(state): State<AppState>, request: Request) -> Response<Body> {
    match answer(&state, request).await {
        Ok(packed) => {
            let mut response = Response::new(Body::from(packed));
            let headers = response.headers_mut();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static("snappy"));
            response
        }
        Err(error) => error.respond(Format::Json, false),
    }
}

async fn answer(state: &AppState, request: Request) -> Result<Vec<u8>, ApiError> {
    let (head, sent) = request.into_parts();
    let (caller, sent) = auth::enter(state, &head, sent).await?;
    let form = Form::from_query(head.uri.query());
    let (database, policy) = (form.text("db").to_owned(), form.text("rp").to_owned());
    let mut share = state.body_budget.share();
    let sent = body::read(&head.headers, sent, &mut share, &state.http.options).await?;
    let request: ReadRequest = decode(&sent, &mut share, &state.http.options)?;
    let [query] = request.queries.as_slice() else {
        let text = "Prometheus read endpoint currently only supports one query at a time";
        return Err(ApiError::bad_request(text));
    };
    if query.matchers.is_empty() {
        return Err(ApiError::bad_request("expected matcher"));
    }
    admission::ready(&state.http.readiness, state.http.options.replay_timeout).await?;
    let measurements = {
        let catalog = state.http.schema.catalog();
        let found = catalog.database(&database).ok_or_else(|| {
            ApiError::new(StatusCode::NOT_FOUND, format!("database not found: {database:?}"))
        })?;
        let policy = found.retention_policy(&policy).ok_or_else(|| {
            ApiError::new(StatusCode::NOT_FOUND, format!("retention policy not found: {policy}"))
        })?;
        measurements(policy, &query.matchers)?
    };
    let max_bytes = state.http.options.max_buffered_answer_bytes;
    let mut found = Found { series: Vec::new(), room: max_bytes };
    // Where no measurement is left the caller is still asked for his rights.
    let (text, parameters) = statement(query, &measurements)?;
    let request = QueryRequest {
        caller,
        text,
        database,
        retention_policy: policy,
        parameters,
        ..QueryRequest::default()
    };
    found = collect::run(state, request, found, Found::add).await?;
    let pack = move || {
        let result = QueryResult { timeseries: found.series };
        let message = ReadResponse { results: vec![result] }.encode_to_vec();
        snap::raw::Encoder::new()
            .compress_vec(&message)
            .map_err(|error| ApiError::internal(format!("the answer cannot be packed: {error}")))
    };
    crate::blocking::spawn(pack).await.map_err(task_failed)?
}

/// The measurements that the matchers of `__name__` leave, of those that have a number as `value`.
fn measurements(policy: &RetentionPolicy, matchers: &[Matcher]) -> Result<Vec<String>, ApiError> {
    let mut names: Vec<&String> = policy
        .tables
        .iter()
        .filter(|(_, table)| {
            let is_number = |t| matches!(t, FieldType::Float | FieldType::Integer | FieldType::Unsigned);
            table.field(FIELD).is_some_and(|(_, field_type)| is_number(field_type))
        })
        .map(|(name, _)| name)
        .collect();
    for matcher in matchers.iter().filter(|matcher| matcher.name == NAME_LABEL) {
        let value = &matcher.value;
        match matcher.match_type() {
            MatchType::Equal => names.retain(|name| *name == value),
            MatchType::NotEqual => names.retain(|name| *name != value),
            MatchType::Regex => {
                let regex = regex(value)?;
                names.retain(|name| regex.is_match(name));
            }
            MatchType::NotRegex => {
                let regex = regex(value)?;
                names.retain(|name| !regex.is_match(name));
            }
        }
    }
    Ok(names.into_iter().cloned().collect())
}

/// Prometheus' regular expressions match whole values.
fn anchored(source: &str) -> String {
    format!("^(?:{source})$")
}

fn regex(source: &str) -> Result<Regex, ApiError> {
    Regex::new(&anchored(source))
        .map_err(|_| ApiError::bad_request(format!("invalid regular expression {source:?}")))
}

/// Names and values are bound, never part of the text.
pub fn statement(
    query: &Query,
    measurements: &[String],
) -> Result<(String, BTreeMap<String, Parameter>), ApiError> {
    let mut parameters = BTreeMap::new();
    let mut sources: Vec<String> = Vec::with_capacity(measurements.len());
    for (i, name) in measurements.iter().enumerate() {
        parameters.insert(format!("m{i}"), Parameter::Identifier(name.clone()));
        sources.push(format!("$m{i}"));
    }
    if sources.is_empty() {
        // No measurement has such a name.
        sources.push("/^$/".to_owned());
    }
    let (start, end) = (nanoseconds(query.start_timestamp_ms), nanoseconds(query.end_timestamp_ms));
    let mut text =
        format!("SELECT {FIELD} FROM {} WHERE time >= {start} AND time <= {end}", sources.join(", "));
    let labels = query.matchers.iter().filter(|matcher| matcher.name != NAME_LABEL);
    for (i, matcher) in labels.enumerate() {
        let (operator, value) = match matcher.match_type() {
            MatchType::Equal => ("=", Parameter::String(matcher.value.clone())),
            MatchType::NotEqual => ("!=", Parameter::String(matcher.value.clone())),
            MatchType::Regex => ("=~", Parameter::Regex(anchored(&matcher.value))),
            MatchType::NotRegex => ("!~", Parameter::Regex(anchored(&matcher.value))),
        };
        text.push_str(&format!(" AND $k{i}::tag {operator} $v{i}"));
        parameters.insert(format!("k{i}"), Parameter::Identifier(matcher.name.clone()));
        parameters.insert(format!("v{i}"), value);
    }
    text.push_str(" GROUP BY *");
    Ok((text, parameters))
}

fn nanoseconds(milliseconds: i64) -> i64 {
    milliseconds.saturating_mul(Precision::Millisecond.nanoseconds()).clamp(MIN_TIME, MAX_TIME)
}

/// The answer as it grows.
struct Found {
    series: Vec<TimeSeries>,
    /// Bytes that it may still grow by.
    room: usize,
}

impl Found {
    fn add(&mut self, block: SeriesBlock) -> Result<(), ApiError> {
        let labels = labels(&block);
        if self.series.last().is_none_or(|last| last.labels != labels) {
            let text: usize = labels.iter().map(|label| label.name.len() + label.value.len()).sum();
            self.take(SERIES_BYTES + text + labels.len() * size_of::<Label>())?;
            self.series.push(TimeSeries { labels, samples: Vec::new() });
        }
        self.take(block.rows().count() * SAMPLE_BYTES)?;
        let Some(series) = self.series.last_mut() else { return Ok(()) };
        for row in block.rows() {
            let [FieldValue::Time(time), value] = row else { continue };
            let value = match value {
                FieldValue::Float(value) => *value,
                FieldValue::Integer(value) => *value as f64,
                FieldValue::Unsigned(value) => *value as f64,
                _ => continue,
            };
            let timestamp = time.div_euclid(Precision::Millisecond.nanoseconds());
            let sample = Sample { value, timestamp };
            match series.samples.last_mut() {
                // Prometheus knows no finer times: of one millisecond the last point counts.
                Some(last) if last.timestamp == timestamp => *last = sample,
                _ => series.samples.push(sample),
            }
        }
        Ok(())
    }

    fn take(&mut self, bytes: usize) -> Result<(), ApiError> {
        self.room = self.room.checked_sub(bytes).ok_or_else(|| {
            let limit = settings::HTTP_MAX_BUFFERED_ANSWER_BYTES;
            let text = format!(
                "the answer is larger than may be buffered ({limit}): ask for fewer series or less time"
            );
            ApiError::too_much(StatusCode::BAD_REQUEST, limit, text)
        })?;
        Ok(())
    }
}

/// In order of their names; an empty tag is none.
fn labels(block: &SeriesBlock) -> Vec<Label> {
    let tags = block.tags.iter().flat_map(|tags| tags.iter());
    let mut labels: Vec<Label> = tags
        .filter(|(name, value)| !value.is_empty() && name != NAME_LABEL)
        .map(|(name, value)| Label { name: name.clone(), value: value.clone() })
        .collect();
    labels.push(Label { name: NAME_LABEL.to_owned(), value: block.name.to_string() });
    labels.sort();
    labels
}
