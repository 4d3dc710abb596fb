//! Traces of requests, as a collector gets them.

#![allow(clippy::unwrap_used)] // a test may panic

mod support;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use prost::Message;
use support::{Server, until};

const PATIENCE: Duration = Duration::from_secs(30);

/// Answers every request, and hands over what was sent to the path of traces.
fn collector() -> (String, Receiver<ExportTraceServiceRequest>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/v1/traces", listener.local_addr().unwrap());
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            if sender.send(receive(connection.unwrap())).is_err() {
                return;
            }
        }
    });
    (url, receiver)
}

fn receive(connection: TcpStream) -> ExportTraceServiceRequest {
    let mut reader = BufReader::new(connection);
    let (mut head, mut length) = (String::new(), 0);
    while !head.ends_with("\r\n\r\n") {
        let start = head.len();
        assert!(reader.read_line(&mut head).unwrap() > 0, "{head}");
        let line = head[start..].to_ascii_lowercase();
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
    }
    assert!(head.starts_with("POST /v1/traces HTTP/1.1\r\n"), "{head}");
    assert!(head.to_ascii_lowercase().contains("content-type: application/x-protobuf"), "{head}");
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    reader.get_mut().write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").unwrap();
    ExportTraceServiceRequest::decode(&body[..]).unwrap()
}

fn spans(messages: &[ExportTraceServiceRequest]) -> Vec<&Span> {
    let resources = messages.iter().flat_map(|message| &message.resource_spans);
    resources.flat_map(|resource| &resource.scope_spans).flat_map(|scope| &scope.spans).collect()
}

fn attributes(span: &Span) -> BTreeMap<&str, String> {
    let pairs = span.attributes.iter();
    pairs.map(|pair| (pair.key.as_str(), format!("{:?}", pair.value.as_ref().unwrap()))).collect()
}

#[test]
fn requests_become_traces_with_their_stages() {
    let (url, receiver) = collector();
    // The log says less than the traces.
    let server = Server::start_with(&[("TRACING__OTLP_ENDPOINT", &url), ("LOGGING__LEVEL", "warn")]);
    let client = server.client();
    client.query("", "CREATE DATABASE db");
    client.write("db", "m v=1 1");
    let answer = ureq::get(format!("{}/query?db=db&q=SELECT%20v%20FROM%20m", server.url()))
        .header("X-Request-Id", "traced")
        .call()
        .unwrap();
    assert_eq!(answer.status(), 200);
    let log = server.log();
    // The last ones leave at the stop.
    assert_eq!(server.stop(), Some(0));
    let messages: Vec<_> = receiver.try_iter().collect();
    assert!(!log.contains("request{"), "{log}");
    let service = format!("{:?}", messages[0].resource_spans[0].resource);
    assert!(service.contains("service.name") && service.contains("\"hyperbytedb\""), "{service}");
    let spans = spans(&messages);
    let query = spans.iter().find(|span| attributes(span).get("id").is_some_and(|id| id.contains("traced")));
    let query = query.expect("the query's span");
    assert_eq!((query.name.as_str(), query.kind), ("GET /query", SpanKind::Server as i32));
    assert!(attributes(query)["status"].contains("200"), "{:?}", attributes(query));
    let stages = |parent: &Span| {
        let is_below =
            |span: &&&Span| span.trace_id == parent.trace_id && span.parent_span_id == parent.span_id;
        let mut names: Vec<_> = spans.iter().filter(is_below).map(|span| span.name.as_str()).collect();
        names.sort_unstable();
        names
    };
    assert_eq!(stages(query), ["parse", "statement"]);
    let of_trace = |span: &&&Span| span.trace_id == query.trace_id;
    let statement = spans.iter().filter(of_trace).find(|span| span.name == "statement").unwrap();
    assert_eq!(stages(statement), ["execute", "plan"]);
    assert!(query.start_time_unix_nano <= statement.start_time_unix_nano);
    assert!(statement.end_time_unix_nano <= query.end_time_unix_nano);
    let write = spans.iter().find(|span| span.name == "POST /write").expect("the write's span");
    assert_eq!(stages(write), ["commit", "parse", "schema"]);
}

#[test]
fn requests_do_not_wait_for_a_collector_that_is_not_there() {
    let url = format!("http://127.0.0.1:{}/v1/traces", support::free_port());
    let server = Server::start_with(&[("TRACING__OTLP_ENDPOINT", &url)]);
    let client = server.client();
    client.query("", "CREATE DATABASE db");
    let errors = || {
        let metrics = client.get("/metrics").unwrap().body;
        let line =
            metrics.lines().find_map(|line| line.strip_prefix("hyperbytedb_trace_export_errors_total "));
        line.and_then(|value| value.parse::<f64>().ok()).unwrap_or(0.0)
    };
    until("the failure is counted", PATIENCE, || errors() > 0.0);
    assert!(server.log().contains("traces could not be sent (tracing.otlp_endpoint)"), "{}", server.log());
}

#[test]
fn a_share_of_none_is_not_traced() {
    let (url, receiver) = collector();
    let server = Server::start_with(&[("TRACING__OTLP_ENDPOINT", &url), ("TRACING__SAMPLE_RATIO", "0")]);
    server.client().query("", "SHOW DATABASES");
    assert_eq!(server.stop(), Some(0));
    assert_eq!(receiver.try_iter().count(), 0);
}

/// The spans that a server with this share of traced requests sends for a query with these headers.
fn sent(ratio: &str, headers: &[(&str, &str)]) -> Vec<Span> {
    let (url, receiver) = collector();
    let server = Server::start_with(&[("TRACING__OTLP_ENDPOINT", &url), ("TRACING__SAMPLE_RATIO", ratio)]);
    let request = ureq::get(format!("{}/query?q=SHOW%20DATABASES", server.url()));
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    assert_eq!(request.call().unwrap().status(), 200);
    assert_eq!(server.stop(), Some(0));
    let messages: Vec<_> = receiver.try_iter().collect();
    let is_of_query = |span: &&Span| attributes(span).get("endpoint").is_some_and(|at| at.contains("/query"));
    let all = spans(&messages);
    let query: Vec<_> = all.iter().copied().filter(is_of_query).collect();
    all.iter()
        .filter(|span| query.iter().any(|q| q.trace_id == span.trace_id))
        .map(|s| (*s).clone())
        .collect()
}

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn requests_go_on_with_the_trace_of_their_caller() {
    // A share of none: the caller has decided.
    let sampled = format!("00-{TRACE}-{CALLER}-01");
    let spans = sent("0", &[("traceparent", &sampled), ("tracestate", "vendor=x")]);
    assert!(spans.len() > 1, "the stages too: {spans:?}");
    assert!(
        spans.iter().all(|span| hex(&span.trace_id) == TRACE && span.trace_state == "vendor=x"),
        "{spans:?}"
    );
    let query = spans.iter().find(|span| span.name == "GET /query").expect("the query's span");
    assert_eq!(hex(&query.parent_span_id), CALLER);

    let unsampled = format!("00-{TRACE}-{CALLER}-00");
    assert_eq!(sent("1", &[("traceparent", &unsampled)]), []);
}

#[test]
fn a_caller_that_names_no_trace_begins_none_of_its_own() {
    let too_long = format!("00-{TRACE}-{CALLER}-01-x");
    let spans = sent("1", &[("traceparent", &too_long), ("tracestate", "vendor=x")]);
    let query = spans.iter().find(|span| span.name == "GET /query").expect("the query's span");
    assert_ne!(hex(&query.trace_id), TRACE);
    assert!(query.parent_span_id.is_empty() && query.trace_state.is_empty(), "{query:?}");
}
