//! The listener for the other nodes: checks who speaks, then translates.

use std::fs::File;
use std::io::Read;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, Path, Request, State};
use axum::http::{Response, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::routing::{delete, get, post};
use bytes::Bytes;
use hyperbytedb_domain::backup::BackupError;
use hyperbytedb_domain::cluster::Proposal;
use hyperbytedb_domain::ports::{DigestQuery, PeerBatch, ReceiveError, RowsQuery};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::client::compact_of_any_version;
use crate::cluster::RepairedRequest;
use crate::member::Inner;
use crate::membership::{DrainRequest, JoinRequest, NodeRequest};
use crate::network;

/// Bytes read from a file at a time, and pieces read ahead of the other node.
const PIECE_BYTES: usize = 256 << 10;
const PIECES_AHEAD: usize = 2;

pub const PROPOSE: &str = "/v1/propose";
pub const RECORDS: &str = "/v1/records";
pub const STATUS: &str = "/v1/status";
pub const JOIN: &str = "/v1/join";
pub const PROMOTE: &str = "/v1/promote";
pub const REMOVE: &str = "/v1/remove";
pub const DRAIN: &str = "/v1/drain";
pub const ELECT: &str = "/v1/elect";
pub const DIGESTS: &str = "/v1/repair/digests";
pub const ROWS: &str = "/v1/repair/rows";
pub const REPAIR: &str = "/v1/repair/start";
pub const REPAIRED: &str = "/v1/repair/done";
pub const COPY: &str = "/v1/copy";

type AppState = Arc<Inner>;
/// A status and a text for the other node's log.
pub type Refusal = (StatusCode, String);
type Answer = Result<Vec<u8>, Refusal>;

pub fn router(state: AppState) -> Router {
    Router::new()
        .route(network::APPEND, post(append))
        .route(network::VOTE, post(vote))
        .route(network::SNAPSHOT, post(snapshot))
        .route(PROPOSE, post(propose))
        .route(RECORDS, post(records))
        .route(STATUS, post(status))
        .route(JOIN, post(join))
        .route(PROMOTE, post(promote))
        .route(REMOVE, post(remove))
        .route(DRAIN, post(drain))
        .route(ELECT, post(elect))
        .route(DIGESTS, post(digests))
        .route(ROWS, post(rows))
        .route(REPAIR, post(start_repair))
        .route(REPAIRED, post(repaired))
        .route(COPY, post(create_copy))
        .route("/v1/copy/{id}", delete(remove_copy))
        .route("/v1/copy/{id}/file", get(copied_file))
        // `Access` bounds what it hands on.
        .layer(DefaultBodyLimit::disable())
        .layer(from_fn_with_state(state.clone(), check))
        .with_state(state)
}

/// Lets in what [`Access`](crate::access::Access) does.
async fn check(State(state): State<AppState>, request: Request, next: Next) -> Response<Body> {
    let mut response = match state.access.check(request).await {
        Ok(request) => next.run(request).await,
        Err((status, text)) => {
            tracing::warn!(%status, text, "a request to the cluster's address is refused");
            refused(status, text)
        }
    };
    state.access.introduce(&mut response);
    response
}

fn refused(status: StatusCode, text: String) -> Response<Body> {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    response
}

fn respond(answer: Answer) -> Response<Body> {
    match answer {
        Ok(body) => Response::new(Body::from(body)),
        Err((status, text)) => refused(status, text),
    }
}

fn internal(error: impl std::fmt::Display) -> Refusal {
    (StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
}

fn bad(error: impl std::fmt::Display) -> Refusal {
    (StatusCode::BAD_REQUEST, error.to_string())
}

fn compact<T: DeserializeOwned>(body: &Bytes) -> Result<T, Refusal> {
    postcard::from_bytes(body).map_err(bad)
}

fn compacted<T: Serialize>(value: &T) -> Answer {
    postcard::to_stdvec(value).map_err(internal)
}

fn json<T: DeserializeOwned>(body: &Bytes) -> Result<T, Refusal> {
    serde_json::from_slice(body).map_err(bad)
}

fn to_json<T: Serialize>(value: &T) -> Answer {
    serde_json::to_vec(value).map_err(internal)
}

/// Work that blocks, on a thread of its own.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Refusal> {
    tokio::task::spawn_blocking(work).await.map_err(internal)
}

async fn append(State(state): State<AppState>, body: Bytes) -> Response<Body> {
    let handle = async || compacted(&state.raft()?.append_entries(compact(&body)?).await.map_err(internal)?);
    respond(handle().await)
}

async fn vote(State(state): State<AppState>, body: Bytes) -> Response<Body> {
    let handle = async || compacted(&state.raft()?.vote(compact(&body)?).await.map_err(internal)?);
    respond(handle().await)
}

async fn snapshot(State(state): State<AppState>, body: Bytes) -> Response<Body> {
    let handle =
        async || compacted(&state.raft()?.install_snapshot(compact(&body)?).await.map_err(internal)?);
    respond(handle().await)
}

async fn propose(State(state): State<AppState>, body: Bytes) -> Response<Body> {
    let handle = async || compacted(&state.propose_here(compact::<Proposal>(&body)?).await?);
    respond(handle().await)
}

/// A node of an older version does not say what was confirmed.
fn read_batch(body: &Bytes) -> Result<PeerBatch, Refusal> {
    compact_of_any_version(body).map_err(bad)
}

async fn records(State(state): State<AppState>, body: Bytes) -> Response<Body> {
    let handle = async || {
        let batch = read_batch(&body)?;
        let node = state.node.clone();
        let received = blocking(move || node.receive(&batch)).await?;
        compacted(&received.map_err(receive_error)?)
    };
    respond(handle().await)
}

fn receive_error(error: ReceiveError) -> Refusal {
    match error {
        ReceiveError::NotNow(text) => (StatusCode::SERVICE_UNAVAILABLE, text),
        ReceiveError::Bad(text) => (StatusCode::BAD_REQUEST, text),
        ReceiveError::Storage(error) => internal(error),
    }
}

async fn digests(State(state): State<AppState>, body: Bytes) -> Response<Body> {
    let handle = async || {
        let (query, repair) = (compact::<DigestQuery>(&body)?, state.repair.clone());
        compacted(&blocking(move || repair.digests(&query)).await?.map_err(receive_error)?)
    };
    respond(handle().await)
}

async fn rows(State(state): State<AppState>, body: Bytes) -> Response<Body> {
    let handle = async || {
        let (query, repair) = (compact::<RowsQuery>(&body)?, state.repair.clone());
        compacted(&blocking(move || repair.rows(&query)).await?.map_err(receive_error)?)
    };
    respond(handle().await)
}

async fn start_repair(State(state): State<AppState>) -> Response<Body> {
    state.repair.start();
    respond(to_json(&()))
}

async fn repaired(State(state): State<AppState>, body: Bytes) -> Response<Body> {
    let handle = async || {
        let RepairedRequest { node, position } = json(&body)?;
        state.repair.repaired(node, position);
        to_json(&())
    };
    respond(handle().await)
}

async fn status(State(state): State<AppState>) -> Response<Body> {
    respond(to_json(&state.status()))
}

async fn join(State(state): State<AppState>, body: Bytes) -> Response<Body> {
    let handle = async || to_json(&state.join(json::<JoinRequest>(&body)?).await.map_err(bad)?);
    respond(handle().await)
}

async fn promote(State(state): State<AppState>, body: Bytes) -> Response<Body> {
    let handle = async || to_json(&state.promote(json::<NodeRequest>(&body)?.node).await.map_err(bad)?);
    respond(handle().await)
}

async fn remove(State(state): State<AppState>, body: Bytes) -> Response<Body> {
    let handle = async || to_json(&state.remove(json::<NodeRequest>(&body)?.node).await.map_err(bad)?);
    respond(handle().await)
}

async fn drain(State(state): State<AppState>, body: Bytes) -> Response<Body> {
    let handle = async || {
        let DrainRequest { node, is_leaving } = json(&body)?;
        let note = state.drain(node, is_leaving.unwrap_or(false)).await.map_err(bad)?;
        // A node of protocol 1 does not say, and reads no answer.
        to_json(&note.filter(|_| is_leaving.is_some()))
    };
    respond(handle().await)
}

async fn elect(State(state): State<AppState>) -> Response<Body> {
    let handle = async || to_json(&state.raft()?.trigger().elect().await.map_err(internal)?);
    respond(handle().await)
}

fn backup_error(error: BackupError) -> Refusal {
    let status = match error {
        BackupError::Busy | BackupError::TooMany(_) => StatusCode::SERVICE_UNAVAILABLE,
        BackupError::Storage(_) => StatusCode::INTERNAL_SERVER_ERROR,
        _ => StatusCode::NOT_FOUND,
    };
    (status, error.to_string())
}

async fn create_copy(State(state): State<AppState>) -> Response<Body> {
    let handle = async || {
        let backups = state.backups.clone();
        to_json(&blocking(move || backups.create(None)).await?.map_err(backup_error)?)
    };
    respond(handle().await)
}

async fn remove_copy(State(state): State<AppState>, Path(id): Path<String>) -> Response<Body> {
    let handle = async || {
        let backups = state.backups.clone();
        to_json(&blocking(move || backups.remove(&id)).await?.map_err(backup_error)?)
    };
    respond(handle().await)
}

/// The bytes of the file whose name is the request's body.
async fn copied_file(State(state): State<AppState>, Path(id): Path<String>, name: String) -> Response<Body> {
    let backups = state.backups.clone();
    let opened = blocking(move || backups.open(&id, &name)).await;
    match opened.and_then(|opened| opened.map_err(backup_error)) {
        Ok((file, _)) => Response::new(stream(file)),
        Err((status, text)) => refused(status, text),
    }
}

fn stream(mut file: File) -> Body {
    let (sender, receiver) = mpsc::channel(PIECES_AHEAD);
    tokio::task::spawn_blocking(move || {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_of_an_older_version_are_read() {
        let batch = PeerBatch { origin: 2, records: Vec::new(), clock: 300, agreed_index: 4, after: 200 };
        let bytes = postcard::to_stdvec(&batch).expect("a form");
        assert_eq!(read_batch(&bytes.into()), Ok(batch.clone()));
        let older = postcard::to_stdvec(&(2_u64, Vec::<()>::new(), 300_u64, 4_u64)).expect("a form");
        assert_eq!(read_batch(&older.into()), Ok(PeerBatch { after: 0, ..batch }));
        assert!(read_batch(&Bytes::from_static(&[2])).is_err());
    }
}
