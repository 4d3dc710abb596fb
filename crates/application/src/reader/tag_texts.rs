//! The tags of a batch as texts, however they are encoded.

use arrow::array::{Array, AsArray, RecordBatch, StringArray};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use arrow::error::ArrowError;

/// Some tag columns of a batch.
#[derive(Debug, Default)]
pub(crate) struct TagTexts(Vec<StringArray>);

impl TagTexts {
    pub fn new(batch: &RecordBatch, columns: impl Iterator<Item = usize>) -> Result<Self, ArrowError> {
        let text = |column| Ok(cast(batch.column(column), &DataType::Utf8)?.as_string::<i32>().clone());
        columns.map(text).collect::<Result<_, _>>().map(Self)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The texts of a row, column by column; empty where it has none.
    pub fn of_row(&self, row: usize) -> impl Iterator<Item = &str> {
        self.0.iter().map(move |column| if column.is_valid(row) { column.value(row) } else { "" })
    }
}
