//! What statements that differ in their values only have in common: the text with `?` in place of literals.
//!
//! It is made from the printed statement, where white space, quotes and keywords have one form each.

use crate::ast::Statement;

/// Words behind which a `/` begins a regular expression and a `-` a number.
const BEFORE_OPERANDS: [&str; 8] = ["SELECT", "FROM", "BY", "WHERE", "AND", "OR", "KEY", "ON"];

/// The statement without its literals.
pub fn normalized(statement: &Statement) -> String {
    normalized_text(&statement.to_string())
}

fn normalized_text(printed: &str) -> String {
    let mut out = String::with_capacity(printed.len());
    let mut rest = printed;
    let mut after_operand = false;
    while let Some(first) = rest.chars().next() {
        let next = rest[first.len_utf8()..].chars().next();
        let is_number = first.is_ascii_digit()
            || (first == '-' && !after_operand && next.is_some_and(|c| c.is_ascii_digit()));
        let (length, is_literal) = match first {
            '\'' => (quoted(rest, '\''), true),
            '"' => (quoted(rest, '"'), false),
            '/' if !after_operand => (quoted(rest, '/'), true),
            _ if is_number => (1 + run(&rest[1..], |c| c.is_alphanumeric() || c == '.'), true),
            c if is_word(c) => {
                let length = run(rest, is_word);
                (length, ["true", "false"].contains(&&rest[..length]))
            }
            c => (c.len_utf8(), false),
        };
        let (token, tail) = rest.split_at(length);
        out.push_str(if is_literal { "?" } else { token });
        if first != ' ' {
            let is_name = is_word(first) && !BEFORE_OPERANDS.contains(&token);
            after_operand = is_literal || is_name || matches!(first, '"' | ')');
        }
        rest = tail;
    }
    out
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn run(text: &str, belongs: impl Fn(char) -> bool) -> usize {
    text.find(|c| !belongs(c)).unwrap_or(text.len())
}

/// The length of what stands between two of the same mark; all of the text where the second one is missing.
fn quoted(text: &str, mark: char) -> usize {
    let mut is_escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            c if c == mark => return at + mark.len_utf8(),
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use crate::parse_statement;

    use super::*;

    #[test]
    fn literals_give_way() {
        for (statement, expected) in [
            (
                "select mean(v) from cpu where host = 'a\\'b' and time > now() - 1h group by time(5m), host fill(0) limit 10",
                "SELECT mean(v) FROM cpu WHERE host = ? AND time > now() - ? GROUP BY time(?), host fill(?) LIMIT ?",
            ),
            ("SELECT v / 2, v/w FROM m WHERE v > -5", "SELECT v / ?, v / w FROM m WHERE v > ?"),
            ("SELECT -v, v - 1 FROM m", "SELECT ? * v, v - ? FROM m"),
            (r"SELECT /a\/b/ FROM /x y/, db.rp./z/", "SELECT ? FROM ?, db.rp.?"),
            (
                "SELECT v FROM m WHERE host =~ / a / AND b !~ /c/",
                "SELECT v FROM m WHERE host =~ ? AND b !~ ?",
            ),
            (r#"SELECT "it's" FROM "a 1" WHERE ok = true"#, r#"SELECT "it's" FROM "a 1" WHERE ok = ?"#),
            ("SELECT v1 FROM m2 GROUP BY t3, /t/", "SELECT v1 FROM m2 GROUP BY t3, ?"),
            (
                "SELECT f FROM m WHERE time = '2020-01-01T00:00:00Z' tz('Europe/Berlin')",
                "SELECT f FROM m WHERE time = ? TZ(?)",
            ),
            ("CREATE USER u WITH PASSWORD 'hush'", "CREATE USER u WITH PASSWORD [REDACTED]"),
            (
                "CREATE RETENTION POLICY p ON d DURATION 90m REPLICATION 1 DEFAULT",
                "CREATE RETENTION POLICY p ON d DURATION ? REPLICATION ? DEFAULT",
            ),
            ("SHOW TAG VALUES WITH KEY =~ /h/ WHERE a = 'b'", "SHOW TAG VALUES WITH KEY =~ ? WHERE a = ?"),
            ("KILL QUERY 36", "KILL QUERY ?"),
        ] {
            assert_eq!(normalized(&parse_statement(statement).unwrap()), expected);
        }
    }

    #[test]
    fn any_text_ends() {
        for text in ["'", "/", "\"", "'\\", "µ1µ", "-", "1", "", "é'é"] {
            normalized_text(text);
        }
    }
}
