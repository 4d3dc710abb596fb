//! Points back to line protocol, in one canonical form: tags in key order, a timestamp in nanoseconds
//! on every line, only the escapes that are needed.
//!
//! What [`parse`](crate::parse) made prints to text that parses to the same points. Line protocol
//! cannot express everything: no name may end in a backslash, no field key may have one before a comma,
//! equal sign or space. Floats that are not finite are left out, and with them a point that has no
//! other field.

use std::fmt::Write;

use hyperbytedb_domain::PointsBatch;
use hyperbytedb_domain::points::{FieldColumn, FieldValues};

use crate::escape::{NAME, STRING, TAG, push_escaped};

/// Appends a line for each row.
pub fn print_batch(batch: &PointsBatch, out: &mut String) {
    for row in 0..batch.rows() {
        print_point(batch, row, out);
    }
}

/// Appends the line of one row, with its newline.
pub fn print_point(batch: &PointsBatch, row: usize, out: &mut String) {
    let start = out.len();
    push_measurement(out, &batch.measurement);
    let tags = batch.series_of_row.get(row).and_then(|&series| batch.series.get(series as usize));
    for (key, value) in tags.into_iter().flat_map(|tags| tags.iter()) {
        out.push(',');
        push_escaped(out, key, TAG);
        out.push('=');
        push_escaped(out, value, TAG);
    }
    let mut separator = ' ';
    for field in batch.fields.iter().filter(|field| field.is_present(row)) {
        let before = out.len();
        out.push(separator);
        if push_field(out, field, row) {
            separator = ',';
        } else {
            out.truncate(before);
        }
    }
    match batch.times.get(row) {
        Some(time) if separator == ',' => {
            let _ = writeln!(out, " {time}");
        }
        _ => out.truncate(start),
    }
}

/// A backslash before an equal sign or quote would be read as an escape, so where a measurement has
/// backslashes these are escaped too; otherwise they are not, as in InfluxDB.
fn push_measurement(out: &mut String, name: &str) {
    push_escaped(out, name, if name.contains('\\') { NAME } else { b", " });
}

/// Appends `key=value`; false when line protocol has no such value.
fn push_field(out: &mut String, field: &FieldColumn, row: usize) -> bool {
    push_escaped(out, &field.name, NAME);
    out.push('=');
    match &field.values {
        FieldValues::Float(values) => values.get(row).is_some_and(|&value| push_float(out, value)),
        FieldValues::Integer(values) => push_number(out, values.get(row), "i"),
        FieldValues::Unsigned(values) => push_number(out, values.get(row), "u"),
        FieldValues::Boolean(values) => push_number(out, values.get(row), ""),
        FieldValues::String(values) => {
            out.push('"');
            push_escaped(out, values.get(row), STRING);
            out.push('"');
            true
        }
    }
}

fn push_number(out: &mut String, value: Option<&impl std::fmt::Display>, suffix: &str) -> bool {
    value.is_some_and(|value| write!(out, "{value}{suffix}").is_ok())
}

/// The shortest text that reads back as the same float.
fn push_float(out: &mut String, value: f64) -> bool {
    if !value.is_finite() {
        return false;
    }
    let plain = value == 0.0 || (1e-5..1e17).contains(&value.abs());
    let written = if plain { write!(out, "{value}") } else { write!(out, "{value:e}") };
    written.is_ok()
}
