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
    /// The value of an object `{"kind": scalar}`, the scalars as they would be bound alone.
    ///
    /// Kinds: `ident`, `identifier`, `regex`, `string`, `float`, `number`, `int`, `integer`,
    /// `unsigned`, `duration`.
    pub fn of_object<'a>(entries: impl IntoIterator<Item = (&'a str, BindValue)>) -> BindValue {
        let mut entries = entries.into_iter();
        match (entries.next(), entries.next()) {
            (Some((kind, scalar)), None) => Self::of_kind(kind, scalar),
            _ => Self::Error("bound object parameter value must have exactly one entry".to_owned()),
        }
    }

    /// The value of a JSON `null` or array, named as Go names their types: `<nil>`,
    /// `[]interface {}`.
    pub fn unsupported(go_type: &str) -> BindValue {
        Self::Error(format!("unable to bind parameter with type {go_type}"))
    }

    fn of_kind(kind: &str, scalar: BindValue) -> BindValue {
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
            ("int" | "integer", Self::Integer(n)) => Self::Integer(n),
            ("int" | "integer", _) => wrong("integer literal must be an integer value"),
            ("unsigned", Self::Integer(n)) if n >= 0 => Self::Unsigned(n.unsigned_abs()),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parser::parse_query_with_params;

    #[test]
    fn values_take_the_place_of_tokens() {
        let string = |text: &str| BindValue::String(text.to_owned());
        let object = |kind, value| BindValue::of_object([(kind, value)]);
        let cases = [
            (BindValue::Integer(5), "x > 5"),
            (BindValue::Integer(-5), "x > -5"),
            (BindValue::Unsigned(u64::MAX), "x > 18446744073709551615"),
            (BindValue::Number(1.5), "x > 1.500"),
            (BindValue::Boolean(true), "x > true"),
            (string("a'; DROP DATABASE d; --"), r"x > 'a\'; DROP DATABASE d; --'"),
            (object("identifier", string("a\" b")), r#"x > "a\" b""#),
            (object("ident", string("select")), r#"x > "select""#),
            (object("regex", string("a/b")), r"x > /a\/b/"),
            (object("duration", string("90m")), "x > 90m"),
            (object("duration", BindValue::Integer(1_000)), "x > 1u"),
            (object("number", BindValue::Integer(2)), "x > 2.000"),
            (object("integer", BindValue::Integer(2)), "x > 2"),
            (object("unsigned", BindValue::Integer(2)), "x > 2"),
            (object("string", string("s")), "x > 's'"),
        ];
        for (value, expected) in cases {
            let params = Params::from([("p".to_owned(), value)]);
            let query = parse_query_with_params("SELECT v FROM m WHERE x > $p", &params).unwrap();
            assert_eq!(query.to_string(), format!("SELECT v FROM m WHERE {expected}"));
        }
    }

    #[test]
    fn parameters_stand_wherever_their_token_may() {
        let values = [
            ("m", BindValue::Identifier("cpu load".to_owned())),
            ("re", BindValue::Regex("^a".to_owned())),
            ("n", BindValue::Integer(7)),
            ("d", BindValue::Duration(60_000_000_000)),
            ("odd name", BindValue::String("x".to_owned())),
        ];
        let params = values.map(|(name, value)| (name.to_owned(), value)).into();
        let text =
            r#"SELECT mean($re) FROM $m WHERE h =~ $re AND g = $"odd name" GROUP BY time($d), $re LIMIT $n"#;
        let query = parse_query_with_params(text, &params).unwrap();
        let expected = "SELECT mean(/^a/) FROM \"cpu load\" WHERE h =~ /^a/ AND g = 'x' \
                        GROUP BY time(1m), /^a/ LIMIT 7";
        assert_eq!(query.to_string(), expected);
    }

    #[test]
    fn values_that_do_not_fit_are_errors() {
        let nothing: [(&str, BindValue); 0] = [];
        let cases = [
            (BindValue::unsupported("<nil>"), "unable to bind parameter with type <nil>"),
            (BindValue::of_object(nothing), "bound object parameter value must have exactly one entry"),
            (BindValue::of_object([("foo", BindValue::Integer(1))]), "unknown bind object type: foo"),
            (
                BindValue::of_object([("integer", BindValue::Number(1.5))]),
                "integer literal must be an integer value",
            ),
            (BindValue::of_object([("duration", BindValue::String("5q".to_owned()))]), "invalid duration"),
        ];
        for (value, expected) in cases {
            let params = Params::from([("p".to_owned(), value)]);
            let error = parse_query_with_params("SELECT v FROM m WHERE x > $p", &params).unwrap_err();
            assert_eq!(error.to_string(), format!("missing parameter: {expected}"));
        }
        let limit = Params::from([("p".to_owned(), BindValue::Integer(-1))]);
        let error = parse_query_with_params("SELECT v FROM m LIMIT $p", &limit).unwrap_err();
        assert_eq!(error.to_string(), "LIMIT must be >= 0 at line 1, char 23");
    }
}
