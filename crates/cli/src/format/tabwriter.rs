//! Columns as Go's `text/tabwriter` aligns them, which is what `influx` prints: a column is as wide as its widest cell among
//! the lines that follow each other and have it, and the last cell of a line belongs to no column.

use std::io::{self, Write};

const PADDING: usize = 1;

#[derive(Debug, Default)]
pub struct TabWriter {
    lines: Vec<Vec<String>>,
}

impl TabWriter {
    pub fn line(&mut self, cells: Vec<String>) {
        self.lines.push(cells);
    }

    pub const fn len(&self) -> usize {
        self.lines.len()
    }

    /// Prints and forgets what is there.
    pub fn flush(&mut self, out: &mut impl Write) -> io::Result<()> {
        let lines = std::mem::take(&mut self.lines);
        align(&lines, &mut Vec::new(), out)
    }
}

/// Prints lines of which the columns in `widths` are known.
fn align(lines: &[Vec<String>], widths: &mut Vec<usize>, out: &mut impl Write) -> io::Result<()> {
    let column = widths.len();
    let in_column = |line: &Vec<String>| line.len() > column + 1;
    let mut rest = lines;
    while let Some(first) = rest.first() {
        let block = rest.iter().take_while(|line| in_column(line) == in_column(first)).count();
        let (block, behind) = rest.split_at(block);
        rest = behind;
        if in_column(first) {
            let width =
                block.iter().filter_map(|line| line.get(column)).map(|cell| cell.chars().count()).max();
            widths.push(width.unwrap_or(0) + PADDING);
            align(block, widths, out)?;
            widths.pop();
        } else {
            for line in block {
                print(line, widths, out)?;
            }
        }
    }
    Ok(())
}

fn print(line: &[String], widths: &[usize], out: &mut impl Write) -> io::Result<()> {
    for (index, cell) in line.iter().enumerate() {
        match widths.get(index) {
            Some(&width) => write!(out, "{cell:<width$}")?,
            None => write!(out, "{cell}")?,
        }
    }
    writeln!(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn aligned(text: &str) -> String {
        let mut writer = TabWriter::default();
        for line in text.lines() {
            writer.line(line.split('\t').map(str::to_owned).collect());
        }
        let mut out = Vec::new();
        writer.flush(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn columns_are_aligned_among_lines_that_follow_each_other() {
        assert_eq!(aligned("a\tb\tc\naaaa\tb\t\n\nx\ty"), "a    b c\naaaa b \n\nx y\n");
    }

    #[test]
    fn the_last_cell_belongs_to_no_column() {
        assert_eq!(aligned("long heading\na\tb"), "long heading\na b\n");
    }
}
