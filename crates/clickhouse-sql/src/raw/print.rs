//! Tokens to the statement that runs.

use std::collections::BTreeMap;
use std::fmt::{self, Write};

use super::lexer::Token;
use super::{RawStatement, Refused};
use crate::quote;
use crate::select::Select;

/// A statement with the tables that it reads and the values of its parameters.
#[derive(Debug)]
pub struct RawSelect {
    tables: Vec<(String, Select)>,
    tokens: Vec<Token>,
}

impl RawSelect {
    pub fn new(
        statement: RawStatement,
        tables: Vec<(String, Select)>,
        parameters: &BTreeMap<String, String>,
    ) -> Result<Self, Refused> {
        Ok(Self { tables, tokens: bound(statement.tokens, parameters)? })
    }
}

/// `{name:Type}` becomes `CAST('value', 'Type')`.
fn bound(tokens: Vec<Token>, parameters: &BTreeMap<String, String>) -> Result<Vec<Token>, Refused> {
    let mut out = Vec::with_capacity(tokens.len());
    let mut tokens = tokens.into_iter();
    while let Some(token) = tokens.next() {
        if token != Token::Symbol("{") {
            out.push(token);
            continue;
        }
        let parameter: Vec<Token> = tokens.by_ref().take_while(|t| *t != Token::Symbol("}")).collect();
        let [Token::Word(name), _, data_type @ ..] = parameter.as_slice() else {
            return Err(Refused::Parameter);
        };
        let value = parameters.get(name).ok_or_else(|| Refused::Unbound(name.clone()))?;
        let mut type_text = String::new();
        data_type.iter().try_for_each(|t| write(&mut type_text, t)).map_err(|_| Refused::Parameter)?;
        out.push(Token::Word("CAST".to_owned()));
        out.push(Token::Symbol("("));
        out.push(Token::String(value.clone()));
        out.push(Token::Symbol(","));
        out.push(Token::String(type_text));
        out.push(Token::Symbol(")"));
    }
    Ok(out)
}

pub fn write(out: &mut impl Write, token: &Token) -> fmt::Result {
    match token {
        Token::Word(text) | Token::Number(text) => out.write_str(text),
        Token::Symbol(text) => out.write_str(text),
        Token::Name(name) => quote::identifier(out, name),
        Token::String(text) => quote::string(out, text),
    }?;
    out.write_char(' ')
}

impl fmt::Display for RawSelect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (recursive, items, rest) = match self.tokens.as_slice() {
            [with, recursive, rest @ ..] if with.is_word("with") && recursive.is_word("recursive") => {
                ("RECURSIVE ", true, rest)
            }
            [with, rest @ ..] if with.is_word("with") => ("", true, rest),
            tokens => ("", false, tokens),
        };
        if items || !self.tables.is_empty() {
            write!(f, "WITH {recursive}")?;
        }
        for (i, (name, select)) in self.tables.iter().enumerate() {
            f.write_str(if i > 0 { ", " } else { "" })?;
            quote::identifier(f, name)?;
            write!(f, " AS ({select})")?;
        }
        if !self.tables.is_empty() {
            f.write_str(if items { ", " } else { " " })?;
        }
        rest.iter().try_for_each(|token| write(f, token))
    }
}
