//! Field values as words of 64 bits.

use std::cmp::Ordering;

use hyperbytedb_domain::{FieldType, FieldValue};

/// Where a string is in the text of its chunk: 32 bits of offset, 32 of length.
#[derive(Debug, Clone, Copy)]
pub struct TextRef {
    offset: u32,
    length: u32,
}

impl TextRef {
    pub const fn of(word: u64) -> Self {
        Self { offset: (word >> 32) as u32, length: word as u32 }
    }

    pub const fn word(self) -> u64 {
        (self.offset as u64) << 32 | self.length as u64
    }

    pub const fn len(self) -> usize {
        self.length as usize
    }

    /// Appends a string. A chunk's text stays far below 4 GiB: strings are at most 1 MiB, chunks some hundred rows.
    pub fn append(text: &mut String, value: &str) -> Self {
        let reference = Self { offset: text.len() as u32, length: value.len() as u32 };
        text.push_str(value);
        reference
    }

    pub fn text(self, text: &str) -> &str {
        let from = self.offset as usize;
        text.get(from..from + self.len()).unwrap_or_default()
    }
}

/// A value that is present.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value<'a> {
    Float(f64),
    Integer(i64),
    Unsigned(u64),
    Boolean(bool),
    Text(&'a str),
}

impl<'a> Value<'a> {
    pub fn of(field_type: FieldType, word: u64, text: &'a str) -> Self {
        match field_type {
            FieldType::Float => Self::Float(f64::from_bits(word)),
            FieldType::Integer => Self::Integer(word as i64),
            FieldType::Unsigned => Self::Unsigned(word),
            FieldType::Boolean => Self::Boolean(word != 0),
            FieldType::String => Self::Text(TextRef::of(word).text(text)),
        }
    }

    /// A literal of a condition; `None` for what compares with nothing.
    pub fn of_literal(literal: &'a FieldValue) -> Option<Self> {
        Some(match literal {
            FieldValue::Float(v) => Self::Float(*v),
            FieldValue::Integer(v) | FieldValue::Time(v) => Self::Integer(*v),
            FieldValue::Unsigned(v) => Self::Unsigned(*v),
            FieldValue::Boolean(v) => Self::Boolean(*v),
            FieldValue::String(v) => Self::Text(v),
            FieldValue::Null | FieldValue::Strings(_) => return None,
        })
    }

    /// Numbers with numbers, texts with texts; exact across types. `None` for what cannot be compared.
    pub fn compare(self, other: Value<'_>) -> Option<Ordering> {
        match (self, other) {
            (Self::Text(a), Value::Text(b)) => Some(a.cmp(b)),
            (Self::Boolean(a), Value::Boolean(b)) => Some(a.cmp(&b)),
            (Self::Float(a), Value::Float(b)) => a.partial_cmp(&b),
            (Self::Float(a), b) => Some(compare_float(a, b.whole()?)?),
            (a, Value::Float(b)) => Some(compare_float(b, a.whole()?)?.reverse()),
            (a, b) => Some(a.whole()?.cmp(&b.whole()?)),
        }
    }

    fn whole(self) -> Option<i128> {
        match self {
            Self::Integer(v) => Some(v.into()),
            Self::Unsigned(v) => Some(v.into()),
            _ => None,
        }
    }
}

/// Exact: a large integer is not rounded.
fn compare_float(float: f64, integer: i128) -> Option<Ordering> {
    if float.is_nan() {
        return None;
    }
    // Saturates far beyond all integers.
    let below = float.floor();
    let order = (below as i128).cmp(&integer);
    Some(if order == Ordering::Equal && float > below { Ordering::Greater } else { order })
}
