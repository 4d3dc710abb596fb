//! A batch while it is filled, row by row.

use hashbrown::{DefaultHashBuilder, HashTable};
use hyperbytedb_domain::field::FieldType;
use hyperbytedb_domain::points::{FieldColumn, FieldValues, PointsBatch, StringValues};
use hyperbytedb_domain::series::Tags;
use std::hash::BuildHasher;

use crate::fields::Value;

/// No column.
pub(crate) const NONE: u32 = u32::MAX;

/// A field column while it is filled. It may be shorter than the batch: rows at the end that lack the
/// field are added only when a later row has it.
#[derive(Debug)]
pub(crate) struct Column {
    /// The field key as written in the line that made the column, with its equal sign.
    pub key: Vec<u8>,
    name: String,
    /// The column of the field that followed this one last time.
    pub next: u32,
    pub values: FieldValues,
    pub present: Option<Vec<bool>>,
}

impl Column {
    fn new(key: &[u8], name: &str, field_type: FieldType) -> Self {
        let values = match field_type {
            FieldType::Float => FieldValues::Float(Vec::new()),
            FieldType::Integer => FieldValues::Integer(Vec::new()),
            FieldType::Unsigned => FieldValues::Unsigned(Vec::new()),
            FieldType::Boolean => FieldValues::Boolean(Vec::new()),
            FieldType::String => FieldValues::String(StringValues::default()),
        };
        let key = [key, b"="].concat();
        Self { key, name: name.to_owned(), next: NONE, values, present: None }
    }

    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Makes the column end before `row`, which it may already have (then the old value goes) or not
    /// yet reach (then absent rows fill the gap).
    #[inline]
    fn make_ready(&mut self, row: usize) {
        if self.len() != row {
            self.resize(row);
        }
        if let Some(present) = &mut self.present {
            present.push(true);
        }
    }

    #[cold]
    fn resize(&mut self, rows: usize) {
        let old = self.len();
        if old < rows {
            self.present.get_or_insert_with(|| vec![true; old]);
        }
        if let Some(present) = &mut self.present {
            present.resize(rows, false);
        }
        match &mut self.values {
            FieldValues::Float(v) => v.resize(rows, 0.0),
            FieldValues::Integer(v) => v.resize(rows, 0),
            FieldValues::Unsigned(v) => v.resize(rows, 0),
            FieldValues::Boolean(v) => v.resize(rows, false),
            FieldValues::String(v) => {
                v.offsets.resize(rows + 1, v.bytes.len());
                v.bytes.truncate(v.offsets[rows]);
            }
        }
    }

    /// Sets the value of `row`, the last one. The value has the type of the column.
    pub fn set(&mut self, row: usize, value: Value<'_>) {
        self.make_ready(row);
        match (&mut self.values, value) {
            (FieldValues::Float(v), Value::Float(value)) => v.push(value),
            (FieldValues::Integer(v), Value::Integer(value)) => v.push(value),
            (FieldValues::Unsigned(v), Value::Unsigned(value)) => v.push(value),
            (FieldValues::Boolean(v), Value::Boolean(value)) => v.push(value),
            (FieldValues::String(v), Value::String(value)) => v.push(&value),
            _ => debug_assert!(false, "value of another type than its column"),
        }
    }

    fn finish(mut self, rows: usize) -> FieldColumn {
        if self.len() != rows {
            self.resize(rows);
        }
        FieldColumn { name: self.name, values: self.values, present: self.present }
    }
}

impl Value<'_> {
    const fn field_type(&self) -> FieldType {
        match self {
            Self::Float(_) => FieldType::Float,
            Self::Integer(_) => FieldType::Integer,
            Self::Unsigned(_) => FieldType::Unsigned,
            Self::Boolean(_) => FieldType::Boolean,
            Self::String(_) => FieldType::String,
        }
    }
}

/// The batch of one measurement while it is filled.
#[derive(Debug)]
pub(crate) struct Batch {
    pub measurement: String,
    pub times: Vec<i64>,
    pub series_of_row: Vec<u32>,
    pub line_of_row: Vec<u32>,
    pub series: Vec<Tags>,
    pub columns: Vec<Column>,
    /// The first field of the previous line.
    pub first_column: u32,
    /// Column numbers by the hash of their key as written.
    by_key: HashTable<u32>,
    /// Column numbers by the hash of name and type.
    by_name: HashTable<u32>,
    hasher: DefaultHashBuilder,
}

impl Batch {
    pub fn new(measurement: String) -> Self {
        Self {
            measurement,
            times: Vec::new(),
            series_of_row: Vec::new(),
            line_of_row: Vec::new(),
            series: Vec::new(),
            columns: Vec::new(),
            first_column: NONE,
            by_key: HashTable::new(),
            by_name: HashTable::new(),
            hasher: DefaultHashBuilder::default(),
        }
    }

    pub fn rows(&self) -> usize {
        self.times.len()
    }

    /// The first column whose key was written like `key`.
    pub fn column_of_key(&self, key: &[u8]) -> Option<u32> {
        let is_it = |&c: &u32| self.columns[c as usize].key.split_last().is_some_and(|(_, k)| k == key);
        self.by_key.find(self.hasher.hash_one(key), is_it).copied()
    }

    pub fn column_of_name(&self, name: &str, value: &Value<'_>) -> Option<u32> {
        let wanted = value.field_type();
        let is_it = |&c: &u32| {
            let column = &self.columns[c as usize];
            column.name == name && column.values.field_type() == wanted
        };
        self.by_name.find(self.hasher.hash_one((name, wanted as u8)), is_it).copied()
    }

    /// Sets a field of the row that is being filled, making its column where there is none.
    pub fn set_field(&mut self, key: &[u8], name: &str, value: Value<'_>) {
        let row = self.rows();
        let column = match self.column_of_name(name, &value) {
            Some(column) => column,
            None => self.add_column(key, name, value.field_type()),
        };
        self.columns[column as usize].set(row, value);
    }

    fn add_column(&mut self, key: &[u8], name: &str, field_type: FieldType) -> u32 {
        let number = self.columns.len() as u32;
        self.columns.push(Column::new(key, name, field_type));
        let Self { columns, by_key, by_name, hasher, .. } = self;
        let rehash_key = |&c: &u32| {
            let key = &columns[c as usize].key;
            hasher.hash_one(&key[..key.len() - 1])
        };
        let rehash_name = |&c: &u32| {
            let column = &columns[c as usize];
            hasher.hash_one((column.name.as_str(), column.values.field_type() as u8))
        };
        let same_key = |&c: &u32| columns[c as usize].key == columns[number as usize].key;
        let key_hash = rehash_key(&number);
        if by_key.find(key_hash, same_key).is_none() {
            by_key.insert_unique(key_hash, number, rehash_key);
        }
        by_name.insert_unique(rehash_name(&number), number, rehash_name);
        number
    }

    /// Ends the row.
    pub fn commit(&mut self, time: i64, series: u32, line: u32) {
        self.times.push(time);
        self.series_of_row.push(series);
        self.line_of_row.push(line);
    }

    /// Takes back what columns hold of the row that was being filled.
    #[cold]
    pub fn roll_back(&mut self, touched: &[u32]) {
        let rows = self.rows();
        for &column in touched {
            let column = &mut self.columns[column as usize];
            if column.len() > rows {
                column.resize(rows);
            }
        }
    }

    pub fn finish(self) -> PointsBatch {
        let rows = self.times.len();
        PointsBatch {
            measurement: self.measurement,
            times: self.times,
            tag_keys: None,
            series_of_row: self.series_of_row,
            line_of_row: self.line_of_row,
            series: self.series,
            fields: self.columns.into_iter().map(|column| column.finish(rows)).collect(),
        }
    }
}
