//! Which requests a node takes: those that a node with the secret has just made, for it, and each change once.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use hyperbytedb_domain::ports::ConsensusPort;
use reqwest::StatusCode;

use super::links::Links;
use super::nodes::{Member, run, secret, start};
use super::{PATIENCE, until};
use crate::access::{
    DIGEST_HEADER, NODE_HEADER, PROTOCOL, PROTOCOL_HEADER, PROTOCOL_LEAST, PROTOCOL_LEAST_HEADER,
    RECIPIENT_HEADER, SIGNATURE_HEADER, START_HEADER, Signed, TIME_HEADER,
};
use crate::server::{RECORDS, REMOVE, STATUS};
use crate::signature::{SIGNATURE_AGE_MAX, digest, now_ms};

const CHANGE: &str = r#"{"node":7}"#;

/// What node 2 sends to node 1.
#[derive(Clone)]
struct Request {
    path: &'static str,
    recipient: &'static str,
    start: String,
    signed_ms: u64,
    signed_body: &'static str,
    body: &'static str,
    protocol: u32,
}

impl Request {
    fn new(path: &'static str, start: &str, body: &'static str) -> Self {
        let (start, signed_ms) = (start.to_owned(), now_ms());
        Self { path, recipient: "1", start, signed_ms, signed_body: body, body, protocol: PROTOCOL }
    }

    fn headers(&self) -> Vec<(&'static str, String)> {
        let (time, digest) = (self.signed_ms.to_string(), digest(self.signed_body.as_bytes()));
        let (newest, least) = (self.protocol.to_string(), PROTOCOL_LEAST.to_string());
        let signed = Signed {
            method: "POST",
            path: self.path,
            node: "2",
            recipient: self.recipient,
            start: &self.start,
            time: &time,
            protocols: [&newest, &least],
            digest: &digest,
        };
        let mut headers = vec![
            (PROTOCOL_HEADER, newest.clone()),
            (PROTOCOL_LEAST_HEADER, least.clone()),
            (NODE_HEADER, "2".to_owned()),
            (TIME_HEADER, time.clone()),
        ];
        if self.protocol < 2 {
            headers.push((SIGNATURE_HEADER, secret().sign(&signed.older_parts(self.signed_body.as_bytes()))));
            return headers;
        }
        headers.extend([
            (SIGNATURE_HEADER, secret().sign(&signed.parts())),
            (RECIPIENT_HEADER, self.recipient.to_owned()),
            (START_HEADER, self.start.clone()),
            (DIGEST_HEADER, digest),
        ]);
        headers
    }

    /// What is answered, and by which process.
    fn send(&self, to: &Member) -> (StatusCode, String, String) {
        let mut request = reqwest::Client::new()
            .post(format!("http://{}{}", to.cluster.local_address, self.path))
            .body(self.body);
        for (name, value) in self.headers() {
            request = request.header(name, value);
        }
        run(async {
            let answer = request.send().await.expect("an answer");
            let start = answer.headers().get(START_HEADER).and_then(|start| start.to_str().ok());
            let start = start.unwrap_or_default().to_owned();
            (answer.status(), start, answer.text().await.unwrap_or_default())
        })
    }

    fn is_refused(&self, to: &Member, why: &str) {
        let (status, _, text) = self.send(to);
        assert!(status == StatusCode::UNAUTHORIZED && text.contains(why), "{why}: {status} {text}");
    }
}

/// A node that leads, and the name of its process.
fn leader() -> (Member, String) {
    let member = start(&Arc::<Links>::default(), 1);
    until("it leads", || member.cluster.holds_lease());
    let (status, start, _) = Request::new(STATUS, "", "null").send(&member);
    assert_eq!((status, start.len()), (StatusCode::OK, 32));
    (member, start)
}

#[test]
fn a_change_is_taken_once_and_by_one_process_of_its_node() {
    let (member, start) = leader();
    let request = Request::new(REMOVE, &start, CHANGE);
    let (status, _, text) = request.send(&member);
    assert!(status == StatusCode::BAD_REQUEST && text.contains("node 7"), "{status} {text}");
    request.is_refused(&member, "this request was sent before");
    let another = Request { signed_ms: request.signed_ms + 1, ..request.clone() };
    assert_eq!(another.send(&member).0, StatusCode::BAD_REQUEST, "another one");
    let (next, next_start) = leader();
    assert_ne!(start, next_start);
    another.is_refused(&next, "another process of this node");
}

#[test]
fn only_what_was_signed_for_this_node_a_moment_ago_is_heard() {
    let (member, start) = leader();
    for path in [REMOVE, RECORDS] {
        let request = Request::new(path, &start, CHANGE);
        Request { recipient: "3", ..request.clone() }.is_refused(&member, "for node 3 came to node 1");
        Request { recipient: "0", ..request.clone() }.is_refused(&member, "for node 0 came to node 1");
        Request { body: r#"{"node":8}"#, ..request.clone() }
            .is_refused(&member, "another one than was signed");
        let age = SIGNATURE_AGE_MAX.as_millis() as u64 + 1000;
        for signed_ms in [request.signed_ms - age, request.signed_ms + age] {
            Request { signed_ms, ..request.clone() }.is_refused(&member, "clocks");
        }
    }
    // A node of the version before signs otherwise.
    let older = Request { protocol: 1, ..Request::new(REMOVE, "", CHANGE) };
    assert_eq!(older.send(&member).0, StatusCode::BAD_REQUEST);
    older.is_refused(&member, "this request was sent before");
    let changed =
        Request { body: r#"{"node":8}"#, ..Request { protocol: 1, ..Request::new(REMOVE, "", CHANGE) } };
    changed.is_refused(&member, "wrong signature");
}

#[test]
fn nothing_is_read_of_whoever_has_no_secret() {
    let (member, start) = leader();
    let request = Request::new(RECORDS, &start, CHANGE);
    let mut stream = TcpStream::connect(member.cluster.local_address).expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let mut head = format!("POST {RECORDS} HTTP/1.1\r\nhost: x\r\ncontent-length: 60000000\r\n");
    for (name, value) in request.headers() {
        let value = if name == SIGNATURE_HEADER { "00".repeat(32) } else { value };
        head += &format!("{name}: {value}\r\n");
    }
    // The body never comes.
    stream.write_all(format!("{head}\r\n").as_bytes()).expect("it is sent");
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).expect("an answer");
    assert_eq!(&answer, b"HTTP/1.1 401");
}
