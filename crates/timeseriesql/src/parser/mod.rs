//! Recursive descent over the tokens, one file a family of statements.
//!
//! The order in which tokens are tried, pushed back and skipped is InfluxDB's, because its error
//! texts follow from that order.

mod admin;
mod clauses;
mod data;
mod expr;
mod queries;
mod select;
mod show;
mod statement;

use crate::{
    ast::{Expr, Query, Statement},
    error::ParseError,
    lexer::{Lexeme, Lexer, Position, Token},
    params::Params,
};

/// How deep an expression tree may be: the longest chain of operators plus its nesting.
pub const MAX_EXPRESSION_DEPTH: usize = 2_048;

/// How deep parentheses, calls and subqueries may nest.
pub const MAX_NESTING: usize = 128;

/// How many tokens can be read again.
const HISTORY: usize = 3;

/// Parses a request's text. Parameters in it are errors.
pub fn parse_query(text: &str) -> Result<Query, ParseError> {
    parse_query_with_params(text, &Params::new())
}

/// Parses a request's text, putting values in place of `$name`.
pub fn parse_query_with_params(text: &str, params: &Params) -> Result<Query, ParseError> {
    Parser::new(text, params).query()
}

/// Parses one statement and leaves what follows it.
pub fn parse_statement(text: &str) -> Result<Statement, ParseError> {
    Parser::new(text, &Params::new()).statement()
}

/// Parses one expression and leaves what follows it.
pub fn parse_expr(text: &str) -> Result<Expr, ParseError> {
    Parser::new(text, &Params::new()).expr()
}

/// A token read, without its text: [`Parser::text`] has that until the next one is read.
#[derive(Debug, Clone, Copy)]
struct Scanned {
    token: Token,
    position: Position,
}

/// Reads statements from a text.
struct Parser<'a> {
    lexer: Lexer<'a>,
    params: &'a Params,
    history: [Lexeme; HISTORY],
    last: usize,
    unread: usize,
    nesting: usize,
}

impl<'a> Parser<'a> {
    fn new(text: &'a str, params: &'a Params) -> Self {
        let none = Lexeme { token: Token::Illegal, position: Position::default(), text: "".into() };
        Self {
            lexer: Lexer::new(text),
            params,
            history: [none.clone(), none.clone(), none],
            last: 0,
            unread: 0,
            nesting: 0,
        }
    }

    fn query(&mut self) -> Result<Query, ParseError> {
        let mut statements = Vec::new();
        let mut separated = true;
        loop {
            let next = self.scan();
            match next.token {
                Token::Eof => return Ok(Query { statements }),
                Token::Semicolon => separated = true,
                _ if !separated => return Err(self.unexpected(next, &[";"])),
                _ => {
                    self.unscan();
                    statements.push(self.statement()?);
                    separated = false;
                }
            }
        }
    }

    /// The next token, whitespace and comments included.
    fn scan_raw(&mut self) -> Scanned {
        self.advance(Lexer::scan)
    }

    /// The next token that is neither whitespace nor a comment.
    fn scan(&mut self) -> Scanned {
        loop {
            let next = self.scan_raw();
            if !matches!(next.token, Token::Whitespace | Token::Comment) {
                return next;
            }
        }
    }

    fn scan_regex(&mut self) -> Scanned {
        self.advance(Lexer::scan_regex)
    }

    fn advance(&mut self, scan: impl FnOnce(&mut Lexer<'a>) -> Lexeme) -> Scanned {
        if self.unread > 0 {
            self.unread -= 1;
        } else {
            let lexeme = scan(&mut self.lexer);
            self.last = (self.last + 1) % HISTORY;
            self.history[self.last] = self.bind(lexeme);
        }
        let Lexeme { token, position, .. } = *self.current();
        Scanned { token, position }
    }

    /// Puts a parameter's value in its place; an unknown parameter stays as it is.
    fn bind(&self, lexeme: Lexeme) -> Lexeme {
        if lexeme.token != Token::BoundParam {
            return lexeme;
        }
        match self.params.get(lexeme.text.trim_start_matches('$')) {
            Some(value) => {
                let (token, text) = value.token();
                Lexeme { token, text: text.into(), ..lexeme }
            }
            None => lexeme,
        }
    }

    /// Pushes the last token back.
    fn unscan(&mut self) {
        self.unread += 1;
    }

    fn current(&self) -> &Lexeme {
        &self.history[(self.last + 2 * HISTORY - self.unread) % HISTORY]
    }

    /// Text of the token last read.
    fn text(&self) -> &str {
        &self.current().text
    }

    fn take_text(&self) -> String {
        self.text().to_owned()
    }

    /// Consumes the next token if it is `token`.
    fn accept(&mut self, token: Token) -> bool {
        let found = self.scan().token == token;
        if !found {
            self.unscan();
        }
        found
    }

    /// Like [`accept`](Self::accept), but a space before the token counts as a token.
    fn accept_raw(&mut self, token: Token) -> bool {
        let found = self.scan_raw().token == token;
        if !found {
            self.unscan();
        }
        found
    }

    /// Consumes the next token, which must be `token`.
    fn expect(&mut self, token: Token) -> Result<(), ParseError> {
        let next = self.scan();
        if next.token == token { Ok(()) } else { Err(self.unexpected(next, &[token.name()])) }
    }

    /// The error for the token last read.
    fn unexpected(&self, scanned: Scanned, expected: &[&str]) -> ParseError {
        ParseError::Unexpected {
            found: scanned.token.found(self.text()),
            expected: expected.iter().map(|&name| name.to_owned()).collect(),
            position: scanned.position,
        }
    }

    /// Runs `parse` one level deeper.
    fn nested<T>(&mut self, parse: impl FnOnce(&mut Self) -> Result<T, ParseError>) -> Result<T, ParseError> {
        if self.nesting == MAX_NESTING {
            return Err(ParseError::other(format!("statement nests deeper than {MAX_NESTING} levels")));
        }
        self.nesting += 1;
        let parsed = parse(self);
        self.nesting -= 1;
        parsed
    }
}
