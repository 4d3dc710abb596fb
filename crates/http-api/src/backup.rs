//! `/api/v1/backup`: snapshots for backups, made, read file by file, and removed.

use std::fs::File;
use std::io::Read;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderValue, Response, StatusCode};
use bytes::Bytes;
use hyperbytedb_domain::backup::BackupError;
use hyperbytedb_domain::ports::BackupPort;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::admission::RETRY_AFTER_SECS;
use crate::encode::Format;
use crate::error::{ApiError, internal_text};
use crate::form::Form;
use crate::{AppState, admission, auth};

/// Bytes read from a file at a time, and pieces read ahead of the client.
const PIECE_BYTES: usize = 256 << 10;
const PIECES_AHEAD: usize = 2;

/// POST: makes a snapshot, with `db` of that database's points alone. Answers with its list of files.
pub async fn create(State(state): State<AppState>, request: Request) -> Response<Body> {
    let form = Form::from_query(request.uri().query());
    let database = Some(form.text("db").to_owned()).filter(|name| !name.is_empty());
    let made = on_backups(&state, request, move |backups| backups.create(database.as_deref())).await;
    respond(made.and_then(|snapshot| {
        let body = serde_json::to_vec(&snapshot).map_err(|error| ApiError::internal(error.to_string()))?;
        let mut response = Response::new(Body::from(body));
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        Ok(response)
    }))
}

/// GET: the bytes of the file `name`.
pub async fn file(State(state): State<AppState>, Path(id): Path<String>, request: Request) -> Response<Body> {
    let name = Form::from_query(request.uri().query()).text("name").to_owned();
    let opened = on_backups(&state, request, move |backups| backups.open(&id, &name)).await;
    respond(opened.map(|(file, size)| {
        let mut response = Response::new(stream(file));
        response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(size));
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        response
    }))
}

/// DELETE.
pub async fn remove(
    State(state): State<AppState>,
    Path(id): Path<String>,
    request: Request,
) -> Response<Body> {
    let removed = on_backups(&state, request, move |backups| backups.remove(&id)).await;
    respond(removed.map(|()| {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NO_CONTENT;
        response
    }))
}

/// Calls the backups, on a thread that may block.
async fn on_backups<T: Send + 'static>(
    state: &AppState,
    request: Request,
    call: impl FnOnce(&dyn BackupPort) -> Result<T, BackupError> + Send + 'static,
) -> Result<T, ApiError> {
    let (head, _) = request.into_parts();
    auth::admin(state, &head).await?;
    admission::ready(&state.http.readiness, state.http.options.replay_timeout).await?;
    let backups = state.http.backups.clone();
    let backups: Arc<dyn BackupPort> =
        backups.ok_or_else(|| ApiError::new(StatusCode::NOT_FOUND, "this server makes no backups"))?;
    let called = crate::blocking::spawn(move || call(&*backups)).await;
    called
        .map_err(|_| ApiError::overloaded("the server is stopping", RETRY_AFTER_SECS))?
        .map_err(ApiError::from)
}

/// The file's bytes, read as the client takes them. A client that goes away ends the reading.
fn stream(mut file: File) -> Body {
    let (sender, receiver) = mpsc::channel(PIECES_AHEAD);
    crate::blocking::spawn(move || {
        loop {
            let mut piece = Vec::with_capacity(PIECE_BYTES);
            let read = file.by_ref().take(PIECE_BYTES as u64).read_to_end(&mut piece);
            let is_over = !matches!(read, Ok(1..));
            if read.as_ref().is_ok_and(|read| *read == 0)
                || sender.blocking_send(read.map(|_| Bytes::from(piece))).is_err()
                || is_over
            {
                return;
            }
        }
    });
    Body::from_stream(ReceiverStream::new(receiver))
}

fn respond(answer: Result<Response<Body>, ApiError>) -> Response<Body> {
    answer.unwrap_or_else(|error| error.respond(Format::Json, false))
}

impl From<BackupError> for ApiError {
    fn from(error: BackupError) -> Self {
        let text = error.to_string();
        match error {
            BackupError::DatabaseNotFound(_) | BackupError::NotFound(_) | BackupError::NoSuchFile(_) => {
                Self::new(StatusCode::NOT_FOUND, text)
            }
            BackupError::Busy | BackupError::TooMany(_) => Self::overloaded(text, RETRY_AFTER_SECS),
            BackupError::Storage(details) => Self::internal(internal_text(&details)),
        }
    }
}
