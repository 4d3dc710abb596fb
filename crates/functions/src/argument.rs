//! What function calls are made of.

/// A literal argument of a function, after the field.
#[derive(Debug, Clone, PartialEq)]
pub enum Argument {
    Number(f64),
    Integer(i64),
    /// Nanoseconds.
    Duration(i64),
    Text(String),
}
