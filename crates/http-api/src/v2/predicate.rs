//! The predicate of a delete: comparisons of tags with `=`, joined by AND.

use hyperbytedb_timeseriesql::ast::{BinaryExpr, BinaryOp, Expr};
use hyperbytedb_timeseriesql::parse_expr;

use crate::error::ApiError;

const MEASUREMENT: &str = "_measurement";

/// What a predicate selects.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Selection {
    pub measurement: Option<String>,
    pub tags: Vec<(String, String)>,
}

/// Reads a predicate; an empty one selects everything.
pub fn parse(text: &str) -> Result<Selection, ApiError> {
    let mut selection = Selection::default();
    if !text.trim().is_empty() {
        let expression = parse_expr(text)
            .map_err(|error| ApiError::bad_request(format!("invalid predicate {text:?}: {error}")))?;
        add(&expression, &mut selection)?;
    }
    Ok(selection)
}

fn add(expression: &Expr, selection: &mut Selection) -> Result<(), ApiError> {
    match expression {
        Expr::Paren(inner) => add(inner, selection),
        Expr::Binary(BinaryExpr { op: BinaryOp::And, lhs, rhs }) => {
            add(lhs, selection)?;
            add(rhs, selection)
        }
        Expr::Binary(BinaryExpr { op: BinaryOp::Eq, lhs, rhs }) => match (&**lhs, value(rhs)) {
            (Expr::VarRef(key), Some(value)) if key.name == MEASUREMENT => {
                match selection.measurement.replace(value) {
                    None => Ok(()),
                    Some(_) => Err(refused("only one measurement can be named")),
                }
            }
            (Expr::VarRef(key), Some(_)) if key.name == "_field" => {
                Err(refused("delete by field is not supported"))
            }
            (Expr::VarRef(key), Some(_)) if key.name == "time" || key.name == "_time" => {
                Err(refused("the time is that of \"start\" and \"stop\""))
            }
            (Expr::VarRef(key), Some(value)) => {
                selection.tags.push((key.name.clone(), value));
                Ok(())
            }
            _ => Err(refused("a comparison is `tag = \"value\"`")),
        },
        _ => Err(refused("only comparisons with = that are joined by AND are supported")),
    }
}

/// In quotes of either kind.
fn value(expression: &Expr) -> Option<String> {
    match expression {
        Expr::String(text) => Some(text.clone()),
        Expr::VarRef(name) if name.data_type.is_none() => Some(name.name.clone()),
        _ => None,
    }
}

fn refused(why: &str) -> ApiError {
    ApiError::bad_request(format!("invalid predicate: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_and_the_measurement() {
        let tag = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        assert_eq!(parse(" ").unwrap(), Selection::default());
        let selection = parse(r#"_measurement="m x" AND (host='a\'b' and "r k"="") AND b=c"#).unwrap();
        assert_eq!(selection.measurement.as_deref(), Some("m x"));
        assert_eq!(selection.tags, [tag("host", "a'b"), tag("r k", ""), tag("b", "c")]);
    }

    #[test]
    fn what_cannot_be_said_is_refused() {
        for text in [
            "host = 'a' OR host = 'b'",
            "host != 'a'",
            "host =~ /a/",
            "value > 1",
            "_field = 'v'",
            "_measurement = 'a' AND _measurement = 'b'",
            "time = '2020-01-01'",
            "host = 1",
            "host",
            "host = ",
            "f('a') = 'b'",
            "'a' = 'b'",
        ] {
            let error = parse(text).unwrap_err();
            assert_eq!(error.status, 400, "{text}");
            assert!(error.text.starts_with("invalid predicate"), "{text}: {}", error.text);
        }
    }
}
