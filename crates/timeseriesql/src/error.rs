//! Why a text does not parse.

use crate::lexer::Position;

/// What InfluxDB's HTTP API puts before a parse error.
pub const PARSE_ERROR_PREFIX: &str = "error parsing query: ";

/// A parse error in InfluxDB's words, without [`PARSE_ERROR_PREFIX`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// A token that does not fit.
    #[error("found {found}, expected {} at {position}", .expected.join(", "))]
    Unexpected { found: String, expected: Vec<String>, position: Position },
    /// A token that fits, with a value that does not.
    #[error("{message} at {position}")]
    Invalid { message: String, position: Position },
    /// What InfluxDB reports without a position.
    #[error("{0}")]
    Other(String),
}

impl ParseError {
    pub(crate) fn other(message: impl Into<String>) -> Self {
        Self::Other(message.into())
    }

    pub(crate) fn invalid(message: impl Into<String>, position: Position) -> Self {
        Self::Invalid { message: message.into(), position }
    }
}
