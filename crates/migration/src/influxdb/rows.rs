//! From the columns of a series to lines.
//!
//! InfluxDB keeps each field by itself; a line has the fields of one time. Mostly all fields have the same times, block by
//! block, which is seen by comparing the blocks' times once; else the columns are merged time by time.

use hyperbytedb_influx_files::shard::{ColumnReader, Series};
use hyperbytedb_influx_files::{Points, Values};
use hyperbytedb_line_protocol::columns::{
    push_boolean, push_field_key, push_float, push_integer, push_string, push_time, push_unsigned,
};

use crate::error::Error;
use crate::write::{Batch, WriteOptions};

/// The columns of the series in work.
#[derive(Default)]
pub struct Rows<'a> {
    /// The series' key and the space behind it.
    head: Vec<u8>,
    columns: Vec<Column<'a>>,
    /// Values that line protocol cannot express: infinite floats.
    skipped: u64,
}

struct Column<'a> {
    reader: ColumnReader<'a>,
    /// The field's key and the equal sign behind it.
    head: Vec<u8>,
    points: Points,
    at: usize,
}

impl<'a> Rows<'a> {
    pub fn begin(&mut self, series: Series<'a>) {
        self.head = series.key;
        self.head.push(b' ');
        let column = |reader: ColumnReader<'a>| {
            let mut head = Vec::new();
            push_field_key(&mut head, reader.field());
            Column { reader, head, points: Points::default(), at: 0 }
        };
        self.columns = series.columns.into_iter().map(column).collect();
    }

    pub const fn skipped(&self) -> u64 {
        self.skipped
    }

    /// Appends lines to the batch until it is full or some columns need their next points; false when there are none.
    pub fn read(&mut self, batch: &mut Batch, options: &WriteOptions) -> Result<bool, Error> {
        let mut failure = None;
        self.columns
            .retain_mut(|column| column.fill().unwrap_or_else(|error| failure.replace(error).is_some()));
        if let Some(error) = failure {
            return Err(error);
        }
        let Some((first, others)) = self.columns.split_first() else { return Ok(false) };
        let rows = self.columns.iter().map(|column| column.times().len()).min().unwrap_or(0);
        let are_aligned = others.iter().all(|other| other.times()[..rows] == first.times()[..rows]);
        loop {
            let next = |column: &Column<'_>| column.times().first().copied();
            let time =
                if are_aligned { next(&self.columns[0]) } else { self.columns.iter().filter_map(next).min() };
            let Some(time) = time else { return Ok(true) };
            if self.line(time, batch) || batch.is_full(options) {
                return Ok(true);
            }
        }
    }

    /// Appends the line of a time; true when a column has given its last point.
    fn line(&mut self, time: i64, batch: &mut Batch) -> bool {
        let start = batch.body.len();
        batch.body.extend_from_slice(&self.head);
        let fields = batch.body.len();
        let mut is_exhausted = false;
        for column in self.columns.iter_mut().filter(|column| column.times().first() == Some(&time)) {
            let end = batch.body.len();
            if end > fields {
                batch.body.push(b',');
            }
            batch.body.extend_from_slice(&column.head);
            if !push_value(&mut batch.body, &column.points.values, column.at) {
                batch.body.truncate(end);
                self.skipped += 1;
            }
            column.at += 1;
            is_exhausted |= column.at == column.points.len();
        }
        if batch.body.len() > fields {
            push_time(&mut batch.body, time);
            batch.end_line();
        } else {
            batch.body.truncate(start);
        }
        is_exhausted
    }
}

impl Column<'_> {
    /// The times that are left.
    fn times(&self) -> &[i64] {
        &self.points.times[self.at..]
    }

    /// Reads on when there are no points left; false at the end.
    fn fill(&mut self) -> Result<bool, Error> {
        if self.at < self.points.len() {
            return Ok(true);
        }
        self.at = 0;
        Ok(self.reader.read(&mut self.points)?)
    }
}

/// Appends a value; false when there is no text for it.
fn push_value(out: &mut Vec<u8>, values: &Values, at: usize) -> bool {
    match values {
        Values::Float(values) if !values[at].is_finite() => return false,
        Values::Float(values) => push_float(out, values[at]),
        Values::Integer(values) => push_integer(out, values[at]),
        Values::Unsigned(values) => push_unsigned(out, values[at]),
        Values::Boolean(values) => push_boolean(out, values[at]),
        Values::String(values) => push_string(out, values.get(at).unwrap_or_default()),
    }
    true
}
