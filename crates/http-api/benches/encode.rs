//! JSON throughput of a large answer, from result blocks to the client's end of the body.

#![allow(clippy::unwrap_used)] // a test may panic

use std::sync::Arc;

use axum::body::Body;
use axum::http::Request;
use divan::Bencher;
use divan::counter::BytesCount;
use http_body_util::BodyExt;
use hyperbytedb_application::statement_summary::{StatementSummary, StatementSummaryOptions};
use hyperbytedb_application::{
    AnnouncedQuery, Phase, QueryApi, QueryError, QueryRequest, Readiness, ResultEvent, ResultSink,
};
use hyperbytedb_domain::QueryContext;
use hyperbytedb_domain::catalog::Catalog;
use hyperbytedb_domain::field::FieldValue;
use hyperbytedb_domain::ports::{IngestionPort, SchemaPort, WriteError, WriteRequest};
use hyperbytedb_domain::result::SeriesBlock;
use hyperbytedb_http_api::{HttpOptions, HttpState, router};
use metrics_exporter_prometheus::PrometheusBuilder;
use tower::ServiceExt;

const ROWS: usize = 1_000_000;
const BLOCK_ROWS: usize = 10_000;
const FLOATS: usize = 8;

fn main() {
    divan::main();
}

/// A million rows of a time, eight floats and a string.
struct Rows(SeriesBlock);

impl Rows {
    fn new() -> Self {
        let mut columns = vec!["time".to_owned()];
        columns.extend((0..FLOATS).map(|i| format!("usage_{i}")));
        columns.push("host".to_owned());
        let mut values = Vec::with_capacity(BLOCK_ROWS * columns.len());
        let host: Arc<str> = "host_42".into();
        for row in 0..BLOCK_ROWS {
            values.push(FieldValue::Time(1_600_000_000_000_000_000 + row as i64 * 10_000_000_000));
            values.extend((0..FLOATS).map(|i| FieldValue::Float((row * 31 + i * 7) as f64 / 97.0)));
            values.push(FieldValue::String(host.clone()));
        }
        Self(SeriesBlock {
            name: "cpu".into(),
            tags: None,
            columns: columns.into(),
            values,
            partial: true,
            zone: None,
        })
    }
}

impl QueryApi for Rows {
    fn announce(&self, request: QueryRequest) -> Result<AnnouncedQuery, QueryError> {
        Ok(AnnouncedQuery::unparsed(request))
    }

    fn run(&self, _: AnnouncedQuery, sink: &mut dyn ResultSink) -> Result<(), QueryError> {
        let context = QueryContext::unbounded();
        for _ in 0..ROWS / BLOCK_ROWS {
            if sink.emit(ResultEvent::Series { statement_id: 0, block: self.0.clone() }, &context).is_err() {
                break;
            }
        }
        Ok(())
    }
}

impl SchemaPort for Rows {
    fn catalog(&self) -> Arc<Catalog> {
        Arc::default()
    }
}

impl IngestionPort for Rows {
    fn write(&self, _: WriteRequest) -> Result<(), WriteError> {
        Ok(())
    }
}

#[divan::bench(args = ["/query?q=x", "/query?q=x&epoch=ns", "/query?q=x&chunked=true"], sample_count = 3)]
fn stream(bencher: Bencher, uri: &str) {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("runtime");
    let rows = Arc::new(Rows::new());
    let readiness = Arc::new(Readiness::default());
    readiness.set(Phase::Ready);
    let router = router(HttpState {
        ingestion: rows.clone(),
        queries: rows.clone(),
        schema: rows,
        sql: None,
        backups: None,
        cluster: Default::default(),
        statement_summary: Arc::new(StatementSummary::new(StatementSummaryOptions::default())),
        readiness,
        auth: None,
        access_log: None,
        follow_trace: None,
        metrics: PrometheusBuilder::new().build_recorder().handle(),
        options: HttpOptions::default(),
    });
    let read = || {
        runtime.block_on(async {
            let request = Request::get(uri).body(Body::empty()).expect("request");
            let mut body = router.clone().oneshot(request).await.expect("answer").into_body();
            let mut bytes = 0;
            while let Some(frame) = body.frame().await {
                bytes += frame.expect("frame").data_ref().map_or(0, |data| data.len());
            }
            bytes
        })
    };
    let bytes = read();
    bencher.counter(BytesCount::new(bytes)).bench(read);
}
