//! From Go's syntax to the `regex` crate's.
//!
//! The two differ in corners that measurements' names and tags' values reach: `\d`, `\w`, `\s` and
//! `\b` know ASCII only, `{` is a letter where no count follows, a class has no set operations,
//! `\Q…\E` quotes, and stacked repetitions are errors.

use super::{
    RegexError,
    class::{perl_class, take_class, take_unicode_class},
    escape::{push_literal, take_escape},
};

/// The largest count in a repetition.
const MAX_REPEAT: u32 = 1_000;

/// The expression in the `regex` crate's syntax.
pub(super) fn translate(source: &str) -> Result<String, RegexError> {
    Translator {
        whole: source,
        rest: source,
        out: String::with_capacity(source.len()),
        groups: 0,
        repeatable: false,
        last_repeat: None,
    }
    .run()
}

struct Translator<'a> {
    whole: &'a str,
    rest: &'a str,
    out: String,
    /// Groups not yet closed.
    groups: usize,
    /// Whether there is something to repeat.
    repeatable: bool,
    /// The text from the repetition just read on.
    last_repeat: Option<&'a str>,
}

impl<'a> Translator<'a> {
    fn run(mut self) -> Result<String, RegexError> {
        while let Some(next) = self.rest.chars().next() {
            if self.repetition(next)? {
                continue;
            }
            self.last_repeat = None;
            self.item(next)?;
        }
        if self.groups > 0 {
            return Err(RegexError::syntax("missing closing )", self.whole));
        }
        Ok(self.out)
    }

    /// Anything but a repetition.
    fn item(&mut self, next: char) -> Result<(), RegexError> {
        match next {
            '(' => return self.open_group(),
            ')' => {
                if self.groups == 0 {
                    return Err(RegexError::syntax("unexpected )", self.whole));
                }
                self.groups -= 1;
                self.verbatim(1);
            }
            '|' => {
                self.verbatim(1);
                self.repeatable = false;
                return Ok(());
            }
            '.' | '^' | '$' => self.verbatim(1),
            '[' => self.rest = take_class(self.rest, &mut self.out)?,
            '\\' => return self.escaped(),
            literal => {
                push_literal(&mut self.out, literal);
                self.rest = &self.rest[literal.len_utf8()..];
            }
        }
        self.repeatable = true;
        Ok(())
    }

    fn verbatim(&mut self, len: usize) {
        self.out.push_str(&self.rest[..len]);
        self.rest = &self.rest[len..];
    }

    /// Whether a repetition comes next; then it is copied.
    fn repetition(&mut self, next: char) -> Result<bool, RegexError> {
        let before = self.rest;
        let len = match next {
            '*' | '+' | '?' => 1,
            '{' => match repeat_count(before) {
                Some((len, min, max)) => {
                    if min > MAX_REPEAT || max.is_some_and(|max| max > MAX_REPEAT || max < min) {
                        return Err(RegexError::syntax("invalid repeat count", &before[..len]));
                    }
                    len
                }
                None => return Ok(false),
            },
            _ => return Ok(false),
        };
        let lazy = before[len..].starts_with('?');
        let len = len + usize::from(lazy);
        let after = before.len() - len;
        if let Some(last) = self.last_repeat {
            let stacked = &last[..last.len() - after];
            return Err(RegexError::syntax("invalid nested repetition operator", stacked));
        }
        if !self.repeatable {
            let reason = "missing argument to repetition operator";
            return Err(RegexError::syntax(reason, &before[..len]));
        }
        self.verbatim(len);
        self.last_repeat = Some(before);
        Ok(true)
    }

    fn open_group(&mut self) -> Result<(), RegexError> {
        let opens = match self.rest.strip_prefix("(?") {
            None => {
                self.verbatim(1);
                true
            }
            Some(rest) if rest.len() > 2 && rest.starts_with("P<") => {
                self.named_group(2 + 2)?;
                true
            }
            Some(rest) if rest.starts_with('<') => {
                self.named_group(2 + 1)?;
                true
            }
            Some(_) => self.flags()?,
        };
        if opens {
            self.groups += 1;
            self.repeatable = false;
        }
        Ok(())
    }

    /// `(?P<name>`, whose name begins at `start`.
    fn named_group(&mut self, start: usize) -> Result<(), RegexError> {
        let invalid = |at| RegexError::syntax("invalid named capture", at);
        let Some(len) = self.rest[start..].find('>') else {
            return Err(invalid(self.rest));
        };
        let name = &self.rest[start..start + len];
        let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if name.is_empty() || !name.chars().all(word) {
            return Err(invalid(&self.rest[..start + len + 1]));
        }
        // A capture is never read; the name may be one that the engine does not take.
        self.out.push('(');
        self.rest = &self.rest[start + len + 1..];
        Ok(())
    }

    /// `(?flags)` or `(?flags:`; whether it opens a group.
    fn flags(&mut self) -> Result<bool, RegexError> {
        let (mut negated, mut flagged) = (false, false);
        for (i, c) in self.rest.char_indices().skip(2) {
            match c {
                'i' | 'm' | 's' | 'U' => flagged = true,
                '-' if !negated => (negated, flagged) = (true, false),
                ':' | ')' if !negated || flagged => {
                    // `(?)` sets nothing, and the engine wants at least one flag.
                    match &self.rest[..=i] {
                        "(?)" => {}
                        group => self.out.push_str(group),
                    }
                    self.rest = &self.rest[i + 1..];
                    return Ok(c == ':');
                }
                _ => return Err(unsupported(&self.rest[..i + c.len_utf8()])),
            }
        }
        Err(unsupported(self.rest))
    }

    fn escaped(&mut self) -> Result<(), RegexError> {
        if let Some(rest) = self.rest.strip_prefix(r"\Q") {
            let (quoted, rest) = rest.split_once(r"\E").unwrap_or((rest, ""));
            for c in quoted.chars() {
                push_literal(&mut self.out, c);
                self.repeatable = true;
            }
            self.rest = rest;
            return Ok(());
        }
        self.repeatable = true;
        let two = self.rest.get(..2);
        let known = match two {
            Some(r"\A") => Some(r"\A"),
            Some(r"\z") => Some(r"\z"),
            Some(r"\b") => Some(r"(?-u:\b)"),
            Some(r"\B") => Some(r"\B"),
            Some(escape) => perl_class(escape),
            None => None,
        };
        if let Some(known) = known {
            self.out.push_str(known);
            self.rest = &self.rest[2..];
        } else if let Some(rest) = take_unicode_class(self.rest, &mut self.out)? {
            self.rest = rest;
        } else {
            let (literal, rest) = take_escape(self.rest)?;
            push_literal(&mut self.out, literal);
            self.rest = rest;
        }
        Ok(())
    }
}

fn unsupported(at: &str) -> RegexError {
    RegexError::syntax("invalid or unsupported Perl syntax", at)
}

/// `{n}`, `{n,}` or `{n,m}` at the start of the text: its length and counts.
fn repeat_count(text: &str) -> Option<(usize, u32, Option<u32>)> {
    let end = text.find('}')?;
    let inner = &text[1..end];
    let (min, max) = match inner.split_once(',') {
        None => (count(inner)?, Some(count(inner)?)),
        Some((min, "")) => (count(min)?, None),
        Some((min, max)) => (count(min)?, Some(count(max)?)),
    };
    Some((end + 1, min, max))
}

/// A number without leading zeros; one too large counts as just that.
fn count(digits: &str) -> Option<u32> {
    let number = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    if !number || (digits.len() > 1 && digits.starts_with('0')) {
        return None;
    }
    Some(digits.parse().unwrap_or(u32::MAX))
}
