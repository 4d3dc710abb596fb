//! Who is let in: a request is signed by the node that sends it, for the node that it is sent to.
//!
//! What is signed are the headers, among them the digest of the body: so nothing is read of whoever has no secret. A request that
//! asks for a change also names the start of the process that it is meant for, which every answer tells: so one that
//! was taken is not taken again, also not by the next process of the node. Protocol 1 signed the body itself, for any node and any process.

use std::ops::RangeInclusive;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode};
use bytes::Bytes;
use hyperbytedb_domain::cluster::NodeId;
use rustls::crypto::ring;
use tokio::sync::Semaphore;

use crate::client::MESSAGE_BYTES_MAX;
use crate::server::{COPY, DRAIN, ELECT, JOIN, PROMOTE, PROPOSE, REMOVE, REPAIRED, Refusal};
use crate::signature::{SIGNATURE_AGE_MAX, Secret, Seen, digest, is_recent};

/// The newest form of messages that a node of this version understands, and the oldest. Two nodes speak the newest that both
/// understand, so that a cluster is upgraded node by node; a version that ends an old form says so in the changelog.
pub const PROTOCOL: u32 = 2;
pub const PROTOCOL_LEAST: u32 = 1;
pub const PROTOCOL_HEADER: &str = "x-hyperbytedb-protocol";
pub const PROTOCOL_LEAST_HEADER: &str = "x-hyperbytedb-protocol-least";
pub const NODE_HEADER: &str = "x-hyperbytedb-node";
/// For whom a request is; 0: for whoever has the address.
pub const RECIPIENT_HEADER: &str = "x-hyperbytedb-recipient";
/// For which process of that node, and in an answer: which process it is.
pub const START_HEADER: &str = "x-hyperbytedb-start";
pub const TIME_HEADER: &str = "x-hyperbytedb-time";
pub const DIGEST_HEADER: &str = "x-hyperbytedb-digest";
pub const SIGNATURE_HEADER: &str = "x-hyperbytedb-signature";
/// Taken once.
const CHANGES: [&str; 8] = [PROPOSE, JOIN, PROMOTE, REMOVE, DRAIN, ELECT, REPAIRED, COPY];
/// Bodies in the form of protocol 1 that are read at one time: whoever sends them has shown nothing yet.
const UNPROVEN_BODIES_MAX: usize = 4;
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// What is signed of a request.
#[derive(Clone, Copy)]
pub struct Signed<'a> {
    pub method: &'a str,
    pub path: &'a str,
    pub node: &'a str,
    pub recipient: &'a str,
    pub start: &'a str,
    pub time: &'a str,
    /// The newest protocol that the sender knows, and the oldest.
    pub protocols: [&'a str; 2],
    pub digest: &'a str,
}

impl<'a> Signed<'a> {
    pub fn parts(&self) -> [&'a [u8]; 10] {
        let [newest, least] = self.protocols;
        [
            "2",
            self.method,
            self.path,
            self.node,
            self.recipient,
            self.start,
            self.time,
            newest,
            least,
            self.digest,
        ]
        .map(str::as_bytes)
    }

    /// In the form of protocol 1.
    pub fn older_parts(&self, body: &'a [u8]) -> [&'a [u8]; 5] {
        [self.method.as_bytes(), self.path.as_bytes(), self.node.as_bytes(), self.time.as_bytes(), body]
    }
}

/// What a node checks requests with.
pub struct Access {
    node: String,
    secret: Secret,
    /// The newest protocol that it speaks.
    protocol: u32,
    start: String,
    seen: Seen,
    unproven_bodies: Semaphore,
}

fn unauthorized(text: impl Into<String>) -> Refusal {
    (StatusCode::UNAUTHORIZED, text.into())
}

impl Access {
    pub fn new(node: NodeId, secret: Secret, protocol: u32) -> Result<Self, String> {
        let mut start = [0; 16];
        let random = ring::default_provider().secure_random.fill(&mut start);
        random.map_err(|_| "the system gives no random bytes".to_owned())?;
        Ok(Self {
            node: node.to_string(),
            secret,
            protocol,
            start: start.iter().map(|byte| format!("{byte:02x}")).collect(),
            seen: Seen::default(),
            unproven_bodies: Semaphore::new(UNPROVEN_BODIES_MAX),
        })
    }

    /// Lets in what a node with the secret has signed a moment ago, with its body.
    pub async fn check(&self, request: Request) -> Result<Request, Refusal> {
        let (head, body) = request.into_parts();
        let path = head.uri.path_and_query().map_or("", |path| path.as_str());
        let header = |name| header(&head.headers, name);
        let signed = Signed {
            method: head.method.as_str(),
            path,
            node: header(NODE_HEADER)?,
            recipient: header(RECIPIENT_HEADER).unwrap_or_default(),
            start: header(START_HEADER).unwrap_or_default(),
            time: header(TIME_HEADER)?,
            protocols: [header(PROTOCOL_HEADER)?, header(PROTOCOL_LEAST_HEADER)?],
            digest: header(DIGEST_HEADER).unwrap_or_default(),
        };
        let signature = header(SIGNATURE_HEADER)?;
        let signed_ms: u64 =
            signed.time.parse().map_err(|_| unauthorized("the time of the signature is no number"))?;
        if !is_recent(signed_ms) {
            return Err(unauthorized(format!(
                "the signature is more than {} s old or early: the clocks of the nodes are too far apart",
                SIGNATURE_AGE_MAX.as_secs()
            )));
        }
        let [newest, least] = signed.protocols;
        check_protocols(newest, least, PROTOCOL_LEAST..=self.protocol)
            .map_err(|text| (StatusCode::BAD_REQUEST, text))?;
        let is_change = CHANGES.contains(&path);
        let is_older = self.protocol < 2 || header(DIGEST_HEADER).is_err();
        let body = if is_older {
            self.check_older(signed, signature, body).await?
        } else {
            self.verify(&signed.parts(), signature)?;
            let body = read(body).await?;
            if digest(&body) != signed.digest {
                return Err(unauthorized("the body is another one than was signed"));
            }
            // Behind the body: a connection whose request was not read is closed, and this one may be sent anew.
            self.check_recipient(signed, is_change)?;
            body
        };
        if is_change && !self.seen.is_new(signature, signed_ms) {
            return Err(unauthorized("this request was sent before"));
        }
        Ok(Request::from_parts(head, Body::from(body)))
    }

    fn verify(&self, parts: &[&[u8]], signature: &str) -> Result<(), Refusal> {
        if self.secret.verify(parts, signature) {
            return Ok(());
        }
        Err(unauthorized("wrong signature: is cluster.secret the same on all nodes?"))
    }

    fn check_recipient(&self, signed: Signed<'_>, is_change: bool) -> Result<(), Refusal> {
        // Whoever joins knows an address and no number.
        let is_for_anybody = signed.recipient == "0" && signed.path == JOIN;
        if signed.recipient != self.node && !is_for_anybody {
            return Err(unauthorized(format!(
                "a request for node {} came to node {}: see cluster.advertise_address of both",
                signed.recipient, self.node
            )));
        }
        if is_change && signed.start != self.start {
            return Err(unauthorized(
                "this request is for another process of this node: it may have been taken",
            ));
        }
        Ok(())
    }

    async fn check_older(&self, signed: Signed<'_>, signature: &str, body: Body) -> Result<Bytes, Refusal> {
        let _permit = self.unproven_bodies.acquire().await;
        let body = read(body).await?;
        self.verify(&signed.older_parts(&body), signature)?;
        Ok(body)
    }

    /// Tells in an answer what this node speaks and which process it is. Nodes of protocol 1 say nothing.
    pub fn introduce(&self, response: &mut Response<Body>) {
        if self.protocol < 2 {
            return;
        }
        let headers = response.headers_mut();
        headers.insert(PROTOCOL_HEADER, HeaderValue::from(self.protocol));
        if let Ok(start) = HeaderValue::from_str(&self.start) {
            headers.insert(START_HEADER, start);
        }
    }
}

async fn read(body: Body) -> Result<Bytes, Refusal> {
    let read = tokio::time::timeout(BODY_TIMEOUT, to_bytes(body, MESSAGE_BYTES_MAX)).await;
    let read = read.map_err(|_| (StatusCode::REQUEST_TIMEOUT, "the body does not come".to_owned()))?;
    read.map_err(|_| (StatusCode::PAYLOAD_TOO_LARGE, format!("more than {MESSAGE_BYTES_MAX} bytes")))
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Result<&'a str, Refusal> {
    let value = headers.get(name).and_then(|value| value.to_str().ok());
    value.ok_or_else(|| unauthorized(format!("no {name}: this address is for the cluster's nodes")))
}

/// Whether this node and one that understands `least` to `newest` understand each other.
fn check_protocols(newest: &str, least: &str, own: RangeInclusive<u32>) -> Result<(), String> {
    let (Ok(newest), Ok(least)) = (newest.parse::<u32>(), least.parse::<u32>()) else {
        return Err(format!("{newest:?}, {least:?} are no versions of a protocol"));
    };
    let (own_least, own_newest) = own.into_inner();
    if least > own_newest {
        Err(format!(
            "this node speaks protocol {own_newest}, the other one no less than {least}: upgrade this one first"
        ))
    } else if newest < own_least {
        Err(format!(
            "this node speaks no less than protocol {own_least}, the other one {newest}: upgrade that one first"
        ))
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbouring_versions_understand_each_other() {
        assert_eq!(check_protocols("2", "1", 1..=1), Ok(()));
        assert_eq!(check_protocols("1", "1", 1..=2), Ok(()));
        let too_old = check_protocols("3", "2", 1..=1).expect_err("too far apart");
        assert!(too_old.contains("upgrade this one"), "{too_old}");
        let too_new = check_protocols("1", "1", 2..=3).expect_err("too far apart");
        assert!(too_new.contains("upgrade that one"), "{too_new}");
        assert!(check_protocols("x", "1", 1..=1).is_err());
    }
}
