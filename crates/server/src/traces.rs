//! Traces of requests, as OpenTelemetry has them: sent in batches by OTLP over HTTP, by a thread of their own with a bounded queue.
//! Requests never wait for it: what finds the queue full is lost.

use std::borrow::Cow;
use std::error::Error;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use hyperbytedb_metrics as metrics;
use opentelemetry::trace::{SpanKind, Status, TracerProvider};
use opentelemetry::{Context, KeyValue, Value};
use opentelemetry_http::{HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{
    BatchSpanProcessor, Sampler, SdkTracerProvider, Span, SpanData, SpanProcessor,
};
use tracing::{Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{FilterFn, LevelFilter};
use tracing_subscriber::registry::LookupSpan;
use ureq::tls::{RootCerts, TlsConfig};

use crate::config::TracingConfig;

const SERVICE: &str = "hyperbytedb";
const EXPORT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a stop waits for the last spans to leave.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);
/// What a collector's answer may have.
const ANSWER_BYTES_MAX: u64 = 64 << 10;

/// Sends spans until it is dropped, and then what is left of them.
pub struct Traces(SdkTracerProvider);

impl Traces {
    /// `None`: nobody wants any.
    pub fn new(config: &TracingConfig) -> Result<Option<Self>, Box<dyn Error>> {
        if config.otlp_endpoint.is_empty() {
            return Ok(None);
        }
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(Client::new())
            .with_protocol(Protocol::HttpBinary)
            .with_timeout(EXPORT_TIMEOUT)
            .with_endpoint(&config.otlp_endpoint)
            .build()
            .map_err(|error| format!("configuration: tracing.otlp_endpoint: {error}"))?;
        let resource = Resource::builder()
            .with_service_name(SERVICE)
            .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
            .build();
        let provider = SdkTracerProvider::builder()
            .with_sampler(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(config.sample_ratio))))
            .with_resource(resource)
            .with_span_processor(Requests(BatchSpanProcessor::builder(exporter).build()))
            .build();
        Ok(Some(Self(provider)))
    }

    /// What hands spans over, those of stages too, which are below the level of most logs.
    pub fn layer<S>(&self) -> impl Layer<S> + use<S>
    where
        S: Subscriber + for<'span> LookupSpan<'span>,
    {
        tracing_opentelemetry::layer()
            .with_tracer(self.0.tracer(SERVICE))
            .with_location(false)
            .with_threads(false)
            .with_filter(FilterFn::new(is_traced).with_max_level_hint(LevelFilter::DEBUG))
    }
}

impl Drop for Traces {
    fn drop(&mut self) {
        if let Err(error) = self.0.shutdown_with_timeout(STOP_TIMEOUT) {
            tracing::warn!(%error, "the last traces could not be sent");
        }
    }
}

/// Our spans. What is logged in them is not bounded, and stays in the log, where it has the request's id.
fn is_traced(metadata: &Metadata<'_>) -> bool {
    metadata.is_span() && metadata.target().starts_with("hyperbytedb")
}

/// Gives spans of requests the name, kind and status by which backends list them.
#[derive(Debug)]
struct Requests(BatchSpanProcessor);

impl SpanProcessor for Requests {
    fn on_start(&self, span: &mut Span, context: &Context) {
        self.0.on_start(span, context);
    }

    fn on_end(&self, mut span: SpanData) {
        if span.name == "request" {
            describe(&mut span);
        }
        self.0.on_end(span);
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.0.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.0.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.0.set_resource(resource);
    }
}

fn describe(span: &mut SpanData) {
    let attribute = |name: &str| {
        span.attributes.iter().find(|attribute| attribute.key.as_str() == name).map(|found| &found.value)
    };
    let text = |name: &str| attribute(name).map_or(Cow::Borrowed(""), Value::as_str);
    let name = format!("{} {}", text("method"), text("endpoint"));
    let has_failed = matches!(attribute("status"), Some(Value::I64(500..)));
    span.name = name.into();
    span.span_kind = SpanKind::Server;
    if has_failed {
        span.status = Status::error("");
    }
}

/// The exporter's thread waits for the answer, so that nothing asynchronous is needed.
#[derive(Debug)]
struct Client(ureq::Agent);

impl Client {
    fn new() -> Self {
        // Another part of the process may have done so already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let tls = TlsConfig::builder().root_certs(RootCerts::PlatformVerifier).build();
        let config = ureq::Agent::config_builder()
            .timeout_global(Some(EXPORT_TIMEOUT))
            .http_status_as_error(false)
            .tls_config(tls)
            .build();
        Self(config.into())
    }

    fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, ureq::Error> {
        let (head, body) = request.into_parts();
        let (head, mut body) = self.0.run(Request::from_parts(head, body.as_ref()))?.into_parts();
        let body = body.with_config().limit(ANSWER_BYTES_MAX).read_to_vec()?;
        Ok(Response::from_parts(head, body.into()))
    }
}

#[async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let failed = |reason: &dyn std::fmt::Display| {
            metrics::TRACE_EXPORT_ERRORS.increment(1);
            tracing::warn!("traces could not be sent (tracing.otlp_endpoint): {reason}");
        };
        let answer = self.send(request).inspect_err(|error| failed(error))?;
        if !answer.status().is_success() {
            failed(&answer.status());
        }
        Ok(answer)
    }
}
