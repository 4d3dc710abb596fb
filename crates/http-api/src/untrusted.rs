//! What is read of bodies that anybody may send, without a server around it: for the fuzzer.

use std::collections::BTreeMap;

use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, HeaderValue};
use bytes::Bytes;
use hyperbytedb_application::Parameter;
use hyperbytedb_domain::ports::Credentials;

use crate::admission::BodyBudget;
use crate::form::Form;
use crate::options::HttpOptions;
use crate::v2;
use crate::{auth, bind, prometheus};

/// Bytes that the bodies may unpack to.
const BUDGET_BYTES: usize = 16 << 20;

/// What the predicate of a delete selects: a measurement, and tags with their values.
pub type Selection = (Option<String>, Vec<(String, String)>);

pub fn delete_predicate(text: &str) -> Option<Selection> {
    let selection = v2::predicate::parse(text).ok()?;
    Some((selection.measurement, selection.tags))
}

/// Whom a URL's query and an `Authorization` header say that a request is from.
pub fn credentials(query: &str, header: &[u8]) -> Credentials {
    let value = HeaderValue::from_bytes(header).ok();
    let headers = value.map(|value| (AUTHORIZATION, value)).into_iter().collect::<HeaderMap>();
    auth::credentials(&headers, &Form::from_query(Some(query)))
}

/// What `params` binds.
pub fn parameters(json: &str) -> Option<BTreeMap<String, Parameter>> {
    bind::parameters(json).ok()
}

/// The lines of a remote write, how many samples it has, and how many of them no line can say.
pub fn prometheus_write(body: &Bytes) -> Option<(String, usize, u64)> {
    let message: prometheus::WriteMessage = decode(body)?;
    let samples = message.timeseries.iter().map(|series| series.samples.len()).sum();
    let mut lines = String::new();
    let dropped = message.timeseries.iter().map(|series| prometheus::print(series, &mut lines)).sum();
    Some((lines, samples, dropped))
}

/// The statements of a remote read over these measurements, with what is bound to their names.
pub fn prometheus_read(
    body: &Bytes,
    measurements: &[String],
) -> Option<Vec<(String, BTreeMap<String, Parameter>)>> {
    let message: prometheus::ReadMessage = decode(body)?;
    message.queries.iter().map(|query| prometheus::statement(query, measurements).ok()).collect()
}

fn decode<M: prost::Message + Default>(body: &Bytes) -> Option<M> {
    let mut share = BodyBudget::new(BUDGET_BYTES).share();
    let options = HttpOptions { max_inflated_body_bytes: BUDGET_BYTES, ..HttpOptions::default() };
    prometheus::decode(body, &mut share, &options).ok()
}
