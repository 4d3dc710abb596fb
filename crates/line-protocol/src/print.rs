//! Points as line protocol, in one canonical form: only the escapes that are needed, and a timestamp in nanoseconds on
//! every line. This is the only place that writes it.
//!
//! What [`parse`](crate::parse) made prints to text that parses to the same points, where unsigned integers are let in
//! ([`ParseOptions::uint_support`](crate::ParseOptions)). Line protocol cannot express everything: no name may end in a
//! backslash, no field key may have one before a comma, equal sign or space. Tags without a value, fields without one
//! (infinite floats among them), and points without fields are left out.

use std::borrow::Cow;
use std::fmt::Write;

use hyperbytedb_domain::points::{FieldColumn, FieldValues};
use hyperbytedb_domain::{FieldValue, PointsBatch};

use crate::escape::{NAME, STRING, TAG, push_escaped};
use crate::fields::Value;

/// Appends a line for each row.
pub fn print_batch(batch: &PointsBatch, out: &mut String) {
    for row in 0..batch.rows() {
        print_point(batch, row, out);
    }
}

/// Appends the lines of all batches of one body, in the body's order.
pub fn print_body(batches: &[PointsBatch], out: &mut String) {
    if let [batch] = batches {
        return print_batch(batch, out);
    }
    let rows = batches.iter().flat_map(|batch| (0..batch.rows()).map(move |row| (batch, row)));
    let mut rows: Vec<_> = rows.collect();
    rows.sort_by_key(|(batch, row)| batch.line_of_row.get(*row).copied());
    rows.into_iter().for_each(|(batch, row)| print_point(batch, row, out));
}

/// Appends the line of one row, with its newline.
pub fn print_point(batch: &PointsBatch, row: usize, out: &mut String) {
    let Some(time) = batch.times.get(row) else { return };
    let mut point = PointPrinter::begin(out, &batch.measurement);
    let tags = batch.series_of_row.get(row).and_then(|&series| batch.series.get(series as usize));
    for (key, value) in tags.into_iter().flat_map(|tags| tags.iter()) {
        point.tag(key, value);
    }
    for field in batch.fields.iter().filter(|field| field.is_present(row)) {
        if let Some(value) = value_at(field, row) {
            point.push(&field.name, &value);
        }
    }
    point.end(*time);
}

/// Prints one point: its tags, then its fields, then its end. Dropped before that, it leaves an incomplete line.
#[derive(Debug)]
pub struct PointPrinter<'a> {
    out: &'a mut String,
    start: usize,
    has_fields: bool,
}

impl<'a> PointPrinter<'a> {
    pub fn begin(out: &'a mut String, measurement: &str) -> Self {
        let start = out.len();
        // A backslash before an equal sign or quote would be read as an escape, so where a measurement has backslashes
        // these are escaped too; otherwise they are not, as in InfluxDB.
        push_escaped(out, measurement, if measurement.contains('\\') { NAME } else { b", " });
        Self { out, start, has_fields: false }
    }

    pub fn tag(&mut self, key: &str, value: &str) {
        if value.is_empty() {
            return;
        }
        self.out.push(',');
        push_escaped(self.out, key, TAG);
        self.out.push('=');
        push_escaped(self.out, value, TAG);
    }

    pub fn field(&mut self, key: &str, value: &FieldValue) {
        let value = match value {
            FieldValue::Float(v) => Value::Float(*v),
            FieldValue::Integer(v) => Value::Integer(*v),
            FieldValue::Unsigned(v) => Value::Unsigned(*v),
            FieldValue::Boolean(v) => Value::Boolean(*v),
            FieldValue::String(v) => Value::String(Cow::Borrowed(v)),
            FieldValue::Null | FieldValue::Time(_) | FieldValue::Strings(_) => return,
        };
        self.push(key, &value);
    }

    fn push(&mut self, key: &str, value: &Value<'_>) {
        if matches!(value, Value::Float(v) if !v.is_finite()) {
            return;
        }
        self.out.push(if self.has_fields { ',' } else { ' ' });
        self.has_fields = true;
        push_escaped(self.out, key, NAME);
        self.out.push('=');
        push_value(self.out, value);
    }

    /// Ends the line; false when the point had no fields: then it has left nothing.
    pub fn end(self, time: i64) -> bool {
        if self.has_fields {
            // Writing to a string cannot fail.
            let _ = writeln!(self.out, " {time}");
        } else {
            self.out.truncate(self.start);
        }
        self.has_fields
    }
}

fn value_at(field: &FieldColumn, row: usize) -> Option<Value<'_>> {
    Some(match &field.values {
        FieldValues::Float(values) => Value::Float(*values.get(row)?),
        FieldValues::Integer(values) => Value::Integer(*values.get(row)?),
        FieldValues::Unsigned(values) => Value::Unsigned(*values.get(row)?),
        FieldValues::Boolean(values) => Value::Boolean(*values.get(row)?),
        FieldValues::String(values) => Value::String(Cow::Borrowed(values.get(row))),
    })
}

/// Floats as the shortest text that reads back as the same one.
fn push_value(out: &mut String, value: &Value<'_>) {
    // Writing to a string cannot fail.
    let _ = match value {
        Value::Float(v) if *v == 0.0 || (1e-5..1e17).contains(&v.abs()) => write!(out, "{v}"),
        Value::Float(v) => write!(out, "{v:e}"),
        Value::Integer(v) => write!(out, "{v}i"),
        Value::Unsigned(v) => write!(out, "{v}u"),
        Value::Boolean(v) => write!(out, "{v}"),
        Value::String(v) => {
            out.push('"');
            push_escaped(out, v, STRING);
            out.push('"');
            Ok(())
        }
    };
}
