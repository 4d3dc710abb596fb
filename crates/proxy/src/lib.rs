//! One address in front of the nodes of a cluster, for clients that can name only one.
//!
//! The proxy knows which nodes are ready ([`nodes`]), gives each request to the one that has the least to do, and gives it to
//! another one where the first fails and nobody can tell the difference ([`repeat`]). It keeps a request's body until a
//! node has answered ([`body`]) and nothing afterwards: what was acknowledged is on a node's disk, never here.

mod body;
mod forward;
mod headers;
mod nodes;
mod repeat;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderName, HeaderValue, Response, StatusCode};
use axum::middleware::map_response;
use axum::routing::get;
use reqwest::redirect::Policy;
use serde_json::json;

use crate::body::Budget;
use crate::nodes::{Health, Nodes};

/// Settings of the proxy.
#[derive(Debug, Clone)]
pub struct ProxyOptions {
    /// Base URLs of the nodes.
    pub nodes: Vec<String>,
    /// PEM text of those who signed the nodes' certificates; empty: whom the system trusts.
    pub node_ca: Vec<u8>,
    /// Between two questions whether a node is ready.
    pub health_interval: Duration,
    /// How long a node may take to say so.
    pub health_timeout: Duration,
    /// How long another node is looked for before a request fails.
    pub retry_timeout: Duration,
    /// Bytes of a request's body that are kept so that another node can be given it.
    pub max_held_body_bytes: usize,
    /// Bytes of all bodies kept at one time.
    pub max_held_bytes: usize,
    /// How long a request's body may take to arrive.
    pub body_timeout: Duration,
    /// What clients that ask are told.
    pub version: &'static str,
}

/// Whose request it is, an extension of it; a client on a unix socket has no address.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub Option<SocketAddr>);

pub(crate) struct Proxy {
    options: ProxyOptions,
    nodes: Nodes,
    client: reqwest::Client,
    budget: Budget,
}

/// Takes all paths. Must be called on a runtime: the nodes are asked for their health from here on.
pub fn router(options: ProxyOptions) -> Result<Router, String> {
    let client = client(&options)?;
    let nodes = Nodes::watch(&options, &client)?;
    let budget = Budget::new(options.max_held_bytes);
    let version = HeaderValue::from_static(options.version);
    let proxy = Arc::new(Proxy { options, nodes, client, budget });
    let own = Router::new()
        .route("/ping", get(ping))
        .route("/health", get(health))
        .route("/health/ready", get(health))
        .route("/proxy/nodes", get(list))
        .layer(map_response(move |mut response: Response<Body>| {
            let headers = response.headers_mut();
            headers.insert(HeaderName::from_static("x-influxdb-build"), HeaderValue::from_static("OSS"));
            headers.insert(HeaderName::from_static("x-influxdb-version"), version.clone());
            std::future::ready(response)
        }));
    Ok(own.fallback(forward::forward).with_state(proxy))
}

fn client(options: &ProxyOptions) -> Result<reqwest::Client, String> {
    // Whoever was first has installed one that does.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut builder = reqwest::Client::builder()
        .connect_timeout(options.health_timeout)
        .redirect(Policy::none())
        .tcp_nodelay(true)
        .no_proxy();
    if !options.node_ca.is_empty() {
        let certificates = reqwest::Certificate::from_pem_bundle(&options.node_ca)
            .map_err(|error| format!("proxy.node_ca: {error}"))?;
        builder = builder.tls_certs_only(certificates);
    }
    builder.build().map_err(|error| format!("the client of the proxy: {error}"))
}

/// 204: this process is there. Load balancers ask `/health/ready`.
async fn ping() -> StatusCode {
    StatusCode::NO_CONTENT
}

/// 200 while some node can be asked.
async fn health(State(proxy): State<Arc<Proxy>>) -> Response<Body> {
    let all = proxy.nodes.all();
    let ready = all.iter().filter(|node| node.is_ready()).count();
    let mut message = format!("{ready} of {} nodes are ready", all.len());
    let (status, word) = match proxy.nodes.best() {
        Health::Ready => (StatusCode::OK, "pass"),
        Health::Unready => {
            message += ": those that answer from what they have are asked";
            (StatusCode::OK, "warn")
        }
        Health::Down => (StatusCode::SERVICE_UNAVAILABLE, "fail"),
    };
    respond(status, &json!({ "name": "hyperbytedb-proxy", "status": word, "message": message }))
}

/// The nodes as the proxy sees them.
async fn list(State(proxy): State<Arc<Proxy>>) -> Response<Body> {
    let node = |node: &Arc<nodes::Node>| {
        let can_be_asked = node.health() > Health::Down;
        json!({ "url": node.url(), "ready": node.is_ready(), "answers": can_be_asked, "requests": node.requests() })
    };
    let nodes: Vec<_> = proxy.nodes.all().iter().map(node).collect();
    respond(StatusCode::OK, &json!({ "nodes": nodes }))
}

fn respond(status: StatusCode, value: &serde_json::Value) -> Response<Body> {
    let mut response = Response::new(Body::from(format!("{value}\n")));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
