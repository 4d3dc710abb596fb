//! What can be wrong with a call.

use hyperbytedb_domain::FieldType;

/// Why an operator cannot be made or cannot go on. The texts are InfluxDB's where it has them.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum FunctionError {
    #[error("undefined function {0}()")]
    Undefined(String),
    /// The whole text.
    #[error("{0}")]
    Argument(String),
    #[error("unsupported {function} iterator type: *query.{input}InterruptIterator")]
    UnsupportedType {
        /// As InfluxDB words it here: not always the function's name.
        function: &'static str,
        input: FieldType,
    },
    #[error("{function} needs {needed} values, more than its limit of {limit}")]
    TooManyValues { function: &'static str, needed: u64, limit: u64 },
}
