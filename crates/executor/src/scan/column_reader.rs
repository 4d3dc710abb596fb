//! Values out of Arrow columns.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Float64Array, Int64Array, StringArray, UInt64Array,
};
use arrow::datatypes::{DataType, Float64Type, Int64Type, UInt64Type};
use hyperbytedb_domain::{EngineError, FieldValue};

/// A column of a batch, ready to be read row by row.
pub(crate) enum ColumnReader {
    Float(Float64Array),
    Integer(Int64Array),
    Unsigned(UInt64Array),
    Boolean(BooleanArray),
    Text(StringArray),
    /// Strings by key; a null key is `None`.
    Dictionary {
        keys: Vec<Option<usize>>,
        values: Vec<Arc<str>>,
    },
    /// Nothing but nulls.
    Null,
}

impl ColumnReader {
    pub fn new(array: &ArrayRef) -> Result<Self, EngineError> {
        Ok(match array.data_type() {
            DataType::Float64 => Self::Float(array.as_primitive::<Float64Type>().clone()),
            DataType::Int64 => Self::Integer(array.as_primitive::<Int64Type>().clone()),
            DataType::UInt64 => Self::Unsigned(array.as_primitive::<UInt64Type>().clone()),
            DataType::Boolean => Self::Boolean(array.as_boolean().clone()),
            DataType::Utf8 => Self::Text(array.as_string::<i32>().clone()),
            DataType::Dictionary(_, values) if **values == DataType::Utf8 => dictionary(array),
            DataType::Null => Self::Null,
            other => return Err(EngineError::failed("scan", format!("unexpected column type {other}"))),
        })
    }

    /// The value of a row; `Null` where it has none.
    pub fn value(&self, row: usize) -> FieldValue {
        match self {
            Self::Float(a) if a.is_valid(row) => FieldValue::Float(a.value(row)),
            Self::Integer(a) if a.is_valid(row) => FieldValue::Integer(a.value(row)),
            Self::Unsigned(a) if a.is_valid(row) => FieldValue::Unsigned(a.value(row)),
            Self::Boolean(a) if a.is_valid(row) => FieldValue::Boolean(a.value(row)),
            Self::Text(a) if a.is_valid(row) => FieldValue::String(a.value(row).into()),
            Self::Dictionary { keys, values } => {
                keys[row].map_or(FieldValue::Null, |key| FieldValue::String(Arc::clone(&values[key])))
            }
            _ => FieldValue::Null,
        }
    }

    /// The text of a tag; empty where it has none.
    pub fn text(&self, row: usize) -> &str {
        match self {
            Self::Text(a) if a.is_valid(row) => a.value(row),
            Self::Dictionary { keys, values } => keys[row].map_or("", |key| &values[key]),
            _ => "",
        }
    }

    /// The same, shared.
    pub fn shared_text(&self, row: usize) -> Arc<str> {
        match self {
            Self::Dictionary { keys, values } => {
                keys[row].map_or_else(|| Arc::from(""), |key| Arc::clone(&values[key]))
            }
            _ => Arc::from(self.text(row)),
        }
    }

    /// The integer of a row, 0 where it has none.
    pub fn integer(&self, row: usize) -> i64 {
        match self {
            Self::Integer(a) if a.is_valid(row) => a.value(row),
            _ => 0,
        }
    }
}

fn dictionary(array: &ArrayRef) -> ColumnReader {
    let dictionary = array.as_any_dictionary();
    let values = dictionary.values().as_string::<i32>();
    let values: Vec<Arc<str>> =
        (0..values.len()).map(|i| Arc::from(if values.is_valid(i) { values.value(i) } else { "" })).collect();
    if values.is_empty() {
        return ColumnReader::Null;
    }
    let keys = dictionary.normalized_keys();
    let keys =
        keys.into_iter().enumerate().map(|(i, k)| dictionary.keys().is_valid(i).then_some(k)).collect();
    ColumnReader::Dictionary { keys, values }
}
