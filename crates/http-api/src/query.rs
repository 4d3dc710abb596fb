//! `/query`: statements in, results out.

use std::panic::{AssertUnwindSafe, catch_unwind};

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, Method, Response};
use hyperbytedb_application::{DEFAULT_CHUNK_ROWS, QueryApi, QueryRequest};
use hyperbytedb_domain::{CancelToken, Precision};

use crate::encode::{Format, Shape};
use crate::error::{ApiError, panicked};
use crate::form::Form;
use crate::options::HttpOptions;
use crate::stream::{AnswerSink, Piece, channel};
use crate::turn::Turn;
use crate::{AppState, auth, bind, body};

pub async fn query(State(state): State<AppState>, request: Request) -> Response<Body> {
    let format = Format::negotiate(request.headers());
    let mut form = Form::from_query(request.uri().query());
    match answer(&state, format, &mut form, request).await {
        Ok(body) => {
            let mut response = Response::new(body);
            let content_type = HeaderValue::from_static(format.content_type());
            response.headers_mut().insert(CONTENT_TYPE, content_type);
            response
        }
        Err(error) => error.respond(format, form.is_true("pretty")),
    }
}

async fn answer(
    state: &AppState,
    format: Format,
    form: &mut Form,
    request: Request,
) -> Result<Body, ApiError> {
    let options = &state.http.options;
    let (head, sent) = request.into_parts();
    let (caller, sent) = auth::enter(state, &head, sent).await?;
    if head.method == Method::POST {
        let mut share = state.body_budget.share();
        let sent = body::read(&head.headers, sent, &mut share, options).await?;
        form.add_body(&head.headers, sent).await?;
    }
    let shape = shape(format, form, options);
    let request = QueryRequest {
        caller,
        text: query_text(form)?.to_owned(),
        database: form.text("db").to_owned(),
        retention_policy: form.text("rp").to_owned(),
        parameters: bind::parameters(form.text("params"))?,
        chunk_rows: shape.chunked.then(|| chunk_rows(form, options)),
        read_only: head.method != Method::POST,
        cancel: CancelToken::default(),
    };
    run(state, request, &shape).await
}

fn query_text(form: &Form) -> Result<&str, ApiError> {
    match form.text("q").trim() {
        "" => Err(ApiError::bad_request("missing required parameter \"q\"")),
        text => Ok(text),
    }
}

fn shape(format: Format, form: &Form, options: &HttpOptions) -> Shape {
    let epoch = form.text("epoch");
    Shape {
        format,
        pretty: format == Format::Json && form.is_true("pretty"),
        epoch: (!epoch.is_empty()).then(|| Precision::parse(epoch)),
        chunked: form.is_true("chunked"),
        max_buffered_bytes: options.max_buffered_answer_bytes,
    }
}

fn chunk_rows(form: &Form, options: &HttpOptions) -> usize {
    let asked = form.text("chunk_size").parse().ok().filter(|&rows| rows > 0);
    asked.unwrap_or(DEFAULT_CHUNK_ROWS).min(options.max_chunk_rows.max(1))
}

/// Runs the query on a thread of its own; returns once the answer's first piece, or all of it, is there.
async fn run(state: &AppState, request: QueryRequest, shape: &Shape) -> Result<Body, ApiError> {
    let max_rows = state.http.options.max_row_limit;
    let (mut reader, sink) = channel(shape, max_rows, request.cancel.clone());
    let turn = Turn::wait(state, request).await?;
    let queries = state.http.queries.clone();
    crate::blocking::spawn(move || run_blocking(turn, &*queries, sink));
    match reader.next().await {
        Some(Piece::Last(bytes)) => Ok(Body::from(bytes)),
        Some(Piece::Part(first)) => Ok(reader.into_body(first)),
        Some(Piece::Failed(error)) => Err(error),
        None => Err(ApiError::overloaded("the server is stopping", 1)),
    }
}

fn run_blocking(turn: Turn, queries: &dyn QueryApi, mut sink: AnswerSink) {
    match catch_unwind(AssertUnwindSafe(|| turn.run(queries, &mut sink))) {
        Ok(Ok(())) => sink.finish(),
        Ok(Err(error)) => sink.fail(error.into()),
        Err(panic) => sink.fail(panicked(&*panic)),
    }
}
