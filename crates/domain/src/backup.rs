//! What a backup is made of: the files of a data folder as they were at one sequence of the log.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::error::StorageError;
use crate::settings;
use crate::wal::Sequence;

/// What a server says of a snapshot. Names of files are relative to a data folder and separated by `/`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    pub id: String,
    /// Of the server.
    pub version: String,
    /// The last log record in it.
    pub sequence: Sequence,
    /// Seconds since 1970.
    pub created: u64,
    /// The only database whose points are in it; `None`: all are.
    pub database: Option<String>,
    pub files: Vec<SnapshotFile>,
    pub links: Vec<Link>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotFile {
    pub name: String,
    pub size: u64,
    /// [`checksum`] of small files, among them those that hold the checksums of a part's other files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checksum: Option<String>,
}

/// A symbolic link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    pub name: String,
    pub target: String,
}

/// As manifests have it: XXH3 of 128 bits, in hexadecimal.
pub fn checksum(bytes: &[u8]) -> String {
    format!("{:032x}", xxhash_rust::xxh3::xxh3_128(bytes))
}

/// Why there is no snapshot.
#[derive(Debug, Clone, Error)]
pub enum BackupError {
    #[error("database not found: {0}")]
    DatabaseNotFound(String),
    #[error("another backup is being made: retry later")]
    Busy,
    #[error("{0} backups are being downloaded or were left behind: delete one, or wait for its end ({key})", key = settings::BACKUP_MAX_SNAPSHOTS)]
    TooMany(usize),
    #[error("backup not found: {0} (it may have expired: {key})", key = settings::BACKUP_EXPIRY_SECS)]
    NotFound(String),
    #[error("the backup has no file {0:?}")]
    NoSuchFile(String),
    #[error(transparent)]
    Storage(#[from] StorageError),
}
