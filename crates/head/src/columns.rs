//! Answers as record batches, in the shape that scans promise.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanBuilder, DictionaryArray, Float64Builder, Int32Array, Int64Builder, RecordBatch,
    RecordBatchOptions, StringArray, StringBuilder, UInt64Builder,
};
use arrow::datatypes::{Field, Int32Type, Schema};
use hashbrown::HashMap;
use hyperbytedb_domain::catalog::Table;
use hyperbytedb_domain::scan::{FieldId, RowScan};
use hyperbytedb_domain::{EngineError, FieldType};

use crate::chunk::Chunk;
use crate::layout::Layout;
use crate::rows::Source;
use crate::value::Value;

/// A column of values of one type.
pub enum ValueColumn {
    Float(Float64Builder),
    Integer(Int64Builder),
    Unsigned(UInt64Builder),
    Boolean(BooleanBuilder),
    Text(StringBuilder),
}

impl ValueColumn {
    pub fn new(field_type: FieldType) -> Self {
        match field_type {
            FieldType::Float => Self::Float(Float64Builder::new()),
            FieldType::Integer => Self::Integer(Int64Builder::new()),
            FieldType::Unsigned => Self::Unsigned(UInt64Builder::new()),
            FieldType::Boolean => Self::Boolean(BooleanBuilder::new()),
            FieldType::String => Self::Text(StringBuilder::new()),
        }
    }

    /// Appends a value; null for one of another type.
    pub fn append(&mut self, value: Option<Value<'_>>) {
        match (self, value) {
            (Self::Float(column), Some(Value::Float(v))) => column.append_value(v),
            (Self::Integer(column), Some(Value::Integer(v))) => column.append_value(v),
            (Self::Unsigned(column), Some(Value::Unsigned(v))) => column.append_value(v),
            (Self::Boolean(column), Some(Value::Boolean(v))) => column.append_value(v),
            (Self::Text(column), Some(Value::Text(v))) => column.append_value(v),
            (Self::Float(column), _) => column.append_null(),
            (Self::Integer(column), _) => column.append_null(),
            (Self::Unsigned(column), _) => column.append_null(),
            (Self::Boolean(column), _) => column.append_null(),
            (Self::Text(column), _) => column.append_null(),
        }
    }

    pub fn finish(&mut self) -> ArrayRef {
        match self {
            Self::Float(column) => Arc::new(column.finish()),
            Self::Integer(column) => Arc::new(column.finish()),
            Self::Unsigned(column) => Arc::new(column.finish()),
            Self::Boolean(column) => Arc::new(column.finish()),
            Self::Text(column) => Arc::new(column.finish()),
        }
    }
}

/// A tag: each value once, and a key a row.
#[derive(Default)]
pub struct TagColumn {
    known: HashMap<u32, i32>,
    values: Vec<Arc<str>>,
    keys: Vec<i32>,
}

impl TagColumn {
    pub fn append(&mut self, code: u32, text: &Arc<str>) {
        let key = *self.known.entry(code).or_insert_with(|| {
            self.values.push(text.clone());
            (self.values.len() - 1) as i32
        });
        self.keys.push(key);
    }

    pub fn finish(&mut self) -> Result<ArrayRef, EngineError> {
        self.known.clear();
        let values = StringArray::from_iter_values(std::mem::take(&mut self.values));
        let keys = Int32Array::from(std::mem::take(&mut self.keys));
        let array = DictionaryArray::<Int32Type>::try_new(keys, Arc::new(values));
        Ok(Arc::new(array.map_err(|error| EngineError::failed("read the head", error))?))
    }
}

/// A batch of columns, whose names mean nothing.
pub fn batch(columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch, EngineError> {
    let fields: Vec<Field> = columns
        .iter()
        .enumerate()
        .map(|(n, column)| Field::new(n.to_string(), column.data_type().clone(), true))
        .collect();
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options)
        .map_err(|error| EngineError::failed("read the head", error))
}

/// The columns of a row scan.
pub struct RowColumns {
    tags: Vec<TagColumn>,
    times: Int64Builder,
    fields: Vec<(FieldId, ValueColumn)>,
    rows: usize,
    /// Where the fields are in rows of the last layout.
    layout: Option<Arc<Layout>>,
    positions: Vec<Option<usize>>,
}

impl RowColumns {
    pub fn new(table: &Table, rows: &RowScan) -> Self {
        let column =
            |id: &FieldId| (*id, ValueColumn::new(table.field_type(*id).unwrap_or(FieldType::Float)));
        Self {
            tags: rows.tags.iter().map(|_| TagColumn::default()).collect(),
            times: Int64Builder::new(),
            fields: rows.fields.iter().map(column).collect(),
            rows: 0,
            layout: None,
            positions: Vec::new(),
        }
    }

    pub fn rows(&self) -> usize {
        self.rows
    }

    pub fn append(&mut self, source: &Source, chunk: &Chunk, row: usize) {
        if !self.layout.as_ref().is_some_and(|layout| Arc::ptr_eq(layout, chunk.layout())) {
            self.positions = self.fields.iter().map(|(id, _)| chunk.layout().position(*id)).collect();
            self.layout = Some(chunk.layout().clone());
        }
        for (column, (code, text)) in self.tags.iter_mut().zip(&source.tags) {
            column.append(*code, text);
        }
        self.times.append_value(chunk.time(row));
        for ((_, column), position) in self.fields.iter_mut().zip(&self.positions) {
            column.append(position.and_then(|position| chunk.value(row, position)));
        }
        self.rows += 1;
    }

    pub fn finish(&mut self) -> Result<RecordBatch, EngineError> {
        let mut columns = Vec::with_capacity(self.tags.len() + 1 + self.fields.len());
        for tag in &mut self.tags {
            columns.push(tag.finish()?);
        }
        columns.push(Arc::new(self.times.finish()) as ArrayRef);
        columns.extend(self.fields.iter_mut().map(|(_, column)| column.finish()));
        batch(columns, std::mem::take(&mut self.rows))
    }
}
