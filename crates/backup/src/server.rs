//! The server that is backed up.

use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use futures_util::{Stream, TryStreamExt};
use hyperbytedb_domain::backup::Snapshot;
use reqwest::{Method, RequestBuilder, Response};

use crate::error::Error;
use crate::lines::Lines;

/// How often a write comes again, and after which pause.
const WRITE_ATTEMPTS: usize = 60;
/// What a server says of points past their policy. Of points older than a write limit it says the same.
const EXPIRED: &str = "points beyond retention policy";
const OVERLOADED_PAUSE: Duration = Duration::from_secs(1);

/// Which server, and who asks.
#[derive(Debug, Clone, Args)]
pub struct Server {
    /// Where the server is.
    #[arg(long, default_value = "http://127.0.0.1:8086")]
    pub url: String,
    /// Name of the user, where the server asks for one.
    #[arg(long)]
    pub user: Option<String>,
    /// Password of the user; better in the variable HYPERBYTEDB_PASSWORD, which others cannot see.
    #[arg(long, env = "HYPERBYTEDB_PASSWORD", hide_env_values = true)]
    pub password: Option<String>,
}

/// A connection to it.
#[derive(Debug, Clone)]
pub struct Client {
    server: Server,
    http: reqwest::Client,
}

impl Client {
    pub fn new(server: &Server) -> Result<Self, Error> {
        if !["http://", "https://"].iter().any(|scheme| server.url.starts_with(scheme)) {
            return Err(Error::Invalid(format!(
                "the URL {:?} must begin with http:// or https://",
                server.url
            )));
        }
        let connection = |source| Error::Connection { url: server.url.clone(), source };
        Ok(Self { server: server.clone(), http: reqwest::Client::builder().build().map_err(connection)? })
    }

    fn request(&self, method: Method, path: &str) -> (String, RequestBuilder) {
        let url = format!("{}{path}", self.server.url.trim_end_matches('/'));
        let request = self.http.request(method, &url);
        let request = match &self.server.user {
            Some(user) => request.basic_auth(user, self.server.password.as_ref()),
            None => request,
        };
        (url, request)
    }

    async fn send(&self, (url, request): (String, RequestBuilder)) -> Result<(String, Response), Error> {
        let sent = request.send().await;
        let response = sent.map_err(|source| Error::Connection { url: url.clone(), source })?;
        if response.status().is_success() {
            return Ok((url, response));
        }
        let status = response.status().as_u16();
        let text = said(response.text().await.unwrap_or_default().trim());
        Err(Error::Refused { url, status, text })
    }

    /// Has a snapshot made, of one database or of all.
    pub async fn create(&self, database: Option<&str>) -> Result<Snapshot, Error> {
        let (url, request) = self.request(Method::POST, "/api/v1/backup");
        let request = request.query(&database.map(|name| ("db", name)).into_iter().collect::<Vec<_>>());
        let (url, response) = self.send((url, request)).await?;
        response.json().await.map_err(|source| Error::Connection { url, source })
    }

    pub(crate) async fn file(
        &self,
        id: &str,
        name: &str,
    ) -> Result<impl Stream<Item = Result<Bytes, Error>> + use<>, Error> {
        let (url, request) = self.request(Method::GET, &format!("/api/v1/backup/{id}/files"));
        let (url, response) = self.send((url, request.query(&[("name", name)]))).await?;
        Ok(response.bytes_stream().map_err(move |source| Error::Connection { url: url.clone(), source }))
    }

    /// Removes a snapshot.
    pub async fn remove(&self, id: &str) -> Result<(), Error> {
        self.send(self.request(Method::DELETE, &format!("/api/v1/backup/{id}"))).await.map(drop)
    }

    /// Runs a statement; returns its answer, or the error in it.
    pub async fn query(&self, statement: &str) -> Result<serde_json::Value, Error> {
        let (url, request) = self.request(Method::POST, "/query");
        let (url, response) = self.send((url, request.query(&[("q", statement)]))).await?;
        let answer = response.json::<serde_json::Value>().await;
        let answer = answer.map_err(|source| Error::Connection { url, source })?;
        match answer["results"][0]["error"].as_str() {
            Some(error) => Err(Error::Invalid(format!("{statement}: {error}"))),
            None => Ok(answer),
        }
    }

    /// Writes lines with times in nanoseconds. Comes again while the server is overloaded. Returns how many lines had
    /// expired: of what the server refuses as such in part, halves are sent until each is refused or taken whole, so that
    /// nothing that it refuses for another reason passes as expired.
    pub async fn write(&self, database: &str, policy: &str, lines: &Lines) -> Result<u64, Error> {
        let mut expired = 0;
        let mut waiting = Vec::from_iter(Some(0..lines.len()));
        while let Some(part) = waiting.pop() {
            match self.write_text(database, policy, lines.text(&part)).await {
                Err(Error::Refused { text, .. }) if text.contains(EXPIRED) => {
                    if part.len() == 1 || text.ends_with(&format!(" dropped={}", part.len())) {
                        expired += part.len() as u64;
                    } else {
                        let middle = part.start + part.len() / 2;
                        waiting.extend([middle..part.end, part.start..middle]);
                    }
                }
                written => written?,
            }
        }
        Ok(expired)
    }

    async fn write_text(&self, database: &str, policy: &str, lines: &str) -> Result<(), Error> {
        let lines = Bytes::copy_from_slice(lines.as_bytes());
        for _ in 0..WRITE_ATTEMPTS {
            let (url, request) = self.request(Method::POST, "/write");
            let request = request.query(&[("db", database), ("rp", policy), ("precision", "ns")]);
            match self.send((url, request.body(lines.clone()))).await {
                Err(Error::Refused { status: 503, .. }) => tokio::time::sleep(OVERLOADED_PAUSE).await,
                sent => return sent.map(drop),
            }
        }
        Err(Error::Invalid(format!("{} stays overloaded", self.server.url)))
    }
}

/// What a server says is wrong, out of its JSON.
fn said(text: &str) -> String {
    let body: serde_json::Value = serde_json::from_str(text).unwrap_or_default();
    body["error"].as_str().unwrap_or(text).to_owned()
}
