//! How answers are shown. A printer sees one result after the other, as they come from the server.

mod chart;
mod column;
mod csv;
mod json;
pub mod table;
mod tabwriter;

use std::io::{self, Write};

pub use tabwriter::TabWriter;

use crate::answer::StatementResult;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Column,
    Csv,
    Json,
    Chart,
}

impl Format {
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "column" => Some(Self::Column),
            "csv" => Some(Self::Csv),
            "json" => Some(Self::Json),
            "chart" => Some(Self::Chart),
            _ => None,
        }
    }

    pub const fn name(self) -> &'static str {
        match self {
            Self::Column => "column",
            Self::Csv => "csv",
            Self::Json => "json",
            Self::Chart => "chart",
        }
    }
}

pub trait Printer {
    fn result(&mut self, result: &StatementResult<'_>) -> io::Result<()>;

    /// The answer has ended, with this error of the whole request.
    fn end(&mut self, error: Option<&str>) -> io::Result<()>;
}

/// The printer of a format. On a terminal, whose width is given, columns become a table that fits it.
pub fn printer<'a>(
    format: Format,
    pretty: bool,
    terminal: Option<u16>,
    out: impl Write + 'a,
) -> Box<dyn Printer + 'a> {
    match (format, terminal) {
        (Format::Column, None) => Box::new(column::Columns::new(out)),
        (Format::Column, Some(width)) => Box::new(table::Tables::new(out, width)),
        (Format::Csv, _) => Box::new(csv::Csv::new(out)),
        (Format::Json, _) => Box::new(json::Json::new(out, pretty)),
        (Format::Chart, width) => Box::new(chart::Charts::new(out, width)),
    }
}
