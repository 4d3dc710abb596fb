//! Requests to other nodes.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use hyperbytedb_domain::cluster::NodeId;
use reqwest::{Method, Response, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

use crate::signature::{Secret, now_ms};
use crate::tls::Tls;

/// The newest form of messages that a node of this version understands, and the oldest. Two nodes speak the newest that both
/// understand, so that a cluster is upgraded node by node; a version that ends an old form says so in the changelog.
pub const PROTOCOL: u32 = 1;
pub const PROTOCOL_LEAST: u32 = 1;
pub const PROTOCOL_HEADER: &str = "x-hyperbytedb-protocol";
pub const PROTOCOL_LEAST_HEADER: &str = "x-hyperbytedb-protocol-least";
pub const NODE_HEADER: &str = "x-hyperbytedb-node";
pub const TIME_HEADER: &str = "x-hyperbytedb-time";
pub const SIGNATURE_HEADER: &str = "x-hyperbytedb-signature";
/// Marks what comes from a node, and is not to be sent on.
pub const REPLICATED_HEADER: &str = "x-hyperbytedb-replicated";
/// Bytes of a request or an answer that is read as a whole. It has room for a record of the log with the largest body.
pub const MESSAGE_BYTES_MAX: usize = 128 << 20;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

#[derive(Debug, Clone, Error)]
pub enum CallError {
    /// It was never sent.
    #[error("node at {address} cannot be reached: {reason}")]
    Unreachable { address: String, reason: String },
    /// It was sent, and who knows what became of it.
    #[error("node at {address} does not answer: {reason}")]
    NoAnswer { address: String, reason: String },
    #[error("{text}")]
    Refused { status: StatusCode, text: String },
}

/// Signs what this node sends.
#[derive(Clone)]
pub struct Client {
    node: NodeId,
    secret: Secret,
    scheme: &'static str,
    http: reqwest::Client,
}

/// What is signed of a request.
pub fn signed_parts<'a>(
    method: &'a str,
    path: &'a str,
    node: &'a str,
    time: &'a str,
    body: &'a [u8],
) -> [&'a [u8]; 5] {
    [method.as_bytes(), path.as_bytes(), node.as_bytes(), time.as_bytes(), body]
}

impl Client {
    pub fn new(node: NodeId, secret: Secret, tls: Option<&Tls>) -> Result<Self, String> {
        // Whoever was first has installed one that does.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder =
            reqwest::Client::builder().connect_timeout(CONNECT_TIMEOUT).tcp_nodelay(true).no_proxy();
        if let Some(tls) = tls {
            builder = builder.tls_backend_preconfigured(tls.client.clone());
        }
        let http = builder.build().map_err(|error| format!("the client of the cluster: {error}"))?;
        let scheme = if tls.is_some() { "https" } else { "http" };
        Ok(Self { node, secret, scheme, http })
    }

    /// The answer, whatever it holds.
    pub async fn send(
        &self,
        method: Method,
        address: &str,
        path: &str,
        body: Bytes,
        timeout: Option<Duration>,
    ) -> Result<Response, CallError> {
        let (node, time) = (self.node.to_string(), now_ms().to_string());
        let signature = self.secret.sign(&signed_parts(method.as_str(), path, &node, &time, &body));
        let mut request = self
            .http
            .request(method, format!("{}://{address}{path}", self.scheme))
            .header(PROTOCOL_HEADER, PROTOCOL)
            .header(PROTOCOL_LEAST_HEADER, PROTOCOL_LEAST)
            .header(NODE_HEADER, node)
            .header(TIME_HEADER, time)
            .header(SIGNATURE_HEADER, signature)
            .header(REPLICATED_HEADER, "true")
            .body(body);
        if let Some(timeout) = timeout {
            request = request.timeout(timeout);
        }
        let response = request.send().await.map_err(|error| {
            let (address, reason) = (address.to_owned(), root_cause(&error));
            if error.is_connect() {
                CallError::Unreachable { address, reason }
            } else {
                CallError::NoAnswer { address, reason }
            }
        })?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let text = response.text().await.unwrap_or_default().trim().to_owned();
        Err(CallError::Refused { status, text: format!("node at {address}: {text}") })
    }

    /// Sends a value and reads one, in the compact form of what is much or often.
    pub async fn call<Q: Serialize, A: DeserializeOwned>(
        &self,
        address: &str,
        path: &str,
        question: &Q,
        timeout: Duration,
    ) -> Result<A, CallError> {
        let answer = self.exchange_compact(address, path, question, timeout).await?;
        read_compact(address, &answer)
    }

    /// As [`call`](Self::call), of a node that may be of a version that leaves out the last number of the answer.
    pub async fn call_any<Q: Serialize, A: DeserializeOwned>(
        &self,
        address: &str,
        path: &str,
        question: &Q,
        timeout: Duration,
    ) -> Result<A, CallError> {
        let answer = self.exchange_compact(address, path, question, timeout).await?;
        read_compact(address, &answer).or_else(|_| read_compact(address, &[&answer, &[0][..]].concat()))
    }

    /// As [`call`](Self::call), of a node that may be of a version that answers nothing.
    pub async fn tell<Q: Serialize, A: DeserializeOwned>(
        &self,
        address: &str,
        path: &str,
        question: &Q,
        timeout: Duration,
    ) -> Result<Option<A>, CallError> {
        let answer = self.exchange_compact(address, path, question, timeout).await?;
        if answer.is_empty() {
            return Ok(None);
        }
        read_compact(address, &answer).map(Some)
    }

    async fn exchange_compact<Q: Serialize>(
        &self,
        address: &str,
        path: &str,
        question: &Q,
        timeout: Duration,
    ) -> Result<Bytes, CallError> {
        let body = postcard::to_stdvec(question).map_err(|error| no_answer(address, error.to_string()))?;
        self.exchange(address, path, body, timeout).await
    }

    /// As [`call`](Self::call), in a form that other versions of the server understand.
    pub async fn ask<Q: Serialize, A: DeserializeOwned>(
        &self,
        address: &str,
        path: &str,
        question: &Q,
        timeout: Duration,
    ) -> Result<A, CallError> {
        let bad = |reason: String| no_answer(address, reason);
        let body = serde_json::to_vec(question).map_err(|error| bad(error.to_string()))?;
        let answer = self.exchange(address, path, body, timeout).await?;
        serde_json::from_slice(&answer).map_err(|error| bad(format!("the answer cannot be read: {error}")))
    }

    async fn exchange(
        &self,
        address: &str,
        path: &str,
        body: Vec<u8>,
        timeout: Duration,
    ) -> Result<Bytes, CallError> {
        let bad = |reason: String| no_answer(address, reason);
        let mut response = self.send(Method::POST, address, path, body.into(), Some(timeout)).await?;
        let mut answer = BytesMut::new();
        while let Some(piece) = response.chunk().await.map_err(|error| bad(root_cause(&error)))? {
            if answer.len() + piece.len() > MESSAGE_BYTES_MAX {
                return Err(bad(format!("the answer has more than {MESSAGE_BYTES_MAX} bytes")));
            }
            answer.extend_from_slice(&piece);
        }
        Ok(answer.freeze())
    }
}

fn no_answer(address: &str, reason: String) -> CallError {
    CallError::NoAnswer { address: address.to_owned(), reason }
}

fn read_compact<A: DeserializeOwned>(address: &str, answer: &[u8]) -> Result<A, CallError> {
    postcard::from_bytes(answer)
        .map_err(|error| no_answer(address, format!("the answer cannot be read: {error}")))
}

fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
