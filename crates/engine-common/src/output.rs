//! The column types a scan promises, and making the engine's batches so.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Schema};
use hyperbytedb_clickhouse_sql::aggregate::is_selector;
use hyperbytedb_domain::catalog::Table;
use hyperbytedb_domain::scan::{AggregateFunction, FieldId, Scan, ScanOutput};
use hyperbytedb_domain::{EngineError, FieldType};

/// The type of one column.
#[derive(Debug, Clone, PartialEq)]
pub enum OutputType {
    /// Utf8 or a dictionary of it.
    Tag,
    Exactly(DataType),
}

impl OutputType {
    /// The type to convert to.
    fn target(&self, actual: &DataType) -> DataType {
        match self {
            Self::Exactly(data_type) => data_type.clone(),
            Self::Tag if matches!(actual, DataType::Dictionary(..)) => {
                DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8))
            }
            Self::Tag => DataType::Utf8,
        }
    }
}

fn value_type(table: &Table, field: FieldId) -> DataType {
    match table.field_type(field) {
        Some(FieldType::Float) | None => DataType::Float64,
        Some(FieldType::Integer) => DataType::Int64,
        Some(FieldType::Unsigned) => DataType::UInt64,
        Some(FieldType::String) => DataType::Utf8,
        Some(FieldType::Boolean) => DataType::Boolean,
    }
}

/// The columns of a scan, in order.
pub fn output_types(scan: &Scan) -> Vec<OutputType> {
    let table = &scan.table;
    let time = OutputType::Exactly(DataType::Int64);
    let value = |field| OutputType::Exactly(value_type(table, field));
    match &scan.output {
        ScanOutput::Rows(rows) => {
            let mut types = vec![OutputType::Tag; rows.tags.len()];
            types.push(time);
            types.extend(rows.fields.iter().map(|f| value(*f)));
            types
        }
        ScanOutput::Aggregates(scan) => {
            let mut types = vec![OutputType::Tag; scan.group_by.len()];
            types.push(time.clone());
            for aggregate in &scan.aggregates {
                types.push(match aggregate.function {
                    AggregateFunction::Count => time.clone(),
                    AggregateFunction::Mean | AggregateFunction::Stddev | AggregateFunction::Median => {
                        OutputType::Exactly(DataType::Float64)
                    }
                    _ => value(aggregate.field),
                });
                if aggregate.with_time && is_selector(aggregate.function) {
                    types.push(time.clone());
                }
            }
            types.extend(scan.count_rows.then_some(time));
            types
        }
    }
}

/// The columns of a table as it is stored: time, series and shard, then its tags and its fields.
pub fn stored_types(table: &Table) -> Vec<OutputType> {
    let own = [DataType::Int64, DataType::UInt64, DataType::UInt64].map(OutputType::Exactly);
    let tags = std::iter::repeat_n(OutputType::Tag, table.tags.len());
    let fields = (0..table.fields.len() as u32).map(|n| OutputType::Exactly(value_type(table, FieldId(n))));
    own.into_iter().chain(tags).chain(fields).collect()
}

/// Converts the columns that are not of their type.
pub fn normalise(batch: RecordBatch, types: &[OutputType]) -> Result<RecordBatch, EngineError> {
    if batch.num_columns() != types.len() {
        let message = format!("{} columns instead of {}", batch.num_columns(), types.len());
        return Err(EngineError::failed("scan", message));
    }
    let schema = batch.schema();
    let targets = types.iter().zip(schema.fields()).map(|(t, f)| t.target(f.data_type()));
    let targets: Vec<DataType> = targets.collect();
    if targets.iter().zip(schema.fields()).all(|(target, field)| target == field.data_type()) {
        return Ok(batch);
    }
    let converted: Result<Vec<ArrayRef>, _> =
        batch.columns().iter().zip(&targets).map(|(column, target)| cast(column, target)).collect();
    let fields: Vec<Field> =
        schema.fields().iter().zip(targets).map(|(f, target)| Field::new(f.name(), target, true)).collect();
    converted
        .and_then(|columns| RecordBatch::try_new(Arc::new(Schema::new(fields)), columns))
        .map_err(|e| EngineError::failed("converting a batch", e))
}
