//! Small results: a table of names and numbers.

use std::sync::Arc;

use hyperbytedb_domain::field::FieldValue;
use hyperbytedb_domain::result::SeriesBlock;

/// Builds one result series.
#[derive(Debug)]
pub struct Rows {
    name: String,
    columns: Vec<&'static str>,
    values: Vec<FieldValue>,
}

impl Rows {
    /// `name` empty: the series has none.
    pub fn new(name: impl Into<String>, columns: &[&'static str]) -> Self {
        Self { name: name.into(), columns: columns.to_vec(), values: Vec::new() }
    }

    /// Appends a row; it must have as many values as there are columns.
    pub fn row<const N: usize>(&mut self, values: [FieldValue; N]) {
        debug_assert_eq!(N, self.columns.len());
        self.values.extend(values);
    }

    /// Appends values row by row.
    pub fn extend(&mut self, values: impl IntoIterator<Item = FieldValue>) {
        self.values.extend(values);
    }

    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    pub fn block(self) -> SeriesBlock {
        SeriesBlock {
            name: self.name.into(),
            tags: None,
            columns: self.columns.iter().map(|c| (*c).to_owned()).collect(),
            values: self.values,
            partial: false,
            zone: None,
        }
    }
}

pub fn text(value: impl AsRef<str>) -> FieldValue {
    FieldValue::String(Arc::from(value.as_ref()))
}

pub fn integer(value: impl TryInto<i64>) -> FieldValue {
    FieldValue::Integer(value.try_into().unwrap_or(i64::MAX))
}

/// A page of `items`: OFFSET, then LIMIT (0 = all).
pub fn page<T>(items: impl IntoIterator<Item = T>, limit: u64, offset: u64) -> Vec<T> {
    let limit = if limit == 0 { usize::MAX } else { usize::try_from(limit).unwrap_or(usize::MAX) };
    items.into_iter().skip(usize::try_from(offset).unwrap_or(usize::MAX)).take(limit).collect()
}
