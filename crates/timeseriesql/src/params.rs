//! Values bound to `$name`.
//!
//! A parameter takes the place of one token: it can be a literal or an identifier, never syntax.

use std::collections::HashMap;

use crate::{
    duration::{format_duration, parse_duration},
    lexer::Token,
    print::format_float,
};

/// Values by parameter name, without the `$`.
pub type Params = HashMap<String, BindValue>;

/// One value.
#[derive(Debug, Clone, PartialEq)]
pub enum BindValue {
    Number(f64),
    Integer(i64),
    Unsigned(u64),
    String(String),
    Boolean(bool),
    Identifier(String),
    /// Source of a regular expression, without slashes.
    Regex(String),
    /// Nanoseconds.
    Duration(i64),
    /// A value that cannot be bound, and why; an error where the parameter is used.
    Error(String),
}

impl BindValue {
    /// The value of `{"kind": scalar}`, where the scalar is as it would be bound alone.
    ///
    /// Kinds: `ident`, `identifier`, `regex`, `string`, `float`, `number`, `int`, `integer`,
    /// `unsigned`, `duration`.
    pub fn of_kind(kind: &str, scalar: BindValue) -> BindValue {
        let wrong = |text: &str| Self::Error(text.to_owned());
        match (kind, scalar) {
            ("ident" | "identifier", Self::String(name)) => Self::Identifier(name),
            ("ident" | "identifier", _) => wrong("identifier must be a string value"),
            ("regex", Self::String(source)) => Self::Regex(source),
            ("regex", _) => wrong("regex literal must be a string value"),
            ("string", Self::String(text)) => Self::String(text),
            ("string", _) => wrong("string literal must be a string value"),
            ("float" | "number", Self::Number(n)) => Self::Number(n),
            ("float" | "number", Self::Integer(n)) => Self::Number(n as f64),
            ("float" | "number", _) => wrong("number literal must be a float value"),
            ("int" | "integer", Self::Number(n)) => Self::Integer(n as i64),
            ("int" | "integer", Self::Integer(n)) => Self::Integer(n),
            ("int" | "integer", _) => wrong("integer literal must be an integer value"),
            ("unsigned", Self::Integer(n)) if n >= 0 => Self::Unsigned(n as u64),
            ("unsigned", Self::Unsigned(n)) => Self::Unsigned(n),
            ("unsigned", _) => wrong("unsigned literal must be an unsigned value"),
            ("duration", Self::Integer(ns)) => Self::Duration(ns),
            ("duration", Self::String(text)) => match parse_duration(&text) {
                Ok(ns) => Self::Duration(ns),
                Err(error) => Self::Error(error.to_string()),
            },
            ("duration", _) => wrong("duration literal must be a string or integer value"),
            _ => Self::Error(format!("unknown bind object type: {kind}")),
        }
    }

    /// The token that takes the parameter's place.
    pub(crate) fn token(&self) -> (Token, String) {
        match self {
            Self::Number(n) => (Token::Number, format_float(*n)),
            Self::Integer(n) => (Token::Integer, n.to_string()),
            Self::Unsigned(n) => (Token::Integer, n.to_string()),
            Self::String(text) => (Token::String, text.clone()),
            Self::Boolean(true) => (Token::True, String::new()),
            Self::Boolean(false) => (Token::False, String::new()),
            Self::Identifier(name) => (Token::Ident, name.clone()),
            Self::Regex(source) => (Token::Regex, source.clone()),
            Self::Duration(ns) => (Token::DurationVal, format_duration(*ns)),
            Self::Error(message) => (Token::BoundParam, message.clone()),
        }
    }
}
