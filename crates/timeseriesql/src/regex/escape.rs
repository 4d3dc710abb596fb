//! Single characters: escapes in, literals out.

use super::RegexError;

/// Appends a character that stands for itself, outside classes and inside.
pub(super) fn push_literal(out: &mut String, c: char) {
    match c {
        c if c.is_ascii_punctuation() && !matches!(c, '<' | '>' | '_') => out.extend(['\\', c]),
        c => out.push(c),
    }
}

/// The character that the escape at the start of `text` stands for, and what follows it.
pub(super) fn take_escape(text: &str) -> Result<(char, &str), RegexError> {
    let mut rest = text[1..].chars();
    let Some(c) = rest.next() else {
        return Err(RegexError::syntax(
            "trailing backslash at end of expression",
            "",
        ));
    };
    let after = rest.as_str();
    let simple = match c {
        'a' => '\x07',
        'f' => '\x0c',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'v' => '\x0b',
        '0'..='7' => return octal(text),
        'x' => return hexadecimal(text),
        c if c.is_ascii() && !c.is_ascii_alphanumeric() => c,
        _ => return Err(invalid(&text[..1 + c.len_utf8()])),
    };
    Ok((simple, after))
}

/// `\0`, `\012`: up to three digits; a single other digit would refer back to a group.
fn octal(text: &str) -> Result<(char, &str), RegexError> {
    let is_octal = |b: &u8| (b'0'..=b'7').contains(b);
    let len = text
        .bytes()
        .skip(1)
        .take(3)
        .take_while(|b| is_octal(b))
        .count();
    let digits = &text[1..1 + len];
    if len == 1 && digits != "0" {
        return Err(invalid(&text[..2]));
    }
    let value = u32::from_str_radix(digits, 8).ok().and_then(char::from_u32);
    value
        .map(|c| (c, &text[1 + len..]))
        .ok_or_else(|| invalid(&text[..1 + len]))
}

/// `\x7f` or `\x{10ffff}`.
fn hexadecimal(text: &str) -> Result<(char, &str), RegexError> {
    let digits = &text[2..];
    let (value, len) = match digits.strip_prefix('{') {
        Some(braced) => match braced.find('}') {
            Some(len) => (braced.get(..len), 2 + 1 + len + 1),
            None => (None, text.len()),
        },
        None => (digits.get(..2), 4),
    };
    let hex = value.filter(|v| !v.is_empty() && v.bytes().all(|b| b.is_ascii_hexdigit()));
    let c = hex
        .and_then(|v| u32::from_str_radix(v, 16).ok())
        .and_then(char::from_u32);
    match c {
        Some(c) => Ok((c, &text[len..])),
        None => Err(invalid(text.get(..len).unwrap_or(text))),
    }
}

fn invalid(at: &str) -> RegexError {
    RegexError::syntax("invalid escape sequence", at)
}
