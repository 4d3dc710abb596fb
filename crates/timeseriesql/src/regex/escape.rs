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
        return Err(RegexError::syntax("trailing backslash at end of expression", ""));
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
    let len = text.bytes().skip(1).take(3).take_while(|b| is_octal(b)).count();
    let digits = &text[1..1 + len];
    if len == 1 && digits != "0" {
        return Err(invalid(&text[..2]));
    }
    let value = u32::from_str_radix(digits, 8).ok().and_then(char::from_u32);
    value.map(|c| (c, &text[1 + len..])).ok_or_else(|| invalid(&text[..1 + len]))
}

/// `\x7f` or `\x{10ffff}`.
fn hexadecimal(text: &str) -> Result<(char, &str), RegexError> {
    let mut digits = text[2..].chars();
    let consumed = |rest: &str| &text[..text.len() - rest.len()];
    let value = match text[2..].strip_prefix('{') {
        Some(braced) => {
            digits = braced.chars();
            braced_hex(&mut digits)
        }
        None => match (digits.next(), digits.next()) {
            (Some(high), Some(low)) => hex_pair(high, low),
            _ => None,
        },
    };
    let rest = digits.as_str();
    match value.and_then(char::from_u32) {
        Some(c) => Ok((c, rest)),
        None => Err(invalid(consumed(rest))),
    }
}

fn hex_pair(high: char, low: char) -> Option<u32> {
    Some(high.to_digit(16)? * 16 + low.to_digit(16)?)
}

/// Digits up to `}`; it stops at the character that makes it fail.
fn braced_hex(digits: &mut std::str::Chars<'_>) -> Option<u32> {
    let mut value = None;
    loop {
        match digits.next()? {
            '}' => return value,
            digit => {
                let longer = value.unwrap_or(0) * 16 + digit.to_digit(16)?;
                value = Some(longer).filter(|&v| v <= char::MAX.into());
                value?;
            }
        }
    }
}

fn invalid(at: &str) -> RegexError {
    RegexError::syntax("invalid escape sequence", at)
}
