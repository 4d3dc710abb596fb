//! Query results and errors as the bytes of an answer: JSON (one document or one a chunk), CSV, MessagePack.

mod chunked;
mod csv;
mod indent;
mod json;
mod msgpack;
pub(crate) mod text;
pub(crate) mod time;

use axum::http::HeaderMap;
use axum::http::header::ACCEPT;
use hyperbytedb_domain::Precision;
use hyperbytedb_domain::result::{Message, SeriesBlock};

pub use indent::Indenter;

/// What a client wants its answer to be written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    #[default]
    Json,
    Csv,
    MessagePack,
}

impl Format {
    /// The known media type with the greatest weight in `Accept`, the first of equals; JSON when there is none.
    pub fn negotiate(headers: &HeaderMap) -> Self {
        let mut best = (Self::Json, 0.0);
        let values = headers.get_all(ACCEPT).iter().filter_map(|v| v.to_str().ok());
        for range in values.flat_map(|v| v.split(',')) {
            let mut parts = range.split(';').map(str::trim);
            let format = match parts.next() {
                Some("application/json" | "*/*" | "application/*") => Self::Json,
                Some("application/csv" | "text/csv") => Self::Csv,
                Some("application/x-msgpack") => Self::MessagePack,
                _ => continue,
            };
            let mut weight = 1.0;
            // A media type with parameters is not one of ours.
            if !parts.all(|p| p.strip_prefix("q=").is_some_and(|q| q.parse().map(|q| weight = q).is_ok())) {
                continue;
            }
            if weight > best.1 {
                best = (format, weight);
            }
        }
        best.0
    }

    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Csv => "text/csv",
            Self::MessagePack => "application/x-msgpack",
        }
    }
}

/// How an answer is written.
#[derive(Debug, Clone, Copy, Default)]
pub struct Shape {
    pub format: Format,
    /// Indented JSON.
    pub pretty: bool,
    /// Times as integers of this unit.
    pub epoch: Option<Precision>,
    /// One document for each block.
    pub chunked: bool,
    /// Bytes that a MessagePack answer may take when it is not chunked: it states its lengths up front, so it
    /// cannot be streamed.
    pub max_buffered_bytes: usize,
}

/// Turns results, in order, into bytes.
pub trait Encoder: Send {
    fn series(&mut self, out: &mut Vec<u8>, statement_id: usize, block: SeriesBlock);

    /// Series that are all there; each inner list belongs in one document.
    fn documents(&mut self, out: &mut Vec<u8>, statement_id: usize, documents: Vec<Vec<SeriesBlock>>) {
        documents.into_iter().flatten().for_each(|block| self.series(out, statement_id, block));
    }

    fn end(&mut self, out: &mut Vec<u8>, end: StatementEnd);

    fn finish(&mut self, out: &mut Vec<u8>);
}

/// The end of a statement.
#[derive(Debug, Clone, Default)]
pub struct StatementEnd {
    pub statement_id: usize,
    pub messages: Vec<Message>,
    pub error: Option<String>,
}

/// The encoder for a shape.
pub fn encoder(shape: &Shape) -> Box<dyn Encoder> {
    match (shape.format, shape.chunked) {
        (Format::Csv, _) => Box::new(csv::CsvEncoder::new(shape.epoch)),
        (Format::Json, false) => Box::new(json::JsonEncoder::new(shape.epoch)),
        (Format::Json, true) => Box::new(chunked::ChunkedEncoder::new(json::JsonDocument::new(shape.epoch))),
        (Format::MessagePack, true) => {
            Box::new(chunked::ChunkedEncoder::new(msgpack::MessagePackDocument::new(shape.epoch)))
        }
        (Format::MessagePack, false) => {
            Box::new(msgpack::MessagePackEncoder::new(shape.epoch, shape.max_buffered_bytes))
        }
    }
}

/// The body of an answer that is only an error.
pub fn error_body(format: Format, pretty: bool, text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + 32);
    match format {
        Format::Json => {
            out.extend_from_slice(b"{\"error\":");
            text::push_json_string(&mut out, text);
            out.extend_from_slice(b"}\n");
            if pretty {
                let mut indented = Vec::with_capacity(out.len() + 16);
                Indenter::default().push(&mut indented, &out);
                return indented;
            }
        }
        Format::Csv => {
            out.extend_from_slice(b"error\n");
            csv::push_field(&mut out, text);
            out.push(b'\n');
        }
        Format::MessagePack => msgpack::push_error(&mut out, text),
    }
    out
}

/// The tags to show, in order of their keys.
fn sorted_tags(block: &SeriesBlock) -> Vec<&(String, String)> {
    let mut tags: Vec<_> = block.tags.iter().flat_map(|tags| tags.iter()).collect();
    if !tags.is_sorted_by(|a, b| a.0 <= b.0) {
        tags.sort_by(|a, b| a.0.cmp(&b.0));
    }
    tags
}

/// Whether two blocks are parts of one series.
fn same_series(a: &SeriesHeader, block: &SeriesBlock) -> bool {
    a.name == block.name && a.tags == block.tags && a.columns == block.columns
}

/// What identifies the series that is being written.
struct SeriesHeader {
    name: std::sync::Arc<str>,
    tags: Option<std::sync::Arc<[(String, String)]>>,
    columns: std::sync::Arc<[String]>,
}

impl SeriesHeader {
    fn of(block: &SeriesBlock) -> Self {
        Self { name: block.name.clone(), tags: block.tags.clone(), columns: block.columns.clone() }
    }
}

#[cfg(test)]
mod tests;
