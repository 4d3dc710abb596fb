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

/// Why an operator cannot be made. The texts are InfluxDB's.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum FunctionError {
    #[error("undefined function {0}()")]
    Undefined(String),
    #[error("invalid number of arguments for {function}, expected {expected}, got {got}")]
    ArgumentCount { function: String, expected: String, got: usize },
    /// `what` is the whole text.
    #[error("{0}")]
    Argument(String),
    #[error("unsupported {function} iterator type: *query.{input}InterruptIterator")]
    UnsupportedType { function: &'static str, input: FieldType },
}
