//! Regular expressions: Go's RE2 syntax in, compiled for the `regex` crate.

mod class;
mod escape;
mod translate;

use std::fmt;

use translate::translate;

/// A regular expression as written (`\/` already undone) and compiled. Equal when written equally.
#[derive(Clone)]
pub struct Regex {
    source: String,
    compiled: regex::Regex,
}

/// Why a regular expression does not compile, in the words of Go's `regexp`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RegexError {
    #[error("error parsing regexp: {reason}: `{at}`")]
    Syntax { reason: &'static str, at: String },
    /// Accepted as syntax, refused by our engine: too large, too deep, an unknown Unicode class.
    #[error("error parsing regexp: {0}")]
    Unsupported(String),
}

impl RegexError {
    fn syntax(reason: &'static str, at: &str) -> Self {
        Self::Syntax { reason, at: at.to_owned() }
    }
}

impl Regex {
    /// Compiles an expression written in Go's syntax.
    pub fn new(source: &str) -> Result<Self, RegexError> {
        let compiled = regex::Regex::new(&translate(source)?).map_err(|error| {
            let text = error.to_string();
            let reason = text.lines().last().unwrap_or_default();
            RegexError::Unsupported(reason.trim_start_matches("error: ").to_owned())
        })?;
        Ok(Self { source: source.to_owned(), compiled })
    }

    /// The expression as the statement has it, without delimiters.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The expression in the `regex` crate's syntax.
    pub fn pattern(&self) -> &str {
        self.compiled.as_str()
    }

    /// Whether the expression matches anywhere in `text`.
    pub fn is_match(&self, text: &str) -> bool {
        self.compiled.is_match(text)
    }
}

impl PartialEq for Regex {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl fmt::Debug for Regex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Regex({:?})", self.source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_what_go_matches() {
        let cases = [
            ("", "x", true),
            ("^cpu.*$", "cpu0", true),
            ("^cpu$", "cpu\n", false),
            ("(?i)CPU", "cpu", true),
            ("(?:a|b){2,3}?c", "abc", true),
            ("a{,2}", "a{,2}", true),
            ("{x}", "{x}", true),
            ("x{a", "x{a", true),
            (r"\d", "٣", false),
            (r"\w", "ü", false),
            (r"\s", "\u{a0}", false),
            (r"[\D]", "٣", true),
            (r"[^\d]", "5", false),
            (r"\bfoo\b", "üfoo", true),
            (r"\Qa.b\E+", "a.bb", true),
            (r"\Qa.b", "axb", false),
            (r"[[a]", "[", true),
            (r"[a&&b]", "&", true),
            (r"[]a]", "]", true),
            (r"[^]a]", "]", false),
            (r"[a-]", "-", true),
            (r"[a\-z]", "b", false),
            (r"[~\]~]", "]", true),
            (r"[[:alpha:]_]", "_", true),
            (r"[[:^alpha:]]", "a", false),
            (r"[[:x]", ":", true),
            (r"\x41\x{42}\103", "ABC", true),
            (r"\p{Greek}", "α", true),
            (r"\p{^Greek}", "α", false),
            (r"\PL", "a", false),
            (r"\.\/\<\_\-", "./<_-", true),
            (r"\Aa\z", "a", true),
            (r"(?P<n>a)(?s:.)", "a\n", true),
            ("a.b", "a\nb", false),
            ("(?U)a+", "aa", true),
            ("#x y", "#x y", true),
        ];
        for (source, text, expected) in cases {
            let regex = Regex::new(source).unwrap_or_else(|e| panic!("{source}: {e}"));
            assert_eq!(regex.is_match(text), expected, "/{source}/ on {text:?}: {}", regex.pattern());
        }
    }

    #[test]
    fn refuses_in_go_words() {
        let cases = [
            ("a(b", "missing closing ): `a(b`"),
            ("a)b", "unexpected ): `a)b`"),
            ("x[a", "missing closing ]: `[a`"),
            ("[", "missing closing ]: `[`"),
            ("[]", "missing closing ]: `[]`"),
            ("*a", "missing argument to repetition operator: `*`"),
            ("a|+", "missing argument to repetition operator: `+`"),
            ("(??)", "invalid or unsupported Perl syntax: `(??`"),
            ("a**", "invalid nested repetition operator: `**`"),
            ("a*{2}", "invalid nested repetition operator: `*{2}`"),
            ("a{1001}", "invalid repeat count: `{1001}`"),
            ("a{3,2}", "invalid repeat count: `{3,2}`"),
            ("[z-a]", "invalid character class range: `z-a`"),
            ("[[:foo:]]", "invalid character class range: `[:foo:]`"),
            (r"\q", r"invalid escape sequence: `\q`"),
            (r"[\b]", r"invalid escape sequence: `\b`"),
            (r"\1", r"invalid escape sequence: `\1`"),
            (r"\x1", r"invalid escape sequence: `\x1`"),
            (r"a\", "trailing backslash at end of expression: ``"),
            ("(?=a)", "invalid or unsupported Perl syntax: `(?=`"),
            ("(?P=n)", "invalid or unsupported Perl syntax: `(?P`"),
            ("(?P<n", "invalid named capture: `(?P<n`"),
            ("(?P<a-b>x)", "invalid named capture: `(?P<a-b>`"),
            (r"\pX", r"invalid character class range: `\pX`"),
            (r"\p{Foo}", r"invalid character class range: `\p{Foo}`"),
        ];
        for (source, expected) in cases {
            let error = Regex::new(source).expect_err(source).to_string();
            assert_eq!(error, format!("error parsing regexp: {expected}"), "{source}");
        }
    }
}
