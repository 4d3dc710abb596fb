//! What can be wrong with a file.

use std::io;
use std::path::{Path, PathBuf};

/// Why a file cannot be read. Each names the file.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{}: {source}", file.display())]
    Io { file: PathBuf, source: io::Error },
    #[error("{}: {problem} (at byte {offset})", file.display())]
    Corrupt { file: PathBuf, offset: u64, problem: Malformed },
    #[error("{}: {problem}", path.display())]
    Unexpected { path: PathBuf, problem: String },
}

/// Bytes that are not what they should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(pub &'static str);

impl Error {
    pub(crate) fn io(file: &Path) -> impl FnOnce(io::Error) -> Self {
        let file = file.to_owned();
        move |source| Self::Io { file, source }
    }

    pub(crate) fn corrupt(file: &Path, offset: u64) -> impl FnOnce(Malformed) -> Self {
        let file = file.to_owned();
        move |problem| Self::Corrupt { file, offset, problem }
    }

    pub(crate) fn unexpected(path: &Path, problem: impl Into<String>) -> Self {
        Self::Unexpected { path: path.to_owned(), problem: problem.into() }
    }
}
