//! Sending accepted points to others.

use bytes::Bytes;
use thiserror::Error;

/// Points of one retention policy, on their way to one destination.
#[derive(Debug, Clone)]
pub struct Delivery<'a> {
    /// `http://`, `https://` or `udp://`, a host and a port.
    pub destination: &'a str,
    pub database: &'a str,
    pub retention_policy: &'a str,
    /// Line protocol with times in nanoseconds.
    pub lines: Bytes,
}

/// Why points did not get there.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DeliveryError {
    /// They would not the next time either.
    #[error("{0}")]
    Refused(String),
    /// They may the next time.
    #[error("{0}")]
    Failed(String),
    #[error("given up")]
    GivenUp,
}

pub trait DeliveryPort: Send + Sync {
    /// Returns when the destination has the points, as far as can be known. Gives up soon after `is_over` says so.
    fn deliver(&self, delivery: &Delivery<'_>, is_over: &dyn Fn() -> bool) -> Result<(), DeliveryError>;
}
