//! CSV answers: `name,tags,…` with a header for each new set of columns and an empty line between them.

use hyperbytedb_domain::Precision;
use hyperbytedb_domain::field::FieldValue;
use hyperbytedb_domain::result::SeriesBlock;

use super::text::{push_integer, push_plain_float};
use super::time::TimeWriter;
use super::{Encoder, StatementEnd, sorted_tags};

pub struct CsvEncoder {
    time: TimeWriter,
    /// Statement and columns of the header last written.
    header: Option<(usize, std::sync::Arc<[String]>)>,
}

impl CsvEncoder {
    pub fn new(epoch: Option<Precision>) -> Self {
        Self { time: TimeWriter::new(epoch), header: None }
    }

    fn push_header(&mut self, out: &mut Vec<u8>, statement_id: usize, block: &SeriesBlock) {
        let fresh = |(id, columns): &(usize, _)| *id != statement_id || *columns != block.columns;
        match &self.header {
            Some(header) if !fresh(header) => return,
            Some(_) => out.push(b'\n'),
            None => {}
        }
        out.extend_from_slice(b"name,tags");
        for column in block.columns.iter() {
            out.push(b',');
            push_field(out, column);
        }
        out.push(b'\n');
        self.header = Some((statement_id, block.columns.clone()));
    }
}

impl Encoder for CsvEncoder {
    fn series(&mut self, out: &mut Vec<u8>, statement_id: usize, block: SeriesBlock) {
        self.push_header(out, statement_id, &block);
        let mut labels = Vec::new();
        push_field(&mut labels, &block.name);
        labels.push(b',');
        push_field(&mut labels, &tags_text(&block));
        for row in block.rows() {
            out.extend_from_slice(&labels);
            for value in row {
                out.push(b',');
                push_value(out, value, &self.time);
            }
            out.push(b'\n');
        }
    }

    /// InfluxDB leaves the errors and messages of statements out of CSV.
    fn end(&mut self, _: &mut Vec<u8>, _: StatementEnd) {}

    fn finish(&mut self, _: &mut Vec<u8>) {}
}

fn push_value(out: &mut Vec<u8>, value: &FieldValue, time: &TimeWriter) {
    match value {
        FieldValue::Null => {}
        FieldValue::Float(v) => push_plain_float(out, *v),
        FieldValue::Integer(v) => push_integer(out, *v),
        FieldValue::Unsigned(v) => push_integer(out, *v),
        FieldValue::String(v) => push_field(out, v),
        FieldValue::Boolean(v) => out.extend_from_slice(if *v { b"true" } else { b"false" }),
        FieldValue::Time(v) => push_integer(out, time.integer(*v)),
        FieldValue::Strings(v) => push_field(out, &v.join(" ")),
    }
}

/// `k=v,k2=v2` with commas, spaces and equal signs escaped; tags without a value are left out.
fn tags_text(block: &SeriesBlock) -> String {
    let mut text = String::new();
    for (key, value) in sorted_tags(block).into_iter().filter(|(_, value)| !value.is_empty()) {
        if !text.is_empty() {
            text.push(',');
        }
        push_escaped(&mut text, key);
        text.push('=');
        push_escaped(&mut text, value);
    }
    text
}

fn push_escaped(text: &mut String, part: &str) {
    for c in part.chars() {
        if matches!(c, ',' | ' ' | '=') {
            text.push('\\');
        }
        text.push(c);
    }
}

/// A field, quoted where Go's `encoding/csv` quotes it.
pub fn push_field(out: &mut Vec<u8>, text: &str) {
    let special = |c| matches!(c, ',' | '"' | '\r' | '\n');
    let quoted = text.starts_with(char::is_whitespace) || text.contains(special) || text == r"\.";
    if !quoted {
        out.extend_from_slice(text.as_bytes());
        return;
    }
    out.push(b'"');
    for byte in text.bytes() {
        if byte == b'"' {
            out.push(b'"');
        }
        out.push(byte);
    }
    out.push(b'"');
}
