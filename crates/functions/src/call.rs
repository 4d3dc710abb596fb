//! What function calls are made of, and what can be wrong with them.

use hyperbytedb_domain::FieldType;

/// A literal argument of a function, after the field.
#[derive(Debug, Clone, PartialEq)]
pub enum Argument {
    Number(f64),
    Integer(i64),
    /// Nanoseconds.
    Duration(i64),
    Text(String),
}

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
