//! Requests to other nodes.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use hyperbytedb_domain::cluster::NodeId;
use parking_lot::Mutex;
use reqwest::{Method, Response, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

use crate::access::{
    DIGEST_HEADER, NODE_HEADER, PROTOCOL_HEADER, PROTOCOL_LEAST, PROTOCOL_LEAST_HEADER, RECIPIENT_HEADER,
    SIGNATURE_HEADER, START_HEADER, Signed, TIME_HEADER,
};
use crate::signature::{Secret, digest, now_ms};
use crate::tls::Tls;

/// Marks what comes from a node, and is not to be sent on.
pub const REPLICATED_HEADER: &str = "x-hyperbytedb-replicated";
/// Bytes of a request or an answer that is read as a whole. It has room for a record of the log with the largest body.
pub const MESSAGE_BYTES_MAX: usize = 128 << 20;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// How often one request is signed anew for what its answer says of the node.
const ATTEMPTS_MAX: u32 = 3;

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

/// A node that is sent something.
#[derive(Debug, Clone, Copy)]
pub struct To<'a> {
    /// 0: whoever has the address.
    pub node: NodeId,
    pub address: &'a str,
}

/// What is known of a node that has answered.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Known {
    protocol: u32,
    /// Which process answers there.
    start: String,
}

/// Signs what this node sends.
#[derive(Clone)]
pub struct Client {
    node: NodeId,
    secret: Secret,
    scheme: &'static str,
    /// The newest that it speaks.
    protocol: u32,
    /// By address.
    known: Arc<Mutex<HashMap<String, Known>>>,
    http: reqwest::Client,
}

impl Client {
    pub fn new(node: NodeId, secret: Secret, tls: Option<&Tls>, protocol: u32) -> Result<Self, String> {
        // Whoever was first has installed one that does.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder =
            reqwest::Client::builder().connect_timeout(CONNECT_TIMEOUT).tcp_nodelay(true).no_proxy();
        if let Some(tls) = tls {
            builder = builder.tls_backend_preconfigured(tls.client.clone());
        }
        let http = builder.build().map_err(|error| format!("the client of the cluster: {error}"))?;
        let scheme = if tls.is_some() { "https" } else { "http" };
        Ok(Self { node, secret, scheme, protocol, known: Arc::default(), http })
    }

    /// The answer, whatever it holds.
    pub async fn send(
        &self,
        method: Method,
        to: To<'_>,
        path: &str,
        body: Bytes,
        timeout: Option<Duration>,
    ) -> Result<Response, CallError> {
        let mut known = self.known(to.address);
        let mut attempts = 0;
        loop {
            attempts += 1;
            let response = self.send_as(&known, &method, to, path, body.clone(), timeout).await?;
            let learnt = self.learn(&known, to.address, &response);
            // A node that is of an older version than was thought, or another process of it, is asked again.
            if response.status() == StatusCode::UNAUTHORIZED
                && attempts < ATTEMPTS_MAX
                && let Some(learnt) = learnt
            {
                known = learnt;
                continue;
            }
            if response.status().is_success() {
                return Ok(response);
            }
            let status = response.status();
            let text = response.text().await.unwrap_or_default().trim().to_owned();
            return Err(CallError::Refused { status, text: format!("node at {}: {text}", to.address) });
        }
    }

    fn known(&self, address: &str) -> Known {
        let known = self.known.lock().get(address).cloned();
        known.unwrap_or_else(|| Known { protocol: self.protocol, start: String::new() })
    }

    /// What an answer says that was not known.
    fn learn(&self, known: &Known, address: &str, response: &Response) -> Option<Known> {
        let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
        let learnt = match header(PROTOCOL_HEADER).and_then(|text| text.parse::<u32>().ok()) {
            Some(newest) => Known {
                protocol: newest.min(self.protocol),
                start: header(START_HEADER).unwrap_or_default().to_owned(),
            },
            // Nodes of protocol 1 do not introduce themselves; something between the nodes does not answer so.
            None if response.status() == StatusCode::UNAUTHORIZED => {
                Known { protocol: PROTOCOL_LEAST, start: String::new() }
            }
            None => return None,
        };
        if learnt == *known {
            return None;
        }
        self.known.lock().insert(address.to_owned(), learnt.clone());
        Some(learnt)
    }

    async fn send_as(
        &self,
        known: &Known,
        method: &Method,
        to: To<'_>,
        path: &str,
        body: Bytes,
        timeout: Option<Duration>,
    ) -> Result<Response, CallError> {
        let (node, recipient, time) = (self.node.to_string(), to.node.to_string(), now_ms().to_string());
        let (newest, least) = (self.protocol.to_string(), PROTOCOL_LEAST.to_string());
        let mut request = self
            .http
            .request(method.clone(), format!("{}://{}{path}", self.scheme, to.address))
            .header(PROTOCOL_HEADER, &newest)
            .header(PROTOCOL_LEAST_HEADER, &least)
            .header(NODE_HEADER, &node)
            .header(TIME_HEADER, &time)
            .header(REPLICATED_HEADER, "true");
        let mut signed = Signed {
            method: method.as_str(),
            path,
            node: &node,
            recipient: &recipient,
            start: &known.start,
            time: &time,
            protocols: [&newest, &least],
            digest: "",
        };
        let digest = if known.protocol >= 2 { digest(&body) } else { String::new() };
        let signature = if known.protocol >= 2 {
            signed.digest = &digest;
            request = request
                .header(RECIPIENT_HEADER, &recipient)
                .header(START_HEADER, &known.start)
                .header(DIGEST_HEADER, &digest);
            self.secret.sign(&signed.parts())
        } else {
            self.secret.sign(&signed.older_parts(&body))
        };
        request = request.header(SIGNATURE_HEADER, signature).body(body);
        if let Some(timeout) = timeout {
            request = request.timeout(timeout);
        }
        request.send().await.map_err(|error| {
            let (address, reason) = (to.address.to_owned(), root_cause(&error));
            if error.is_connect() {
                CallError::Unreachable { address, reason }
            } else {
                CallError::NoAnswer { address, reason }
            }
        })
    }

    /// Sends a value and reads one, in the compact form of what is much or often.
    pub async fn call<Q: Serialize, A: DeserializeOwned>(
        &self,
        to: To<'_>,
        path: &str,
        question: &Q,
        timeout: Duration,
    ) -> Result<A, CallError> {
        let answer = self.exchange_compact(to, path, question, timeout).await?;
        read_compact(to.address, &answer)
    }

    /// As [`call`](Self::call), of a node that may be of a version that leaves out the last number of the answer.
    pub async fn call_any<Q: Serialize, A: DeserializeOwned>(
        &self,
        to: To<'_>,
        path: &str,
        question: &Q,
        timeout: Duration,
    ) -> Result<A, CallError> {
        let answer = self.exchange_compact(to, path, question, timeout).await?;
        compact_of_any_version(&answer).map_err(|error| unreadable(to.address, error))
    }

    /// As [`call`](Self::call), of a node that may be of a version that answers nothing.
    pub async fn tell<Q: Serialize, A: DeserializeOwned>(
        &self,
        to: To<'_>,
        path: &str,
        question: &Q,
        timeout: Duration,
    ) -> Result<Option<A>, CallError> {
        let answer = self.exchange_compact(to, path, question, timeout).await?;
        if answer.is_empty() {
            return Ok(None);
        }
        read_compact(to.address, &answer).map(Some)
    }

    async fn exchange_compact<Q: Serialize>(
        &self,
        to: To<'_>,
        path: &str,
        question: &Q,
        timeout: Duration,
    ) -> Result<Bytes, CallError> {
        let body = postcard::to_stdvec(question).map_err(|error| no_answer(to.address, error.to_string()))?;
        self.exchange(to, path, body, timeout).await
    }

    /// As [`call`](Self::call), in a form that other versions of the server understand.
    pub async fn ask<Q: Serialize, A: DeserializeOwned>(
        &self,
        to: To<'_>,
        path: &str,
        question: &Q,
        timeout: Duration,
    ) -> Result<A, CallError> {
        let body = serde_json::to_vec(question).map_err(|error| no_answer(to.address, error.to_string()))?;
        let answer = self.exchange(to, path, body, timeout).await?;
        serde_json::from_slice(&answer).map_err(|error| unreadable(to.address, error))
    }

    async fn exchange(
        &self,
        to: To<'_>,
        path: &str,
        body: Vec<u8>,
        timeout: Duration,
    ) -> Result<Bytes, CallError> {
        let bad = |reason: String| no_answer(to.address, reason);
        let mut response = self.send(Method::POST, to, path, body.into(), Some(timeout)).await?;
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
    postcard::from_bytes(answer).map_err(|error| unreadable(address, error))
}

fn unreadable(address: &str, error: impl std::fmt::Display) -> CallError {
    no_answer(address, format!("the answer cannot be read: {error}"))
}

/// A value from a node that may be of a version that leaves out its last number.
pub fn compact_of_any_version<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, postcard::Error> {
    postcard::from_bytes(bytes).or_else(|_| postcard::from_bytes(&[bytes, &[0]].concat()))
}

fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
