//! What stops a command.

use std::io;
use std::path::{Path, PathBuf};

/// Why a command ends before its work is done. Each says what to look at.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{0}")]
    Usage(String),
    #[error("{url} does not answer: {source}")]
    Unreachable { url: String, source: io::Error },
    #[error("{url} answers {status}: {text}")]
    Refused { url: String, status: u16, text: String },
    #[error("{statement}: {text}")]
    Statement { statement: String, text: String },
    #[error("{}: {source}", file.display())]
    File { file: PathBuf, source: io::Error },
    #[error(transparent)]
    Influx(#[from] hyperbytedb_influx_files::Error),
    #[error("{what}: {source}")]
    Output { what: String, source: Box<dyn std::error::Error + Send + Sync> },
    #[error("stopped: another part of the command failed")]
    Stopped,
}

impl Error {
    pub fn usage(text: impl Into<String>) -> Self {
        Self::Usage(text.into())
    }

    pub fn file(file: &Path) -> impl FnOnce(io::Error) -> Self {
        let file = file.to_owned();
        move |source| Self::File { file, source }
    }
}
