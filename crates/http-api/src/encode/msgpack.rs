//! MessagePack answers. Arrays state their length first, so an answer that is not chunked is put together in
//! memory and its lengths are filled in as they become known.

use hyperbytedb_domain::Precision;
use hyperbytedb_domain::field::FieldValue;
use hyperbytedb_domain::result::{Message, SeriesBlock};
use hyperbytedb_domain::{limits, settings};
use rmp::encode::{
    write_array_len, write_bool, write_ext_meta, write_f64, write_i8, write_i16, write_i32, write_i64,
    write_map_len, write_nfix, write_nil, write_pfix, write_str, write_uint,
};

use super::chunked::{Document, DocumentParts};
use super::time::TimeWriter;
use super::{Encoder, SeriesHeader, StatementEnd, same_series, sorted_tags};

/// Extension type of a time: seconds (8 bytes) and nanoseconds (4 bytes), big-endian.
const TIME_EXTENSION: i8 = 5;
const ARRAY_32: u8 = 0xdd;

/// A `Vec` accepts everything: the writers' errors cannot happen.
macro_rules! put {
    ($write:expr) => {
        drop($write)
    };
}

/// The body of an error answer.
pub fn push_error(out: &mut Vec<u8>, text: &str) {
    put!(write_map_len(out, 1));
    put!(write_str(out, "error"));
    put!(write_str(out, text));
}

/// One document, complete at the end.
pub struct MessagePackEncoder {
    time: TimeWriter,
    max_bytes: usize,
    body: Vec<u8>,
    /// Finished results.
    results: u32,
    statement: Option<OpenStatement>,
    pending_end: Option<StatementEnd>,
    overflow: bool,
}

struct OpenStatement {
    id: usize,
    /// Where its map begins in `body`.
    start: usize,
    series: Counted,
    rows: Counted,
    header: SeriesHeader,
    partial: bool,
    /// Where the map of the open series begins.
    series_start: usize,
}

/// An array whose length is filled in later.
#[derive(Clone, Copy)]
struct Counted {
    at: usize,
    count: u32,
}

impl Counted {
    fn begin(out: &mut Vec<u8>) -> Self {
        let at = out.len();
        out.extend_from_slice(&[ARRAY_32, 0, 0, 0, 0]);
        Self { at, count: 0 }
    }

    fn fill(self, out: &mut [u8]) {
        if let Some(length) = out.get_mut(self.at + 1..self.at + 5) {
            length.copy_from_slice(&self.count.to_be_bytes());
        }
    }
}

impl MessagePackEncoder {
    pub fn new(epoch: Option<Precision>, max_bytes: usize) -> Self {
        Self {
            time: TimeWriter::new(epoch),
            max_bytes,
            body: Vec::new(),
            results: 0,
            statement: None,
            pending_end: None,
            overflow: false,
        }
    }

    fn begin_statement(&mut self, id: usize, block: &SeriesBlock) -> OpenStatement {
        let start = self.body.len();
        put!(write_map_len(&mut self.body, 2));
        push_statement_id(&mut self.body, id);
        put!(write_str(&mut self.body, "series"));
        let series = Counted::begin(&mut self.body);
        let mut statement = OpenStatement {
            id,
            start,
            series,
            rows: series,
            header: SeriesHeader::of(block),
            partial: false,
            series_start: start,
        };
        self.begin_series(&mut statement, block);
        statement
    }

    fn begin_series(&mut self, statement: &mut OpenStatement, block: &SeriesBlock) {
        statement.series.count += 1;
        statement.header = SeriesHeader::of(block);
        statement.partial = false;
        statement.series_start = self.body.len();
        push_series_header(&mut self.body, block, false);
        statement.rows = Counted::begin(&mut self.body);
    }

    fn end_series(&mut self, statement: &OpenStatement) {
        statement.rows.fill(&mut self.body);
        if statement.partial {
            push_partial(&mut self.body);
            add_map_entry(&mut self.body, statement.series_start);
        }
    }

    fn end_statement(&mut self) {
        let end = self.pending_end.take();
        let statement = self.statement.take();
        if statement.is_none() && end.is_none() {
            return;
        }
        let end = end.unwrap_or_default();
        self.results += 1;
        if let Some(error) = &end.error {
            self.body.truncate(statement.map_or(self.body.len(), |s| s.start));
            push_error(&mut self.body, error);
            return;
        }
        match statement {
            Some(statement) => {
                self.end_series(&statement);
                statement.series.fill(&mut self.body);
                if !end.messages.is_empty() {
                    push_messages(&mut self.body, &end.messages);
                    add_map_entry(&mut self.body, statement.start);
                }
            }
            None => {
                let parts = DocumentParts {
                    statement_id: end.statement_id,
                    blocks: &[],
                    messages: &end.messages,
                    partial: false,
                    error: None,
                };
                push_result(&mut self.body, &parts, &self.time);
            }
        }
    }

    fn check_size(&mut self, statement_id: usize) {
        if self.body.len() <= self.max_bytes {
            return;
        }
        self.overflow = true;
        let limit = settings::HTTP_MAX_BUFFERED_ANSWER_BYTES;
        limits::exceeded(limit);
        let error = format!("the answer is larger than {} bytes ({limit}): use chunked=true", self.max_bytes);
        self.pending_end = Some(StatementEnd { statement_id, messages: Vec::new(), error: Some(error) });
        self.end_statement();
    }
}

impl Encoder for MessagePackEncoder {
    fn series(&mut self, _: &mut Vec<u8>, statement_id: usize, block: SeriesBlock) {
        if self.overflow {
            return;
        }
        if self.pending_end.is_some() || self.statement.as_ref().is_some_and(|s| s.id != statement_id) {
            self.end_statement();
        }
        let mut statement = match self.statement.take() {
            Some(mut statement) => {
                if !same_series(&statement.header, &block) {
                    self.end_series(&statement);
                    self.begin_series(&mut statement, &block);
                }
                statement
            }
            None => self.begin_statement(statement_id, &block),
        };
        for row in block.rows() {
            push_row(&mut self.body, row, &self.time);
            statement.rows.count += 1;
        }
        statement.partial |= block.partial;
        self.statement = Some(statement);
        self.check_size(statement_id);
    }

    fn end(&mut self, _: &mut Vec<u8>, end: StatementEnd) {
        if self.overflow {
            return;
        }
        let open = self.statement.as_ref().map(|s| s.id);
        let pending = self.pending_end.as_ref().map(|p| p.statement_id);
        if open.or(pending).is_some_and(|id| id != end.statement_id) {
            self.end_statement();
        }
        self.pending_end = Some(end);
    }

    fn finish(&mut self, out: &mut Vec<u8>) {
        self.end_statement();
        push_results_header(out, self.results);
        out.append(&mut self.body);
    }
}

/// One document a chunk.
pub struct MessagePackDocument {
    time: TimeWriter,
}

impl MessagePackDocument {
    pub fn new(epoch: Option<Precision>) -> Self {
        Self { time: TimeWriter::new(epoch) }
    }
}

impl Document for MessagePackDocument {
    fn push(&mut self, out: &mut Vec<u8>, parts: &DocumentParts<'_>) {
        push_results_header(out, 1);
        match parts.error {
            Some(error) => push_error(out, error),
            None => push_result(out, parts, &self.time),
        }
    }
}

fn push_results_header(out: &mut Vec<u8>, results: u32) {
    put!(write_map_len(out, 1));
    put!(write_str(out, "results"));
    put!(write_array_len(out, results));
}

fn push_result(out: &mut Vec<u8>, parts: &DocumentParts<'_>, time: &TimeWriter) {
    let entries = 2 + u32::from(!parts.messages.is_empty()) + u32::from(parts.partial);
    put!(write_map_len(out, entries));
    push_statement_id(out, parts.statement_id);
    if !parts.messages.is_empty() {
        push_messages(out, parts.messages);
    }
    put!(write_str(out, "series"));
    put!(write_array_len(out, parts.blocks.len() as u32));
    for block in parts.blocks {
        push_series_header(out, block, block.partial);
        let rows = block.values.len() / block.columns.len().max(1);
        put!(write_array_len(out, rows as u32));
        for row in block.rows() {
            push_row(out, row, time);
        }
        if block.partial {
            push_partial(out);
        }
    }
    if parts.partial {
        push_partial(out);
    }
}

fn push_statement_id(out: &mut Vec<u8>, id: usize) {
    put!(write_str(out, "statement_id"));
    put!(write_uint(out, id as u64));
}

fn push_partial(out: &mut Vec<u8>) {
    put!(write_str(out, "partial"));
    put!(write_bool(out, true));
}

/// Everything of a series up to its rows. `partial`: the map will have that entry as well.
fn push_series_header(out: &mut Vec<u8>, block: &SeriesBlock, partial: bool) {
    let tags = sorted_tags(block);
    let entries = 2 + u32::from(!block.name.is_empty()) + u32::from(!tags.is_empty()) + u32::from(partial);
    put!(write_map_len(out, entries));
    if !block.name.is_empty() {
        put!(write_str(out, "name"));
        put!(write_str(out, &block.name));
    }
    if !tags.is_empty() {
        put!(write_str(out, "tags"));
        put!(write_map_len(out, tags.len() as u32));
        for (key, value) in tags {
            put!(write_str(out, key));
            put!(write_str(out, value));
        }
    }
    put!(write_str(out, "columns"));
    put!(write_array_len(out, block.columns.len() as u32));
    for column in block.columns.iter() {
        put!(write_str(out, column));
    }
    put!(write_str(out, "values"));
}

fn push_row(out: &mut Vec<u8>, row: &[FieldValue], time: &TimeWriter) {
    put!(write_array_len(out, row.len() as u32));
    for value in row {
        match value {
            FieldValue::Null => put!(write_nil(out)),
            FieldValue::Float(v) => put!(write_f64(out, *v)),
            FieldValue::Integer(v) => push_integer(out, *v),
            FieldValue::Unsigned(v) => put!(write_uint(out, *v)),
            FieldValue::String(v) => put!(write_str(out, v)),
            FieldValue::Boolean(v) => put!(write_bool(out, *v)),
            FieldValue::Strings(list) => {
                put!(write_array_len(out, list.len() as u32));
                for text in list.iter() {
                    put!(write_str(out, text));
                }
            }
            FieldValue::Time(v) if time.is_epoch() => push_integer(out, time.integer(*v)),
            FieldValue::Time(v) => {
                put!(write_ext_meta(out, 12, TIME_EXTENSION));
                out.extend_from_slice(&v.div_euclid(1_000_000_000).to_be_bytes());
                out.extend_from_slice(&(v.rem_euclid(1_000_000_000) as i32).to_be_bytes());
            }
        }
    }
}

/// In a signed form whatever the sign: readers take an unsigned one for another type.
fn push_integer(out: &mut Vec<u8>, value: i64) {
    match value {
        0..=127 => put!(write_pfix(out, value as u8)),
        -32..=-1 => put!(write_nfix(out, value as i8)),
        -128..=-33 => put!(write_i8(out, value as i8)),
        _ => match (i16::try_from(value), i32::try_from(value)) {
            (Ok(short), _) => put!(write_i16(out, short)),
            (_, Ok(medium)) => put!(write_i32(out, medium)),
            _ => put!(write_i64(out, value)),
        },
    }
}

fn push_messages(out: &mut Vec<u8>, messages: &[Message]) {
    put!(write_str(out, "messages"));
    put!(write_array_len(out, messages.len() as u32));
    for message in messages {
        put!(write_map_len(out, 2));
        put!(write_str(out, "level"));
        put!(write_str(out, message.level));
        put!(write_str(out, "text"));
        put!(write_str(out, &message.text));
    }
}

/// Counts one more entry in the small map at `at`.
fn add_map_entry(out: &mut [u8], at: usize) {
    if let Some(marker) = out.get_mut(at) {
        *marker += 1;
    }
}
