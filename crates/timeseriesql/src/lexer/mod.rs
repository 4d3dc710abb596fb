//! Text to tokens, one at a time.
//!
//! A regular expression looks like a division, so only the parser knows where to ask for one
//! ([`Lexer::scan_regex`]).

mod reader;
mod token;

use std::borrow::Cow;

use reader::{EOF, Reader};
pub use token::{Position, Token};

/// A token, where it stands, and its text where the kind alone does not tell it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lexeme {
    pub token: Token,
    pub position: Position,
    pub text: Cow<'static, str>,
}

impl Lexeme {
    fn bare(token: Token, position: Position) -> Self {
        Self { token, position, text: Cow::Borrowed("") }
    }

    fn with_text(token: Token, position: Position, text: String) -> Self {
        Self { token, position, text: Cow::Owned(text) }
    }
}

/// Reads tokens from a text.
pub struct Lexer<'a> {
    reader: Reader<'a>,
}

/// How reading a quoted text went wrong.
enum QuoteError {
    /// No closing quote on the line; what was read.
    Unterminated(String),
    /// A backslash and what follows it.
    Escape(String),
}

impl<'a> Lexer<'a> {
    pub fn new(text: &'a str) -> Self {
        Self { reader: Reader::new(text) }
    }

    /// The next character of the text; at its end the end is consumed.
    pub fn peek(&mut self) -> char {
        self.reader.peek()
    }

    /// The next token, whitespace and comments included.
    pub fn scan(&mut self) -> Lexeme {
        let (first, position) = self.reader.read();
        match first {
            _ if is_whitespace(first) => return self.scan_whitespace(position),
            _ if first.is_ascii_alphabetic() || first == '_' || first == '"' => {
                self.reader.unread();
                return self.scan_ident(true);
            }
            '0'..='9' => return self.scan_number(),
            '\'' => return self.scan_string(),
            '$' => return self.scan_parameter(position),
            '.' if self.next_is(|c| c.is_ascii_digit()) => return self.scan_number(),
            _ => {}
        }
        match self.symbol(first) {
            Some(token) => Lexeme::bare(token, position),
            None => Lexeme::with_text(Token::Illegal, position, first.to_string()),
        }
    }

    /// The next token, which must be a regular expression between slashes.
    pub fn scan_regex(&mut self) -> Lexeme {
        let (_, position) = self.reader.current();
        if self.reader.read().0 != '/' {
            return Lexeme::bare(Token::BadRegex, position);
        }
        let mut source = String::new();
        loop {
            match self.reader.read().0 {
                '/' => return Lexeme::with_text(Token::Regex, position, source),
                EOF | '\n' => return Lexeme::bare(Token::BadRegex, position),
                '\\' => match self.reader.read().0 {
                    '/' => source.push('/'),
                    EOF => return Lexeme::bare(Token::BadRegex, position),
                    _ => {
                        self.reader.unread();
                        source.push('\\');
                    }
                },
                other => source.push(other),
            }
        }
    }

    fn symbol(&mut self, first: char) -> Option<Token> {
        Some(match first {
            EOF => Token::Eof,
            '.' => Token::Dot,
            '+' => Token::Add,
            '-' if self.take('-') => {
                self.skip_line();
                Token::Comment
            }
            '-' => Token::Sub,
            '*' => Token::Mul,
            '/' if self.take('*') => {
                if self.skip_block_comment() {
                    Token::Comment
                } else {
                    Token::Illegal
                }
            }
            '/' => Token::Div,
            '%' => Token::Mod,
            '&' => Token::BitAnd,
            '|' => Token::BitOr,
            '^' => Token::BitXor,
            '=' if self.take('~') => Token::EqRegex,
            '=' => Token::Eq,
            '!' if self.take('=') => Token::NotEq,
            '!' if self.take('~') => Token::NotEqRegex,
            '>' if self.take('=') => Token::GtEq,
            '>' => Token::Gt,
            '<' if self.take('=') => Token::LtEq,
            '<' if self.take('>') => Token::NotEq,
            '<' => Token::Lt,
            '(' => Token::LParen,
            ')' => Token::RParen,
            ',' => Token::Comma,
            ';' => Token::Semicolon,
            ':' if self.take(':') => Token::DoubleColon,
            ':' => Token::Colon,
            _ => return None,
        })
    }

    /// Consumes the next character if it is `wanted`.
    fn take(&mut self, wanted: char) -> bool {
        let taken = self.reader.read().0 == wanted;
        if !taken {
            self.reader.unread();
        }
        taken
    }

    fn next_is(&mut self, is: impl Fn(char) -> bool) -> bool {
        let (next, _) = self.reader.read();
        self.reader.unread();
        is(next)
    }

    /// Appends characters while `is` holds; the first other one stays unread.
    fn take_while(&mut self, text: &mut String, is: impl Fn(char) -> bool) {
        loop {
            let (next, _) = self.reader.read();
            if !is(next) {
                self.reader.unread();
                return;
            }
            text.push(next);
        }
    }

    fn scan_whitespace(&mut self, position: Position) -> Lexeme {
        let mut text = String::from(self.reader.current().0);
        loop {
            match self.reader.read().0 {
                EOF => break,
                c if is_whitespace(c) => text.push(c),
                _ => {
                    self.reader.unread();
                    break;
                }
            }
        }
        Lexeme::with_text(Token::Whitespace, position, text)
    }

    fn skip_line(&mut self) {
        while !matches!(self.reader.read().0, '\n' | EOF) {}
    }

    /// Whether the comment's end was found.
    fn skip_block_comment(&mut self) -> bool {
        let mut star = false;
        loop {
            match self.reader.read().0 {
                EOF => return false,
                '/' if star => return true,
                c => star = c == '*',
            }
        }
    }

    fn scan_parameter(&mut self, position: Position) -> Lexeme {
        let name = self.scan_ident(false);
        let token = if name.token == Token::Ident { Token::BoundParam } else { name.token };
        Lexeme::with_text(token, position, format!("${}", name.text))
    }

    /// An identifier, quoted or bare, or a keyword where `keywords` are looked for.
    fn scan_ident(&mut self, keywords: bool) -> Lexeme {
        let (_, position) = self.reader.read();
        self.reader.unread();
        let mut text = String::new();
        loop {
            match self.reader.read().0 {
                EOF => break,
                '"' => {
                    let quoted = self.scan_string();
                    return match quoted.token {
                        Token::String => Lexeme { token: Token::Ident, position, ..quoted },
                        _ => quoted,
                    };
                }
                c if is_ident_char(c) => {
                    self.reader.unread();
                    self.scan_bare_ident(&mut text);
                }
                _ => {
                    self.reader.unread();
                    break;
                }
            }
        }
        match Token::keyword(&text) {
            Some(token) if keywords => Lexeme::bare(token, position),
            _ => Lexeme::with_text(Token::Ident, position, text),
        }
    }

    fn scan_bare_ident(&mut self, text: &mut String) {
        loop {
            match self.reader.read().0 {
                EOF => return,
                c if is_ident_char(c) => text.push(c),
                _ => return self.reader.unread(),
            }
        }
    }

    /// A text in quotes whose opening one has just been read. The position is that of the
    /// character before it, as InfluxDB reports it.
    fn scan_string(&mut self) -> Lexeme {
        self.reader.unread();
        let (_, position) = self.reader.current();
        match self.read_quoted() {
            Ok(text) => Lexeme::with_text(Token::String, position, text),
            Err(QuoteError::Unterminated(text)) => Lexeme::with_text(Token::BadString, position, text),
            Err(QuoteError::Escape(text)) => {
                let (_, position) = self.reader.current();
                Lexeme::with_text(Token::BadEscape, position, text)
            }
        }
    }

    fn read_quoted(&mut self) -> Result<String, QuoteError> {
        let (quote, _) = self.reader.read();
        let mut text = String::new();
        loop {
            match self.reader.read().0 {
                c if c == quote => return Ok(text),
                EOF | '\n' => return Err(QuoteError::Unterminated(text)),
                '\\' => match self.reader.read().0 {
                    'n' => text.push('\n'),
                    c @ ('\\' | '"' | '\'') => text.push(c),
                    other => return Err(QuoteError::Escape(format!("\\{other}"))),
                },
                other => text.push(other),
            }
        }
    }

    /// A number, an integer or a duration, whose first character has just been read.
    fn scan_number(&mut self) -> Lexeme {
        let (_, position) = self.reader.current();
        self.reader.unread();
        let mut text = String::new();
        self.take_while(&mut text, |c| c.is_ascii_digit());
        if self.take('.') {
            let (digit, _) = self.reader.read();
            if digit.is_ascii_digit() {
                text.extend(['.', digit]);
                self.take_while(&mut text, |c| c.is_ascii_digit());
            } else {
                self.reader.unread();
            }
            return Lexeme::with_text(Token::Number, position, text);
        }
        if !self.next_is(is_unit_char) {
            return Lexeme::with_text(Token::Integer, position, text);
        }
        self.take_while(&mut text, |c| is_unit_char(c) || c.is_ascii_digit());
        Lexeme::with_text(Token::DurationVal, position, text)
    }
}

fn is_whitespace(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n')
}

fn is_unit_char(c: char) -> bool {
    c.is_ascii_alphabetic() || c == 'µ'
}

/// Whether a bare identifier may hold the character.
pub(crate) fn is_ident_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}
