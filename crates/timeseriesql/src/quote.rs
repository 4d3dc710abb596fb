//! Quoting of names and strings: the one place where a statement's text gets them.

use crate::lexer::{Token, is_ident_char};

/// The name, in double quotes where it needs them.
pub fn quote_ident(name: &str) -> String {
    if ident_needs_quotes(name) { quoted(name, '"') } else { name.to_owned() }
}

/// The text in single quotes.
pub fn quote_string(text: &str) -> String {
    quoted(text, '\'')
}

/// Whether the name cannot stand bare: a keyword, an odd character, or nothing at all.
pub fn ident_needs_quotes(name: &str) -> bool {
    let starts_badly = name.chars().next().is_none_or(|c| c.is_ascii_digit());
    starts_badly || Token::keyword(name).is_some() || !name.chars().all(is_ident_char)
}

fn quoted(text: &str, quote: char) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push(quote);
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\\' => out.push_str("\\\\"),
            c if c == quote => out.extend(['\\', c]),
            c => out.push(c),
        }
    }
    out.push(quote);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_only_where_needed() {
        let cases = [
            ("", r#""""#),
            ("cpu", "cpu"),
            ("_x9", "_x9"),
            ("9x", r#""9x""#),
            ("select", r#""select""#),
            ("a b", r#""a b""#),
            ("a\"b\\c\nd", r#""a\"b\\c\nd""#),
            ("ü", r#""ü""#),
        ];
        for (name, expected) in cases {
            assert_eq!(quote_ident(name), expected);
        }
        assert_eq!(quote_string("it's\n"), r"'it\'s\n'");
    }
}
