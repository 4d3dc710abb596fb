//! Every statement of the shared conformance corpus through the parser: those that InfluxDB refuses
//! to parse must be refused in the same words, all others must parse, print and parse again.
//!
//! The corpus lies beside the repository, not in it; without it there is nothing to do.

#![allow(clippy::unwrap_used)] // a test may panic

use std::{collections::BTreeSet, fs, path::PathBuf};

use hyperbytedb_timeseriesql::{
    BindValue, PARSE_ERROR_PREFIX, Params, ParseError, parse_query, parse_query_with_params,
};
use serde_json::Value;

const FILES: [&str; 2] = ["influx1x.json", "golden167.json"];

#[test]
fn corpus_parses_as_influxdb_parses_it() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/conformance");
    let folder = match std::env::var_os("HYPERBYTEDB_CONFORMANCE_DIR") {
        Some(folder) => folder.into(),
        None => folder,
    };
    if !folder.exists() {
        eprintln!("skipped: no conformance corpus at {}", folder.display());
        return;
    }
    let mut statements = 0;
    let mut failures = BTreeSet::new();
    for file in FILES {
        let text = fs::read_to_string(folder.join(file)).expect("corpus file");
        let corpus: Value = serde_json::from_str(&text).expect("corpus is JSON");
        for case in corpus["cases"].as_array().expect("cases") {
            for query in case["queries"].as_array().into_iter().flatten() {
                let Some(command) = query["command"].as_str() else {
                    continue;
                };
                if command.contains("{{") {
                    continue;
                }
                statements += 1;
                failures.extend(check(command, query));
            }
        }
    }
    let failures: Vec<_> = failures.into_iter().collect();
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
    println!("{statements} statements of the corpus parsed as expected");
}

fn check(command: &str, query: &Value) -> Option<String> {
    let params = bind(query["params"]["params"].as_str());
    // InfluxDB's HTTP handler trims the text before it parses it.
    let parsed = parse_query_with_params(command.trim(), &params);
    let expected = expected_error(query);
    match (&parsed, &expected) {
        (Ok(query), None) => {
            let printed = query.to_string();
            if printed.contains("[REDACTED]") {
                return None;
            }
            match parse_query(&printed) {
                Ok(again) if again == *query => None,
                Ok(_) => Some(format!("{command}\n    printed differently: {printed}")),
                Err(error) => Some(format!("{command}\n    printed: {printed}\n    {error}")),
            }
        }
        (Err(error), Some(expected)) if without_new_options(error) == *expected => None,
        (Err(error), None) => Some(format!("{command}\n    does not parse: {error}")),
        (Err(error), Some(expected)) => {
            Some(format!("{command}\n    got:      {error}\n    expected: {expected}"))
        }
        (Ok(_), Some(expected)) => Some(format!("{command}\n    should fail: {expected}")),
    }
}

/// The golden answers are older than the options `FUTURE LIMIT` and `PAST LIMIT`.
fn without_new_options(error: &ParseError) -> String {
    error.to_string().replace(", FUTURE, PAST", "")
}

fn expected_error(query: &Value) -> Option<String> {
    let body: Value = serde_json::from_str(query["exp"].as_str()?).ok()?;
    let error = body["error"].as_str()?;
    error.strip_prefix(PARSE_ERROR_PREFIX).map(str::to_owned)
}

fn bind(params: Option<&str>) -> Params {
    let Some(text) = params else {
        return Params::new();
    };
    let Ok(Value::Object(values)) = serde_json::from_str(text) else {
        return Params::new();
    };
    values.into_iter().map(|(name, value)| (name, bind_value(&value))).collect()
}

fn bind_value(value: &Value) -> BindValue {
    match value {
        Value::Bool(b) => BindValue::Boolean(*b),
        Value::String(text) => BindValue::String(text.clone()),
        Value::Number(n) => match n.as_i64() {
            Some(n) => BindValue::Integer(n),
            None => BindValue::Number(n.as_f64().expect("a number")),
        },
        Value::Object(object) => match object.iter().next().map(|(kind, value)| (kind.as_str(), value)) {
            Some(("identifier", Value::String(name))) => BindValue::Identifier(name.clone()),
            Some(("regex", Value::String(source))) => BindValue::Regex(source.clone()),
            Some(("duration", Value::String(text))) => BindValue::Duration(text.clone()),
            _ => BindValue::Error("not used by the corpus".to_owned()),
        },
        Value::Null | Value::Array(_) => BindValue::Error("not used by the corpus".to_owned()),
    }
}
