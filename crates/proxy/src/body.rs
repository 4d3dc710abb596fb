//! A request's body, kept so that another node can be given it.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::HeaderMap;
use axum::http::header::CONTENT_LENGTH;
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// The budget counts in these.
const UNIT_BYTES: usize = 1024;

/// Bounds the bytes of all bodies that are kept. Requests beyond it wait for their turn.
pub struct Budget {
    units: Arc<Semaphore>,
    total: usize,
}

impl Budget {
    pub fn new(bytes: usize) -> Self {
        let total = (bytes / UNIT_BYTES).clamp(1, Semaphore::MAX_PERMITS);
        Self { units: Arc::new(Semaphore::new(total)), total }
    }

    async fn take(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let units = bytes.div_ceil(UNIT_BYTES).min(self.total);
        // The semaphore is never closed.
        self.units.clone().acquire_many_owned(u32::try_from(units).unwrap_or(u32::MAX)).await.ok()
    }
}

/// The beginning of a body, nearly always all of it.
pub struct Held {
    pub bytes: Bytes,
    /// What is too much to be kept: it goes to a node as it comes, once.
    rest: Option<Body>,
    _share: Option<OwnedSemaphorePermit>,
}

impl Held {
    /// Reads up to `limit` bytes.
    pub async fn read(
        headers: &HeaderMap,
        body: Body,
        limit: usize,
        patience: Duration,
        budget: &Budget,
    ) -> Result<Self, String> {
        let declared = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
        let expected: usize = declared.unwrap_or(limit).min(limit);
        let late = |_| "the request body took too long to arrive (http.body_timeout_secs)".to_owned();
        let read = async {
            let share = if expected == 0 { None } else { budget.take(expected).await };
            let mut pieces = body.into_data_stream();
            let mut bytes = BytesMut::new();
            while let Some(piece) = pieces.next().await {
                bytes.extend_from_slice(&piece.map_err(|error| error.to_string())?);
                if bytes.len() > limit {
                    return Ok(Self {
                        bytes: bytes.freeze(),
                        rest: Some(Body::from_stream(pieces)),
                        _share: share,
                    });
                }
            }
            Ok(Self { bytes: bytes.freeze(), rest: None, _share: share })
        };
        timeout(patience, read).await.map_err(late)?
    }

    pub const fn is_complete(&self) -> bool {
        self.rest.is_none()
    }

    /// The body for a node; of one that is not complete the rest is there the first time only.
    pub fn next_body(&mut self) -> reqwest::Body {
        match self.rest.take() {
            None => self.bytes.clone().into(),
            Some(rest) => {
                let begin = futures_util::stream::iter([Ok(self.bytes.clone())]);
                reqwest::Body::wrap_stream(begin.chain(rest.into_data_stream()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_body_is_kept_up_to_a_bound() {
        let budget = Budget::new(4096);
        let read = async |bytes: &'static [u8]| {
            let patience = Duration::from_secs(5);
            Held::read(&HeaderMap::new(), Body::from(bytes), 4, patience, &budget).await.expect("a body")
        };
        let small = read(b"abcd").await;
        assert!(small.is_complete() && small.bytes == "abcd");
        let large = read(b"abcde").await;
        assert!(!large.is_complete() && large.bytes == "abcde");
        assert_eq!(budget.units.available_permits(), 2, "a unit each");
        drop((small, large));
        assert_eq!(budget.units.available_permits(), 4);
    }
}
