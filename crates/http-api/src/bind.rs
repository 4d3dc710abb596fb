//! Bind parameters: the JSON object of `params`, with InfluxDB's error texts.

use std::collections::BTreeMap;
use std::fmt::Display;

use hyperbytedb_application::Parameter;
use serde_json::value::RawValue;

use crate::error::ApiError;
use crate::go_json;

/// Reads `params`; empty text is no parameters. What follows the object is ignored, as in InfluxDB.
pub fn parameters(json: &str) -> Result<BTreeMap<String, Parameter>, ApiError> {
    if json.is_empty() {
        return Ok(BTreeMap::new());
    }
    let invalid =
        |error: &dyn Display| ApiError::bad_request(format!("error parsing query parameters: {error}"));
    let object = go_json::object(json).map_err(|e| invalid(&e))?;
    let values: Option<BTreeMap<String, Box<RawValue>>> =
        serde_json::from_str(&object).map_err(|e| invalid(&e))?;
    values.unwrap_or_default().into_iter().map(|(name, value)| Ok((name, parameter(value.get())?))).collect()
}

/// A value that cannot be bound is an error only where its parameter is used; a bad number at once, as in InfluxDB.
fn parameter(json: &str) -> Result<Parameter, ApiError> {
    Ok(match json.as_bytes().first() {
        Some(b'"') => text(json).map_or_else(|| cannot_bind("string"), Parameter::String),
        Some(b't') => Parameter::Boolean(true),
        Some(b'f') => Parameter::Boolean(false),
        Some(b'n') => cannot_bind("<nil>"),
        Some(b'[') => cannot_bind("[]interface {}"),
        Some(b'{') => typed(json),
        _ => number(json).map_err(|e| ApiError::bad_request(format!("error parsing json value: {e}")))?,
    })
}

/// With a point it is a float, without one an integer.
fn number(json: &str) -> Result<Parameter, String> {
    let fail = |function, why| format!("strconv.{function}: parsing \"{json}\": {why}");
    if json.contains('.') {
        return match json.parse::<f64>() {
            Ok(value) if value.is_finite() => Ok(Parameter::Float(value)),
            _ => Err(fail("ParseFloat", "value out of range")),
        };
    }
    if json.contains(['e', 'E']) {
        return Err(fail("ParseInt", "invalid syntax"));
    }
    json.parse().map(Parameter::Integer).map_err(|_| fail("ParseInt", "value out of range"))
}

/// An object with one entry that names the type.
fn typed(json: &str) -> Parameter {
    let object: BTreeMap<String, Box<RawValue>> = serde_json::from_str(json).unwrap_or_default();
    let mut entries = object.iter();
    let (Some((kind, value)), None) = (entries.next(), entries.next()) else {
        return Parameter::Error("bound object parameter value must have exactly one entry".to_owned());
    };
    let value = value.get();
    let is_number = value.starts_with(|c: char| c == '-' || c.is_ascii_digit());
    let (parameter, expected) = match kind.as_str() {
        "ident" | "identifier" => {
            (text(value).map(Parameter::Identifier), "identifier must be a string value")
        }
        "regex" => (text(value).map(Parameter::Regex), "regex literal must be a string value"),
        "string" => (text(value).map(Parameter::String), "string literal must be a string value"),
        "float" | "number" => {
            (value.parse().ok().map(Parameter::Float), "number literal must be a float value")
        }
        "int" | "integer" if is_number && !value.contains('.') => {
            return number(value).unwrap_or_else(Parameter::Error);
        }
        "int" | "integer" => (None, "integer literal must be an integer value"),
        "duration" => (
            text(value).map(Parameter::Duration).or_else(|| value.parse().ok().map(Parameter::Nanoseconds)),
            "duration literal must be a string or integer value",
        ),
        _ => return Parameter::Error(format!("unknown bind object type: {kind}")),
    };
    parameter.unwrap_or_else(|| Parameter::Error(expected.to_owned()))
}

fn text(json: &str) -> Option<String> {
    serde_json::from_str(json).ok()
}

fn cannot_bind(kind: &str) -> Parameter {
    Parameter::Error(format!("unable to bind parameter with type {kind}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values() {
        let cases = [
            ("1", Parameter::Integer(1)),
            ("-9223372036854775808", Parameter::Integer(i64::MIN)),
            ("1.5", Parameter::Float(1.5)),
            ("true", Parameter::Boolean(true)),
            ("\"x\\n\"", Parameter::String("x\n".into())),
            (r#""\ud800""#, Parameter::String("\u{fffd}".into())),
            (r#"{"identifier":"a b"}"#, Parameter::Identifier("a b".into())),
            (r#"{"ident":"a"}"#, Parameter::Identifier("a".into())),
            (r#"{"regex":"^a"}"#, Parameter::Regex("^a".into())),
            (r#"{"string":"b"}"#, Parameter::String("b".into())),
            (r#"{"float":1}"#, Parameter::Float(1.0)),
            (r#"{"integer":4}"#, Parameter::Integer(4)),
            (r#"{"duration":"5m"}"#, Parameter::Duration("5m".into())),
            (r#"{"duration":1}"#, Parameter::Nanoseconds(1)),
        ];
        for (json, expected) in cases {
            let parsed = parameters(&format!("{{\"h\":{json}}}")).unwrap();
            assert_eq!(parsed.get("h"), Some(&expected), "{json}");
        }
        for nothing in ["", "null", "{}", "{}x"] {
            assert!(parameters(nothing).unwrap().is_empty());
        }
    }

    #[test]
    fn what_cannot_be_bound_is_an_error_where_it_is_used() {
        let cases = [
            (r#"{"h":{"identifier":1}}"#, "identifier must be a string value"),
            (r#"{"h":{"regex":1}}"#, "regex literal must be a string value"),
            (r#"{"h":{"duration":true}}"#, "duration literal must be a string or integer value"),
            (r#"{"h":{"integer":1.5}}"#, "integer literal must be an integer value"),
            (r#"{"h":{"float":"x"}}"#, "number literal must be a float value"),
            (r#"{"h":{"string":1}}"#, "string literal must be a string value"),
            (r#"{"h":{"boolean":true}}"#, "unknown bind object type: boolean"),
            (r#"{"h":{"a":1,"b":2}}"#, "bound object parameter value must have exactly one entry"),
            (r#"{"h":{}}"#, "bound object parameter value must have exactly one entry"),
            (r#"{"h":[1]}"#, "unable to bind parameter with type []interface {}"),
            (r#"{"h":null}"#, "unable to bind parameter with type <nil>"),
        ];
        for (params, expected) in cases {
            let parsed = parameters(params).unwrap();
            assert_eq!(parsed.get("h"), Some(&Parameter::Error(expected.to_owned())), "{params}");
        }
    }

    #[test]
    fn errors_read_as_in_influxdb() {
        let json = "error parsing query parameters: ";
        let number = "error parsing json value: strconv.ParseInt: parsing ";
        let cases = [
            (r#"{"h":1e3}"#, number, "\"1e3\": invalid syntax"),
            (r#"{"h":99999999999999999999}"#, number, "\"99999999999999999999\": value out of range"),
            ("x", json, "invalid character 'x' looking for beginning of value"),
            ("{\"a\":nope}", json, "invalid character 'o' in literal null (expecting 'u')"),
        ];
        for (params, prefix, expected) in cases {
            assert_eq!(parameters(params).unwrap_err().text, format!("{prefix}{expected}"), "{params}");
        }
    }
}
