//! Query results on their way to a client, in blocks.

use std::sync::Arc;

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

/// Helper of SHOW statements: the tags of a series as result tags.
pub fn result_tags(tags: &Tags) -> Arc<[(String, String)]> {
    tags.iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect()
}
