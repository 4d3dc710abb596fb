//! A request on its way to a node, and to another one where the first fails.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Extension;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{Response, StatusCode};
use futures_util::StreamExt;
use reqwest::header::HeaderMap;
use serde_json::json;
use tokio::time::{Instant, sleep, timeout_at};

use crate::body::Held;
use crate::nodes::{Node, Turn};
use crate::repeat::Asked;
use crate::{Peer, Proxy, headers, respond};

/// Before all nodes are tried again.
const PAUSE: Duration = Duration::from_millis(50);

/// Why a node did not answer.
enum Failure {
    /// The request never got to it.
    Unreachable(String),
    /// It may or may not have been carried out.
    Broken(String),
}

/// Sends a request to a node and its answer back.
pub async fn forward(
    State(proxy): State<Arc<Proxy>>,
    peer: Option<Extension<Peer>>,
    request: Request,
) -> Response<Body> {
    let until = Instant::now() + proxy.options.retry_timeout;
    let (head, body) = request.into_parts();
    let received = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    let passed = headers::of_request(
        &head.headers,
        peer.and_then(|Extension(Peer(peer))| peer),
        i64::try_from(received).unwrap_or(i64::MAX),
    );
    let options = &proxy.options;
    let limit = options.max_held_body_bytes;
    let mut held = match Held::read(&head.headers, body, limit, options.body_timeout, &proxy.budget).await {
        Ok(held) => held,
        Err(text) => return failed(StatusCode::BAD_REQUEST, &text),
    };
    let asked = Asked {
        method: &head.method,
        path: head.uri.path(),
        query: head.uri.query().unwrap_or_default(),
        content_type: head.headers.get(CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default(),
        body: &held.bytes,
    };
    // What is not kept as a whole can be sent once.
    let is_whole = held.is_complete();
    let is_repeatable = is_whole && asked.is_repeatable();
    let target = head.uri.path_and_query().map_or("/", |target| target.as_str());
    let (mut tried, mut last) = (Vec::new(), "no node is ready".to_owned());
    loop {
        let Some(node) = next(&proxy, &mut tried, until).await else {
            return failed(StatusCode::SERVICE_UNAVAILABLE, &format!("the proxy found no node: {last}"));
        };
        let turn = node.begin();
        let request = proxy
            .client
            .request(head.method.clone(), format!("{}{target}", node.url()))
            .headers(passed.clone())
            .body(held.next_body());
        match send(&node, request, is_repeatable).await {
            // It has not taken it; another one may.
            Ok(answer)
                if is_repeatable
                    && answer.status() == StatusCode::SERVICE_UNAVAILABLE
                    && Instant::now() < until =>
            {
                last = format!("{}: {}", node.url(), answer.status());
            }
            Ok(answer) => return answered(answer, turn),
            Err(Failure::Unreachable(reason)) => {
                proxy.nodes.mark_down(&node, &reason);
                last = format!("{}: {reason}", node.url());
                if !is_whole {
                    return failed(StatusCode::BAD_GATEWAY, &last);
                }
            }
            Err(Failure::Broken(reason)) => {
                last = format!("{}: {reason}", node.url());
                if !is_repeatable {
                    let text = format!("{last}; whether the request was carried out is not known");
                    return failed(StatusCode::BAD_GATEWAY, &text);
                }
            }
        }
        tried.push(node);
    }
}

/// A node that was not tried, then any again; waits for one to be ready.
async fn next(proxy: &Proxy, tried: &mut Vec<Arc<Node>>, until: Instant) -> Option<Arc<Node>> {
    let mut changes = proxy.nodes.changes();
    loop {
        if let Some(node) = proxy.nodes.choose(tried) {
            return Some(node);
        }
        if Instant::now() >= until {
            return None;
        }
        if tried.is_empty() {
            // An error means that the time is over: the loop sees it.
            let _ = timeout_at(until, changes.changed()).await;
        } else {
            sleep(PAUSE).await;
            tried.clear();
        }
    }
}

/// The beginning of a node's answer. A request that can be repeated does not wait for a node that has gone.
async fn send(
    node: &Node,
    request: reqwest::RequestBuilder,
    is_repeatable: bool,
) -> Result<reqwest::Response, Failure> {
    let gone = async {
        if is_repeatable {
            node.until_down().await;
        } else {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        biased;
        answer = request.send() => answer.map_err(|error| {
            let reason = root_cause(&error);
            if error.is_connect() { Failure::Unreachable(reason) } else { Failure::Broken(reason) }
        }),
        () = gone => Err(Failure::Broken("it is not ready any more".to_owned())),
    }
}

fn answered(answer: reqwest::Response, turn: Turn) -> Response<Body> {
    let status = answer.status();
    let passed: HeaderMap = headers::passed(answer.headers());
    let pieces = answer.bytes_stream().map(move |piece| {
        let _turn = &turn;
        piece
    });
    let mut response = Response::new(Body::from_stream(pieces));
    *response.status_mut() = status;
    *response.headers_mut() = passed;
    response
}

fn failed(status: StatusCode, text: &str) -> Response<Body> {
    tracing::warn!(%status, text, "a request failed");
    respond(status, &json!({ "error": text }))
}

fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
