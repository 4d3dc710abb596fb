//! Columns of one measurement, from whatever format.

use hashbrown::HashSet;
use hyperbytedb_domain::points::{FieldColumn, StringValues};

/// The row has no such tag.
pub const NO_TAG: u32 = u32::MAX;

/// A tag of all rows. Where its value is empty, a row does not have it.
#[derive(Debug)]
pub struct TagColumn {
    pub name: String,
    /// The values; they may repeat.
    pub values: StringValues,
    pub keys: Keys,
}

/// Which of the values a row has.
#[derive(Debug)]
pub enum Keys {
    /// All rows the first one.
    One,
    /// By row; [`NO_TAG`]: none.
    Codes(Vec<u32>),
}

impl TagColumn {
    pub fn value(&self, row: usize) -> &str {
        match &self.keys {
            Keys::One => self.values.get(0),
            Keys::Codes(codes) => codes.get(row).map_or("", |&code| self.values.get(code as usize)),
        }
    }

    /// `None`: as many as the others have.
    pub fn rows(&self) -> Option<usize> {
        match &self.keys {
            Keys::One => None,
            Keys::Codes(codes) => Some(codes.len()),
        }
    }
}

#[derive(Debug)]
pub struct Table {
    pub measurement: String,
    pub rows: usize,
    /// Nanoseconds since 1970; `None`: none of the rows has one.
    pub times: Option<Vec<i64>>,
    pub tags: Vec<TagColumn>,
    pub fields: Vec<FieldColumn>,
}

impl Table {
    /// Whether all columns have their place.
    pub fn check_names(&self) -> Result<(), String> {
        unique("tag", self.tags.iter().map(|tag| tag.name.as_str()))?;
        unique("field", self.fields.iter().map(|field| field.name.as_str()))
    }
}

fn unique<'a>(what: &str, mut names: impl Iterator<Item = &'a str>) -> Result<(), String> {
    let mut seen = HashSet::new();
    match names.find(|name| !seen.insert(*name)) {
        Some(name) => Err(format!("the {what} {name:?} is there twice")),
        None => Ok(()),
    }
}

/// The units of a precision, as nanoseconds; what does not fit is out of range anyway.
pub fn nanoseconds(time: i64, unit: i64) -> i64 {
    time.saturating_mul(unit)
}

/// The bytes of the longest value.
pub fn longest(values: &StringValues) -> usize {
    values.offsets.windows(2).map(|ends| ends[1].saturating_sub(ends[0])).max().unwrap_or(0)
}
