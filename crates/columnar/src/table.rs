//! Columns of one measurement, from whatever format.

use hashbrown::HashSet;
use hyperbytedb_domain::points::FieldColumn;

/// The row has no such tag.
pub const NO_TAG: u32 = u32::MAX;

/// A tag of all rows.
#[derive(Debug)]
pub struct TagColumn {
    pub name: String,
    /// The values; they may repeat.
    pub values: Vec<String>,
    /// Which of them a row has.
    pub keys: Vec<u32>,
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
