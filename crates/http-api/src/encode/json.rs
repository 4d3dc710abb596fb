//! JSON answers in the key order of InfluxDB's own.

use hyperbytedb_domain::Precision;
use hyperbytedb_domain::field::FieldValue;
use hyperbytedb_domain::result::{Message, SeriesBlock};

use super::chunked::{Document, DocumentParts};
use super::text::{push_integer, push_json_float, push_json_string};
use super::time::TimeWriter;
use super::{Encoder, SeriesHeader, StatementEnd, same_series, sorted_tags};

/// One document, written as the results come.
pub struct JsonEncoder {
    time: TimeWriter,
    any_statement: bool,
    statement: Option<OpenStatement>,
    /// The last end, held back: a later one of the same statement replaces it, as in InfluxDB.
    pending_end: Option<StatementEnd>,
}

struct OpenStatement {
    id: usize,
    series: OpenSeries,
}

struct OpenSeries {
    header: SeriesHeader,
    any_row: bool,
    /// Some block of it was not the last: InfluxDB tells that although all of them are in the answer.
    partial: bool,
}

impl JsonEncoder {
    pub fn new(epoch: Option<Precision>) -> Self {
        Self { time: TimeWriter::new(epoch), any_statement: false, statement: None, pending_end: None }
    }

    fn begin_statement(&mut self, out: &mut Vec<u8>, id: usize) {
        out.extend_from_slice(if self.any_statement { b"," } else { b"{\"results\":[" });
        self.any_statement = true;
        out.extend_from_slice(b"{\"statement_id\":");
        push_integer(out, id);
    }

    fn end_statement(&mut self, out: &mut Vec<u8>) {
        let end = self.pending_end.take();
        match self.statement.take() {
            Some(statement) => {
                statement.series.close(out);
                out.push(b']');
            }
            None => match &end {
                Some(end) => self.begin_statement(out, end.statement_id),
                None => return,
            },
        }
        let end = end.unwrap_or_default();
        push_messages(out, &end.messages);
        push_error(out, end.error.as_deref());
        out.push(b'}');
    }
}

impl Encoder for JsonEncoder {
    fn series(&mut self, out: &mut Vec<u8>, statement_id: usize, block: SeriesBlock) {
        if self.pending_end.is_some() || self.statement.as_ref().is_some_and(|s| s.id != statement_id) {
            self.end_statement(out);
        }
        let mut statement = match self.statement.take() {
            Some(mut statement) => {
                if !same_series(&statement.series.header, &block) {
                    statement.series.close(out);
                    out.push(b',');
                    statement.series = OpenSeries::begin(out, &block);
                }
                statement
            }
            None => {
                self.begin_statement(out, statement_id);
                out.extend_from_slice(b",\"series\":[");
                OpenStatement { id: statement_id, series: OpenSeries::begin(out, &block) }
            }
        };
        statement.series.push_rows(out, &block, &mut self.time);
        self.statement = Some(statement);
    }

    fn end(&mut self, out: &mut Vec<u8>, end: StatementEnd) {
        let open = self.statement.as_ref().map(|s| s.id);
        let pending = self.pending_end.as_ref().map(|p| p.statement_id);
        if open.or(pending).is_some_and(|id| id != end.statement_id) {
            self.end_statement(out);
        }
        self.pending_end = Some(end);
    }

    fn finish(&mut self, out: &mut Vec<u8>) {
        self.end_statement(out);
        out.extend_from_slice(if self.any_statement { b"]}\n" } else { b"{}\n" });
    }
}

impl OpenSeries {
    fn begin(out: &mut Vec<u8>, block: &SeriesBlock) -> Self {
        push_header(out, block);
        Self { header: SeriesHeader::of(block), any_row: false, partial: false }
    }

    fn push_rows(&mut self, out: &mut Vec<u8>, block: &SeriesBlock, time: &mut TimeWriter) {
        for row in block.rows() {
            out.extend_from_slice(if self.any_row { b",[" } else { b",\"values\":[[" });
            self.any_row = true;
            push_row(out, row, block, time);
        }
        self.partial |= block.partial;
    }

    fn close(&self, out: &mut Vec<u8>) {
        if self.any_row {
            out.push(b']');
        }
        if self.partial {
            out.extend_from_slice(b",\"partial\":true");
        }
        out.push(b'}');
    }
}

/// One document a chunk.
pub struct JsonDocument {
    time: TimeWriter,
}

impl JsonDocument {
    pub fn new(epoch: Option<Precision>) -> Self {
        Self { time: TimeWriter::new(epoch) }
    }
}

impl Document for JsonDocument {
    fn push(&mut self, out: &mut Vec<u8>, parts: &DocumentParts<'_>) {
        out.extend_from_slice(b"{\"results\":[{\"statement_id\":");
        push_integer(out, parts.statement_id);
        for (i, block) in parts.blocks.iter().enumerate() {
            out.extend_from_slice(if i == 0 { b",\"series\":[" } else { b"," });
            let mut series = OpenSeries::begin(out, block);
            series.push_rows(out, block, &mut self.time);
            series.close(out);
        }
        if !parts.blocks.is_empty() {
            out.push(b']');
        }
        push_messages(out, parts.messages);
        if parts.partial {
            out.extend_from_slice(b",\"partial\":true");
        }
        push_error(out, parts.error);
        out.extend_from_slice(b"}]}\n");
    }
}

fn push_header(out: &mut Vec<u8>, block: &SeriesBlock) {
    let mut separator = b'{';
    if !block.name.is_empty() {
        push_key(out, &mut separator, "name");
        push_json_string(out, &block.name);
    }
    let tags = sorted_tags(block);
    if !tags.is_empty() {
        push_key(out, &mut separator, "tags");
        let mut tag_separator = b'{';
        for (key, value) in tags {
            out.push(tag_separator);
            tag_separator = b',';
            push_json_string(out, key);
            out.push(b':');
            push_json_string(out, value);
        }
        out.push(b'}');
    }
    push_key(out, &mut separator, "columns");
    let mut column_separator = b'[';
    for column in block.columns.iter() {
        out.push(column_separator);
        column_separator = b',';
        push_json_string(out, column);
    }
    out.extend_from_slice(if block.columns.is_empty() { b"[]" } else { b"]" });
}

fn push_key(out: &mut Vec<u8>, separator: &mut u8, key: &str) {
    out.push(*separator);
    *separator = b',';
    out.push(b'"');
    out.extend_from_slice(key.as_bytes());
    out.extend_from_slice(b"\":");
}

/// The values of a row and the closing bracket.
fn push_row(out: &mut Vec<u8>, row: &[FieldValue], block: &SeriesBlock, time: &mut TimeWriter) {
    for (i, value) in row.iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        match value {
            FieldValue::Null => out.extend_from_slice(b"null"),
            FieldValue::Float(v) => push_json_float(out, *v),
            FieldValue::Integer(v) => push_integer(out, *v),
            FieldValue::Unsigned(v) => push_integer(out, *v),
            FieldValue::String(v) => push_json_string(out, v),
            FieldValue::Boolean(true) => out.extend_from_slice(b"true"),
            FieldValue::Boolean(false) => out.extend_from_slice(b"false"),
            FieldValue::Time(v) => time.push_json(out, *v, &block.zone),
            FieldValue::Strings(list) => push_strings(out, list),
        }
    }
    out.push(b']');
}

fn push_strings(out: &mut Vec<u8>, list: &[String]) {
    out.push(b'[');
    for (i, text) in list.iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        push_json_string(out, text);
    }
    out.push(b']');
}

fn push_messages(out: &mut Vec<u8>, messages: &[Message]) {
    if messages.is_empty() {
        return;
    }
    out.extend_from_slice(b",\"messages\":");
    let mut separator = b'[';
    for message in messages {
        out.push(separator);
        separator = b',';
        out.extend_from_slice(b"{\"level\":");
        push_json_string(out, message.level);
        out.extend_from_slice(b",\"text\":");
        push_json_string(out, &message.text);
        out.push(b'}');
    }
    out.push(b']');
}

fn push_error(out: &mut Vec<u8>, error: Option<&str>) {
    if let Some(error) = error {
        out.extend_from_slice(b",\"error\":");
        push_json_string(out, error);
    }
}
