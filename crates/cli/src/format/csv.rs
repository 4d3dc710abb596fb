//! CSV as `influx` prints it: name and tags are columns of their own.

use std::io::{self, Write};

use super::Printer;
use crate::answer::{Header, StatementResult, cell};

pub struct Csv<W> {
    out: W,
    previous: Option<Header>,
}

impl<W: Write> Csv<W> {
    pub const fn new(out: W) -> Self {
        Self { out, previous: None }
    }

    fn record<S: AsRef<str>>(&mut self, fields: impl IntoIterator<Item = S>) -> io::Result<()> {
        for (index, field) in fields.into_iter().enumerate() {
            if index > 0 {
                self.out.write_all(b",")?;
            }
            let field = field.as_ref();
            if needs_quotes(field) {
                write!(self.out, "\"{}\"", field.replace('"', "\"\""))?;
            } else {
                self.out.write_all(field.as_bytes())?;
            }
        }
        self.out.write_all(b"\n")
    }
}

fn needs_quotes(field: &str) -> bool {
    field == r"\." || field.contains([',', '"', '\r', '\n']) || field.starts_with(char::is_whitespace)
}

impl<W: Write> Printer for Csv<W> {
    fn result(&mut self, result: &StatementResult<'_>) -> io::Result<()> {
        for series in &result.series {
            let header = &series.header();
            let (name, tags) = (header.name.as_str(), header.tag_pairs().join(","));
            // `name` and `tags`, where there are any.
            let leading = |name_cell, tags_cell| {
                let name = (!name.is_empty()).then_some(name_cell);
                name.into_iter().chain((!header.tags.is_empty()).then_some(tags_cell))
            };
            if self.previous.as_ref() != Some(header) {
                self.record(leading("name", "tags").chain(header.columns.iter().map(String::as_str)))?;
                self.previous = Some(header.clone());
            }
            for row in &series.values {
                let leading = leading(name, &tags).map(Into::into);
                self.record(leading.chain(row.iter().map(|value| cell(value))))?;
            }
        }
        Ok(())
    }

    fn end(&mut self, _: Option<&str>) -> io::Result<()> {
        self.out.flush()
    }
}
