//! Query results on their way to a client, in blocks.

use std::sync::Arc;

use crate::cancel::QueryContext;
use crate::field::FieldValue;
use crate::series::Tags;

/// What a result row's time column is rendered in; `None` is UTC.
pub type ResultZone = Option<jiff::tz::TimeZone>;

/// Rows of one result series. A series larger than the chunk size comes in several consecutive blocks.
#[derive(Debug, Clone)]
pub struct SeriesBlock {
    pub name: Arc<str>,
    /// The GROUP BY tags, also with empty values (`None`: the statement has no tags to show).
    pub tags: Option<Arc<[(String, String)]>>,
    pub columns: Arc<[String]>,
    /// Row-major: `values.len()` is a multiple of `columns.len()`.
    pub values: Vec<FieldValue>,
    /// More rows of the same series follow.
    pub partial: bool,
    pub zone: ResultZone,
}

impl SeriesBlock {
    pub fn rows(&self) -> impl Iterator<Item = &[FieldValue]> {
        self.values.chunks_exact(self.columns.len().max(1))
    }
}

/// A warning that accompanies a statement's result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    pub level: &'static str,
    pub text: String,
}

/// A statement's answer as it is produced: any number of `Series` or `Documents`, then one `End`.
#[derive(Debug, Clone)]
pub enum ResultEvent {
    Series {
        statement_id: usize,
        block: SeriesBlock,
    },
    /// Series that are all there at once. In a chunked answer each inner list is one document.
    Documents {
        statement_id: usize,
        documents: Vec<Vec<SeriesBlock>>,
    },
    End {
        statement_id: usize,
        messages: Vec<Message>,
        error: Option<String>,
    },
}

/// Receives results. An error means that nobody reads them any more: the query stops.
pub trait ResultSink {
    /// Waits while the reader is behind, until the query must end: then the event is kept, and the caller has to find
    /// out with [`QueryContext::check`].
    fn emit(&mut self, event: ResultEvent, context: &QueryContext) -> Result<(), SinkClosed>;
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the client went away")]
pub struct SinkClosed;

/// Helper of SHOW statements: the tags of a series as result tags.
pub fn result_tags(tags: &Tags) -> Arc<[(String, String)]> {
    tags.iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect()
}
