//! OpenTSDB's telnet lines and `/api/put` on one port, as InfluxDB's listener has them. A connection is HTTP if it begins with a
//! capital letter: the commands of telnet are small.

use std::convert::Infallible;
use std::io::Read;
use std::net::TcpStream;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyperbytedb_application::threads::{Stop, Threads};
use hyperbytedb_domain::ports::WriteError;
use hyperbytedb_domain::settings;
use hyperbytedb_metrics as metrics;
use hyperbytedb_metrics::stats::OPENTSDB;
use hyperbytedb_opentsdb::{LineError, Printed, Said, print_json, read_line};

use crate::batch::{Batch, BatchOptions, BatchWriter};
use crate::config::OpenTsdbConfig;
use crate::line_listener::{self, LOOK_INTERVAL, LineListener, Lines, is_nothing_yet};

const VERSION: &str = "InfluxDB TSDB proxy";
/// How long the head of a request may take.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// Opens the port and listens.
pub fn start(
    config: &OpenTsdbConfig,
    max_body_bytes: usize,
    writer: BatchWriter,
    threads: &Threads,
) -> std::io::Result<()> {
    let socket = line_listener::bind(&config.bind_address, settings::OPENTSDB_BIND_ADDRESS)?;
    let lines = OpenTsdbLines { max_body_bytes };
    LineListener::new(
        lines,
        BatchOptions::new(config.batch_size, config.batch_timeout_ms),
        writer,
        config.max_connections,
    )
    .start(socket, threads)
}

struct OpenTsdbLines {
    max_body_bytes: usize,
}

impl Lines for OpenTsdbLines {
    const NAME: &'static str = "OpenTSDB";
    const THREADS: &'static str = "opentsdb";

    fn serve(
        listener: &LineListener<Self>,
        stream: TcpStream,
        stop: &Stop,
    ) -> std::io::Result<Option<TcpStream>> {
        if !begins_with_capital(&stream, stop)? {
            return Ok(Some(stream));
        }
        OPENTSDB.http_conns_handled.increment();
        count_connections(1);
        let served = serve_http(listener, stream, stop);
        count_connections(-1);
        served.map(|()| None)
    }

    fn connections_changed(&self, by: i64) {
        count_connections(by);
        OPENTSDB.tl_conns_active.add(by);
        OPENTSDB.tl_conns_handled.add(by.max(0));
    }

    /// InfluxDB counts those of lines.
    fn received(&self, _: usize) {}

    fn take(&self, line: &str, point: &mut String) -> Option<&'static str> {
        metrics::OPENTSDB_LINES.increment(1);
        OPENTSDB.tl_points_rx.increment();
        OPENTSDB.tl_bytes_rx.add(line.len() as i64);
        match read_line(line, point) {
            Ok(Said::Version) => return Some(VERSION),
            Ok(Said::Point { bad_tags: 0 }) => {}
            Ok(Said::Point { bad_tags }) => {
                OPENTSDB.tl_bad_tag.add(bad_tags as i64);
                tracing::info!(line, "OpenTSDB: malformed tags are left out");
            }
            Err(error) => {
                match error {
                    LineError::Line => &OPENTSDB.tl_bad_line,
                    LineError::Time => &OPENTSDB.tl_bad_time,
                    LineError::Float => &OPENTSDB.tl_bad_float,
                    LineError::Point => &OPENTSDB.dropped_points_invalid,
                }
                .increment();
                tracing::info!(line, %error, "OpenTSDB: unable to parse line");
            }
        }
        None
    }

    fn was_too_long(&self) {
        OPENTSDB.tl_bad_line.increment();
    }

    fn written(&self, points: usize, is_taken: bool) {
        if is_taken {
            OPENTSDB.batches_tx.increment();
            OPENTSDB.points_tx.add(points as i64);
        } else {
            OPENTSDB.batches_tx_fail.increment();
            metrics::OPENTSDB_WRITE_ERRORS.increment(1);
        }
    }
}

fn count_connections(by: i64) {
    OPENTSDB.conns_active.add(by);
    OPENTSDB.conns_handled.add(by.max(0));
}

/// Waits for the first byte, which stays unread.
fn begins_with_capital(stream: &TcpStream, stop: &Stop) -> std::io::Result<bool> {
    let mut first = [0];
    while !stop.is_set() {
        match stream.peek(&mut first) {
            Ok(_) => return Ok(first[0].is_ascii_uppercase()),
            Err(error) if is_nothing_yet(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(false)
}

/// Answers requests in this thread until the sender or the server ends the connection.
fn serve_http(listener: &LineListener<OpenTsdbLines>, stream: TcpStream, stop: &Stop) -> std::io::Result<()> {
    stream.set_nonblocking(true)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let stream = TokioIo::new(tokio::net::TcpStream::from_std(stream)?);
        let service = service_fn(|request| answer(listener, request));
        let mut server = http1::Builder::new();
        server.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
        let connection = server.serve_connection(stream, service);
        tokio::select! {
            ended = connection => ended.map_err(std::io::Error::other),
            () = stopped(stop) => Ok(()),
        }
    })
}

async fn stopped(stop: &Stop) {
    while !stop.is_set() {
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

/// What is answered, as text.
struct Refusal(StatusCode, String);

fn refuse<T>(status: StatusCode, text: impl ToString) -> Result<T, Refusal> {
    Err(Refusal(status, text.to_string()))
}

async fn answer(
    listener: &LineListener<OpenTsdbLines>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    Ok(match put(listener, request).await {
        Ok(()) => response(StatusCode::NO_CONTENT, String::new()),
        Err(Refusal(status, text)) => response(status, format!("{text}\n")),
    })
}

fn response(status: StatusCode, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    if status != StatusCode::NO_CONTENT {
        let plain = HeaderValue::from_static("text/plain; charset=utf-8");
        response.headers_mut().insert(CONTENT_TYPE, plain);
    }
    if status == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}

async fn put(listener: &LineListener<OpenTsdbLines>, request: Request<Incoming>) -> Result<(), Refusal> {
    match request.uri().path() {
        // What OpenTSDB knows of a metric has no place here.
        "/api/metadata/put" => return Ok(()),
        "/api/put" => {}
        _ => return refuse(StatusCode::NOT_FOUND, "404 page not found"),
    }
    if request.method() != Method::POST {
        return refuse(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed");
    }
    let max = listener.lines.max_body_bytes;
    let is_packed = request.headers().get(CONTENT_ENCODING).is_some_and(|encoding| encoding == "gzip");
    let Ok(body) = Limited::new(request.into_body(), max).collect().await else {
        let text = format!("the body cannot be read, or has more than {max} bytes (http.max_body_bytes)");
        return refuse(StatusCode::PAYLOAD_TOO_LARGE, text);
    };
    let body = body.to_bytes();
    let body = if is_packed { unpack(&body, max)?.into() } else { body };
    write(listener, &body)
}

fn unpack(body: &[u8], max: usize) -> Result<Vec<u8>, Refusal> {
    let mut unpacked = Vec::new();
    let mut reader = flate2::read::MultiGzDecoder::new(body).take(max as u64 + 1);
    match reader.read_to_end(&mut unpacked) {
        Ok(length) if length > max => {
            refuse(StatusCode::PAYLOAD_TOO_LARGE, format!("more than {max} bytes (http.max_body_bytes)"))
        }
        Ok(_) => Ok(unpacked),
        Err(error) => refuse(StatusCode::BAD_REQUEST, format!("could not read gzip, {error}")),
    }
}

fn write(listener: &LineListener<OpenTsdbLines>, body: &[u8]) -> Result<(), Refusal> {
    let mut lines = String::new();
    let printed = print_json(body, &mut lines);
    let Printed { points, invalid } = printed.or_else(|error| refuse(StatusCode::BAD_REQUEST, error))?;
    OPENTSDB.dropped_points_invalid.add(invalid as i64);
    if points == 0 {
        return Ok(());
    }
    let mut batch = Batch::default();
    batch.add(lines.as_bytes(), points);
    let written = listener.writer.try_write(batch);
    let Err(error) = written else { return Ok(()) };
    metrics::OPENTSDB_WRITE_ERRORS.increment(1);
    let status = match &error {
        WriteError::Rejected(_) | WriteError::TooManyPoints { .. } => StatusCode::BAD_REQUEST,
        WriteError::Overloaded { .. } | WriteError::Stopping => StatusCode::SERVICE_UNAVAILABLE,
        // What a store says about its inside is in the log.
        WriteError::Storage(_) => return refuse(StatusCode::INTERNAL_SERVER_ERROR, "write series error"),
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    };
    refuse(status, format!("write series error: {error}"))
}
