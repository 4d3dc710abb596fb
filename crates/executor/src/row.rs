//! Rows on their way between operators.
//!
//! All row streams of one statement are ordered by measurement name, then the tags of the outermost GROUP BY, then
//! time; all three descending when the statement is.

use std::cmp::Ordering;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use hyperbytedb_domain::FieldValue;

use crate::error::ExecError;

/// A measurement name with the values of the GROUP BY tags, in the order of their sorted keys; a missing tag is empty.
#[derive(Debug, Clone)]
pub(crate) struct Series {
    pub name: Arc<str>,
    pub tags: Arc<[Arc<str>]>,
}

impl Series {
    pub fn new(name: Arc<str>, tags: Vec<Arc<str>>) -> Self {
        Self { name, tags: tags.into() }
    }

    /// Keeps the tags at `positions`.
    pub fn project(&self, positions: &[usize]) -> Self {
        let tags = positions.iter().map(|&i| Arc::clone(&self.tags[i])).collect();
        Self { name: Arc::clone(&self.name), tags }
    }

    fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.tags, &other.tags) && Arc::ptr_eq(&self.name, &other.name)
    }
}

impl Default for Series {
    fn default() -> Self {
        Self { name: Arc::from(""), tags: Arc::from([]) }
    }
}

impl PartialEq for Series {
    fn eq(&self, other: &Self) -> bool {
        self.is_same(other) || (self.name == other.name && self.tags == other.tags)
    }
}

impl Eq for Series {}

impl PartialOrd for Series {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Series {
    fn cmp(&self, other: &Self) -> Ordering {
        if self.is_same(other) {
            return Ordering::Equal;
        }
        self.name.cmp(&other.name).then_with(|| self.tags.cmp(&other.tags))
    }
}

impl Hash for Series {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
        self.tags.hash(state);
    }
}

/// One row; a buffer that streams overwrite.
#[derive(Debug, Clone, Default)]
pub(crate) struct Row {
    pub series: Series,
    pub time: i64,
    pub values: Vec<FieldValue>,
}

/// A source of rows. Dropping it stops the work behind it.
pub(crate) trait RowStream {
    /// Overwrites `row` with the next row; `false` at the end.
    fn next_row(&mut self, row: &mut Row) -> Result<bool, ExecError>;
}

/// No rows.
pub(crate) struct Empty;

impl RowStream for Empty {
    fn next_row(&mut self, _: &mut Row) -> Result<bool, ExecError> {
        Ok(false)
    }
}
