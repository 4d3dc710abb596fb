//! Remote write: samples to line protocol, which then goes the way of every write.

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::Response;
use hyperbytedb_domain::ports::{WriteError, WriteRequest, WriteSource};
use hyperbytedb_domain::{FieldValue, Precision};
use hyperbytedb_line_protocol::PointPrinter;
use hyperbytedb_metrics as metrics;

use super::messages::{self, TimeSeries};
use super::{FIELD, NAME_LABEL, decode};
use crate::encode::Format;
use crate::error::{ApiError, task_failed};
use crate::form::Form;
use crate::{AppState, admission, auth, body, status};

/// InfluxDB's measurement for samples without a name.
const UNNAMED: &str = "prom_metric_not_specified";

pub async fn write(State(state): State<AppState>, request: Request) -> Response<Body> {
    match accept(state, request).await {
        Ok(()) => status::no_content(),
        Err(error) => error.respond(Format::Json, false),
    }
}

async fn accept(state: AppState, request: Request) -> Result<(), ApiError> {
    let (head, sent) = request.into_parts();
    let (caller, sent) = auth::enter(&state, &head, sent).await?;
    let form = Form::from_query(head.uri.query());
    let (database, retention_policy) = (form.text("db").to_owned(), form.text("rp").to_owned());
    let mut share = state.body_budget.share();
    let sent = body::read(&head.headers, sent, &mut share, &state.http.options).await?;
    if database.is_empty() {
        return Err(WriteError::DatabaseRequired.into());
    }
    admission::ready(&state.http.readiness, state.http.options.replay_timeout).await?;
    let turn = state.write_gate.enter().await?;
    let work = move || {
        let _turn = turn;
        let message: messages::WriteRequest = decode(&sent, &mut share, &state.http.options)?;
        let mut lines = String::new();
        let mut dropped = 0;
        for series in &message.timeseries {
            dropped += print(series, &mut lines);
            share.grow_to(sent.len() + lines.len())?;
        }
        drop(message);
        if dropped > 0 {
            metrics::PROMETHEUS_DROPPED_SAMPLES.increment(dropped);
        }
        let lines = WriteRequest::lines(WriteSource::Http, database, retention_policy, lines);
        let request = WriteRequest { caller, ..lines };
        state.http.ingestion.write(request).map_err(ApiError::from)
    };
    crate::blocking::spawn(work).await.map_err(task_failed)?
}

/// Appends a line for each sample; returns how many have a value that no field can have.
pub fn print(series: &TimeSeries, lines: &mut String) -> u64 {
    let name = series.labels.iter().rfind(|label| label.name == NAME_LABEL);
    let measurement = name.map_or(UNNAMED, |label| label.value.as_str());
    let mut dropped = 0;
    for sample in &series.samples {
        let time = sample.timestamp.checked_mul(Precision::Millisecond.nanoseconds());
        let (true, Some(time)) = (sample.value.is_finite(), time) else {
            dropped += 1;
            continue;
        };
        let mut point = PointPrinter::begin(lines, measurement);
        series.labels.iter().for_each(|label| point.tag(&label.name, &label.value));
        point.field(FIELD, &FieldValue::Float(sample.value));
        point.end(time);
    }
    dropped
}

#[cfg(test)]
mod tests {
    use super::messages::{Label, Sample};
    use super::*;

    #[test]
    fn samples_become_lines() {
        let label = |name: &str, value: &str| Label { name: name.into(), value: value.into() };
        let sample = |value, timestamp| Sample { value, timestamp };
        let labels = vec![label("__name__", "up"), label("job", "a b"), label("none", "")];
        let values = [1.5, f64::NAN, f64::INFINITY, f64::NEG_INFINITY];
        let mut samples: Vec<Sample> = values.iter().map(|&value| sample(value, 1_000)).collect();
        samples.extend([sample(2.0, 1_001), sample(3.0, i64::MAX)]);
        let mut lines = String::new();
        assert_eq!(print(&TimeSeries { labels, samples }, &mut lines), 4);
        let expected =
            "up,__name__=up,job=a\\ b value=1.5 1000000000\nup,__name__=up,job=a\\ b value=2 1001000000\n";
        assert_eq!(lines, expected);
        lines.clear();
        assert_eq!(print(&TimeSeries { labels: vec![], samples: vec![sample(0.0, 0)] }, &mut lines), 0);
        assert_eq!(lines, "prom_metric_not_specified value=0 0\n");
    }
}
