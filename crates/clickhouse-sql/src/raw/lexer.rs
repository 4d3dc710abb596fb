//! Text to tokens.

use super::Refused;

#[derive(Debug, Clone, PartialEq)]
pub enum Token {
    /// Bare: a keyword or a name.
    Word(String),
    /// In backticks or double quotes.
    Name(String),
    String(String),
    Number(String),
    Symbol(&'static str),
}

impl Token {
    /// Whether it is this keyword, given in lower case.
    pub fn is_word(&self, keyword: &str) -> bool {
        matches!(self, Self::Word(word) if word.eq_ignore_ascii_case(keyword))
    }
}

/// Longer ones before those that they begin with.
const SYMBOLS: [&str; 28] = [
    "<=>", "::", "->", "||", "==", "!=", "<>", "<=", ">=", "(", ")", "[", "]", "{", "}", ",", ".", ";", ":",
    "?", "+", "-", "*", "/", "%", "=", "<", ">",
];

pub fn tokens(text: &str) -> Result<Vec<Token>, Refused> {
    let mut lexer = Lexer { rest: text };
    let mut tokens = Vec::new();
    while let Some(token) = lexer.next()? {
        tokens.push(token);
    }
    Ok(tokens)
}

struct Lexer<'a> {
    rest: &'a str,
}

impl Lexer<'_> {
    fn next(&mut self) -> Result<Option<Token>, Refused> {
        self.skip_blanks()?;
        let Some(first) = self.rest.chars().next() else { return Ok(None) };
        Ok(Some(match first {
            '\'' => Token::String(self.quoted('\'', "'")?),
            '"' => Token::Name(self.quoted('"', "\"")?),
            '`' => Token::Name(self.quoted('`', "`")?),
            c if c.is_ascii_digit() => Token::Number(self.number()?),
            c if c.is_ascii_alphabetic() || c == '_' => {
                Token::Word(self.take(|c| c.is_ascii_alphanumeric() || c == '_').to_owned())
            }
            other => {
                let symbol = SYMBOLS.into_iter().find(|symbol| self.rest.starts_with(symbol));
                let symbol = symbol.ok_or(Refused::Character(other))?;
                self.rest = &self.rest[symbol.len()..];
                Token::Symbol(symbol)
            }
        }))
    }

    /// Comments are blanks.
    fn skip_blanks(&mut self) -> Result<(), Refused> {
        loop {
            self.rest = self.rest.trim_start();
            if self.rest.starts_with("--") {
                self.rest = self.rest.split_once('\n').map_or("", |(_, rest)| rest);
            } else if let Some(comment) = self.rest.strip_prefix("/*") {
                self.rest = comment.split_once("*/").ok_or(Refused::Unclosed("/*"))?.1;
            } else {
                return Ok(());
            }
        }
    }

    fn take(&mut self, belongs: impl Fn(char) -> bool) -> &str {
        let end = self.rest.find(|c| !belongs(c)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at(end);
        self.rest = rest;
        taken
    }

    /// Within quotes a backslash escapes, and a quote that is doubled is one.
    fn quoted(&mut self, quote: char, name: &'static str) -> Result<String, Refused> {
        let mut text = String::new();
        let mut chars = self.rest.char_indices().skip(1).peekable();
        while let Some((i, c)) = chars.next() {
            if c == quote {
                if chars.next_if(|(_, next)| *next == quote).is_none() {
                    self.rest = &self.rest[i + quote.len_utf8()..];
                    return Ok(text);
                }
                text.push(quote);
            } else if c == '\\' {
                let Some((_, escaped)) = chars.next() else { break };
                match escaped {
                    'n' => text.push('\n'),
                    't' => text.push('\t'),
                    'r' => text.push('\r'),
                    '0' => text.push('\0'),
                    'x' => {
                        let (digits, byte) = hex_byte(&self.rest[i + 2..]);
                        for _ in 0..digits {
                            chars.next();
                        }
                        text.push_str(&byte);
                    }
                    // As ClickHouse keeps them, for patterns of LIKE and regular expressions.
                    '\\' | '\'' | '"' | '`' | '/' | '=' => text.push(escaped),
                    other => text.extend(['\\', other]),
                }
            } else {
                text.push(c);
            }
        }
        Err(Refused::Unclosed(name))
    }

    /// Digits with a fraction and an exponent, or hexadecimal. A name cannot follow at once.
    fn number(&mut self) -> Result<String, Refused> {
        let whole = self.rest;
        let mut number = String::new();
        if let Some(hex) = whole.strip_prefix("0x").or_else(|| whole.strip_prefix("0X")) {
            self.rest = hex;
            number.push_str("0x");
            number.push_str(self.take(|c| c.is_ascii_hexdigit()));
        } else {
            number.push_str(self.take(|c| c.is_ascii_digit()));
            if self.rest.starts_with('.') && self.rest[1..].starts_with(|c: char| c.is_ascii_digit()) {
                self.rest = &self.rest[1..];
                number.push('.');
                number.push_str(self.take(|c| c.is_ascii_digit()));
            }
            if let Some(exponent) = self.rest.strip_prefix(['e', 'E']) {
                let digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
                let sign = &exponent[..exponent.len() - digits.len()];
                number.push('e');
                number.push_str(sign);
                self.rest = digits;
                number.push_str(self.take(|c| c.is_ascii_digit()));
            }
        }
        let ends = !self.rest.starts_with(|c: char| c.is_alphanumeric() || c == '_' || c == '.');
        let is_hex = number.starts_with("0x") && number.len() > 2;
        if ends && (is_hex || number.ends_with(|c: char| c.is_ascii_digit())) {
            return Ok(number);
        }
        Err(Refused::Number(whole.chars().take(20).collect()))
    }
}

/// What follows `\x`: how many digits it has, and the character that they are. Others than ASCII stay as they are.
fn hex_byte(text: &str) -> (usize, String) {
    match text.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
        Some(byte) if byte.is_ascii() && !text.starts_with('+') => (2, char::from(byte).to_string()),
        _ => (0, "\\x".to_owned()),
    }
}
