//! What the application offers to the interfaces that drive it.

use std::fs::File;

use super::write::{WriteError, WriteRequest};
use crate::backup::{BackupError, Snapshot};

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

/// Snapshots of everything stored, for backups. Calls block.
pub trait BackupPort: Send + Sync {
    /// Makes a snapshot, of all databases or with the points of one alone. It goes by itself when it is not used.
    fn create(&self, database: Option<&str>) -> Result<Snapshot, BackupError>;

    /// A file of a snapshot and its size.
    fn open(&self, id: &str, name: &str) -> Result<(File, u64), BackupError>;

    fn remove(&self, id: &str) -> Result<(), BackupError>;
}
