//! Tables for people: as wide as the terminal at most, long cells go over several lines.

use std::io::{self, Write};

use comfy_table::{ContentArrangement, Table, presets};

use super::Printer;
use crate::answer::{Header, StatementResult, cell};

pub struct Tables<W> {
    out: W,
    width: u16,
    previous: Option<Header>,
}

impl<W: Write> Tables<W> {
    pub const fn new(out: W, width: u16) -> Self {
        Self { out, width, previous: None }
    }
}

impl<W: Write> Printer for Tables<W> {
    fn result(&mut self, result: &StatementResult<'_>) -> io::Result<()> {
        for message in &result.messages {
            writeln!(self.out, "{}: {}.", message.level, message.text)?;
        }
        for series in &result.series {
            let header = &series.header();
            let mut table = new_table(self.width);
            if self.previous.as_ref() != Some(header) {
                let mut title: Vec<String> = header.tag_pairs();
                title.insert(0, header.name.clone());
                writeln!(self.out, "{}", title.join("  "))?;
                table.set_header(header.columns.clone());
                self.previous = Some(header.clone());
            }
            for row in &series.values {
                table.add_row(row.iter().map(|value| cell(value).into_owned()));
            }
            writeln!(self.out, "{table}")?;
        }
        Ok(())
    }

    fn end(&mut self, _: Option<&str>) -> io::Result<()> {
        self.out.flush()
    }
}

/// An empty table of a width.
pub fn new_table(width: u16) -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::UTF8_FULL_CONDENSED)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(width);
    table
}
