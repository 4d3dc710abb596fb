//! The access log: a line for each answered request, without what is secret.
//!
//! Requests put their lines into a bounded queue, which a thread of the log's own writes out: no request waits for a disk or a
//! pipe. Where the queue is full lines are left out, and counted.

use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::{self, BufWriter, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Instant;

use axum::extract::{ConnectInfo, Request};
use axum::http::header::{REFERER, USER_AGENT};
use axum::http::{HeaderMap, HeaderName, Method, StatusCode, Uri, Version};
use hyperbytedb_metrics as metrics;
use hyperbytedb_timeseriesql::parse_query;
use jiff::Timestamp;
use serde_json::json;

use crate::auth;
use crate::form::Form;
use crate::rates::Peer;

const QUEUED_LINES_MAX: usize = 8192;
const REDACTED: &str = "[REDACTED]";

/// How a line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccessLogFormat {
    /// Apache's combined format, then request id and microseconds, as InfluxDB writes it.
    Combined,
    Json,
}

#[derive(Debug, Clone)]
pub struct AccessLogOptions {
    pub format: AccessLogFormat,
    /// A file to append to; empty: standard error.
    pub path: String,
    /// Beginnings of paths that are not logged.
    pub exclude: Vec<String>,
}

pub struct AccessLog {
    options: AccessLogOptions,
    lines: SyncSender<String>,
}

/// A request, as the log shows it.
pub struct Entry {
    /// The client, behind the proxies that it came through.
    remote: String,
    user: String,
    at: Timestamp,
    started: Instant,
    method: Method,
    target: String,
    version: Version,
    referer: String,
    agent: String,
    id: String,
}

impl AccessLog {
    pub fn open(options: AccessLogOptions) -> io::Result<Self> {
        let out: Box<dyn Write + Send> = if options.path.is_empty() {
            Box::new(io::stderr())
        } else {
            Box::new(OpenOptions::new().create(true).append(true).open(&options.path)?)
        };
        let (lines, queued) = sync_channel(QUEUED_LINES_MAX);
        thread::Builder::new().name("access-log".to_owned()).spawn(move || write_out(queued, out))?;
        Ok(Self { options, lines })
    }

    /// What is to be said of a request once it is answered; `None`: nothing.
    pub fn entry(&self, request: &Request, id: &str) -> Option<Entry> {
        let path = request.uri().path();
        if self.options.exclude.iter().any(|start| path.starts_with(start.as_str())) {
            return None;
        }
        let headers = request.headers();
        let query = Form::from_query(request.uri().query());
        let peer = request.extensions().get::<ConnectInfo<Peer>>().and_then(|info| info.0.0);
        let own = peer.map_or_else(|| "unix".to_owned(), |address| address.ip().to_string());
        let forwarded = text(headers, HeaderName::from_static("x-forwarded-for"));
        Some(Entry {
            remote: if forwarded.is_empty() { own } else { format!("{forwarded},{own}") },
            user: auth::named_user(headers, &query).unwrap_or_default(),
            at: Timestamp::now(),
            started: Instant::now(),
            method: request.method().clone(),
            target: without_secrets(request.uri(), &query),
            version: request.version(),
            referer: text(headers, REFERER),
            agent: text(headers, USER_AGENT),
            id: id.to_owned(),
        })
    }

    /// Logs a request's answer.
    pub fn log(&self, entry: &Entry, status: StatusCode, bytes: u64) {
        let line = match self.options.format {
            AccessLogFormat::Combined => entry.combined(status, bytes),
            AccessLogFormat::Json => entry.json(status, bytes),
        };
        if self.lines.try_send(line).is_err() {
            metrics::ACCESS_LOG_DROPPED.increment(1);
        }
    }
}

/// Writes lines until no more can come.
fn write_out(queued: Receiver<String>, out: Box<dyn Write + Send>) {
    let mut out = BufWriter::new(out);
    while let Ok(line) = queued.recv() {
        let more = std::iter::from_fn(|| queued.try_recv().ok());
        let written = std::iter::once(line).chain(more).try_for_each(|line| writeln!(out, "{line}"));
        if let Err(error) = written.and_then(|()| out.flush()) {
            tracing::warn!(%error, "the access log cannot be written");
        }
    }
}

impl Entry {
    fn combined(&self, status: StatusCode, bytes: u64) -> String {
        let or_dash = |text: &str| if text.is_empty() { "-".to_owned() } else { quotable(text) };
        let time = self.at.strftime("%d/%b/%Y:%H:%M:%S +0000");
        let (remote, user) = (or_dash(&self.remote), or_dash(&self.user));
        let mut line = format!("{remote} - {user} [{time}] ");
        // Writing to a string cannot fail.
        let _ = write!(
            line,
            "\"{} {} {:?}\" {} {bytes} \"{}\" \"{}\" {} {}",
            self.method,
            quotable(&self.target),
            self.version,
            status.as_u16(),
            or_dash(&self.referer),
            or_dash(&self.agent),
            or_dash(&self.id),
            self.started.elapsed().as_micros()
        );
        line
    }

    fn json(&self, status: StatusCode, bytes: u64) -> String {
        json!({
            "time": self.at.to_string(),
            "remote": self.remote,
            "user": self.user,
            "method": self.method.as_str(),
            "uri": self.target,
            "protocol": format!("{:?}", self.version),
            "status": status.as_u16(),
            "bytes": bytes,
            "referer": self.referer,
            "user_agent": self.agent,
            "request_id": self.id,
            "duration_us": self.started.elapsed().as_micros() as u64,
        })
        .to_string()
    }
}

fn text(headers: &HeaderMap, name: HeaderName) -> String {
    headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).unwrap_or_default()
}

/// A text that ends neither its quotes nor its line.
fn quotable(text: &str) -> String {
    let mut quotable = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '"' | '\\' => quotable.extend(['\\', c]),
            c if c.is_control() => quotable.extend(c.escape_default()),
            c => quotable.push(c),
        }
    }
    quotable
}

/// Path and query of a request. Passwords are left out, also those in statements; a statement with a password that cannot be parsed
/// is left out as a whole.
fn without_secrets(uri: &Uri, query: &Form) -> String {
    let is_secret = |(name, value): (&str, &str)| name == "p" || name == "q" && may_name_password(value);
    if !query.pairs().any(is_secret) {
        return uri.path_and_query().map_or_else(|| uri.to_string(), ToString::to_string);
    }
    let mut safe = form_urlencoded::Serializer::new(String::new());
    for (name, value) in query.pairs() {
        match name {
            "p" | "params" => safe.append_pair(name, REDACTED),
            "q" if may_name_password(value) => {
                let printed = parse_query(value).map(|query| query.to_string());
                let is_subscription = value.contains("://");
                safe.append_pair(
                    name,
                    printed.ok().filter(|_| !is_subscription).as_deref().unwrap_or(REDACTED),
                )
            }
            _ => safe.append_pair(name, value),
        };
    }
    format!("{}?{}", uri.path(), safe.finish())
}

/// Of users, and of destinations of subscriptions.
fn may_name_password(statement: &str) -> bool {
    let statement = statement.to_ascii_lowercase();
    statement.contains("password") || statement.contains("://") && statement.contains('@')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(uri: &str) -> String {
        let uri: Uri = uri.parse().unwrap();
        without_secrets(&uri, &Form::from_query(uri.query()))
    }

    #[test]
    fn secrets_do_not_reach_the_log() {
        for (uri, logged) in [
            ("/query?q=SHOW%20DATABASES&db=a", "/query?q=SHOW%20DATABASES&db=a"),
            ("/query?u=x&p=hush&q=SELECT+1", "/query?u=x&p=%5BREDACTED%5D&q=SELECT+1"),
            (
                "/query?q=create+user+u+with+password+'hush'",
                "/query?q=CREATE+USER+u+WITH+PASSWORD+%5BREDACTED%5D",
            ),
            ("/query?q=set+password+for+u+%3D+'hush'+oops", "/query?q=%5BREDACTED%5D"),
            (
                "/query?q=create+user+u+with+password+$p&params=hush",
                "/query?q=%5BREDACTED%5D&params=%5BREDACTED%5D",
            ),
            (
                "/query?q=CREATE+SUBSCRIPTION+s+ON+a+DESTINATIONS+ALL+'http://u:hush@h'",
                "/query?q=%5BREDACTED%5D",
            ),
        ] {
            assert_eq!(target(uri), logged);
        }
    }

    #[test]
    fn a_line_cannot_be_forged() {
        assert_eq!(quotable("a\" 200\n\\b\u{1b}"), "a\\\" 200\\n\\\\b\\u{1b}");
    }
}
