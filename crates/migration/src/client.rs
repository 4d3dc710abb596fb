//! A server that speaks InfluxDB's HTTP interface: ours, or a real one.

use std::io::{BufRead, BufReader, Read};
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine;
use clap::Args;
use serde::Deserialize;
use ureq::http::Response;
use ureq::tls::{RootCerts, TlsConfig};
use ureq::{Agent, Body};

use crate::error::Error;

/// Longest line of an answer: a chunk of rows.
const MAX_ANSWER_BYTES: u64 = 1 << 30;
const MAX_ERROR_BYTES: u64 = 1 << 20;
/// Rows of a piece of an answer about a schema.
const CHUNK_ROWS: usize = 10_000;
/// Until an answer begins: a query over everything may take its time.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(900);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Who asks.
#[derive(Debug, Clone, Default, Args)]
pub struct Login {
    /// Name of the user, where the server asks for one.
    #[arg(long)]
    user: Option<String>,
    /// Password of the user; better in the variable HYPERBYTEDB_PASSWORD, which others cannot see.
    #[arg(long, env = "HYPERBYTEDB_PASSWORD", hide_env_values = true)]
    password: Option<String>,
}

impl Login {
    pub const fn new(user: Option<String>, password: Option<String>) -> Self {
        Self { user, password }
    }

    /// This one, or the other where this one names nobody.
    pub fn or(self, other: &Self) -> Self {
        if self.user.is_some() { self } else { other.clone() }
    }

    fn header(&self) -> Option<String> {
        let text = format!("{}:{}", self.user.as_ref()?, self.password.as_deref().unwrap_or(""));
        Some(format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(text)))
    }
}

/// Which server, and how long to wait for it.
#[derive(Debug, Clone, Args)]
pub struct Connection {
    /// Where the server is.
    #[arg(long, default_value = "http://127.0.0.1:8086")]
    pub url: String,
    #[command(flatten)]
    pub login: Login,
    /// Take any certificate of the server.
    #[arg(long)]
    pub unsafe_ssl: bool,
    /// Seconds to go on trying where the server does not answer or is overloaded.
    #[arg(long, default_value_t = 60)]
    pub retry_secs: u64,
}

/// Where points go.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Target {
    pub database: String,
    /// Empty: the default one.
    pub policy: String,
    /// Of the times; empty: nanoseconds.
    pub precision: String,
}

/// What became of a write.
#[derive(Debug)]
pub enum Written {
    All,
    /// All but some lines, or none: what the server says.
    Refused(String),
    /// The body is larger than the server allows.
    TooLarge,
}

/// A connection, which several threads may share.
#[derive(Debug, Clone)]
pub struct Server {
    agent: Agent,
    url: String,
    /// The header that names the user.
    credentials: Option<String>,
    retry: Duration,
}

#[derive(Debug, Deserialize)]
struct ErrorBody {
    error: String,
}

/// One series of an answer.
#[derive(Debug, Clone, Deserialize)]
pub struct Series {
    #[serde(default)]
    pub name: String,
    #[serde(default)]
    pub columns: Vec<String>,
    #[serde(default)]
    pub values: Vec<Vec<serde_json::Value>>,
}

#[derive(Debug, Deserialize)]
struct Answer {
    #[serde(default)]
    results: Vec<ResultOf>,
    error: Option<String>,
}

#[derive(Debug, Deserialize)]
struct ResultOf {
    #[serde(default)]
    series: Vec<Series>,
    error: Option<String>,
}

impl Server {
    pub fn new(connection: &Connection) -> Result<Self, Error> {
        let url = connection.url.trim_end_matches('/');
        if !url.starts_with("http://") && !url.starts_with("https://") {
            return Err(Error::usage(format!("the URL {url:?} must begin with http:// or https://")));
        }
        // Another part of the process may have done so already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let tls = TlsConfig::builder()
            .root_certs(RootCerts::PlatformVerifier)
            .disable_verification(connection.unsafe_ssl)
            .build();
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .tls_config(tls)
            .timeout_connect(Some(Duration::from_secs(10)))
            .timeout_recv_response(Some(ANSWER_TIMEOUT))
            .build();
        Ok(Self {
            agent: config.into(),
            url: url.to_owned(),
            credentials: connection.login.header(),
            retry: Duration::from_secs(connection.retry_secs),
        })
    }

    /// Writes line protocol; tries again while the server cannot take it.
    pub fn write(&self, target: &Target, body: &[u8]) -> Result<Written, Error> {
        let parameters = [
            ("db", target.database.as_str()),
            ("rp", target.policy.as_str()),
            ("precision", target.precision.as_str()),
        ];
        let mut response = self.send("/write", &parameters, body)?;
        match response.status().as_u16() {
            200..=299 => Ok(Written::All),
            413 => Ok(Written::TooLarge),
            400 => Ok(Written::Refused(error_of(&mut response))),
            _ => Err(self.refused("/write", &mut response)),
        }
    }

    /// Runs a statement; its whole answer.
    pub fn query(&self, database: &str, statement: &str) -> Result<Vec<Series>, Error> {
        let mut found = Vec::new();
        self.each(database, statement, |series| found.push(series))?;
        Ok(found)
    }

    /// Runs a statement and hands over its answer piece by piece.
    pub fn each(&self, database: &str, statement: &str, mut visit: impl FnMut(Series)) -> Result<(), Error> {
        let failed = |text| Error::Statement { statement: statement.to_owned(), text };
        let mut reader = self.stream(database, statement, CHUNK_ROWS)?;
        let mut line = Vec::new();
        while read_line(&mut reader, &mut line).map_err(|source| self.unreachable(source))? {
            let answer: Answer = serde_json::from_slice(&line)
                .map_err(|error| failed(format!("the answer is not understood: {error}")))?;
            if let Some(text) = answer.error {
                return Err(failed(text));
            }
            for result in answer.results {
                if let Some(text) = result.error {
                    return Err(failed(text));
                }
                result.series.into_iter().for_each(&mut visit);
            }
        }
        Ok(())
    }

    /// Runs a statement whose answer is read while it comes: JSON texts, a line each.
    pub fn stream(
        &self,
        database: &str,
        statement: &str,
        chunk_rows: usize,
    ) -> Result<BufReader<impl Read + use<>>, Error> {
        let rows = chunk_rows.to_string();
        let parameters = [("db", database), ("epoch", "ns"), ("chunked", "true"), ("chunk_size", &rows)];
        let form = form(&[("q", statement)]);
        let mut response = self.send("/query", &parameters, form.as_bytes())?;
        match response.status().as_u16() {
            200..=299 => Ok(BufReader::new(response.into_body().into_reader())),
            400 => Err(Error::Statement { statement: statement.to_owned(), text: error_of(&mut response) }),
            _ => Err(self.refused("/query", &mut response)),
        }
    }

    fn send(&self, path: &str, parameters: &[(&str, &str)], body: &[u8]) -> Result<Response<Body>, Error> {
        let deadline = Instant::now() + self.retry;
        let mut pause = FIRST_PAUSE;
        loop {
            let kind = if path == "/query" { "application/x-www-form-urlencoded" } else { "text/plain" };
            let mut request = self.agent.post(format!("{}{path}", self.url)).content_type(kind);
            request = request.query_pairs(parameters.iter().copied().filter(|(_, value)| !value.is_empty()));
            if let Some(credentials) = &self.credentials {
                request = request.header("authorization", credentials);
            }
            let failure = match request.send(body) {
                Ok(mut response) if is_overload(response.status().as_u16()) => {
                    let text = error_of(&mut response);
                    // InfluxDB says so with 500.
                    if text.contains("not found") || Instant::now() + pause >= deadline {
                        let url = self.url.clone();
                        return Err(Error::Refused { url, status: response.status().as_u16(), text });
                    }
                    None
                }
                Ok(response) => return Ok(response),
                Err(error) => Some(error),
            };
            if let Some(error) = failure
                && Instant::now() + pause >= deadline
            {
                return Err(self.unreachable(error.into_io()));
            }
            thread::sleep(pause);
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    fn refused(&self, path: &str, response: &mut Response<Body>) -> Error {
        let url = format!("{}{path}", self.url);
        Error::Refused { url, status: response.status().as_u16(), text: error_of(response) }
    }

    pub fn unreachable(&self, source: std::io::Error) -> Error {
        Error::Unreachable { url: self.url.clone(), source }
    }
}

/// Whether the same request may succeed a little later.
fn is_overload(status: u16) -> bool {
    matches!(status, 429 | 500..=599)
}

/// What a server says is wrong.
fn error_of(response: &mut Response<Body>) -> String {
    let text = response.body_mut().with_config().limit(MAX_ERROR_BYTES).read_to_string();
    let text = text.unwrap_or_else(|error| format!("(its text cannot be read: {error})"));
    serde_json::from_str::<ErrorBody>(&text).map(|body| body.error).unwrap_or(text)
}

/// Reads a line of an answer; false at the end.
pub fn read_line(reader: &mut impl BufRead, line: &mut Vec<u8>) -> std::io::Result<bool> {
    line.clear();
    reader.take(MAX_ANSWER_BYTES).read_until(b'\n', line)?;
    Ok(!line.is_empty())
}

fn form(pairs: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
}

/// An identifier in quotes.
pub fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_are_quoted() {
        assert_eq!(quote("a\"b\\c\nd"), "\"a\\\"b\\\\c\\nd\"");
    }
}
