//! Character classes.

use super::{
    RegexError,
    escape::{push_literal, take_escape},
};

const POSIX_CLASSES: [&str; 14] = [
    "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space",
    "upper", "word", "xdigit",
];

/// `\d` and the like as a class of ASCII characters.
pub(super) fn perl_class(escape: &str) -> Option<&'static str> {
    Some(match escape {
        r"\d" => "[0-9]",
        r"\D" => "[^0-9]",
        r"\s" => r"[\t\n\f\r ]",
        r"\S" => r"[^\t\n\f\r ]",
        r"\w" => "[0-9A-Za-z_]",
        r"\W" => "[^0-9A-Za-z_]",
        _ => return None,
    })
}

/// Copies `\pN`, `\p{Name}`, `\p{^Name}` or their `\P`; the rest of the text, if it begins so.
pub(super) fn take_unicode_class<'a>(text: &'a str, out: &mut String) -> Result<Option<&'a str>, RegexError> {
    let Some(name) = text.strip_prefix(r"\p").or_else(|| text.strip_prefix(r"\P")) else {
        return Ok(None);
    };
    let invalid = |at| RegexError::syntax("invalid character class range", at);
    let (name, len) = match name.strip_prefix('{') {
        Some(braced) => {
            let len = braced.find('}').ok_or_else(|| invalid(text))?;
            (&braced[..len], len + 2)
        }
        None => {
            let len = name.chars().next().map_or(0, char::len_utf8);
            (&name[..len], len)
        }
    };
    let (negated, name) = match name.strip_prefix('^') {
        Some(name) => (true, name),
        None => (false, name),
    };
    let escape = if text.starts_with(r"\P") != negated { 'P' } else { 'p' };
    let class = format!("\\{escape}{{{name}}}");
    let whole = &text[..2 + len];
    // Go knows categories and scripts by their names alone, without spaces, `=` or other properties.
    let plain = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if !plain || regex::Regex::new(&class).is_err() {
        return Err(invalid(whole));
    }
    out.push_str(&class);
    Ok(Some(&text[2 + len..]))
}

/// Copies the class at the start of `text`; the rest of the text.
pub(super) fn take_class<'a>(text: &'a str, out: &mut String) -> Result<&'a str, RegexError> {
    let missing = || RegexError::syntax("missing closing ]", text);
    let mut rest = &text[1..];
    out.push('[');
    if let Some(negated) = rest.strip_prefix('^') {
        out.push('^');
        rest = negated;
    }
    let mut first = true;
    while first || !rest.starts_with(']') {
        first = false;
        if let Some(after) = take_posix_class(rest, out)? {
            rest = after;
        } else if let Some(after) = take_unicode_class(rest, out)? {
            rest = after;
        } else if let Some(class) = rest.get(..2).and_then(perl_class) {
            out.push_str(class);
            rest = &rest[2..];
        } else {
            rest = take_range(rest, out)?.ok_or_else(missing)?;
        }
    }
    out.push(']');
    Ok(&rest[1..])
}

/// `[:alpha:]`, if the text begins so.
fn take_posix_class<'a>(text: &'a str, out: &mut String) -> Result<Option<&'a str>, RegexError> {
    let Some(inner) = text.strip_prefix("[:") else {
        return Ok(None);
    };
    let Some(len) = inner.find(":]") else {
        return Ok(None);
    };
    let class = &text[..len + 4];
    let name = &inner[..len];
    if !POSIX_CLASSES.contains(&name.strip_prefix('^').unwrap_or(name)) {
        return Err(RegexError::syntax("invalid character class range", class));
    }
    out.push_str(class);
    Ok(Some(&text[class.len()..]))
}

/// A character or a range; None at the end of the text.
fn take_range<'a>(text: &'a str, out: &mut String) -> Result<Option<&'a str>, RegexError> {
    let Some((low, rest)) = take_char(text)? else {
        return Ok(None);
    };
    push_literal(out, low);
    let range = rest.strip_prefix('-').filter(|after| !after.is_empty() && !after.starts_with(']'));
    let Some(after) = range else {
        return Ok(Some(rest));
    };
    let Some((high, rest)) = take_char(after)? else {
        return Ok(None);
    };
    if high < low {
        let range = &text[..text.len() - rest.len()];
        return Err(RegexError::syntax("invalid character class range", range));
    }
    out.push('-');
    push_literal(out, high);
    Ok(Some(rest))
}

fn take_char(text: &str) -> Result<Option<(char, &str)>, RegexError> {
    if text.starts_with('\\') {
        return take_escape(text).map(Some);
    }
    let mut chars = text.chars();
    Ok(chars.next().map(|c| (c, chars.as_str())))
}
