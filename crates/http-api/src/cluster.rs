//! `/cluster`: who is in it, who leads, and taking nodes out.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, Method, Response, StatusCode};
use hyperbytedb_domain::ports::{ClusterPort, RepairProgress};
use serde_json::{Value, json};

use crate::encode::Format;
use crate::error::{ApiError, task_failed};
use crate::{AppState, auth};

/// GET: all nodes.
pub async fn nodes(State(state): State<AppState>, request: Request) -> Response<Body> {
    let answer = on_cluster(&state, request, |cluster| Ok(json!({ "nodes": cluster.nodes() }))).await;
    respond(answer)
}

/// GET: the node that leads.
pub async fn leader(State(state): State<AppState>, request: Request) -> Response<Body> {
    let answer = on_cluster(&state, request, |cluster| {
        let leader = cluster.leader();
        let node = cluster.nodes().into_iter().find(|node| Some(node.id) == leader);
        let node = node.ok_or_else(|| ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "no node leads now"))?;
        serde_json::to_value(node).map_err(|error| ApiError::internal(error.to_string()))
    });
    respond(answer.await)
}

/// POST: takes a node out for ever.
pub async fn remove(State(state): State<AppState>, Path(id): Path<u64>, request: Request) -> Response<Body> {
    change(state, request, move |cluster| cluster.remove(id)).await
}

/// POST: has a node hand over what it has, so that it can be stopped.
pub async fn drain(State(state): State<AppState>, Path(id): Path<u64>, request: Request) -> Response<Body> {
    let drained = on_cluster(&state, request, move |cluster| {
        let note = cluster.drain(id).map_err(|text| ApiError::new(StatusCode::CONFLICT, text))?;
        Ok(json!({ "status": "done", "message": note }))
    });
    respond(drained.await)
}

/// GET: how far the nodes are with comparing; POST: has them begin.
pub async fn repair(State(state): State<AppState>, request: Request) -> Response<Body> {
    if request.method() == Method::POST {
        return change(state, request, |cluster| cluster.repair()).await;
    }
    let answer = on_cluster(&state, request, |cluster| {
        let node = |(id, progress): (u64, RepairProgress)| {
            json!({
                "id": id,
                "state": if progress.is_running { "running" } else { "idle" },
                "partitions": progress.partitions,
                "compared": progress.compared,
                "repaired_rows": progress.repaired_rows,
                "finished_ms": progress.finished_ms,
                "error": progress.error,
            })
        };
        Ok(json!({ "nodes": cluster.repairs().into_iter().map(node).collect::<Vec<_>>() }))
    });
    respond(answer.await)
}

async fn change(
    state: AppState,
    request: Request,
    change: impl FnOnce(&dyn ClusterPort) -> Result<(), String> + Send + 'static,
) -> Response<Body> {
    let changed = on_cluster(&state, request, |cluster| {
        change(cluster).map_err(|text| ApiError::new(StatusCode::CONFLICT, text))?;
        Ok(json!({ "status": "done" }))
    });
    respond(changed.await)
}

/// Calls the cluster, on a thread that may block.
async fn on_cluster(
    state: &AppState,
    request: Request,
    call: impl FnOnce(&dyn ClusterPort) -> Result<Value, ApiError> + Send + 'static,
) -> Result<Value, ApiError> {
    let (head, _) = request.into_parts();
    auth::admin(state, &head).await?;
    let cluster: Arc<dyn ClusterPort> = state.http.cluster.get().cloned().ok_or_else(|| {
        let text = "this server is in no cluster, or only starts (cluster.enabled)";
        ApiError::new(StatusCode::NOT_FOUND, text)
    })?;
    crate::blocking::spawn(move || call(&*cluster)).await.map_err(task_failed)?
}

fn respond(answer: Result<Value, ApiError>) -> Response<Body> {
    match answer {
        Ok(value) => {
            let mut response = Response::new(Body::from(format!("{value}\n")));
            let json = HeaderValue::from_static("application/json");
            response.headers_mut().insert(CONTENT_TYPE, json);
            response
        }
        Err(error) => error.respond(Format::Json, false),
    }
}
