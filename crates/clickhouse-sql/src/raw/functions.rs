//! Which functions a statement may call.

use std::collections::HashSet;
use std::sync::LazyLock;

/// Made from `system.functions`, by category.
const LIST: &str = include_str!("functions.txt");

/// Words before a parenthesis that are no functions.
const KEYWORDS: [&str; 47] = [
    "all",
    "and",
    "any",
    "array",
    "as",
    "between",
    "by",
    "case",
    "columns",
    "cube",
    "distinct",
    "else",
    "except",
    "exists",
    "filter",
    "from",
    "having",
    "ilike",
    "in",
    "intersect",
    "interval",
    "is",
    "join",
    "like",
    "limit",
    "materialized",
    "not",
    "offset",
    "on",
    "or",
    "over",
    "prewhere",
    "qualify",
    "replace",
    "rollup",
    "select",
    "sets",
    "then",
    "totals",
    "union",
    "using",
    "when",
    "where",
    "window",
    "with",
    "within",
    "xor",
];

/// Types with arguments.
const TYPES: [&str; 20] = [
    "array",
    "datetime",
    "datetime32",
    "datetime64",
    "decimal",
    "decimal32",
    "decimal64",
    "decimal128",
    "decimal256",
    "enum",
    "enum8",
    "enum16",
    "fixedstring",
    "lowcardinality",
    "map",
    "nested",
    "nullable",
    "time64",
    "tuple",
    "variant",
];

/// Of the functions that stand for tables, those that make their rows up.
const TABLE_FUNCTIONS: [&str; 3] = ["generate_series", "numbers", "zeros"];

/// What may follow the name of an aggregate function, any number of times.
const COMBINATORS: [&str; 14] = [
    "argmax",
    "argmin",
    "array",
    "distinct",
    "foreach",
    "if",
    "map",
    "merge",
    "mergestate",
    "null",
    "ordefault",
    "ornull",
    "resample",
    "state",
];

struct Lists {
    functions: HashSet<&'static str>,
    aggregates: HashSet<&'static str>,
}

static LISTS: LazyLock<Lists> = LazyLock::new(|| {
    let mut sections = LIST.split("\n\n").map(|section| {
        let lines = section.lines().filter(|line| !line.starts_with('#'));
        lines.flat_map(str::split_whitespace).collect()
    });
    let functions = sections.next().unwrap_or_default();
    Lists { functions, aggregates: sections.next().unwrap_or_default() }
});

/// Whether a bare word before a parenthesis is a keyword of the grammar.
pub fn is_keyword(word: &str) -> bool {
    KEYWORDS.contains(&word.to_ascii_lowercase().as_str())
}

/// Whether a name before a parenthesis may stand there.
pub fn is_allowed(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    LISTS.functions.contains(name.as_str())
        || TYPES.contains(&name.as_str())
        || TABLE_FUNCTIONS.contains(&name.as_str())
        || is_aggregate(&name)
}

fn is_aggregate(name: &str) -> bool {
    LISTS.aggregates.contains(name)
        || COMBINATORS
            .iter()
            .filter_map(|combinator| name.strip_suffix(combinator))
            .any(|shorter| !shorter.is_empty() && is_aggregate(shorter))
}
