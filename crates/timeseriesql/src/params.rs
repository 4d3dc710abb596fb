//! Values bound to `$name`.
//!
//! A parameter takes the place of one token: it can be a literal or an identifier, never syntax.

use std::collections::HashMap;

use crate::{lexer::Token, print::format_float};

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
    /// Text such as `10m`; where it is none, that is an error where the parameter is used.
    Duration(String),
    /// A value that cannot be bound, and why; an error where the parameter is used.
    Error(String),
}

impl BindValue {
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
            Self::Duration(text) => (Token::DurationVal, text.clone()),
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
        let text = str::to_owned;
        let cases = [
            (BindValue::Integer(5), "x > 5"),
            (BindValue::Integer(-5), "x > -5"),
            (BindValue::Unsigned(u64::MAX), "x > 18446744073709551615"),
            (BindValue::Number(1.5), "x > 1.500"),
            (BindValue::Boolean(true), "x > true"),
            (BindValue::String(text("a'; DROP DATABASE d; --")), r"x > 'a\'; DROP DATABASE d; --'"),
            (BindValue::Identifier(text("a\" b")), r#"x > "a\" b""#),
            (BindValue::Identifier(text("select")), r#"x > "select""#),
            (BindValue::Regex(text("a/b")), r"x > /a\/b/"),
            (BindValue::Duration(text("90m")), "x > 90m"),
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
            ("d", BindValue::Duration("1m".to_owned())),
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
        let unbound = |value| {
            let params = Params::from([("p".to_owned(), value)]);
            parse_query_with_params("SELECT v FROM m WHERE x > $p", &params).unwrap_err().to_string()
        };
        assert_eq!(unbound(BindValue::Error("why".to_owned())), "missing parameter: why");
        assert_eq!(unbound(BindValue::Duration("5q".to_owned())), "invalid duration");
        let limit = Params::from([("p".to_owned(), BindValue::Integer(-1))]);
        let error = parse_query_with_params("SELECT v FROM m LIMIT $p", &limit).unwrap_err();
        assert_eq!(error.to_string(), "LIMIT must be >= 0 at line 1, char 23");
    }
}
