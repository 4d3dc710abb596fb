//! `/api/v1/sql`, also `/api/v1/chdb`: ClickHouse's SQL for operators, with the parameters of ClickHouse's own interface.

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, Method, Response, StatusCode};
use hyperbytedb_application::sql::SqlRequest;
use hyperbytedb_domain::ports::{SqlAnswer, SqlError};
use hyperbytedb_domain::{CancelToken, limits, settings};

use crate::encode::Format;
use crate::error::{ApiError, internal_text, task_failed};
use crate::form::Form;
use crate::{AppState, admission, auth, body, collect};

/// ClickHouse's own default.
const DEFAULT_FORMAT: &str = "TabSeparated";
const PARAMETER_PREFIX: &str = "param_";

pub async fn sql(State(state): State<AppState>, request: Request) -> Response<Body> {
    match answer(&state, request).await {
        Ok(answer) => {
            let mut response = Response::new(Body::from(answer.body));
            let headers = response.headers_mut();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type(&answer.format)));
            if let Ok(format) = HeaderValue::from_str(&answer.format) {
                headers.insert("x-clickhouse-format", format);
            }
            response
        }
        Err(error) => error.respond(Format::Json, false),
    }
}

async fn answer(state: &AppState, request: Request) -> Result<SqlAnswer, ApiError> {
    let (head, sent) = request.into_parts();
    let (caller, sent) = auth::enter(state, &head, sent).await?;
    let Some(sql) = state.http.sql.clone() else {
        body::discard(sent).await;
        let text = format!("SQL is not enabled ({})", settings::SQL_ENABLED);
        return Err(ApiError::new(StatusCode::FORBIDDEN, text));
    };
    let caller = auth::require_admin(state, caller)?;
    let mut form = Form::from_query(head.uri.query());
    let mut text = form.text("query").to_owned();
    if head.method == Method::POST {
        let mut share = state.body_budget.share();
        let sent = body::read(&head.headers, sent, &mut share, &state.http.options).await?;
        if form.add_body(&head.headers, sent.clone()).await? {
            text = form.text("query").to_owned();
        } else {
            // As in ClickHouse the body goes on with the parameter.
            let body = std::str::from_utf8(&sent)
                .map_err(|_| ApiError::bad_request("the statement is not valid UTF-8"))?;
            text = format!("{text}\n{body}");
        }
    }
    let named_format = head.headers.get("x-clickhouse-format").and_then(|value| value.to_str().ok());
    let named_format = form.get("default_format").or(named_format).unwrap_or(DEFAULT_FORMAT);
    let parameters = form.pairs().filter_map(|(name, value)| {
        Some((name.strip_prefix(PARAMETER_PREFIX)?.to_owned(), value.to_owned()))
    });
    let request = SqlRequest {
        text: text.trim().to_owned(),
        parameters: parameters.collect(),
        database: form.get("database").unwrap_or_else(|| form.text("db")).to_owned(),
        retention_policy: form.text("rp").to_owned(),
        format: named_format.to_owned(),
        max_result_bytes: state.http.options.max_sql_result_bytes,
        caller,
        cancel: CancelToken::default(),
    };
    admission::ready(&state.http.readiness, state.http.options.replay_timeout).await?;
    let turn = state.sql_gate.enter().await?;
    let _stop = collect::StopWhenDropped(request.cancel.clone());
    let work = move || {
        let _turn = turn;
        sql.run_sql(&request)
    };
    crate::blocking::spawn(work).await.map_err(task_failed)?.map_err(ApiError::from)
}

impl From<SqlError> for ApiError {
    fn from(error: SqlError) -> Self {
        match error {
            SqlError::Engine(error) if error.is_internal() => Self::internal(internal_text(&error)),
            SqlError::TooLarge => {
                let text = error.to_string();
                Self::too_much(StatusCode::BAD_REQUEST, settings::SQL_MAX_RESULT_BYTES, text)
            }
            SqlError::Engine(error) => {
                error.limit().into_iter().for_each(limits::exceeded);
                Self::bad_request(error.to_string())
            }
            error => Self::bad_request(error.to_string()),
        }
    }
}

fn content_type(format: &str) -> &'static str {
    match format {
        f if f.contains("EachRow") => "application/x-ndjson; charset=utf-8",
        f if f.starts_with("JSON") => "application/json; charset=utf-8",
        f if f.starts_with("CSV") => "text/csv; charset=utf-8",
        f if f.starts_with("TabSeparated") => "text/tab-separated-values; charset=utf-8",
        "XML" => "application/xml; charset=utf-8",
        "Markdown" => "text/markdown; charset=utf-8",
        "Values" | "Vertical" | "Null" => "text/plain; charset=utf-8",
        f if f.starts_with("Pretty") => "text/plain; charset=utf-8",
        "ArrowStream" => "application/vnd.apache.arrow.stream",
        "Arrow" => "application/vnd.apache.arrow.file",
        "Parquet" => "application/vnd.apache.parquet",
        "MsgPack" => "application/x-msgpack",
        _ => "application/octet-stream",
    }
}
