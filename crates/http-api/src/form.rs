//! The parameters of a request: from the URL, a form or a multipart form; those of the body win.

use axum::body::Body;
use axum::extract::{FromRequest, Multipart};
use axum::http::header::{CONTENT_TYPE, HeaderMap};
use axum::http::{HeaderValue, Request};
use bytes::Bytes;

use crate::error::ApiError;

/// Names and values in order of precedence.
#[derive(Debug, Default)]
pub struct Form(Vec<(String, String)>);

impl Form {
    pub fn from_query(query: Option<&str>) -> Self {
        Self(pairs(query.unwrap_or_default().as_bytes()))
    }

    /// Adds the parameters in a request body; whether it is a form.
    pub async fn add_body(&mut self, headers: &HeaderMap, body: Bytes) -> Result<bool, ApiError> {
        let content_type = headers.get(CONTENT_TYPE);
        let media_type = content_type.and_then(|v| v.to_str().ok()).unwrap_or_default();
        let (mut fields, mut files) = match media_type.split(';').next().map(str::trim) {
            Some("application/x-www-form-urlencoded") => (pairs(&body), Vec::new()),
            Some("multipart/form-data") => multipart(content_type, body).await?,
            _ => return Ok(false),
        };
        fields.append(&mut self.0);
        fields.append(&mut files);
        self.0 = fields;
        Ok(true)
    }

    pub fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The first value of this name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// As [`Form::get`]; empty when absent.
    pub fn text(&self, name: &str) -> &str {
        self.get(name).unwrap_or_default()
    }

    pub fn is_true(&self, name: &str) -> bool {
        self.get(name) == Some("true")
    }
}

/// A pair with a malformed `%` escape is left out, as Go does.
fn pairs(encoded: &[u8]) -> Vec<(String, String)> {
    let pairs = encoded.split(|&b| b == b'&').filter(|pair| well_escaped(pair));
    pairs.flat_map(|pair| form_urlencoded::parse(pair).into_owned()).collect()
}

fn well_escaped(pair: &[u8]) -> bool {
    let mut escapes = pair.split(|&b| b == b'%').skip(1);
    escapes.all(|rest| rest.len() >= 2 && rest[..2].iter().all(u8::is_ascii_hexdigit))
}

type Pairs = Vec<(String, String)>;

/// Fields, and files: a file named `q` is the query only where neither a field nor the URL has one.
async fn multipart(content_type: Option<&HeaderValue>, body: Bytes) -> Result<(Pairs, Pairs), ApiError> {
    let invalid = |text: String| ApiError::bad_request(format!("error parsing multipart form: {text}"));
    let mut request = Request::new(Body::from(body));
    if let Some(content_type) = content_type {
        request.headers_mut().insert(CONTENT_TYPE, content_type.clone());
    }
    // The body was bounded while it was read.
    request.extensions_mut().insert(axum::extract::DefaultBodyLimit::disable());
    let mut parts = Multipart::from_request(request, &()).await.map_err(|e| invalid(e.body_text()))?;
    let (mut fields, mut files) = (Vec::new(), Vec::new());
    while let Some(part) = parts.next_field().await.map_err(|e| invalid(e.body_text()))? {
        let name = part.name().unwrap_or_default().to_owned();
        let target = if part.file_name().is_some() { &mut files } else { &mut fields };
        let bytes = part.bytes().await.map_err(|e| invalid(e.body_text()))?;
        target.push((name, String::from_utf8_lossy(&bytes).into_owned()));
    }
    Ok((fields, files))
}
