//! Series drawn in the terminal, one chart for each, with its axes.

use std::io::{self, Write};

use jiff::Timestamp;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::symbols::Marker;
use ratatui::widgets::{Axis, Chart, Dataset, GraphType, Widget};

use super::Printer;
use crate::answer::{Header, Series, StatementResult, cell};

const DEFAULT_WIDTH: u16 = 100;
const HEIGHT: u16 = 16;
/// Points of a series that are held; those of a longer one are drawn in several charts.
const MAX_POINTS: usize = 1_000_000;

/// A field's points: nanoseconds and value.
type Points = Vec<(f64, f64)>;

pub struct Charts<W> {
    out: W,
    width: u16,
    /// The series whose points come: a server sends long ones in parts.
    header: Header,
    fields: Vec<Points>,
}

impl<W: Write> Charts<W> {
    pub fn new(out: W, width: Option<u16>) -> Self {
        Self {
            out,
            width: width.unwrap_or(DEFAULT_WIDTH).max(30),
            header: Header::default(),
            fields: Vec::new(),
        }
    }

    fn add(&mut self, series: &Series<'_>) -> io::Result<()> {
        let header = series.header();
        if self.header != header || self.fields.iter().any(|points| points.len() > MAX_POINTS) {
            self.draw()?;
            self.fields = vec![Points::new(); header.columns.len().saturating_sub(1)];
            self.header = header;
        }
        for row in &series.values {
            let Some((time, values)) = row.split_first() else { continue };
            let Some(time) = nanoseconds(&cell(time)) else { continue };
            for (points, value) in self.fields.iter_mut().zip(values) {
                // Strings that look like numbers are no values.
                if let Ok(value) = value.get().parse() {
                    points.push((time, value));
                }
            }
        }
        Ok(())
    }

    fn draw(&mut self) -> io::Result<()> {
        let fields: Vec<(String, Points)> =
            self.header.columns.iter().skip(1).cloned().zip(std::mem::take(&mut self.fields)).collect();
        if self.header.columns.is_empty() {
            return Ok(());
        }
        let mut title = self.header.tag_pairs();
        title.insert(0, self.header.name.clone());
        writeln!(self.out, "{}", title.join("  "))?;
        let mut drawn = 0;
        for (name, points) in fields.iter().filter(|(_, points)| !points.is_empty()) {
            self.field(name, points)?;
            drawn += 1;
        }
        if drawn == 0 {
            writeln!(self.out, "(no numbers to draw)")?;
        }
        Ok(())
    }

    fn field(&mut self, name: &str, points: &[(f64, f64)]) -> io::Result<()> {
        let (first, last) = bounds(points.iter().map(|point| point.0));
        let (least, greatest) = bounds(points.iter().map(|point| point.1));
        let (low, high) = if least < greatest { (least, greatest) } else { (least - 1.0, greatest + 1.0) };
        let times = [first, (first + last) / 2.0, last].map(label);
        let values = [low, (low + high) / 2.0, high]
            .map(|value| format!("{value:.6}").trim_end_matches('0').trim_end_matches('.').to_owned());
        let data = Dataset::default().marker(Marker::Braille).graph_type(GraphType::Line).data(points);
        let chart = Chart::new(vec![data])
            .x_axis(
                Axis::default().bounds([first, if first < last { last } else { first + 1.0 }]).labels(times),
            )
            .y_axis(Axis::default().title(name.to_owned()).bounds([low, high]).labels(values));
        let area = Rect::new(0, 0, self.width, HEIGHT);
        let mut buffer = Buffer::empty(area);
        chart.render(area, &mut buffer);
        for line in buffer.content.chunks(usize::from(self.width)) {
            let line: String = line.iter().map(ratatui::buffer::Cell::symbol).collect();
            writeln!(self.out, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

fn bounds(values: impl Iterator<Item = f64>) -> (f64, f64) {
    values.fold((f64::INFINITY, f64::NEG_INFINITY), |(least, greatest), value| {
        (least.min(value), greatest.max(value))
    })
}

/// Charts ask the server for nanoseconds.
fn nanoseconds(text: &str) -> Option<f64> {
    text.parse().ok()
}

#[expect(clippy::cast_possible_truncation, reason = "a label")]
fn label(nanoseconds: f64) -> String {
    Timestamp::from_second((nanoseconds / 1e9) as i64).map_or_else(|_| String::new(), |time| time.to_string())
}

impl<W: Write> Printer for Charts<W> {
    fn result(&mut self, result: &StatementResult<'_>) -> io::Result<()> {
        for message in &result.messages {
            writeln!(self.out, "{}: {}.", message.level, message.text)?;
        }
        result.series.iter().try_for_each(|series| self.add(series))
    }

    fn end(&mut self, _: Option<&str>) -> io::Result<()> {
        self.draw()?;
        self.out.flush()
    }
}
