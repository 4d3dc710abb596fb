//! Requests to the servers. Calls block; the work is asynchronous inside, so that it can be given up at any time.

use std::fs;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use arrow::array::RecordBatch;
use bytes::Bytes;
use futures_util::future::join_all;
use hyperbytedb_clickhouse_sql::statement::Statement;
use hyperbytedb_clickhouse_sql::{Select, cluster};
use hyperbytedb_domain::{EngineError, QueryContext};
use hyperbytedb_engine_common::answers::strings;
use hyperbytedb_engine_common::{Exception, STATEMENT_SETTINGS};
use reqwest::{Certificate, Response};
use tokio::runtime::{Builder, Runtime};
use xxhash_rust::xxh3::xxh3_64;

use crate::answer::all_rows;
use crate::failure::Failure;
use crate::hosts::{HostId, Hosts};
use crate::options::ClickHouseOptions;

/// How often a waiting call looks whether it is still wanted.
const WATCH_INTERVAL: Duration = Duration::from_millis(50);
const WORKER_THREADS: usize = 2;
/// How long a question that any server answers at once may take.
const PROBE_TIMEOUT: Duration = Duration::from_secs(5);
const KILL_TIMEOUT: Duration = Duration::from_secs(5);
const KEEPALIVE: Duration = Duration::from_secs(15);
/// Less than servers keep a connection that nobody uses.
const IDLE_MAX: Duration = Duration::from_secs(5);
/// Bytes of an answer that says what went wrong.
const ERROR_BYTES_MAX: usize = 64 << 10;

/// Settings of whatever reads.
const READ_SETTINGS: &[(&str, &str)] = &[
    ("default_format", "ArrowStream"),
    ("output_format_arrow_low_cardinality_as_dictionary", "1"),
    ("output_format_arrow_string_as_string", "1"),
    ("output_format_arrow_compression_method", "none"),
    // Nothing can be changed, and closing the connection ends the statement.
    ("readonly", "2"),
    ("cancel_http_readonly_queries_on_client_close", "1"),
    // As long as a slow reader takes.
    ("http_send_timeout", "3600"),
    ("send_timeout", "3600"),
    // A shard that does not answer is an error, and soon.
    ("skip_unavailable_shards", "0"),
    ("connections_with_failover_max_tries", "1"),
    ("connect_timeout_with_failover_ms", "1000"),
    ("handshake_timeout_ms", "1000"),
    // Whatever the user's profile says: a bound that is reached is an error, not a shorter answer.
    ("timeout_overflow_mode", "throw"),
    ("read_overflow_mode", "throw"),
    ("read_overflow_mode_leaf", "throw"),
    ("sort_overflow_mode", "throw"),
    ("group_by_overflow_mode", "throw"),
    ("distinct_overflow_mode", "throw"),
    ("set_overflow_mode", "throw"),
    ("result_overflow_mode", "throw"),
    // Groups of whole series are complete where they are stored.
    ("optimize_skip_unused_shards", "1"),
    ("optimize_distributed_group_by_sharding_key", "1"),
];

/// Settings of what a request asks for.
pub(crate) type Parameters = Vec<(&'static str, String)>;

/// What is sent.
pub(crate) struct Request {
    pub(crate) parameters: Parameters,
    pub(crate) body: Bytes,
}

impl Request {
    /// A statement that changes something.
    pub(crate) fn statement(statement: &Statement) -> Self {
        let sql = statement.to_string();
        tracing::debug!(target: "hyperbytedb::sql", %sql);
        Self { parameters: Vec::new(), body: sql.into() }
    }

    /// A statement that reads.
    pub(crate) fn read(sql: String) -> Self {
        tracing::debug!(target: "hyperbytedb::sql", %sql);
        let parameters = READ_SETTINGS.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        Self { parameters, body: sql.into() }
    }

    pub(crate) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.parameters.push((name, value.into()));
        self
    }
}

pub(crate) struct Client {
    /// `None`: being dropped.
    runtime: Option<Runtime>,
    http: reqwest::Client,
    pub(crate) hosts: Hosts,
    user: String,
    password: String,
    request_timeout: Duration,
    /// In the numbers of statements.
    process: u64,
    next: AtomicU64,
}

impl Client {
    pub(crate) fn new(options: &ClickHouseOptions) -> Result<Self, EngineError> {
        let failed =
            |error: &dyn std::fmt::Display| EngineError::failed("setting up requests to ClickHouse", error);
        // Fails where somebody has chosen before who does the cryptography.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let runtime = Builder::new_multi_thread()
            .worker_threads(WORKER_THREADS)
            .thread_name("clickhouse")
            .enable_all()
            .build()
            .map_err(|e| failed(&e))?;
        let mut http = reqwest::Client::builder()
            .user_agent("HyperbyteDB")
            .connect_timeout(options.connect_timeout)
            .tcp_keepalive(KEEPALIVE)
            .pool_idle_timeout(IDLE_MAX)
            .no_proxy();
        if let Some(path) = &options.ca_certificate {
            let at = |error: &dyn std::fmt::Display| {
                failed(&format!("clickhouse.ca_certificate {}: {error}", path.display()))
            };
            let pem = fs::read(path).map_err(|e| at(&e))?;
            http = http.tls_certs_merge(Certificate::from_pem_bundle(&pem).map_err(|e| at(&e))?);
        }
        let started = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Ok(Self {
            runtime: Some(runtime),
            http: http.build().map_err(|e| failed(&e))?,
            hosts: Hosts::new(&options.urls),
            user: options.user.clone(),
            password: options.password.clone(),
            request_timeout: options.request_timeout,
            process: started.as_nanos() as u64,
            next: AtomicU64::new(0),
        })
    }

    /// Names a statement.
    pub(crate) fn next_query_id(&self) -> String {
        format!("hyperbytedb-{:x}-{}", self.process, self.next.fetch_add(1, Ordering::Relaxed))
    }

    /// Waits for the work as long as the context allows.
    pub(crate) fn wait<T>(
        &self,
        context: &QueryContext,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let Some(runtime) = &self.runtime else { return Err(EngineError::Cancelled.into()) };
        let given_up = async {
            loop {
                if let Err(error) = context.check() {
                    return error;
                }
                let now = Instant::now();
                let until = context.deadline.unwrap_or(now + WATCH_INTERVAL).min(now + WATCH_INTERVAL);
                tokio::time::sleep_until(until.into()).await;
            }
        };
        runtime.block_on(async {
            tokio::select! {
                biased;
                done = work => done,
                error = given_up => Err(error.into()),
            }
        })
    }

    /// Sends a request and returns the answer's beginning, if it is one.
    pub(crate) async fn send(&self, host: HostId, request: &Request) -> Result<Response, Failure> {
        let sent = self.try_send(host, request).await;
        match &sent {
            Err(failure) if failure.is_unreachable() => {
                hyperbytedb_metrics::CLICKHOUSE_UNREACHABLE.increment(1);
                self.hosts.set_down(host);
            }
            _ => self.hosts.set_up(host),
        }
        sent
    }

    async fn try_send(&self, host: HostId, request: &Request) -> Result<Response, Failure> {
        let response = self
            .http
            .post(format!("{}/", self.hosts.url(host)))
            .query(STATEMENT_SETTINGS)
            .query(&request.parameters)
            .header("X-ClickHouse-User", &self.user)
            .header("X-ClickHouse-Key", &self.password)
            .body(request.body.clone())
            .send()
            .await?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let text = error_text(response).await;
        let exception = Exception::new(&text);
        if exception.code().is_none() {
            // Not ClickHouse's own words: a proxy's, perhaps.
            return Err(Failure::Unreachable(format!("{status}: {}", exception.message().trim())));
        }
        Err(Failure::Exception(exception))
    }

    /// Runs a statement to its end.
    pub(crate) async fn run(&self, host: HostId, request: &Request) -> Result<Bytes, Failure> {
        self.reach(host).await?;
        self.run_at_stranger(host, request).await
    }

    /// As [`run`](Self::run), to find out what a server is.
    pub(crate) async fn run_at_stranger(&self, host: HostId, request: &Request) -> Result<Bytes, Failure> {
        self.run_within(self.request_timeout, "clickhouse.request_timeout_secs", host, request).await
    }

    /// Asks a server that did not answer last something small first: nobody waits long for one that hangs.
    pub(crate) async fn reach(&self, host: HostId) -> Result<(), Failure> {
        if self.hosts.is_stranger(host) {
            return Err(Failure::Unreachable("it has not said yet whose tables it holds".to_owned()));
        }
        if !self.hosts.is_down(host) {
            return Ok(());
        }
        self.probe(host).await
    }

    /// Asks what any server answers at once.
    pub(crate) async fn probe(&self, host: HostId) -> Result<(), Failure> {
        self.ask_at_once(host, &cluster::version()).await.map(drop)
    }

    /// The answer of a question that any server answers at once.
    pub(crate) async fn ask_at_once(
        &self,
        host: HostId,
        select: &Select,
    ) -> Result<Vec<RecordBatch>, Failure> {
        let timeout = PROBE_TIMEOUT.min(self.request_timeout);
        let request = Request::read(select.to_string());
        all_rows(self.run_within(timeout, "a server that answers takes no time", host, &request).await?)
    }

    /// The whole answer of a small internal question.
    pub(crate) async fn ask(&self, host: HostId, select: &Select) -> Result<Vec<RecordBatch>, Failure> {
        all_rows(self.run(host, &Request::read(select.to_string())).await?)
    }

    /// Runs a statement that changes something.
    pub(crate) async fn execute(&self, host: HostId, statement: &Statement) -> Result<(), Failure> {
        self.run(host, &Request::statement(statement)).await.map(drop)
    }

    /// The answer of the first of these servers that is reached.
    pub(crate) async fn on_one<T>(
        &self,
        hosts: &[HostId],
        ask: impl AsyncFn(HostId) -> Result<T, Failure>,
    ) -> Result<T, (HostId, Failure)> {
        let mut outcome = Err((0, Failure::Unreachable("there is no server to ask".to_owned())));
        for host in self.hosts.in_turn(hosts) {
            outcome = ask(host).await.map_err(|failure| (host, failure));
            if !matches!(&outcome, Err((_, failure)) if failure.is_unreachable()) {
                break;
            }
        }
        outcome
    }

    /// As [`on_one`](Self::on_one), as long as the context allows.
    pub(crate) fn wait_for_one<T>(
        &self,
        context: &QueryContext,
        hosts: &[HostId],
        ask: impl AsyncFn(HostId) -> Result<T, Failure>,
    ) -> Result<T, (HostId, Failure)> {
        let asked = async { Ok(self.on_one(hosts, ask).await) };
        self.wait(context, asked).unwrap_or_else(|failure| Err((0, failure)))
    }

    /// What comes of each of these servers, asked at once.
    pub(crate) fn wait_for_each<T>(
        &self,
        hosts: impl IntoIterator<Item = HostId>,
        ask: impl AsyncFn(HostId) -> T,
    ) -> Result<Vec<(HostId, T)>, Failure> {
        let ask = &ask;
        let asked = hosts.into_iter().map(|host| async move { (host, ask(host).await) });
        self.wait(&QueryContext::unbounded(), async { Ok(join_all(asked).await) })
    }

    /// The answer, unless the server is given up meanwhile.
    pub(crate) async fn unless_lost<T>(
        &self,
        host: HostId,
        answer: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let lost = self.hosts.lost(host);
        tokio::select! {
            biased;
            answer = answer => answer,
            () = lost => Err(Failure::Unreachable("it answers nothing any more".to_owned())),
        }
    }

    async fn run_within(
        &self,
        timeout: Duration,
        bound: &str,
        host: HostId,
        request: &Request,
    ) -> Result<Bytes, Failure> {
        let run = async { Ok(self.send(host, request).await?.bytes().await?) };
        match tokio::time::timeout(timeout, self.unless_lost(host, run)).await {
            Ok(Err(failure)) => {
                if failure.is_unreachable() {
                    self.hosts.set_down(host);
                }
                Err(failure)
            }
            Ok(answer) => answer,
            Err(_) => {
                self.hosts.set_down(host);
                Err(Failure::Unreachable(format!("no answer in {} s ({bound})", timeout.as_secs())))
            }
        }
    }

    /// What tells the server's process from the one before: the numbers that it gives to what it makes anew at each start. Those of
    /// the tables of `system` in a server, that of `system` itself in the embedded engine.
    pub(crate) async fn process(&self, host: HostId) -> Result<Arc<str>, Failure> {
        let doubts = match self.hosts.process(host) {
            Ok(name) => return Ok(name),
            Err(doubts) => doubts,
        };
        let mut numbers = String::new();
        for select in cluster::numbers_of_system() {
            for batch in self.ask(host, &select).await? {
                numbers.extend(strings(&batch, 0)?);
            }
        }
        let name = format!("{:016x}", xxh3_64(numbers.as_bytes())).into();
        self.hosts.note_process(host, &name, doubts);
        Ok(name)
    }

    /// Ends a statement soon, without waiting for it.
    pub(crate) fn kill(self: &Arc<Self>, host: HostId, query_id: String) {
        let Some(runtime) = &self.runtime else { return };
        let client = self.clone();
        runtime.spawn(async move {
            let request = Request::statement(&Statement::KillQuery { query_id });
            // It ends by its connection too.
            let _ = tokio::time::timeout(KILL_TIMEOUT, client.try_send(host, &request)).await;
        });
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// The beginning of what a server says about a failure.
async fn error_text(mut response: Response) -> String {
    let mut text = Vec::new();
    while let Ok(Some(chunk)) = response.chunk().await {
        text.extend_from_slice(&chunk);
        if text.len() >= ERROR_BYTES_MAX {
            break;
        }
    }
    String::from_utf8_lossy(&text).into_owned()
}
