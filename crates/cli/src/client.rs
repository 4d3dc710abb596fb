//! A server over HTTP: ours, or InfluxDB's.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::thread;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::de::DeserializeOwned;
use ureq::http::{Method, Request, Response, Uri};
use ureq::tls::{RootCerts, TlsConfig};
use ureq::unversioned::resolver::DefaultResolver;
use ureq::unversioned::transport::{ConnectProxyConnector, Connector, RustlsConnector, TcpConnector};
use ureq::{Agent, Body};

use crate::answer::{Answer, cell};
use crate::arguments::Connection;
use crate::error::{Error, Result};
use crate::interruptible::{AbandonOnDrop, Interruptible, until_abandoned};
use crate::socket::UnixConnector;

/// Longest line of an answer: a chunk of rows, or all rows where chunks are off.
const MAX_LINE_BYTES: u64 = 1 << 30;
const MAX_BODY_BYTES: u64 = 64 << 20;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How soon a query ends after an interrupt.
const POLL: Duration = Duration::from_millis(50);

/// A SELECT and its kin.
#[derive(Debug, Default)]
pub struct Query {
    pub text: String,
    pub database: String,
    pub policy: String,
    /// Empty: RFC 3339.
    pub epoch: String,
    /// Rows of a chunk, 0 for the server's default; none: all in one.
    pub chunk_size: Option<u64>,
    pub node: u64,
}

/// Where points go.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Target {
    pub database: String,
    pub policy: String,
    /// Empty: nanoseconds.
    pub precision: String,
    pub consistency: String,
}

#[derive(Debug, Clone)]
pub struct Client {
    agent: Agent,
    url: String,
    address: String,
    credentials: Option<String>,
}

impl Client {
    pub fn new(connection: &Connection) -> Result<Self> {
        let url = connection.url();
        if let Err(error) = url.parse::<Uri>() {
            return Err(Error::Usage(format!("{url} is no address of a server: {error}")));
        }
        let tls = TlsConfig::builder()
            .root_certs(RootCerts::PlatformVerifier)
            .disable_verification(connection.unsafe_ssl)
            .build();
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .user_agent(concat!("hyperbytedb-cli/", env!("CARGO_PKG_VERSION")))
            .tls_config(tls)
            .build();
        let resolver = DefaultResolver::default();
        let agent = match connection.socket.as_str() {
            "" => {
                let tcp = ConnectProxyConnector::default().chain(TcpConnector::default());
                Agent::with_parts(
                    config,
                    tcp.chain(Interruptible).chain(RustlsConnector::default()),
                    resolver,
                )
            }
            path => Agent::with_parts(config, UnixConnector::new(path).chain(Interruptible), resolver),
        };
        let mut client = Self { agent, url, address: connection.address(), credentials: None };
        client.log_in(&connection.username, connection.password.as_deref().unwrap_or(""));
        Ok(client)
    }

    /// What people are told of where it goes.
    pub fn address(&self) -> &str {
        &self.address
    }

    pub fn log_in(&mut self, username: &str, password: &str) {
        let text = format!("{username}:{password}");
        self.credentials = (!username.is_empty()).then(|| format!("Basic {}", STANDARD.encode(text)));
    }

    /// The version of the server, if it is there.
    pub fn ping(&self) -> Result<String> {
        let answer = self.send(Method::GET, "/ping", &[], Vec::new());
        let answer = answer
            .map_err(|error| Error::Connect { address: self.address.clone(), reason: error.to_string() })?;
        let version = answer.headers().get("X-Influxdb-Version").and_then(|value| value.to_str().ok());
        let version = version.unwrap_or_default().to_owned();
        match answer.status().as_u16() {
            200 | 204 => Ok(version),
            _ => Err(refusal(answer)),
        }
    }

    /// The answer to a request that tells what the server has.
    pub fn get<T: DeserializeOwned>(&self, path: &str, parameters: &[(&str, &str)]) -> Result<T> {
        read_json(self.request(Method::GET, path, parameters, Vec::new())?)
    }

    /// The answer to a request that has the server do something.
    pub fn post<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        read_json(self.request(Method::POST, path, &[], Vec::new())?)
    }

    /// The text of an answer, whatever its status.
    pub fn text(&self, path: &str) -> Result<(u16, String)> {
        let answer = self.send(Method::GET, path, &[], Vec::new())?;
        let status = answer.status().as_u16();
        Ok((status, body_text(answer)?))
    }

    /// A request that must succeed.
    pub fn request(
        &self,
        method: Method,
        path: &str,
        parameters: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Result<Response<Body>> {
        let answer = self.send(method, path, parameters, body)?;
        if answer.status().is_success() { Ok(answer) } else { Err(refusal(answer)) }
    }

    /// Writes line protocol. What the server refuses is its whole answer, as `influx` shows it.
    pub fn write(&self, target: &Target, body: Vec<u8>) -> Result<()> {
        let parameters = [
            ("db", target.database.as_str()),
            ("rp", &target.policy),
            ("precision", &target.precision),
            ("consistency", &target.consistency),
        ];
        let answer = self.send(Method::POST, "/write", &parameters, body)?;
        if answer.status().is_success() { Ok(()) } else { Err(Error::Refused(body_text(answer)?)) }
    }

    /// Runs a query and hands over each part of its answer, until that says to stop. An interrupt ends the query: the
    /// connection is closed with it, and so the server stops too.
    pub fn query(
        &self,
        query: &Query,
        interrupted: &AtomicBool,
        mut take: impl FnMut(Answer<'_>) -> Result<()>,
    ) -> Result<()> {
        let (sender, parts) = mpsc::sync_channel(1);
        let (client, form) = (self.clone(), form(query));
        let waiting = AbandonOnDrop(Arc::default());
        let abandoned = waiting.0.clone();
        thread::spawn(move || {
            until_abandoned(abandoned);
            if let Err(error) = client.read_answer(form, &sender) {
                // Nobody reads any more after an interrupt.
                drop(sender.send(Err(error)));
            }
        });
        while let Some(part) = next(&parts, interrupted)? {
            let part = part?;
            take(serde_json::from_slice(&part).map_err(|error| Error::Answer(error.to_string()))?)?;
        }
        Ok(())
    }

    /// The first column of a statement's answer.
    pub fn first_column(&self, statement: &str, database: &str) -> Result<BTreeSet<String>> {
        let query = Query { text: statement.to_owned(), database: database.to_owned(), ..Query::default() };
        let mut names = BTreeSet::new();
        self.query(&query, &AtomicBool::new(false), |answer| {
            if let Some(error) = answer.failure() {
                return Err(Error::Refused(error.to_owned()));
            }
            let rows =
                answer.results.iter().flat_map(|result| &result.series).flat_map(|series| &series.values);
            names.extend(rows.filter_map(|row| row.first()).map(|value| cell(value).into_owned()));
            Ok(())
        })?;
        Ok(names)
    }

    fn read_answer(&self, form: Vec<u8>, parts: &SyncSender<Result<Vec<u8>>>) -> Result<()> {
        let answer = self.send(Method::POST, "/query", &[], form)?;
        let is_json = answer
            .headers()
            .get("Content-Type")
            .is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"));
        if !is_json {
            return Err(refusal(answer));
        }
        let mut reader = BufReader::new(answer.into_body().into_reader());
        loop {
            let mut line = Vec::new();
            let read = reader.by_ref().take(MAX_LINE_BYTES).read_until(b'\n', &mut line);
            let read = read.map_err(|error| Error::Answer(error.to_string()))?;
            if read as u64 == MAX_LINE_BYTES {
                return Err(Error::Answer("it is larger than 1 GiB: switch `chunked` on".to_owned()));
            }
            if read == 0 || (line != b"\n" && parts.send(Ok(line)).is_err()) {
                return Ok(());
            }
        }
    }

    fn send(
        &self,
        method: Method,
        path: &str,
        parameters: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Result<Response<Body>> {
        let mut query = form_urlencoded::Serializer::new(String::new());
        for (name, value) in parameters.iter().filter(|(_, value)| !value.is_empty()) {
            query.append_pair(name, value);
        }
        let query = query.finish();
        let separator = if query.is_empty() { "" } else { "?" };
        let mut request =
            Request::builder().method(method).uri(format!("{}{path}{separator}{query}", self.url));
        if let Some(credentials) = &self.credentials {
            request = request.header("Authorization", credentials);
        }
        if path == "/query" {
            request = request.header("Content-Type", "application/x-www-form-urlencoded");
        }
        let request = request.body(body).map_err(|error| Error::Usage(error.to_string()))?;
        self.agent.run(request).map_err(|error| Error::Request(error.to_string()))
    }
}

fn next<T>(parts: &Receiver<T>, interrupted: &AtomicBool) -> Result<Option<T>> {
    loop {
        match parts.recv_timeout(POLL) {
            Ok(part) => return Ok(Some(part)),
            Err(RecvTimeoutError::Disconnected) => return Ok(None),
            Err(RecvTimeoutError::Timeout) if interrupted.load(Ordering::Relaxed) => {
                return Err(Error::Interrupted);
            }
            Err(RecvTimeoutError::Timeout) => {}
        }
    }
}

fn form(query: &Query) -> Vec<u8> {
    let mut form = form_urlencoded::Serializer::new(String::new());
    form.append_pair("q", &query.text);
    for (name, value) in [("db", &query.database), ("rp", &query.policy), ("epoch", &query.epoch)] {
        if !value.is_empty() {
            form.append_pair(name, value);
        }
    }
    if let Some(size) = query.chunk_size {
        form.append_pair("chunked", "true");
        if size > 0 {
            form.append_pair("chunk_size", &size.to_string());
        }
    }
    if query.node > 0 {
        form.append_pair("node_id", &query.node.to_string());
    }
    form.finish().into_bytes()
}

fn body_text(answer: Response<Body>) -> Result<String> {
    let mut text = Vec::new();
    let read = answer.into_body().into_reader().take(MAX_BODY_BYTES).read_to_end(&mut text);
    read.map_err(|error| Error::Answer(error.to_string()))?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

fn read_json<T: DeserializeOwned>(answer: Response<Body>) -> Result<T> {
    serde_json::from_str(&body_text(answer)?).map_err(|error| Error::Answer(error.to_string()))
}

/// What the server says against a request.
fn refusal(answer: Response<Body>) -> Error {
    let status = answer.status();
    let text = match body_text(answer) {
        Ok(text) => text,
        Err(error) => return error,
    };
    match serde_json::from_str::<Answer<'_>>(&text) {
        Ok(Answer { error: Some(error), .. }) => Error::Refused(error),
        _ => {
            let text: String = text.trim().chars().take(200).collect();
            Error::Refused(format!("{status}: {text}").trim_end_matches(": ").to_owned())
        }
    }
}
