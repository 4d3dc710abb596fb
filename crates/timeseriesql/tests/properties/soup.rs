//! No text brings the parser down.

use hyperbytedb_timeseriesql::{Params, parse_expr, parse_query, parse_query_with_params, reduce};
use jiff::tz::TimeZone;
use proptest::{collection::vec, prelude::*};

const TOKENS: &[&str] = &[
    "SELECT",
    "FROM",
    "WHERE",
    "GROUP",
    "BY",
    "ORDER",
    "LIMIT",
    "OFFSET",
    "SLIMIT",
    "INTO",
    "AS",
    "ON",
    "SHOW",
    "CREATE",
    "DROP",
    "ALTER",
    "DELETE",
    "EXPLAIN",
    "ANALYZE",
    "GRANT",
    "REVOKE",
    "SET",
    "KILL",
    "TAG",
    "KEYS",
    "KEY",
    "VALUES",
    "FIELD",
    "SERIES",
    "MEASUREMENTS",
    "MEASUREMENT",
    "DATABASE",
    "WITH",
    "RETENTION",
    "POLICY",
    "DURATION",
    "REPLICATION",
    "SHARD",
    "DEFAULT",
    "FUTURE",
    "PAST",
    "INF",
    "CONTINUOUS",
    "QUERY",
    "BEGIN",
    "END",
    "RESAMPLE",
    "EVERY",
    "FOR",
    "SUBSCRIPTION",
    "DESTINATIONS",
    "EXACT",
    "CARDINALITY",
    "MATERIALIZED",
    "VIEW",
    "fill(",
    "tz('",
    "time(",
    "now()",
    "mean(",
    "distinct",
    "DISTINCT ",
    "cpu",
    "\"a b\"",
    "'x'",
    "'2000-01-01T00:00:00Z'",
    "'",
    "\"",
    "/re/",
    "/",
    "\\",
    "1",
    "1.5",
    "1h30m",
    "99999999999999999999",
    "9223372036854775808",
    "$p",
    "$",
    "$\"q\"",
    "+",
    "-",
    "*",
    "%",
    "&",
    "|",
    "^",
    "=",
    "!=",
    "<>",
    "<",
    ">=",
    "=~",
    "!~",
    "AND",
    "OR",
    "IN",
    "(",
    ")",
    ",",
    ".",
    ":",
    "::",
    ";",
    "--",
    "/*",
    "*/",
    "\n",
    "\r",
    "\0",
    "µ",
    "ü",
    "time",
    "true",
    "field",
    "tag",
    "float",
];

fn exercise(text: &str) {
    let _ = parse_query_with_params(text, &Params::new());
    if let Ok(query) = parse_query(text) {
        let _ = query.to_string();
    }
    if let Ok(expr) = parse_expr(text) {
        let _ = reduce::reduce(expr.clone(), Some(0), &TimeZone::UTC).to_string();
        let _ = reduce::condition_expr(Some(expr), Some(i64::MAX), &TimeZone::UTC);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn of_tokens(tokens in vec(prop::sample::select(TOKENS), 0..24), spaced in any::<bool>()) {
        exercise(&tokens.join(if spaced { " " } else { "" }));
    }

    #[test]
    fn of_characters(text in "\\PC{0,64}") {
        exercise(&text);
    }

    #[test]
    fn of_constants(tokens in vec(prop::sample::select(TOKENS), 0..8)) {
        exercise(&format!("time > 1 - 5h * 9223372036854775807 {}", tokens.join(" ")));
        exercise(&format!("-9223372036854775808 / -1 % {}", tokens.join(" ")));
    }
}
