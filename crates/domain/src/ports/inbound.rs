//! What the application offers to the interfaces that drive it.

use super::write::{WriteError, WriteRequest};

/// Accepting points.
pub trait IngestionPort: Send + Sync {
    /// Returns when the accepted points are durable and visible. Blocks.
    fn write(&self, request: WriteRequest) -> Result<(), WriteError>;
}

/// Credentials of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credentials {
    None,
    Password { user: String, password: String },
    Token(String),
}

/// Who may do what.
pub trait AuthPort: Send + Sync {
    /// The user's name, or `None` when authentication is off. An error is InfluxDB's text for HTTP 401.
    fn authenticate(&self, credentials: &Credentials) -> Result<Option<String>, String>;
}
