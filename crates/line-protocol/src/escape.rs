//! Backslash escapes of names and strings. A backslash that escapes nothing stands for itself.

use std::borrow::Cow;

/// What a backslash escapes in a measurement or a field key.
pub(crate) const NAME: &[u8] = b",\" =";
/// What a backslash escapes in a tag key or value.
pub(crate) const TAG: &[u8] = b", =";
/// What a backslash escapes in a quoted string.
pub(crate) const STRING: &[u8] = b"\"\\";

/// `raw` without the backslashes that stand before one of `special` (ASCII).
pub(crate) fn unescape<'a>(raw: &'a str, special: &[u8]) -> Cow<'a, str> {
    let Some(first) = memchr::memchr(b'\\', raw.as_bytes()) else {
        return Cow::Borrowed(raw);
    };
    let mut out = String::with_capacity(raw.len());
    out.push_str(&raw[..first]);
    let mut chars = raw[first..].chars().peekable();
    while let Some(c) = chars.next() {
        match chars.peek() {
            Some(&next) if c == '\\' && next.is_ascii() && special.contains(&(next as u8)) => {
                out.push(next);
                chars.next();
            }
            _ => out.push(c),
        }
    }
    Cow::Owned(out)
}

/// Appends `text` with a backslash before each of `special` (ASCII).
pub(crate) fn push_escaped(out: &mut String, text: &str, special: &[u8]) {
    for c in text.chars() {
        if c.is_ascii() && special.contains(&(c as u8)) {
            out.push('\\');
        }
        out.push(c);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_special_bytes_are_unescaped() {
        for (raw, name, tag, string) in [
            (r"plain", r"plain", r"plain", r"plain"),
            (r"a\,b\ c\=d", "a,b c=d", "a,b c=d", r"a\,b\ c\=d"),
            (r#"a\"b"#, r#"a"b"#, r#"a\"b"#, r#"a"b"#),
            (r"a\\,b", r"a\,b", r"a\,b", r"a\,b"),
            (r"a\\b\", r"a\\b\", r"a\\b\", r"a\b\"),
            (r"\é", r"\é", r"\é", r"\é"),
        ] {
            assert_eq!(unescape(raw, NAME), name);
            assert_eq!(unescape(raw, TAG), tag);
            assert_eq!(unescape(raw, STRING), string);
        }
    }

    proptest::proptest! {
        #[test]
        fn escaping_is_undone(text in r#"[a\\,"= é\n]{0,12}"#) {
            for special in [NAME, TAG, STRING] {
                let mut escaped = String::new();
                push_escaped(&mut escaped, &text, special);
                proptest::prop_assert_eq!(unescape(&escaped, special), text.as_str());
            }
        }
    }
}
