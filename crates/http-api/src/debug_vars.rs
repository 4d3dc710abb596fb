//! `/debug/vars`: what SHOW STATS counts, as Telegraf's `inputs.influxdb` reads it.

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{Response, StatusCode};
use hyperbytedb_application::QueryRequest;
use hyperbytedb_domain::FieldValue;
use hyperbytedb_domain::ports::Caller;
use hyperbytedb_domain::result::SeriesBlock;
use serde_json::{Map, Value, json};

use crate::encode::Format;
use crate::error::ApiError;
use crate::{AppState, auth, collect, status};

/// Who may see `/metrics` may see it.
pub async fn debug_vars(State(state): State<AppState>, request: Request) -> Response<Body> {
    let (head, _) = request.into_parts();
    let answer = async {
        if state.http.options.metrics_auth {
            auth::caller(&state, &head).await?;
        }
        let request = QueryRequest {
            text: "SHOW STATS".to_owned(),
            caller: Caller::Trusted,
            ..QueryRequest::default()
        };
        collect::run(&state, request, Map::new(), add).await
    };
    match answer.await {
        Ok(modules) => status::json(StatusCode::OK, &Value::Object(modules)),
        Err(error) => error.respond(Format::Json, false),
    }
}

/// A module's entry is called by its name and what of these tags it has, as InfluxDB calls it.
const KEY_TAGS: [&str; 6] = ["proto", "bind", "database", "retention_policy", "name", "destination"];

fn add(modules: &mut Map<String, Value>, block: SeriesBlock) -> Result<(), ApiError> {
    let tags: Map<String, Value> =
        block.tags.iter().flat_map(|tags| tags.iter()).map(|(k, v)| (k.clone(), v.as_str().into())).collect();
    let mut key = block.name.to_string();
    let named = KEY_TAGS.iter().filter_map(|tag| tags.get(*tag).and_then(Value::as_str));
    named.for_each(|value| key.extend([":", value]));
    for row in block.rows() {
        let values: Map<String, Value> = block.columns.iter().cloned().zip(row.iter().map(as_json)).collect();
        if *block.name == *"runtime" {
            // Go puts its memory there, and Telegraf has a measurement of it.
            modules.insert("memstats".to_owned(), values.clone().into());
        }
        modules.insert(key.clone(), json!({ "name": *block.name, "tags": tags, "values": values }));
    }
    Ok(())
}

fn as_json(value: &FieldValue) -> Value {
    match value {
        FieldValue::Null => Value::Null,
        FieldValue::Float(value) => json!(value),
        FieldValue::Integer(value) | FieldValue::Time(value) => json!(value),
        FieldValue::Unsigned(value) => json!(value),
        FieldValue::String(value) => json!(**value),
        FieldValue::Boolean(value) => json!(value),
        FieldValue::Strings(values) => json!(**values),
    }
}
