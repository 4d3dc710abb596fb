//! Columns exactly as `influx` prints them.

use std::io::{self, Write};

use super::{Printer, TabWriter};
use crate::answer::{Header, StatementResult, cell};

/// Lines that are held to find the widths of their columns. `influx` holds all; longer answers are aligned in parts here.
const MAX_HELD_LINES: usize = 200_000;

pub struct Columns<W> {
    out: W,
    lines: TabWriter,
    results: usize,
    previous: Option<Header>,
}

impl<W: Write> Columns<W> {
    pub fn new(out: W) -> Self {
        Self { out, lines: TabWriter::default(), results: 0, previous: None }
    }

    fn header(&mut self, header: &Header) {
        if !header.name.is_empty() {
            self.lines.line(vec![format!("name: {}", header.name)]);
        }
        if !header.tags.is_empty() {
            self.lines.line(vec![format!("tags: {}", header.tag_pairs().join(", "))]);
        }
        self.lines.line(header.columns.clone());
        self.lines.line(header.columns.iter().map(|name| "-".repeat(name.len())).collect());
    }
}

impl<W: Write> Printer for Columns<W> {
    fn result(&mut self, result: &StatementResult<'_>) -> io::Result<()> {
        for message in &result.messages {
            writeln!(self.out, "{}: {}.", message.level, message.text)?;
        }
        if result.series.is_empty() && self.results > 0 {
            self.lines.line(Vec::new());
        }
        for (index, series) in result.series.iter().enumerate() {
            let header = series.header();
            if self.previous.as_ref() != Some(&header) {
                if self.results > 0 || index > 0 {
                    self.lines.line(Vec::new());
                }
                self.header(&header);
                self.previous = Some(header);
            }
            for row in &series.values {
                self.lines.line(row.iter().map(|value| cell(value).into_owned()).collect());
            }
            if self.lines.len() > MAX_HELD_LINES {
                self.lines.flush(&mut self.out)?;
            }
        }
        self.results += 1;
        Ok(())
    }

    fn end(&mut self, _: Option<&str>) -> io::Result<()> {
        self.lines.flush(&mut self.out)?;
        self.out.flush()
    }
}
