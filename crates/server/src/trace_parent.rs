//! The trace that a request is part of, as W3C's Trace Context says it in `traceparent` and `tracestate`: our spans are below the
//! caller's, and are recorded where the caller's are.

use axum::http::HeaderMap;
use hyperbytedb_http_api::FollowTrace;
use opentelemetry::propagation::{Extractor, TextMapPropagator};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

use crate::config::TracingConfig;

const PARENT: &str = "traceparent";
const STATE: &str = "tracestate";
/// Version, trace, span, flags: `00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01`.
const PARENT_BYTES: usize = 55;

/// `None`: nobody wants traces.
pub fn follow(config: &TracingConfig) -> Option<FollowTrace> {
    (!config.otlp_endpoint.is_empty()).then_some(follow_headers as FollowTrace)
}

/// Without a header that can be read, or with several, the request begins a trace, as the standard says.
fn follow_headers(span: &Span, headers: &HeaderMap) {
    if let Some(parent) = Parent::read(headers) {
        // A span that nobody records has no parent.
        let _ = span.set_parent(TraceContextPropagator::new().extract(&parent));
    }
}

#[derive(Debug, PartialEq)]
struct Parent<'a> {
    parent: &'a str,
    /// All of its headers, which together are one list.
    state: String,
}

impl<'a> Parent<'a> {
    fn read(headers: &'a HeaderMap) -> Option<Self> {
        let mut parents = headers.get_all(PARENT).iter();
        let (Some(parent), None) = (parents.next(), parents.next()) else { return None };
        let parent = parent.to_str().ok().filter(|text| is_parent(text))?;
        let states: Option<Vec<_>> = headers.get_all(STATE).iter().map(|state| state.to_str().ok()).collect();
        Some(Self { parent, state: states.unwrap_or_default().join(",") })
    }
}

/// What reads the parts takes shorter ones, too. Later versions may go on behind the flags.
fn is_parent(text: &str) -> bool {
    let (bytes, version) = (text.as_bytes(), text.get(..2));
    let is_hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    let has_form = |(at, &byte): (usize, &u8)| match at {
        2 | 35 | 52 | PARENT_BYTES => byte == b'-',
        ..PARENT_BYTES => is_hex(byte),
        _ => true,
    };
    bytes.len() >= PARENT_BYTES
        && bytes.iter().enumerate().all(has_form)
        && version != Some("ff")
        && (version != Some("00") || bytes.len() == PARENT_BYTES)
}

impl Extractor for Parent<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        match key {
            PARENT => Some(self.parent),
            STATE => Some(&self.state),
            _ => None,
        }
    }

    fn keys(&self) -> Vec<&str> {
        vec![PARENT, STATE]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIVEN: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().expect("a header"));
        }
        headers
    }

    #[test]
    fn parents_have_the_form_of_the_standard() {
        let (later, longer) = (GIVEN.replacen("00", "cc", 1), format!("{GIVEN}-later"));
        for text in [GIVEN, &later, &longer.replacen("00", "01", 1)] {
            let headers = headers(&[(PARENT, text)]);
            assert_eq!(Parent::read(&headers).expect("a parent").parent, text);
        }
        for text in [
            "",
            "00",
            "é0-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            &GIVEN.to_uppercase(),
            &GIVEN[..54],
            &GIVEN.replacen("00", "ff", 1),
            &longer,
            &format!("{GIVEN}0").replacen("00", "01", 1),
            "00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b70-01",
            "00-+bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ] {
            assert_eq!(Parent::read(&headers(&[(PARENT, text)])), None, "{text}");
        }
        assert_eq!(Parent::read(&headers(&[(PARENT, GIVEN), (PARENT, GIVEN)])), None);
    }

    #[test]
    fn states_of_several_headers_are_one_list() {
        let headers = headers(&[(PARENT, GIVEN), (STATE, "a=1"), (STATE, "b=2,c=3")]);
        assert_eq!(Parent::read(&headers).expect("a parent").state, "a=1,b=2,c=3");
    }
}
