//! The JSON of `/api/put`: a point, or a list of them.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;

use crate::{MILLISECOND, SECOND, print_point};

/// From here on a time is in milliseconds.
const MILLISECONDS_FROM: i64 = 10_000_000_000;

/// Why a body is none, in InfluxDB's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    #[error("peek error: EOF")]
    Empty,
    #[error("expected JSON array or hash")]
    Kind,
    #[error("json array decode error")]
    Array,
    #[error("json object decode error")]
    Object,
}

/// How many points a body has, and how many of them can be none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Printed {
    pub points: usize,
    pub invalid: usize,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Point<'a> {
    #[serde(borrow)]
    metric: Option<Cow<'a, str>>,
    timestamp: Option<i64>,
    value: Option<f64>,
    #[serde(borrow)]
    tags: Option<BTreeMap<Cow<'a, str>, Option<Cow<'a, str>>>>,
}

/// Appends the points of a body. What follows its first value is not looked at.
pub fn print_json(body: &[u8], out: &mut String) -> Result<Printed, JsonError> {
    let points: Vec<Point<'_>> = match body.first() {
        None => return Err(JsonError::Empty),
        Some(b'[') => first(body).ok_or(JsonError::Array)?,
        Some(b'{') => vec![first(body).ok_or(JsonError::Object)?],
        Some(_) => return Err(JsonError::Kind),
    };
    let mut printed = Printed::default();
    for point in &points {
        let is_printed = print(point, out);
        printed.points += usize::from(is_printed);
        printed.invalid += usize::from(!is_printed);
    }
    Ok(printed)
}

fn first<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Option<T> {
    serde_json::Deserializer::from_slice(body).into_iter().next()?.ok()
}

/// What is missing is 0, or empty.
fn print(point: &Point<'_>, out: &mut String) -> bool {
    let tags = point.tags.iter().flatten();
    let tags = tags.map(|(key, value)| (&**key, value.as_deref().unwrap_or_default())).collect();
    let timestamp = point.timestamp.unwrap_or(0);
    let unit = if timestamp < MILLISECONDS_FROM { SECOND } else { MILLISECOND };
    let metric = point.metric.as_deref().unwrap_or_default();
    print_point(metric, &tags, point.value.unwrap_or(0.0), timestamp.checked_mul(unit), out)
}
