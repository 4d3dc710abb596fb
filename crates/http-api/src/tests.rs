//! The router as a client sees it, over small implementations of the application's interfaces.

mod openapi;

use std::io::Write;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt;
use hyperbytedb_application::statement_summary::{StatementSummary, StatementSummaryOptions};
use hyperbytedb_application::threads::Threads;
use hyperbytedb_application::{
    AnnouncedQuery, Parameter, ParseError, Phase, QueryApi, QueryError, QueryRequest, Readiness, ResultEvent,
    ResultSink, StatementError,
};
use hyperbytedb_domain::catalog::{Catalog, Command, RetentionPolicySpec};
use hyperbytedb_domain::field::FieldValue;
use hyperbytedb_domain::ports::{IngestionPort, SchemaPort, WriteError, WriteRequest};
use hyperbytedb_domain::result::SeriesBlock;
use hyperbytedb_domain::{EngineError, QueryContext, StorageError};
use metrics_exporter_prometheus::PrometheusBuilder;
use tower::ServiceExt;

use crate::{HttpOptions, HttpState, VERSION, router};

const PATIENCE: Duration = Duration::from_secs(20);

type OnWrite = Box<dyn Fn(WriteRequest) -> Result<(), WriteError> + Send + Sync>;
type OnQuery = Box<dyn Fn(&QueryRequest, &mut dyn ResultSink) -> Result<(), QueryError> + Send + Sync>;

struct Application {
    on_write: OnWrite,
    on_query: OnQuery,
}

impl IngestionPort for Application {
    fn write(&self, request: WriteRequest) -> Result<(), WriteError> {
        (self.on_write)(request)
    }
}

impl QueryApi for Application {
    fn announce(&self, request: QueryRequest) -> Result<AnnouncedQuery, QueryError> {
        Ok(AnnouncedQuery::unparsed(request))
    }

    fn run(&self, query: AnnouncedQuery, sink: &mut dyn ResultSink) -> Result<(), QueryError> {
        (self.on_query)(&query.request, sink)
    }
}

impl SchemaPort for Application {
    fn catalog(&self) -> Arc<Catalog> {
        let mut catalog = Catalog::default();
        let policy = RetentionPolicySpec { duration: Some(3_600_000_000_000), ..Default::default() };
        let week = RetentionPolicySpec { name: Some("week".into()), ..policy.clone() };
        for command in [
            Command::CreateDatabase { name: "d".into(), policy: None },
            Command::CreateRetentionPolicy { database: "d".into(), spec: week, default: false },
        ] {
            catalog.apply(&command).unwrap();
        }
        Arc::new(catalog)
    }
}

struct Server {
    router: Router,
    readiness: Arc<Readiness>,
}

fn server_with(application: Application, options: HttpOptions) -> Server {
    let application = Arc::new(application);
    let readiness = Arc::new(Readiness::default());
    readiness.set(Phase::Ready);
    let state = HttpState {
        ingestion: application.clone(),
        queries: application.clone(),
        schema: application,
        sql: None,
        backups: None,
        cluster: Default::default(),
        statement_summary: Arc::new(StatementSummary::new(StatementSummaryOptions::default())),
        readiness: readiness.clone(),
        auth: None,
        access_log: None,
        follow_trace: None,
        metrics: PrometheusBuilder::new().build_recorder().handle(),
        options,
    };
    Server { router: router(state), readiness }
}

fn writing(
    options: HttpOptions,
    on_write: impl Fn(WriteRequest) -> Result<(), WriteError> + Send + Sync + 'static,
) -> Server {
    server_with(Application { on_write: Box::new(on_write), on_query: Box::new(|_, _| Ok(())) }, options)
}

fn querying(
    options: HttpOptions,
    on_query: impl Fn(&QueryRequest, &mut dyn ResultSink) -> Result<(), QueryError> + Send + Sync + 'static,
) -> Server {
    server_with(Application { on_write: Box::new(|_| Ok(())), on_query: Box::new(on_query) }, options)
}

/// Answers one row that tells what was asked.
fn echo(request: &QueryRequest, sink: &mut dyn ResultSink) -> Result<(), QueryError> {
    if request.text == "bad" {
        return Err(QueryError::Parse(ParseError::Other("found bad".into())));
    }
    let told = format!(
        "{}|{}|{}|{:?}|{}",
        request.text, request.database, request.retention_policy, request.chunk_rows, request.read_only
    );
    let block = SeriesBlock {
        name: "echo".into(),
        tags: None,
        columns: Arc::new(["v".to_owned()]),
        values: vec![FieldValue::String(told.into())],
        partial: false,
        zone: None,
    };
    let context = QueryContext::unbounded();
    let _ = sink.emit(ResultEvent::Series { statement_id: 0, block }, &context);
    let _ = sink.emit(ResultEvent::End { statement_id: 0, messages: vec![], error: None }, &context);
    Ok(())
}

fn rows(count: usize) -> SeriesBlock {
    SeriesBlock {
        name: "m".into(),
        tags: None,
        columns: Arc::new(["time".to_owned(), "v".to_owned()]),
        values: (0..count as i64).flat_map(|n| [FieldValue::Time(n), FieldValue::Integer(n)]).collect(),
        partial: false,
        zone: None,
    }
}

fn series(count: usize) -> ResultEvent {
    ResultEvent::Series { statement_id: 0, block: rows(count) }
}

async fn send(server: &Server, request: Request<Body>) -> (StatusCode, HeaderMap, Vec<u8>) {
    let answer = async {
        let response = server.router.clone().oneshot(request).await.unwrap();
        let (head, body) = response.into_parts();
        (head.status, head.headers, body.collect().await.unwrap().to_bytes().to_vec())
    };
    tokio::time::timeout(PATIENCE, answer).await.unwrap()
}

async fn get(server: &Server, uri: &str) -> (StatusCode, String) {
    let (status, _, body) = send(server, Request::get(uri).body(Body::empty()).unwrap()).await;
    (status, String::from_utf8(body).unwrap())
}

async fn post(server: &Server, uri: &str, body: impl Into<Body>) -> (StatusCode, HeaderMap, String) {
    let (status, headers, body) = send(server, Request::post(uri).body(body.into()).unwrap()).await;
    (status, headers, String::from_utf8(body).unwrap())
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn gzipped(uri: &str, body: Vec<u8>) -> Request<Body> {
    Request::post(uri).header("Content-Encoding", "gzip").body(Body::from(body)).unwrap()
}

#[tokio::test]
async fn writes_reach_the_application() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = seen.clone();
    let server = writing(HttpOptions::default(), move |request| {
        log.lock().unwrap().push(format!("{request:?}"));
        Ok(())
    });
    let (status, headers, body) = post(&server, "/write?db=d%20b&rp=r&precision=ms", "m v=1").await;
    assert_eq!((status, body.as_str()), (StatusCode::NO_CONTENT, ""));
    assert_eq!(headers["x-influxdb-version"], VERSION);
    assert_eq!(headers["x-influxdb-build"], "OSS");
    assert_eq!(headers["request-id"], headers["x-request-id"]);
    let (status, ..) = send(&server, gzipped("/write?db=d", gzip(b"gz v=1"))).await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    let log = seen.lock().unwrap();
    assert!(
        log[0].contains("\"d b\"") && log[0].contains("Millisecond") && log[0].contains("m v=1"),
        "{}",
        log[0]
    );
    assert!(log[1].contains("gz v=1"), "{}", log[1]);
}

#[tokio::test]
async fn write_errors_are_influxdbs() {
    let server = writing(HttpOptions::default(), |request| match request.database.as_str() {
        "nodb" => Err(WriteError::DatabaseNotFound(request.database)),
        "norp" => Err(WriteError::RetentionPolicyNotFound("norp".into())),
        "bad" => Err(WriteError::Rejected("unable to parse 'x\n': missing fields".into())),
        "part" => Err(WriteError::Rejected("partial write: field type conflict dropped=2".into())),
        "full" => Err(WriteError::Overloaded { reason: "memory is full".into(), retry_after_secs: 7 }),
        "panic" => panic!("on purpose"),
        _ => Ok(()),
    });
    let cases = [
        ("", 400, r#"{"error":"database is required"}"#),
        ("db=nodb", 404, r#"{"error":"database not found: \"nodb\""}"#),
        ("db=norp", 500, r#"{"error":"retention policy not found: norp"}"#),
        ("db=bad", 400, r#"{"error":"unable to parse 'x\n': missing fields"}"#),
        ("db=part", 400, r#"{"error":"partial write: field type conflict dropped=2"}"#),
        ("db=d&consistency=foo", 400, r#"{"error":"invalid consistency level"}"#),
        ("db=full", 503, r#"{"error":"memory is full"}"#),
        (
            "db=panic",
            500,
            r#"{"error":"internal error: the request failed unexpectedly; the server's log has the details"}"#,
        ),
    ];
    for (query, expected_status, expected_body) in cases {
        let (status, headers, body) = post(&server, &format!("/write?{query}"), "x").await;
        assert_eq!((status.as_u16(), body.trim_end()), (expected_status, expected_body));
        assert!(headers.contains_key("x-influxdb-error"), "{query}");
        assert_eq!(headers.contains_key("retry-after"), expected_status == 503);
    }
    let (status, ..) = post(&server, "/write?db=d&consistency=ALL", "x").await;
    assert_eq!(status, StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn gzip_errors() {
    let server = writing(HttpOptions::default(), |_| Ok(()));
    let good = gzip(b"m v=1");
    let mut bad_sum = good.clone();
    let at = bad_sum.len() - 8;
    bad_sum[at] ^= 1;
    let cases = [
        (good[..good.len() - 4].to_vec(), "unexpected EOF"),
        (b"0123456789abcdefghij".to_vec(), "gzip: invalid header"),
        (bad_sum, "gzip: invalid checksum"),
        (Vec::new(), "EOF"),
    ];
    for (body, expected) in cases {
        let (status, _, body) = send(&server, gzipped("/write?db=d", body)).await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
        assert_eq!(String::from_utf8(body).unwrap(), format!("{{\"error\":\"{expected}\"}}\n"));
    }
    let two = [gzip(b"a v=1\n"), gzip(b"b v=1")].concat();
    assert_eq!(send(&server, gzipped("/write?db=d", two)).await.0, StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn bodies_are_bounded() {
    let options = HttpOptions {
        max_body_bytes: 1000,
        max_inflated_body_bytes: 1_000_000,
        max_inflight_body_bytes: 3_000_000,
        ..HttpOptions::default()
    };
    let server = writing(options, |_| Ok(()));
    let (status, _, body) = post(&server, "/write?db=d", vec![b'x'; 1001]).await;
    assert_eq!((status.as_u16(), body.as_str()), (413, "{\"error\":\"Request Entity Too Large\"}\n"));
    // Without a declared length.
    let pieces = (0..11).map(|_| Ok::<_, std::io::Error>(bytes::Bytes::from_static(&[b'x'; 100])));
    let stream = Body::from_stream(Pieces(pieces));
    assert_eq!(post(&server, "/write?db=d", stream).await.0.as_u16(), 413);
    let bomb = gzip(&vec![b'x'; 10_000_000][..]);
    let small = bomb.len();
    let options = HttpOptions { max_body_bytes: small, ..server_options(1_000_000, 3_000_000) };
    let server = writing(options, |_| Ok(()));
    let (status, _, body) = send(&server, gzipped("/write?db=d", bomb.clone())).await;
    assert_eq!(status.as_u16(), 413);
    assert!(String::from_utf8(body).unwrap().contains("http.max_inflated_body_bytes"));
    let server = writing(server_options(100_000_000, 3_000_000), |_| Ok(()));
    let (status, headers, body) = send(&server, gzipped("/write?db=d", bomb)).await;
    assert_eq!(status.as_u16(), 503);
    assert!(headers.contains_key("retry-after"));
    assert!(String::from_utf8(body).unwrap().contains("http.max_inflight_body_bytes"));
}

fn server_options(max_inflated_body_bytes: usize, max_inflight_body_bytes: usize) -> HttpOptions {
    HttpOptions { max_inflated_body_bytes, max_inflight_body_bytes, ..HttpOptions::default() }
}

struct Pieces<I>(I);

impl<I: Iterator + Unpin> futures_core::Stream for Pieces<I> {
    type Item = I::Item;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<I::Item>> {
        std::task::Poll::Ready(self.0.next())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_queue_up_to_a_bound() {
    let (release, gate) = mpsc::channel::<()>();
    let gate = Mutex::new(gate);
    let running = Arc::new(AtomicUsize::new(0));
    let counted = running.clone();
    let options = HttpOptions { max_concurrent_writes: 1, max_queued_writes: 0, ..HttpOptions::default() };
    let server = Arc::new(writing(options, move |_| {
        counted.fetch_add(1, Ordering::SeqCst);
        let _ = gate.lock().unwrap().recv_timeout(PATIENCE);
        Ok(())
    }));
    let first = tokio::spawn({
        let server = server.clone();
        async move { post(&server, "/write?db=d", "m v=1").await.0 }
    });
    until(|| running.load(Ordering::SeqCst) == 1).await;
    let (status, headers, body) = post(&server, "/write?db=d", "m v=1").await;
    assert_eq!(status.as_u16(), 503);
    assert!(body.contains("http.max_concurrent_writes"), "{body}");
    assert!(headers.contains_key("retry-after"));
    release.send(()).unwrap();
    assert_eq!(first.await.unwrap(), StatusCode::NO_CONTENT);
}

async fn until(condition: impl Fn() -> bool) {
    let wait = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.unwrap();
}

fn told(answer: &str) -> String {
    let parsed: serde_json::Value = serde_json::from_str(answer).unwrap();
    parsed["results"][0]["series"][0]["values"][0][0].as_str().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn queries_come_in_every_form() {
    let server = querying(HttpOptions::default(), echo);
    let multipart = |disposition: &str| {
        format!("--B\r\nContent-Disposition: form-data; {disposition}\r\n\r\nfrom part\n\r\n--B--\r\n")
    };
    let form = "application/x-www-form-urlencoded";
    let cases = [
        ("/query?q=a+b&db=d&rp=r", "GET", "", String::new(), "a b|d|r|None|true"),
        ("/query?q=a;b", "POST", "", String::new(), "a;b|||None|false"),
        ("/query?q=url&db=d", "POST", form, "q=body".into(), "body|d||None|false"),
        (
            "/query?db=d",
            "POST",
            "multipart/form-data; boundary=B",
            multipart("name=q"),
            "from part|d||None|false",
        ),
        (
            "/query",
            "POST",
            "multipart/form-data; boundary=B",
            multipart("name=\"q\"; filename=\"q.txt\""),
            "from part|||None|false",
        ),
        // A file is the query only where nothing else is.
        (
            "/query?q=url",
            "POST",
            "multipart/form-data; boundary=B",
            multipart("name=\"q\"; filename=\"q.txt\""),
            "url|||None|false",
        ),
        ("/query?q=x", "POST", "text/plain", "ignored".into(), "x|||None|false"),
        ("/query?db=%zz&q=x&rp=%4", "GET", "", String::new(), "x|||None|true"),
        ("/query?q=x&chunked=true", "GET", "", String::new(), "x|||Some(10000)|true"),
        ("/query?q=x&chunked=true&chunk_size=5", "GET", "", String::new(), "x|||Some(5)|true"),
        ("/query?q=x&chunked=true&chunk_size=zz", "GET", "", String::new(), "x|||Some(10000)|true"),
        ("/query?q=x&chunked=true&chunk_size=999999999", "GET", "", String::new(), "x|||Some(100000)|true"),
        ("/query?q=x&chunked=TRUE&chunk_size=5", "GET", "", String::new(), "x|||None|true"),
    ];
    for (uri, method, content_type, body, expected) in cases {
        let request = Request::builder()
            .method(method)
            .uri(uri)
            .header("Content-Type", content_type)
            .body(Body::from(body));
        let (status, headers, body) = send(&server, request.unwrap()).await;
        assert_eq!(status, StatusCode::OK);
        assert_eq!(headers["content-type"], "application/json");
        assert_eq!(told(&String::from_utf8(body).unwrap()), expected, "{uri}");
    }
}

#[tokio::test]
async fn query_errors() {
    let server = querying(HttpOptions::default(), echo);
    let cases = [
        ("/query", 400, "{\"error\":\"missing required parameter \\\"q\\\"\"}\n"),
        ("/query?q=+", 400, "{\"error\":\"missing required parameter \\\"q\\\"\"}\n"),
        ("/query?q=bad", 400, "{\"error\":\"error parsing query: found bad\"}\n"),
        ("/query?q=bad&pretty=true", 400, "{\n    \"error\": \"error parsing query: found bad\"\n}\n"),
        ("/query?q=x&params=%7B", 400, "{\"error\":\"error parsing query parameters: unexpected EOF\"}\n"),
    ];
    for (uri, status, body) in cases {
        assert_eq!(get(&server, uri).await, (StatusCode::from_u16(status).unwrap(), body.to_owned()));
    }
    let (status, headers, body) =
        send(&server, Request::get("/query?q=bad").header("Accept", "text/csv").body(Body::empty()).unwrap())
            .await;
    assert_eq!((status.as_u16(), body.as_slice()), (400, &b"error\nerror parsing query: found bad\n"[..]));
    assert_eq!(headers["content-type"], "text/csv");
    assert_eq!(headers["x-influxdb-error"], "error parsing query: found bad");
}

#[tokio::test]
async fn what_engine_and_stores_say_is_not_for_clients() {
    let raw = "Code: 47. DB::Exception: Unknown identifier t3";
    let server = server_with(
        Application {
            on_write: Box::new(move |_| Err(WriteError::Storage(StorageError::failed("test", raw)))),
            on_query: Box::new(move |request, sink| {
                let error = match request.text.as_str() {
                    "engine" => EngineError::failed("scan", raw).into(),
                    "store" => StorageError::failed("get", raw).into(),
                    "write" => WriteError::Storage(StorageError::failed("test", raw)).into(),
                    _ => StatementError::Engine(EngineError::RowLimit),
                };
                let end = ResultEvent::End { statement_id: 0, messages: vec![], error: Some(error) };
                let _ = sink.emit(end, &QueryContext::unbounded());
                Ok(())
            }),
        },
        HttpOptions::default(),
    );
    let mut answers = vec![post(&server, "/write?db=d", "x").await.2];
    for text in ["engine", "store", "write"] {
        answers.push(get(&server, &format!("/query?q={text}")).await.1);
    }
    for answer in &answers {
        assert!(
            answer.contains("\"error\":\"internal error ") && answer.contains("server's log"),
            "{answer}"
        );
        assert!(!answer.contains("Code"), "{answer}");
    }
    let (_, bound) = get(&server, "/query?q=rows").await;
    assert!(bound.contains("query row limit exceeded (query.max_rows_read)"), "{bound}");
}

#[tokio::test]
async fn parameters_are_typed() {
    let server = querying(HttpOptions::default(), |request, sink| {
        assert_eq!(request.parameters["a"], Parameter::Identifier("x".into()));
        echo(request, sink)
    });
    let (status, _) =
        get(&server, "/query?q=x&params=%7B%22a%22%3A%7B%22identifier%22%3A%22x%22%7D%7D").await;
    assert_eq!(status, StatusCode::OK);
}

#[tokio::test]
async fn a_panicking_query_is_answered() {
    let server = querying(HttpOptions::default(), |_, _| panic!("on purpose"));
    let (status, body) = get(&server, "/query?q=x").await;
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(body.contains("internal error"), "{body}");
}

#[tokio::test]
async fn rows_are_cut_at_the_limit() {
    let options = HttpOptions { max_row_limit: 3, ..HttpOptions::default() };
    let server = querying(options, |_, sink| {
        for _ in 0..10 {
            if sink.emit(series(2), &QueryContext::unbounded()).is_err() {
                return Ok(());
            }
        }
        panic!("not stopped");
    });
    let (_, body) = get(&server, "/query?q=x&epoch=ns").await;
    let expected = r#"{"results":[{"statement_id":0,"series":[{"name":"m","columns":["time","v"],"values":[[0,0],[1,1],[0,0]],"partial":true}]}]}"#;
    assert_eq!(body.trim_end(), expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_stops_reading_blocks_the_query_and_one_that_leaves_cancels_it() {
    let emitted = Arc::new(AtomicUsize::new(0));
    let stopped = Arc::new(AtomicBool::new(false));
    let (counter, flag) = (emitted.clone(), stopped.clone());
    let server = querying(HttpOptions::default(), move |request, sink| {
        while sink.emit(series(10_000), &QueryContext::unbounded()).is_ok() {
            counter.fetch_add(1, Ordering::SeqCst);
        }
        flag.store(request.cancel.is_cancelled(), Ordering::SeqCst);
        Ok(())
    });
    let request = Request::get("/query?q=x").body(Body::empty()).unwrap();
    let response = server.router.clone().oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let mut body = response.into_body();
    assert!(body.frame().await.is_some());
    until(|| emitted.load(Ordering::SeqCst) >= 4).await;
    let bound = 8;
    assert!(emitted.load(Ordering::SeqCst) <= bound);
    drop(body);
    until(|| stopped.load(Ordering::SeqCst)).await;
    assert!(emitted.load(Ordering::SeqCst) <= bound);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_query_can_end_although_its_client_does_not_read() {
    let ended = Arc::new(AtomicBool::new(false));
    let flag = ended.clone();
    let server = querying(HttpOptions::default(), move |_, sink| {
        let deadline = Some(std::time::Instant::now() + Duration::from_millis(100));
        let context = QueryContext { deadline, ..QueryContext::unbounded() };
        while context.check().is_ok() {
            sink.emit(series(10_000), &context).unwrap();
        }
        let error = Some(StatementError::Engine(EngineError::Timeout));
        sink.emit(ResultEvent::End { statement_id: 0, messages: vec![], error }, &context).unwrap();
        flag.store(true, Ordering::SeqCst);
        Ok(())
    });
    let request = Request::get("/query?q=x&chunked=true").body(Body::empty()).unwrap();
    let body = server.router.clone().oneshot(request).await.unwrap().into_body();
    until(|| ended.load(Ordering::SeqCst)).await;
    let text = body.collect().await.unwrap().to_bytes();
    assert!(
        text.ends_with(b"{\"results\":[{\"statement_id\":0,\"error\":\"query-timeout limit exceeded\"}]}\n")
    );
}

#[tokio::test]
async fn while_replaying_requests_wait() {
    let options = HttpOptions { replay_timeout: Duration::from_millis(30), ..HttpOptions::default() };
    let server = querying(options, echo);
    server.readiness.set(Phase::Replaying);
    assert_eq!(get(&server, "/ping").await.0, StatusCode::NO_CONTENT);
    assert_eq!(get(&server, "/health").await.0, StatusCode::OK);
    assert_eq!(get(&server, "/health/ready").await.0, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(get(&server, "/query?q=x").await.0, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(post(&server, "/write?db=d", "m v=1").await.0, StatusCode::SERVICE_UNAVAILABLE);
    server.readiness.set(Phase::Ready);
    assert_eq!(get(&server, "/health/ready").await.0, StatusCode::OK);
    assert_eq!(get(&server, "/query?q=x").await.0, StatusCode::OK);
}

/// A thread of the server's own kind, that panics when it is told to.
#[tokio::test]
async fn a_dead_background_thread_makes_the_health_fail_until_it_runs_again() {
    let server = querying(HttpOptions::default(), echo);
    let threads = Threads::new(server.readiness.clone());
    let (told, panics) = mpsc::channel::<()>();
    let panics = Mutex::new(panics);
    threads
        .spawn("flush-0", move |stop| {
            while stop.wait(Duration::from_millis(1)) {
                assert!(panics.lock().unwrap().try_recv().is_err(), "for the test");
            }
        })
        .unwrap();
    assert_eq!(get(&server, "/health").await.0, StatusCode::OK);
    told.send(()).unwrap();
    until(|| !server.readiness.dead_threads().is_empty()).await;
    let (status, body) = get(&server, "/health").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    let body: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!((&body["status"], &body["checks"][0]["name"]), (&"fail".into(), &"flush-0".into()));
    until(|| server.readiness.dead_threads().is_empty()).await;
    assert_eq!(get(&server, "/health").await.0, StatusCode::OK);
    threads.stop();
}

#[tokio::test]
async fn the_end_of_a_vital_thread_makes_the_health_fail_for_ever() {
    let server = querying(HttpOptions::default(), echo);
    let threads = Threads::new(server.readiness.clone());
    threads.spawn_vital("committer", || panic!("for the test")).unwrap();
    threads.stop();
    for path in ["/health", "/health/ready"] {
        let (status, body) = get(&server, path).await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{path}");
        assert!(body.contains("the committer thread panicked"), "{path}: {body}");
    }
}

#[tokio::test]
async fn other_endpoints() {
    let server = querying(HttpOptions::default(), echo);
    let version = format!("{{\"version\":\"{VERSION}\"}}\n");
    let cases = [
        ("GET", "/ping", 204, ""),
        ("HEAD", "/ping", 204, ""),
        ("GET", "/ping?verbose=false", 204, ""),
        ("GET", "/ping?verbose=true", 200, version.as_str()),
        ("GET", "/status", 204, ""),
        ("OPTIONS", "/query", 200, ""),
        ("GET", "/nope", 404, "404 page not found\n"),
        ("GET", "/write?db=d", 405, "Method Not Allowed\n"),
        ("DELETE", "/query", 405, "Method Not Allowed\n"),
        ("POST", "/ping", 405, "Method Not Allowed\n"),
    ];
    for (method, uri, expected, text) in cases {
        let request = Request::builder().method(method).uri(uri).body(Body::empty()).unwrap();
        let (status, _, body) = send(&server, request).await;
        assert_eq!(
            (status.as_u16(), std::str::from_utf8(&body).unwrap()),
            (expected, text),
            "{method} {uri}"
        );
    }
    let request = Request::get("/ping").header("X-Request-Id", "mine").header("Origin", "http://a");
    let (_, headers, _) = send(&server, request.body(Body::empty()).unwrap()).await;
    assert_eq!(
        (&headers["request-id"], &headers["x-request-id"]),
        (&"mine".parse().unwrap(), &"mine".parse().unwrap())
    );
    assert_eq!(headers["access-control-allow-origin"], "http://a");
    // Requests without an endpoint get no CORS headers; those with another method learn the right ones.
    let request = Request::head("/query?q=x").header("Origin", "http://a").body(Body::empty()).unwrap();
    let (status, headers, _) = send(&server, request).await;
    assert_eq!((status.as_u16(), &headers["allow"]), (405, &"GET, OPTIONS, POST".parse().unwrap()));
    assert!(!headers.contains_key("access-control-allow-origin"));
}

#[tokio::test]
async fn answers_are_compressed_when_asked() {
    let server = querying(HttpOptions::default(), |_, sink| {
        let _ = sink.emit(series(1000), &QueryContext::unbounded());
        Ok(())
    });
    let request = Request::get("/query?q=x").header("Accept-Encoding", "gzip").body(Body::empty()).unwrap();
    let (_, headers, body) = send(&server, request).await;
    assert_eq!(headers["content-encoding"], "gzip");
    let mut text = String::new();
    std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(&body[..]), &mut text).unwrap();
    assert!(text.ends_with("]}]}]}\n"));
}
