//! What senders of OpenTSDB say, as line protocol: `put metric time value tag=value…` and the JSON of `/api/put`. A metric is a
//! measurement with the field `value`, as in InfluxDB 1.x, whose behaviour this is.

mod json;
mod line;

use std::collections::BTreeMap;

use hyperbytedb_domain::FieldValue;
use hyperbytedb_line_protocol::PointPrinter;

pub use json::{JsonError, Printed, print_json};
pub use line::{LineError, Said, read_line};

const FIELD: &str = "value";
const SECOND: i64 = 1_000_000_000;
const MILLISECOND: i64 = 1_000_000;

/// Appends a point; false: it can be none.
fn print_point(
    metric: &str,
    tags: &BTreeMap<&str, &str>,
    value: f64,
    time: Option<i64>,
    out: &mut String,
) -> bool {
    let Some(time) = time else { return false };
    if metric.is_empty() || tags.keys().any(|key| key.is_empty()) {
        return false;
    }
    let mut point = PointPrinter::begin(out, metric);
    // InfluxDB leaves out what has no value.
    tags.iter().filter(|(_, value)| !value.is_empty()).for_each(|(key, value)| {
        point.tag(key, value);
    });
    point.field(FIELD, &FieldValue::Float(value));
    point.end(time);
    true
}

#[cfg(test)]
mod tests;
