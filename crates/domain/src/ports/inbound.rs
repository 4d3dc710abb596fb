//! What the application offers to the interfaces that drive it.

use std::fs::File;
use std::sync::Arc;

use super::write::{WriteError, WriteRequest};
use crate::backup::{BackupError, Snapshot};
use crate::catalog::Catalog;

/// Accepting points.
pub trait IngestionPort: Send + Sync {
    /// Returns when the accepted points are durable and visible. Blocks.
    fn write(&self, request: WriteRequest) -> Result<(), WriteError>;
}

/// What databases, policies, measurements and users there are.
pub trait SchemaPort: Send + Sync {
    fn catalog(&self) -> Arc<Catalog>;
}

/// Whom a request is from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Caller {
    /// Authentication is on, and there is no admin yet whom anybody could prove to be.
    #[default]
    Nobody,
    /// A user who has proved who he is.
    User(Arc<str>),
    /// The server itself; anybody where authentication is off.
    Trusted,
}

impl Caller {
    pub fn user(&self) -> Option<&str> {
        match self {
            Self::User(name) => Some(name),
            Self::Nobody | Self::Trusted => None,
        }
    }
}

/// What a request says of its sender.
#[derive(Clone, PartialEq, Eq)]
pub enum Credentials {
    /// None at all, or none that can be read.
    None,
    Password {
        user: String,
        password: String,
    },
    /// A JSON Web Token.
    Bearer(String),
}

impl std::fmt::Debug for Credentials {
    /// Without the secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::Password { user, .. } => write!(f, "Password {{ user: {user:?} }}"),
            Self::Bearer(_) => f.write_str("Bearer"),
        }
    }
}

/// Why a caller is not let in; InfluxDB's texts for HTTP 401.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    #[error("unable to parse authentication credentials")]
    Unreadable,
    #[error("username required")]
    UsernameRequired,
    /// A wrong password or an unknown user: which of the two, nobody is told.
    #[error("authorization failed")]
    Failed,
    #[error("{0}")]
    Token(String),
}

/// Finding out whom a request is from.
pub trait AuthPort: Send + Sync {
    /// The answer where it is known at once; `None`: [`verify`](Self::verify) has to work it out. Never blocks.
    fn recall(&self, credentials: &Credentials) -> Option<Result<Caller, AuthError>>;

    /// Checks a password against its hash, which takes tens of milliseconds and megabytes. Blocks.
    fn verify(&self, credentials: &Credentials) -> Result<Caller, AuthError>;

    /// Whether the caller may do what only an admin may.
    fn is_admin(&self, caller: &Caller) -> bool;
}

/// Snapshots of everything stored, for backups. Calls block.
pub trait BackupPort: Send + Sync {
    /// Makes a snapshot, of all databases or with the points of one alone. It goes by itself when it is not used.
    fn create(&self, database: Option<&str>) -> Result<Snapshot, BackupError>;

    /// A file of a snapshot and its size.
    fn open(&self, id: &str, name: &str) -> Result<(File, u64), BackupError>;

    fn remove(&self, id: &str) -> Result<(), BackupError>;
}
