//! `/api/v1/statements`: what the statements that ran have cost.

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{Method, Response, StatusCode};
use hyperbytedb_application::statement_summary::{SORT_KEYS, StatementRow};
use hyperbytedb_domain::settings;

use crate::encode::Format;
use crate::error::ApiError;
use crate::form::Form;
use crate::{AppState, auth, status};

const DEFAULT_SORT_KEY: &str = "sum_latency_us";

/// GET lists them, DELETE forgets them.
pub async fn statements(State(state): State<AppState>, request: Request) -> Response<Body> {
    let (head, _) = request.into_parts();
    let form = Form::from_query(head.uri.query());
    let answer = match auth::admin(&state, &head).await {
        Ok(_) if head.method == Method::DELETE => clear(&state),
        Ok(_) => list(&state, &form),
        Err(error) => Err(error),
    };
    answer.unwrap_or_else(|error| error.respond(Format::Json, form.is_true("pretty")))
}

fn clear(state: &AppState) -> Result<Response<Body>, ApiError> {
    enabled(state)?;
    state.http.statement_summary.clear();
    Ok(status::no_content())
}

fn list(state: &AppState, form: &Form) -> Result<Response<Body>, ApiError> {
    enabled(state)?;
    let sort_key = form.get("sort_by").filter(|key| !key.is_empty()).unwrap_or(DEFAULT_SORT_KEY);
    if !SORT_KEYS.contains(&sort_key) {
        return Err(invalid("sort_by", sort_key, &SORT_KEYS.join(", ")));
    }
    let ascending = match form.text("order").to_ascii_lowercase().as_str() {
        "" | "desc" => false,
        "asc" => true,
        other => return Err(invalid("order", other, "asc or desc")),
    };
    let limit = match form.text("limit") {
        "" => usize::MAX,
        text => text.parse().map_err(|_| invalid("limit", text, "a number"))?,
    };
    let (database, kind) = (form.text("db"), form.text("stmt_type"));
    let mut rows = state.http.statement_summary.rows();
    rows.retain(|row| {
        (database.is_empty() || row.db == database)
            && (kind.is_empty() || row.stmt_type.eq_ignore_ascii_case(kind))
    });
    let by_key = |a: &StatementRow, b: &StatementRow| {
        let order = a.compare(b, sort_key);
        // Rows that are equal keep one order.
        (if ascending { order } else { order.reverse() })
            .then_with(|| (&a.digest, &a.db).cmp(&(&b.digest, &b.db)))
    };
    rows.sort_by(by_key);
    rows.truncate(limit);
    Ok(status::json(StatusCode::OK, &serde_json::json!({ "statements": rows })))
}

fn enabled(state: &AppState) -> Result<(), ApiError> {
    if state.http.statement_summary.is_enabled() {
        return Ok(());
    }
    let text = format!("no summary of statements is kept ({})", settings::STATEMENT_SUMMARY_ENABLED);
    Err(ApiError::new(StatusCode::NOT_FOUND, text))
}

fn invalid(name: &str, value: &str, expected: &str) -> ApiError {
    ApiError::bad_request(format!("invalid {name} {value:?}: it must be {expected}"))
}
