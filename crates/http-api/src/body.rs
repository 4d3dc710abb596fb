//! Request bodies: read within their bounds, inflated within their bounds.

use std::io::{self, Read};
use std::time::Duration;

use axum::body::Body;
use axum::http::StatusCode;
use axum::http::header::{CONTENT_LENGTH, HeaderMap};
use bytes::{Bytes, BytesMut};
use flate2::bufread::MultiGzDecoder;
use http_body_util::BodyExt;
use hyperbytedb_domain::settings;
use tokio::time::timeout;

use crate::admission::BodyShare;
use crate::error::ApiError;
use crate::options::HttpOptions;

/// What of a refused body is still read, so that the client gets to see the answer, and for how long.
const DRAIN_BYTES_MAX: usize = 256 << 20;
const DRAIN_TIME_MAX: Duration = Duration::from_secs(10);
/// Step in which an inflated body grows.
const INFLATE_STEP: usize = 256 << 10;

/// Reads the whole body. Its memory is counted in `share`.
pub async fn read(
    headers: &HeaderMap,
    mut body: Body,
    share: &mut BodyShare,
    options: &HttpOptions,
) -> Result<Bytes, ApiError> {
    let result = match timeout(options.body_timeout, collect(headers, &mut body, share, options)).await {
        Ok(result) => result,
        Err(_) => {
            let limit = settings::HTTP_BODY_TIMEOUT_SECS;
            let text = format!("the request body took too long to arrive ({limit})");
            return Err(ApiError::too_much(StatusCode::REQUEST_TIMEOUT, limit, text));
        }
    };
    if result.is_err() {
        discard(body).await;
    }
    result
}

async fn collect(
    headers: &HeaderMap,
    body: &mut Body,
    share: &mut BodyShare,
    options: &HttpOptions,
) -> Result<Bytes, ApiError> {
    let declared: Option<usize> =
        headers.get(CONTENT_LENGTH).and_then(|v| v.to_str().ok()).and_then(|v| v.parse().ok());
    let too_large = || {
        let limit = settings::HTTP_MAX_BODY_BYTES;
        ApiError::too_much(StatusCode::PAYLOAD_TOO_LARGE, limit, "Request Entity Too Large")
    };
    if declared.is_some_and(|length| length > options.max_body_bytes) {
        return Err(too_large());
    }
    share.grow_to(declared.unwrap_or(0))?;
    let mut read = BytesMut::new();
    let mut first: Option<Bytes> = None;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| ApiError::bad_request(error.to_string()))?;
        let Ok(data) = frame.into_data() else { continue };
        let length = first.as_ref().map_or(0, Bytes::len) + read.len() + data.len();
        if length > options.max_body_bytes {
            return Err(too_large());
        }
        share.grow_to(length)?;
        match first.take() {
            // A body that comes in one piece is not copied.
            None if read.is_empty() => first = Some(data),
            piece => {
                if let Some(piece) = piece {
                    read.reserve(declared.unwrap_or(0).max(length));
                    read.extend_from_slice(&piece);
                }
                read.extend_from_slice(&data);
            }
        }
    }
    Ok(first.unwrap_or_else(|| read.freeze()))
}

/// Throws away what the client still sends, within bounds.
pub async fn discard(mut body: Body) {
    let discard = async {
        let mut discarded = 0;
        while let Some(Ok(frame)) = body.frame().await {
            discarded += frame.data_ref().map_or(0, Bytes::len);
            if discarded > DRAIN_BYTES_MAX {
                return;
            }
        }
    };
    let _ = timeout(DRAIN_TIME_MAX, discard).await;
}

/// Inflates a gzip'ed body. Works on the calling thread.
pub fn inflate(body: &[u8], share: &mut BodyShare, options: &HttpOptions) -> Result<Bytes, ApiError> {
    if body.is_empty() {
        return Err(ApiError::bad_request("EOF"));
    }
    let mut decoder = MultiGzDecoder::new(body);
    let mut inflated = Vec::new();
    loop {
        let length = inflated.len();
        share.grow_to(body.len() + length + INFLATE_STEP)?;
        inflated.resize(length + INFLATE_STEP, 0);
        let read = match decoder.read(&mut inflated[length..]) {
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
            Err(error) => return Err(ApiError::bad_request(gzip_error(&error))),
        };
        inflated.truncate(length + read);
        if read == 0 {
            return Ok(inflated.into());
        }
        if inflated.len() > options.max_inflated_body_bytes {
            return Err(inflates_too_much(options));
        }
    }
}

pub fn inflates_too_much(options: &HttpOptions) -> ApiError {
    let text = format!(
        "Request Entity Too Large: the body inflates to more than {} bytes ({})",
        options.max_inflated_body_bytes,
        settings::HTTP_MAX_INFLATED_BODY_BYTES
    );
    ApiError::too_much(StatusCode::PAYLOAD_TOO_LARGE, settings::HTTP_MAX_INFLATED_BODY_BYTES, text)
}

/// InfluxDB's texts.
fn gzip_error(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => "unexpected EOF",
        io::ErrorKind::InvalidInput if error.to_string().contains("header") => "gzip: invalid header",
        io::ErrorKind::InvalidInput => "gzip: invalid checksum",
        _ => "gzip: invalid data",
    }
}
