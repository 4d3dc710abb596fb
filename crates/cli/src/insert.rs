//! `insert [into [database.]policy] points` and `use database[.policy]`: names as `influx` reads them.

/// Where the points of an `insert` go, and the points.
#[derive(Debug, PartialEq, Eq)]
pub struct Insert<'a> {
    pub database: Option<String>,
    pub policy: Option<String>,
    pub points: &'a str,
}

/// Reads what follows `insert`.
pub fn parse(text: &str) -> Insert<'_> {
    match identifier(text) {
        Some((word, rest)) if word.eq_ignore_ascii_case("into") => into(rest),
        _ => Insert { database: None, policy: None, points: text.trim_start() },
    }
}

fn into(text: &str) -> Insert<'_> {
    let Some((first, rest)) = identifier(text) else {
        return Insert { database: None, policy: None, points: text.trim_start() };
    };
    let (database, policy, rest) = match rest.strip_prefix('.').map(|rest| (rest, identifier(rest))) {
        Some((_, Some((policy, rest)))) => (Some(first), policy, rest),
        // `db. points`: the default policy.
        Some((rest, None)) => (Some(first), String::new(), rest),
        None => (None, first, rest),
    };
    if rest.starts_with(' ') {
        Insert { database, policy: Some(policy), points: rest.trim_start() }
    } else {
        // The word was the measurement.
        Insert { database, policy: None, points: text.trim_start() }
    }
}

/// Reads `database[.policy]`, each quoted or not; none if there is more.
pub fn database_and_policy(text: &str) -> Option<(String, String)> {
    let (database, rest) = name(text.trim())?;
    match rest.strip_prefix('.') {
        None if rest.is_empty() => Some((database, String::new())),
        None => None,
        Some(rest) => {
            let (policy, rest) = name(rest)?;
            rest.is_empty().then_some((database, policy))
        }
    }
}

/// A name of `use`, which may have any characters but a dot, as in `influx`.
fn name(text: &str) -> Option<(String, &str)> {
    if text.starts_with('"') {
        return quoted(text);
    }
    let end = text.find('.').unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    (!name.is_empty() && !name.contains('"')).then(|| (name.to_owned(), rest))
}

/// The identifier that a text begins with, and what follows.
fn identifier(text: &str) -> Option<(String, &str)> {
    let text = text.trim_start();
    if text.starts_with('"') {
        return quoted(text);
    }
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len());
    let (word, rest) = text.split_at(end);
    word.starts_with(|c: char| !c.is_ascii_digit()).then(|| (word.to_owned(), rest))
}

fn quoted(text: &str) -> Option<(String, &str)> {
    let mut name = String::new();
    let mut characters = text.char_indices().skip(1);
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((name, &text[at + 1..])),
            '\\' => name.push(characters.next()?.1),
            other => name.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn insert<'a>(database: Option<&str>, policy: Option<&str>, points: &'a str) -> Insert<'a> {
        Insert { database: database.map(str::to_owned), policy: policy.map(str::to_owned), points }
    }

    #[test]
    fn inserts() {
        assert_eq!(parse(" cpu,host=a v=1"), insert(None, None, "cpu,host=a v=1"));
        assert_eq!(parse(" into rp cpu v=1"), insert(None, Some("rp"), "cpu v=1"));
        assert_eq!(parse(" INTO db.rp cpu v=1"), insert(Some("db"), Some("rp"), "cpu v=1"));
        assert_eq!(parse(r#" into "a b"."c\"d" cpu v=1"#), insert(Some("a b"), Some("c\"d"), "cpu v=1"));
        assert_eq!(parse(" into cpu,host=a v=1"), insert(None, None, "cpu,host=a v=1"));
    }

    #[test]
    fn databases() {
        let both = |database: &str, policy: &str| Some((database.to_owned(), policy.to_owned()));
        assert_eq!(database_and_policy("db"), both("db", ""));
        assert_eq!(database_and_policy("my-db.rp"), both("my-db", "rp"));
        assert_eq!(database_and_policy(r#""a.b"."c""#), both("a.b", "c"));
        for bad in ["", ".", "a.", "\"a", "a.b.c", "\"a\"b"] {
            assert!(database_and_policy(bad).is_none(), "{bad}");
        }
    }
}
