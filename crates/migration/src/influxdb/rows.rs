//! From the columns of a series to lines.
//!
//! InfluxDB keeps each field by itself; a line has the fields of one time. Mostly all fields have the same times, block by
//! block, which is seen by comparing the blocks' times once; else the columns are merged time by time.

use hyperbytedb_influx_files::shard::{ColumnReader, Series};
use hyperbytedb_influx_files::{Points, Values};
use hyperbytedb_line_protocol::columns::{
    push_boolean, push_field_key, push_float, push_integer, push_string, push_time, push_unsigned,
};

use super::plan::ShardPlan;
use super::tally::{ColumnCounts, Tally};
use super::types::{Field, Fit, Types, type_of};
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
    /// Where its values are not all stored as they are.
    several: Option<(&'a Field, ColumnCounts)>,
    points: Points,
    at: usize,
}

impl<'a> Rows<'a> {
    pub fn begin(&mut self, series: Series<'a>, shard: &ShardPlan, types: &'a Types) {
        let fields = types.of(shard, &series.key);
        let column = |reader: ColumnReader<'a>| {
            let several = fields.and_then(|fields| fields.get(reader.field()));
            let several = several.map(|field| (field, ColumnCounts::default()));
            Column { head: head(reader.field()), reader, several, points: Points::default(), at: 0 }
        };
        self.columns = series.columns.into_iter().map(column).collect();
        self.head = series.key;
        self.head.push(b' ');
    }

    pub const fn skipped(&self) -> u64 {
        self.skipped
    }

    /// Appends lines to the batch until it is full or some columns need their next points; false when there are none.
    pub fn read(
        &mut self,
        batch: &mut Batch,
        options: &WriteOptions,
        shard: &ShardPlan,
        tally: &Tally,
    ) -> Result<bool, Error> {
        let mut failure = None;
        let series = self.head.strip_suffix(b" ").unwrap_or(&self.head);
        self.columns.retain_mut(|column| {
            let is_left = column.fill().unwrap_or_else(|error| failure.replace(error).is_some());
            if !is_left {
                column.count(tally, shard, series);
            }
            is_left
        });
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
        while self.reader.read(&mut self.points)? {
            let Some((field, counts)) = &mut self.several else { return Ok(true) };
            let fit = field.fit(type_of(&self.points.values));
            self.head = head(if let Fit::Apart(name) = fit { name } else { self.reader.field() });
            counts.convert(&mut self.points, fit);
            if !self.points.is_empty() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Counts what became of its values.
    fn count(&self, tally: &Tally, shard: &ShardPlan, series: &[u8]) {
        let Some((field, counts)) = &self.several else { return };
        for (found, counted) in counts.iter() {
            tally.add(shard, series, self.reader.field(), found, field.fit(found), counted);
        }
    }
}

/// A field's key and the equal sign behind it.
fn head(field: &[u8]) -> Vec<u8> {
    let mut head = Vec::new();
    push_field_key(&mut head, field);
    head
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
