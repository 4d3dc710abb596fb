//! Points of one measurement from one write request, column by column.

use serde::{Deserialize, Serialize};

use crate::field::FieldType;
use crate::series::Tags;

/// A columnar batch. `times`, `series_of_row` and `line_of_row` have one entry a row; each column of
/// `fields` has one slot a row. Rows are in the order of the request.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct PointsBatch {
    pub measurement: String,
    /// Nanoseconds since 1970.
    pub times: Vec<i64>,
    /// Index into `series`.
    pub series_of_row: Vec<u32>,
    /// Index of the point's line in the request (see the parser's line table).
    #[serde(skip)]
    pub line_of_row: Vec<u32>,
    /// The distinct tag sets, in order of first appearance.
    pub series: Vec<Tags>,
    /// All keys that the tag sets may have, where somebody knows them.
    #[serde(skip)]
    pub tag_keys: Option<Vec<String>>,
    /// In order of first appearance. Two columns may share a name when the request itself mixes types:
    /// the schema check then drops the rows of the later one.
    pub fields: Vec<FieldColumn>,
}

/// One field of a batch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FieldColumn {
    pub name: String,
    pub values: FieldValues,
    /// Whether each row has the field; `None` when all have. Absent rows hold a default value.
    pub present: Option<Vec<bool>>,
}

/// The values of a field column, one a row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum FieldValues {
    Float(Vec<f64>),
    Integer(Vec<i64>),
    Unsigned(Vec<u64>),
    Boolean(Vec<bool>),
    String(StringValues),
}

/// Strings in one buffer: value `i` is `bytes[offsets[i]..offsets[i + 1]]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StringValues {
    pub bytes: String,
    pub offsets: Vec<usize>,
}

impl Default for StringValues {
    fn default() -> Self {
        Self { bytes: String::new(), offsets: vec![0] }
    }
}

impl StringValues {
    pub fn push(&mut self, value: &str) {
        self.bytes.push_str(value);
        self.offsets.push(self.bytes.len());
    }

    pub fn len(&self) -> usize {
        self.offsets.len().saturating_sub(1)
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether it is one buffer cut at its offsets; what was stored may be anything.
    pub fn is_sound(&self) -> bool {
        self.offsets.first() == Some(&0)
            && self.offsets.last() == Some(&self.bytes.len())
            && self.offsets.is_sorted()
            && self.offsets.iter().all(|&at| self.bytes.is_char_boundary(at))
    }

    /// The value of row `i`; empty past the end.
    pub fn get(&self, i: usize) -> &str {
        match (self.offsets.get(i), self.offsets.get(i + 1)) {
            (Some(&from), Some(&to)) => self.bytes.get(from..to).unwrap_or_default(),
            _ => "",
        }
    }
}

impl FieldValues {
    pub fn len(&self) -> usize {
        match self {
            Self::Float(values) => values.len(),
            Self::Integer(values) => values.len(),
            Self::Unsigned(values) => values.len(),
            Self::Boolean(values) => values.len(),
            Self::String(values) => values.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub const fn field_type(&self) -> FieldType {
        match self {
            Self::Float(_) => FieldType::Float,
            Self::Integer(_) => FieldType::Integer,
            Self::Unsigned(_) => FieldType::Unsigned,
            Self::Boolean(_) => FieldType::Boolean,
            Self::String(_) => FieldType::String,
        }
    }
}

impl FieldColumn {
    pub fn is_present(&self, row: usize) -> bool {
        self.present.as_ref().is_none_or(|p| p.get(row).copied().unwrap_or(false))
    }
}

impl PointsBatch {
    pub fn rows(&self) -> usize {
        self.times.len()
    }
}
