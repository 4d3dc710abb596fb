//! SHOW and DESCRIBE: what there is, as clients ask for it. They become a SELECT over what the catalogue says.

use std::fmt::Write;

use hyperbytedb_domain::catalog::Table;

use super::lexer::{Token, tokens};
use super::view::columns;
use super::{RawStatement, Refused, take_format};
use crate::quote;

/// A statement that asks what there is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listing {
    Databases,
    Tables,
    Columns(String),
}

/// The columns of ClickHouse's DESCRIBE that say nothing here.
const EMPTY_COLUMNS: [&str; 5] =
    ["default_type", "default_expression", "comment", "codec_expression", "ttl_expression"];

impl Listing {
    /// What the text asks for, and its FORMAT; `None`: it is no such statement.
    pub fn parse(text: &str) -> Result<Option<(Self, Option<String>)>, Refused> {
        let mut tokens = tokens(text)?;
        while tokens.last() == Some(&Token::Symbol(";")) {
            tokens.pop();
        }
        if !tokens
            .first()
            .is_some_and(|first| ["show", "describe", "desc"].iter().any(|word| first.is_word(word)))
        {
            return Ok(None);
        }
        let format = take_format(&mut tokens)?;
        let listing = match tokens.as_slice() {
            [show, what] if show.is_word("show") && what.is_word("databases") => Self::Databases,
            [show, what] if show.is_word("show") && what.is_word("tables") => Self::Tables,
            [describe, table, Token::Word(name) | Token::Name(name)]
                if !describe.is_word("show") && table.is_word("table") =>
            {
                Self::Columns(name.clone())
            }
            [describe, Token::Word(name) | Token::Name(name)] if !describe.is_word("show") => {
                Self::Columns(name.clone())
            }
            _ => return Err(Refused::Listing),
        };
        Ok(Some((listing, format)))
    }

    /// The statement that answers. `tables` are those of the database that is asked.
    pub fn statement<'a>(
        &self,
        databases: impl Iterator<Item = &'a str>,
        mut tables: impl Iterator<Item = &'a Table>,
        format: Option<String>,
    ) -> Result<RawStatement, Refused> {
        let text = match self {
            Self::Databases => names(databases),
            Self::Tables => names(tables.map(|table| table.measurement.as_str())),
            Self::Columns(name) => {
                let table = tables.find(|table| table.measurement == *name);
                described(table.ok_or_else(|| Refused::Table(name.clone()))?)
            }
        };
        // It is ours: nothing of it need be allowed.
        Ok(RawStatement { tokens: tokens(&text)?, format })
    }
}

/// Writing to a string cannot fail.
fn string(text: &str) -> String {
    let mut out = String::new();
    let _ = quote::string(&mut out, text);
    out
}

fn names<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let mut names: Vec<String> = names.map(string).collect();
    names.sort();
    let list = names.join(", ");
    format!("SELECT name FROM (SELECT arrayJoin(CAST([{list}], 'Array(String)')) AS name) ORDER BY name")
}

fn described(table: &Table) -> String {
    let mut out = String::new();
    for (at, (name, data_type)) in columns(table).into_iter().enumerate() {
        let all = if at == 0 { "" } else { " UNION ALL " };
        let _ = write!(
            out,
            "{all}SELECT {at} AS position, {} AS name, {} AS type",
            string(&name),
            string(&data_type)
        );
    }
    let empty: String = EMPTY_COLUMNS.map(|column| format!(", '' AS {column}")).concat();
    format!("SELECT name, type{empty} FROM ({out}) ORDER BY position")
}
