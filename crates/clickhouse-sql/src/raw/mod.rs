//! Statements that operators write themselves, in ClickHouse's SQL.
//!
//! What runs is never the text that was sent: it is read into tokens, the tokens are checked, and a statement is printed
//! from them, names and texts through [`quote`](crate::quote). So it cannot matter where ClickHouse would read a comment,
//! an escape or the end of a statement differently. What the tokens may be is a list of what is allowed:
//!
//! * one statement that begins with SELECT or WITH, or asks what there is ([`Listing`]);
//! * calls of functions that compute from their arguments alone (`functions.txt`), and of three table functions;
//! * no name before a dot that is a database's, so that only tables of the current database can be named, which is empty;
//! * no word that writes, chooses settings, or has functions called without a parenthesis.
//!
//! Tables come in as common table expressions, one for each measurement that the statement names. The engine runs all of it
//! in its read-only mode besides, which refuses table functions that read files and networks, settings, and whatever changes.

mod check;
mod functions;
mod lexer;
mod listing;
mod normalized;
mod print;
mod view;

pub use listing::Listing;
pub use normalized::normalized;
pub use print::RawSelect;
pub use view::view;

use std::collections::BTreeSet;

use thiserror::Error;

use self::lexer::Token;

/// Bytes of a statement.
pub const STATEMENT_BYTES_MAX: usize = 256 << 10;

/// Why a statement does not run.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Refused {
    #[error("the statement is empty")]
    Empty,
    #[error("the statement is longer than {STATEMENT_BYTES_MAX} bytes")]
    TooLong,
    #[error("a text, name or comment that begins with {0} does not end")]
    Unclosed(&'static str),
    #[error("unexpected character {0:?}")]
    Character(char),
    #[error("malformed number {0:?}")]
    Number(String),
    #[error("one statement at a time: nothing may follow the semicolon")]
    SeveralStatements,
    #[error("only SELECT and WITH … SELECT can be run")]
    NoSelect,
    #[error("{0} is not allowed here: a column or table of this name needs quotes")]
    Word(String),
    #[error("function {0} is not allowed")]
    Function(String),
    #[error(
        "database {0} cannot be reached: a measurement of this name needs an alias to put before its columns"
    )]
    Database(String),
    #[error("malformed parameter: it must be {{name:Type}}")]
    Parameter,
    #[error("parameter {0} has no value: send param_{0}")]
    Unbound(String),
    #[error("only SHOW DATABASES, SHOW TABLES and DESCRIBE of a measurement say what there is")]
    Listing,
    #[error("measurement not found: {0}")]
    Table(String),
    #[error("FORMAT must be followed by one name, at the end of the statement")]
    Format,
}

/// A statement that may run.
#[derive(Debug, Clone, PartialEq)]
pub struct RawStatement {
    tokens: Vec<Token>,
    /// What its FORMAT clause names.
    pub format: Option<String>,
}

impl RawStatement {
    pub fn parse(text: &str) -> Result<Self, Refused> {
        if text.len() > STATEMENT_BYTES_MAX {
            return Err(Refused::TooLong);
        }
        let mut tokens = lexer::tokens(text)?;
        while tokens.last() == Some(&Token::Symbol(";")) {
            tokens.pop();
        }
        let format = take_format(&mut tokens)?;
        check::check(&tokens)?;
        Ok(Self { tokens, format })
    }

    /// Every name in it: those of tables, columns, functions and whatever else.
    pub fn names(&self) -> BTreeSet<&str> {
        let names = self.tokens.iter().filter_map(|token| match token {
            Token::Word(name) | Token::Name(name) => Some(name.as_str()),
            _ => None,
        });
        names.collect()
    }
}

/// Takes `FORMAT name` off the end.
fn take_format(tokens: &mut Vec<Token>) -> Result<Option<String>, Refused> {
    let is_format = |token: &Token| token.is_word("format");
    let Some(at) = tokens.iter().position(is_format) else { return Ok(None) };
    match &tokens[at + 1..] {
        [Token::Word(name)] => {
            let name = name.clone();
            tokens.truncate(at);
            Ok(Some(name))
        }
        _ => Err(Refused::Format),
    }
}

#[cfg(test)]
mod tests;
