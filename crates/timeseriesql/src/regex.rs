//! Regular expressions: Go's RE2 syntax in, compiled for the `regex` crate.

use std::fmt;

/// A regular expression as written (`\/` already undone) and compiled. Equal when written equally.
#[derive(Clone)]
pub struct Regex {
    source: String,
    compiled: regex::Regex,
}

/// Why a regular expression does not compile, in the words of Go's `regexp`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("error parsing regexp: {0}")]
pub struct RegexError(String);

impl Regex {
    /// Compiles an expression written in Go's syntax.
    pub fn new(source: &str) -> Result<Self, RegexError> {
        let compiled = regex::Regex::new(source).map_err(|e| RegexError(e.to_string()))?;
        Ok(Self {
            source: source.to_owned(),
            compiled,
        })
    }

    /// The expression as the statement has it, without delimiters.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The expression in the `regex` crate's syntax.
    pub fn pattern(&self) -> &str {
        self.compiled.as_str()
    }

    /// Whether the expression matches anywhere in `text`.
    pub fn is_match(&self, text: &str) -> bool {
        self.compiled.is_match(text)
    }
}

impl PartialEq for Regex {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl fmt::Debug for Regex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Regex({:?})", self.source)
    }
}
