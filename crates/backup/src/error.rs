//! What can go wrong with a backup.

use thiserror::Error;

#[derive(Debug, Error)]
pub enum Error {
    #[error("{0}")]
    Invalid(String),
    #[error("{place}: {source}")]
    Store { place: String, source: object_store::Error },
    #[error("{url}: {}", cause(source))]
    Connection { url: String, source: reqwest::Error },
    #[error("{url}: {status}: {text}")]
    Refused { url: String, status: u16, text: String },
    #[error("{path}: {source}")]
    File { path: String, source: std::io::Error },
    /// The backup is not what it was: each line says what is wrong.
    #[error("{place} is damaged and cannot be used:\n{}", faults.join("\n"))]
    Damaged { place: String, faults: Vec<String> },
}

/// Why a request failed: the errors around it say only that it did.
fn cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

impl Error {
    pub(crate) fn file(path: &std::path::Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.display().to_string();
        move |source| Self::File { path, source }
    }
}
