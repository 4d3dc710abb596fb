//! Quoting of identifiers and literals: the one place that decides what is text and what is syntax.

use std::fmt::{self, Write};

/// Writes a name in backticks.
pub fn identifier(out: &mut impl Write, name: &str) -> fmt::Result {
    escaped(out, name, '`')
}

/// Writes a string literal.
pub fn string(out: &mut impl Write, text: &str) -> fmt::Result {
    escaped(out, text, '\'')
}

/// Writes a number that reads back as exactly this one.
pub fn float(out: &mut impl Write, value: f64) -> fmt::Result {
    if value.is_nan() {
        out.write_str("nan")
    } else if value.is_infinite() {
        out.write_str(if value > 0.0 { "inf" } else { "-inf" })
    } else {
        write!(out, "{value:?}")
    }
}

/// Inside quotes only the backslash and the quote have a meaning. Control characters are written as
/// escapes too, so that statements stay one readable line and hold no NUL.
fn escaped(out: &mut impl Write, text: &str, quote: char) -> fmt::Result {
    out.write_char(quote)?;
    let mut plain = 0;
    for (i, byte) in text.bytes().enumerate() {
        let special = byte == b'\\' || u32::from(byte) == u32::from(quote) || byte < 0x20 || byte == 0x7f;
        if !special {
            continue;
        }
        out.write_str(&text[plain..i])?;
        plain = i + 1;
        if byte < 0x20 || byte == 0x7f {
            write!(out, "\\x{byte:02X}")?;
        } else {
            out.write_char('\\')?;
            out.write_char(char::from(byte))?;
        }
    }
    out.write_str(&text[plain..])?;
    out.write_char(quote)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn quoted(text: &str) -> String {
        let mut out = String::new();
        string(&mut out, text).unwrap();
        out
    }

    /// Reads a literal as ClickHouse's lexer does: up to the first quote that no backslash precedes.
    fn read_back(literal: &str, quote: u8) -> Option<(Vec<u8>, usize)> {
        let bytes = literal.as_bytes();
        let mut value = Vec::new();
        let mut i = 1;
        while let Some(&byte) = bytes.get(i) {
            match byte {
                b'\\' if bytes.get(i + 1) == Some(&b'x') => {
                    value.push(u8::from_str_radix(literal.get(i + 2..i + 4)?, 16).ok()?);
                    i += 4;
                }
                b'\\' => {
                    value.push(*bytes.get(i + 1)?);
                    i += 2;
                }
                _ if byte == quote => return Some((value, i + 1)),
                _ => {
                    value.push(byte);
                    i += 1;
                }
            }
        }
        None
    }

    #[test]
    fn strings() {
        for (text, expected) in [
            ("", "''"),
            ("a", "'a'"),
            ("'; DROP TABLE x; --", r"'\'; DROP TABLE x; --'"),
            (r"\", r"'\\'"),
            (r"\'", r"'\\\''"),
            ("a\0b\nc\u{7f}", r"'a\x00b\x0Ac\x7F'"),
            ("`é`", "'`é`'"),
        ] {
            assert_eq!(quoted(text), expected);
        }
    }

    #[test]
    fn floats() {
        for (value, expected) in [
            (0.1, "0.1"),
            (-0.0, "-0.0"),
            (1e300, "1e300"),
            (5e-324, "5e-324"),
            (f64::INFINITY, "inf"),
            (f64::NEG_INFINITY, "-inf"),
            (f64::NAN, "nan"),
        ] {
            let mut out = String::new();
            float(&mut out, value).unwrap();
            assert_eq!(out, expected);
        }
    }

    proptest! {
        #[test]
        fn nothing_escapes_from_quotes(text in any::<String>(), hard in r"[\\'`\x00\n x]{0,12}") {
            for text in [text, hard] {
                let literal = quoted(&text);
                prop_assert_eq!(read_back(&literal, b'\''), Some((text.clone().into_bytes(), literal.len())));
                let mut name = String::new();
                identifier(&mut name, &text).unwrap();
                prop_assert_eq!(read_back(&name, b'`'), Some((text.into_bytes(), name.len())));
            }
        }

        #[test]
        fn floats_read_back(bits in any::<u64>()) {
            let value = f64::from_bits(bits);
            let mut out = String::new();
            float(&mut out, value).unwrap();
            let back: f64 = out.parse().unwrap();
            prop_assert!(back.to_bits() == bits || value.is_nan());
        }
    }
}
