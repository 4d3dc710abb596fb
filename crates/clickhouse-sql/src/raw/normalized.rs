//! A statement without its literals, for the summary of statements.

use super::lexer::{Token, tokens};
use super::print::write;
use super::{Refused, STATEMENT_BYTES_MAX};

/// Statements that differ in their literals only are one; lists of literals are one as well.
pub fn normalized(text: &str) -> Result<String, Refused> {
    if text.len() > STATEMENT_BYTES_MAX {
        return Err(Refused::TooLong);
    }
    let mut out: Vec<Token> = Vec::new();
    for token in tokens(text)? {
        let token = match token {
            Token::String(_) | Token::Number(_) => Token::Symbol("?"),
            token => token,
        };
        if let [.., Token::Symbol("?"), Token::Symbol(",")] = out[..]
            && token == Token::Symbol("?")
        {
            out.pop();
            continue;
        }
        out.push(token);
    }
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = out.iter().try_for_each(|token| write(&mut text, token));
    text.truncate(text.trim_end().len());
    Ok(text)
}
