//! The built server as a child process, and a small HTTP client for it.
#![allow(dead_code)] // each test binary uses its part

pub mod backups;
pub mod cluster;
pub mod influxd;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

pub use hyperbytedb_test_support::free_port;
use tempfile::TempDir;

const START_TIMEOUT: Duration = Duration::from_secs(60);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// Returns when the condition holds.
pub fn until(what: &str, limit: Duration, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + limit;
    while !holds() {
        assert!(Instant::now() < deadline, "not in {limit:?}: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Adds those with which next to nothing is in memory and nothing waits long for its flush: it is the engine that answers.
pub fn engine_answers(mut settings: Vec<(&'static str, String)>) -> Vec<(&'static str, String)> {
    let seconds = ["FLUSH__INTERVAL_SECS", "FLUSH__SMALL_INTERVAL_SECS"].map(|key| (key, "1".to_owned()));
    settings.push(("FLUSH__HEAD_BYTES", "0".to_owned()));
    settings.extend(seconds);
    settings
}

/// Settings as the functions here take them.
pub fn borrowed<'a>(settings: &'a [(&'static str, String)]) -> Vec<(&'static str, &'a str)> {
    settings.iter().map(|(key, value)| (*key, value.as_str())).collect()
}

/// A running server. Dropping it kills it.
pub struct Server {
    child: Child,
    pub port: u16,
    pub data_dir: PathBuf,
    _own_dir: Option<TempDir>,
}

/// An answer, whatever its status.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub body: String,
    pub headers: ureq::http::HeaderMap,
}

impl Answer {
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.body))
    }
}

/// Where ClickHouse is the engine: one for each data folder.
pub fn database(dir: &Path) -> String {
    let name = dir.file_name().unwrap_or_default().to_string_lossy();
    format!("hyperbyte_{}", name.trim_start_matches('.'))
}

impl Server {
    /// A server with a new data folder.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// A server with a new data folder and settings, named without their `HYPERBYTEDB__`, or variables of InfluxDB.
    pub fn start_with(settings: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let mut server = Self::start_in(dir.path(), settings);
        server._own_dir = Some(dir);
        server
    }

    /// A server on an existing data folder.
    pub fn start_in(dir: &Path, settings: &[(&str, &str)]) -> Self {
        Self::start_on(dir, free_port(), settings)
    }

    /// The same, on a port.
    pub fn start_on(dir: &Path, port: u16, settings: &[(&str, &str)]) -> Self {
        let mut server = Self::spawn_on(dir, port, settings);
        server.wait_until_ready();
        server
    }

    /// The same, not waited for.
    pub fn spawn_in(dir: &Path, settings: &[(&str, &str)]) -> Self {
        Self::spawn_on(dir, free_port(), settings)
    }

    pub fn spawn_on(dir: &Path, port: u16, settings: &[(&str, &str)]) -> Self {
        let log =
            std::fs::OpenOptions::new().create(true).append(true).open(dir.join("server.log")).expect("log");
        let mut command = Command::new(env!("CARGO_BIN_EXE_hyperbytedb"));
        command
            .arg("serve")
            .env("HYPERBYTEDB__SERVER__PORT", port.to_string())
            .env("HYPERBYTEDB__STORAGE__DATA_DIR", dir.join("data"))
            .env("HYPERBYTEDB__CLICKHOUSE__DATABASE", database(dir))
            .stdout(Stdio::from(log.try_clone().expect("log")))
            .stderr(Stdio::from(log))
            .stdin(Stdio::null());
        for (key, value) in settings {
            let is_influxdbs = key.starts_with("INFLUXDB_");
            let key = if is_influxdbs { (*key).to_owned() } else { format!("HYPERBYTEDB__{key}") };
            command.env(key, value);
        }
        let child = command.spawn().expect("the built server");
        Self { child, port, data_dir: dir.to_owned(), _own_dir: None }
    }

    pub fn wait_until_ready(&mut self) {
        let deadline = Instant::now() + START_TIMEOUT;
        while Instant::now() < deadline {
            if let Ok(Some(status)) = self.child.try_wait() {
                panic!("the server ended with {status}: {}", self.log());
            }
            if self.try_get("/health/ready").is_ok_and(|a| a.status == 200) {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("the server did not become ready: {}", self.log());
    }

    /// Waits until it ends by itself, and returns what it said.
    pub fn failure(mut self) -> String {
        until("the server ends", START_TIMEOUT, || {
            self.child.try_wait().is_ok_and(|status| status.is_some())
        });
        self.log()
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.data_dir.join("server.log")).unwrap_or_default()
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// kill -9, and wait until it is gone.
    pub fn kill(mut self) {
        self.child.kill().expect("kill");
        self.child.wait().expect("wait");
    }

    /// kill -9; returns the folder, where it is the server's own, for another one.
    pub fn into_folder(mut self) -> Option<TempDir> {
        let folder = self._own_dir.take();
        self.kill();
        folder
    }

    /// SIGTERM; returns the exit code.
    pub fn stop(mut self) -> Option<i32> {
        signal(self.child.id(), "TERM");
        let deadline = Instant::now() + START_TIMEOUT;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait().expect("wait") {
                return status.code();
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("the server did not stop: {}", self.log());
    }

    pub fn try_get(&self, path: &str) -> Result<Answer, ureq::Error> {
        Client::new(&self.url()).get(path)
    }

    pub fn client(&self) -> Client {
        Client::new(&self.url())
    }
}

/// Sends a signal. The shell has a `kill` of its own; not every machine has it as a program.
pub fn signal(pid: u32, name: &str) {
    let status = Command::new("sh").args(["-c", &format!("kill -{name} {pid}")]).status().expect("sh");
    assert!(status.success(), "kill -{name} {pid}");
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A client with a keep-alive connection.
pub struct Client {
    agent: ureq::Agent,
    url: String,
}

impl Client {
    pub fn new(url: &str) -> Self {
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(REQUEST_TIMEOUT))
            .build();
        Self { agent: config.into(), url: url.to_owned() }
    }

    pub fn get(&self, path: &str) -> Result<Answer, ureq::Error> {
        answer(self.agent.get(format!("{}{path}", self.url)).call()?)
    }

    pub fn get_with(&self, path: &str, query: &[(&str, &str)]) -> Result<Answer, ureq::Error> {
        answer(self.agent.get(format!("{}{path}", self.url)).query_pairs(query.iter().copied()).call()?)
    }

    pub fn delete(&self, path: &str, query: &[(&str, &str)]) -> Result<Answer, ureq::Error> {
        answer(self.agent.delete(format!("{}{path}", self.url)).query_pairs(query.iter().copied()).call()?)
    }

    pub fn post(&self, path: &str, query: &[(&str, &str)], body: &[u8]) -> Result<Answer, ureq::Error> {
        answer(self.agent.post(format!("{}{path}", self.url)).query_pairs(query.iter().copied()).send(body)?)
    }

    /// A body of another type than a form.
    pub fn post_as(&self, path: &str, content_type: &str, body: &[u8]) -> Result<Answer, ureq::Error> {
        let request = self.agent.post(format!("{}{path}", self.url)).header("content-type", content_type);
        answer(request.send(body)?)
    }

    pub fn try_write(&self, db: &str, body: &str) -> Result<Answer, ureq::Error> {
        self.post("/write", &[("db", db)], body.as_bytes())
    }

    /// Writes points; panics unless all are accepted.
    pub fn write(&self, db: &str, body: &str) {
        let answer = self.try_write(db, body).expect("write");
        assert_eq!(answer.status, 204, "{}", answer.body);
    }

    pub fn query_raw(&self, db: &str, statement: &str) -> Answer {
        self.post("/query", &[("db", db), ("q", statement), ("epoch", "ns")], b"").expect("query")
    }

    /// Runs a statement; panics on an error.
    pub fn query(&self, db: &str, statement: &str) -> serde_json::Value {
        let answer = self.query_raw(db, statement);
        assert!(answer.status == 200 && !answer.body.contains("\"error\""), "{statement}: {}", answer.body);
        answer.json()
    }

    /// The rows of a statement's only series; none when it has no series.
    pub fn rows(&self, db: &str, statement: &str) -> Vec<Vec<serde_json::Value>> {
        let answer = self.query(db, statement);
        let values = &answer["results"][0]["series"][0]["values"];
        serde_json::from_value(values.clone()).unwrap_or_default()
    }
}

fn answer(mut response: ureq::http::Response<ureq::Body>) -> Result<Answer, ureq::Error> {
    let body = response.body_mut().with_config().limit(1 << 30).read_to_string()?;
    Ok(Answer { status: response.status().as_u16(), body, headers: response.headers().clone() })
}
