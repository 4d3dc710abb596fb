//! What tokens may be.

use super::Refused;
use super::functions::{is_allowed, is_keyword};
use super::lexer::Token;

/// Bare words that may stand nowhere: they write, choose, or call by name.
const WORDS: [&str; 16] = [
    "apply", "create", "describe", "explain", "format", "infile", "insert", "into", "outfile", "parallel",
    "settings", "show", "system", "truncate", "values", "watch",
];

/// The databases of an engine. Names are compared without regard to case.
const DATABASES: [&str; 5] =
    [crate::schema::DATABASE, "system", "information_schema", "default", "_temporary_and_external_tables"];

pub fn check(tokens: &[Token]) -> Result<(), Refused> {
    match tokens.first() {
        None => return Err(Refused::Empty),
        Some(first) if first.is_word("select") || first.is_word("with") => {}
        Some(_) => return Err(Refused::NoSelect),
    }
    let mut open = 0_usize;
    for (i, token) in tokens.iter().enumerate() {
        let rest = &tokens[i + 1..];
        match token {
            Token::Symbol(";") => return Err(Refused::SeveralStatements),
            Token::Symbol("{") => parameter(rest)?,
            Token::Symbol("(") => open += 1,
            // What stands around the statement must not be closed by it.
            Token::Symbol(")") => open = open.checked_sub(1).ok_or(Refused::Character(')'))?,
            Token::Word(word) => {
                if WORDS.contains(&word.to_ascii_lowercase().as_str()) {
                    return Err(Refused::Word(word.clone()));
                }
                name(word, is_keyword(word), rest)?;
            }
            Token::Name(quoted) => name(quoted, false, rest)?,
            Token::String(_) | Token::Number(_) | Token::Symbol(_) => {}
        }
    }
    if open > 0 { Err(Refused::Unclosed("(")) } else { Ok(()) }
}

fn name(name: &str, is_keyword: bool, rest: &[Token]) -> Result<(), Refused> {
    match rest.first() {
        Some(Token::Symbol("(")) if !is_keyword && !is_allowed(name) => {
            Err(Refused::Function(name.to_owned()))
        }
        Some(Token::Symbol(".")) if DATABASES.iter().any(|db| db.eq_ignore_ascii_case(name)) => {
            Err(Refused::Database(name.to_owned()))
        }
        _ => Ok(()),
    }
}

/// `name:Type}`, where no type is `Identifier`: values are no names.
fn parameter(rest: &[Token]) -> Result<(), Refused> {
    let [Token::Word(_), Token::Symbol(":"), Token::Word(_), ..] = rest else {
        return Err(Refused::Parameter);
    };
    for token in &rest[2..] {
        match token {
            Token::Symbol("}") => return Ok(()),
            Token::Word(word) if word.eq_ignore_ascii_case("identifier") => return Err(Refused::Parameter),
            Token::Word(_) | Token::Number(_) | Token::String(_) | Token::Symbol("(" | ")" | "," | "=") => {}
            _ => return Err(Refused::Parameter),
        }
    }
    Err(Refused::Parameter)
}
