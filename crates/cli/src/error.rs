//! What goes wrong, in the words of `influx` where it has them.

use std::io;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(
        "Failed to connect to {address}: {reason}\nPlease check your connection settings and ensure the server is running."
    )]
    Connect { address: String, reason: String },
    #[error("{0}")]
    Request(String),
    /// The server said no; the text is its own.
    #[error("{0}")]
    Refused(String),
    #[error("cannot read the answer: {0}")]
    Answer(String),
    #[error("aborted by user")]
    Interrupted,
    #[error("{0}")]
    Usage(String),
    #[error("cannot write the output: {0}")]
    Output(#[from] io::Error),
    #[error("{path}: {reason}")]
    File { path: String, reason: io::Error },
}

impl Error {
    /// Whoever read our output has what he wanted.
    pub fn is_closed_output(&self) -> bool {
        matches!(self, Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }
}

pub type Result<T, E = Error> = std::result::Result<T, E>;
