//! A Parquet file for each measurement of each policy: the time, then tags, then fields.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanBuilder, Float64Builder, Int64Builder, StringBuilder, TimestampNanosecondBuilder,
    UInt64Builder,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use arrow::record_batch::RecordBatch;
use hyperbytedb_domain::{FieldType, FieldValue};
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;

use super::{Exporting, write_whole};
use crate::error::Error;
use crate::read::{Measurement, Row, tag_keys, value_of};

/// Rows of a row group: what the writer holds in memory.
const GROUP_ROWS: usize = 100_000;

const UTC: &str = "UTC";

/// Writes the files into the folder; how many points they have.
pub fn write(export: &Exporting<'_>, measurements: &[Measurement]) -> Result<u64, Error> {
    let folder = &export.command.output;
    fs::create_dir_all(folder).map_err(Error::file(folder))?;
    let mut points = 0;
    for measurement in measurements {
        let path = folder.join(file_name(measurement));
        points += write_whole(&path, |new| write_file(export, measurement, new))?;
    }
    Ok(points)
}

fn write_file(export: &Exporting<'_>, measurement: &Measurement, path: &Path) -> Result<u64, Error> {
    let failed = |error: parquet::errors::ParquetError| Error::Output {
        what: path.display().to_string(),
        source: error.into(),
    };
    let mut table =
        Table::new(measurement, tag_keys(&export.server, &export.command.database, &measurement.name)?);
    let properties = WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .set_max_row_group_row_count(Some(GROUP_ROWS))
        .build();
    let file = File::create(path).map_err(Error::file(path))?;
    let mut writer = ArrowWriter::try_new(file, table.schema.clone(), Some(properties)).map_err(failed)?;
    let mut answer = export.points(measurement)?;
    let mut points = 0;
    while answer.read(|tags, rows| {
        points += rows.len() as u64;
        rows.iter().try_for_each(|row| table.push(tags, row))
    })? {
        let batch = table.take().map_err(|error| failed(error.into()))?;
        writer.write(&batch).map_err(failed)?;
    }
    writer.close().map_err(failed)?;
    Ok(points)
}

/// `policy.measurement.parquet`, where what might not be allowed in names stands as %hex.
fn file_name(measurement: &Measurement) -> PathBuf {
    let safe = |name: &str| -> String {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
        name.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02x}") }).collect()
    };
    format!("{}.{}.parquet", safe(&measurement.policy), safe(&measurement.name)).into()
}

/// Rows that become a batch.
struct Table {
    schema: SchemaRef,
    time: TimestampNanosecondBuilder,
    tags: Vec<(String, StringBuilder)>,
    fields: Vec<(FieldType, Column)>,
}

enum Column {
    Float(Float64Builder),
    Integer(Int64Builder),
    Unsigned(UInt64Builder),
    String(StringBuilder),
    Boolean(BooleanBuilder),
}

impl Table {
    fn new(measurement: &Measurement, tags: Vec<String>) -> Self {
        let mut columns =
            vec![Field::new("time", DataType::Timestamp(TimeUnit::Nanosecond, Some(UTC.into())), false)];
        // As InfluxDB answers: a field whose name a tag has too gets a number.
        let mut add = |name: &str, kind: DataType, role: &str| {
            let is_taken = |name: &str| columns.iter().any(|column| column.name() == name);
            let numbered = |number: usize| format!("{name}_{number}");
            let name = if is_taken(name) {
                (1..).map(numbered).find(|name| !is_taken(name)).unwrap_or_default()
            } else {
                name.to_owned()
            };
            let role = [("influxdb.column".to_owned(), role.to_owned())].into();
            columns.push(Field::new(name, kind, true).with_metadata(role));
        };
        tags.iter().for_each(|tag| add(tag, DataType::Utf8, "tag"));
        measurement.fields.iter().for_each(|(name, kind)| add(name, data_type(*kind), "field"));
        Self {
            schema: Arc::new(Schema::new(columns)),
            time: TimestampNanosecondBuilder::new().with_timezone(UTC),
            tags: tags.into_iter().map(|tag| (tag, StringBuilder::new())).collect(),
            fields: measurement.fields.values().map(|kind| (*kind, Column::new(*kind))).collect(),
        }
    }

    fn push(&mut self, tags: &BTreeMap<String, String>, row: &Row<'_>) -> Result<(), Error> {
        let (time, values) = row.split_first().ok_or_else(|| Error::usage("a row without a time"))?;
        let time = time.get().parse().map_err(|_| Error::usage(format!("no time: {}", time.get())))?;
        self.time.append_value(time);
        for (name, column) in &mut self.tags {
            column.append_option(tags.get(name));
        }
        for (raw, (kind, column)) in values.iter().zip(&mut self.fields) {
            column.push(value_of(raw, *kind)?);
        }
        Ok(())
    }

    fn take(&mut self) -> Result<RecordBatch, arrow::error::ArrowError> {
        let mut columns: Vec<ArrayRef> = vec![Arc::new(self.time.finish())];
        columns.extend(self.tags.iter_mut().map(|(_, column)| Arc::new(column.finish()) as ArrayRef));
        columns.extend(self.fields.iter_mut().map(|(_, column)| column.finish()));
        RecordBatch::try_new(self.schema.clone(), columns)
    }
}

const fn data_type(kind: FieldType) -> DataType {
    match kind {
        FieldType::Float => DataType::Float64,
        FieldType::Integer => DataType::Int64,
        FieldType::Unsigned => DataType::UInt64,
        FieldType::String => DataType::Utf8,
        FieldType::Boolean => DataType::Boolean,
    }
}

impl Column {
    fn new(kind: FieldType) -> Self {
        match kind {
            FieldType::Float => Self::Float(Float64Builder::new()),
            FieldType::Integer => Self::Integer(Int64Builder::new()),
            FieldType::Unsigned => Self::Unsigned(UInt64Builder::new()),
            FieldType::String => Self::String(StringBuilder::new()),
            FieldType::Boolean => Self::Boolean(BooleanBuilder::new()),
        }
    }

    fn push(&mut self, value: FieldValue) {
        match (self, value) {
            (Self::Float(column), FieldValue::Float(value)) => column.append_value(value),
            (Self::Integer(column), FieldValue::Integer(value)) => column.append_value(value),
            (Self::Unsigned(column), FieldValue::Unsigned(value)) => column.append_value(value),
            (Self::String(column), FieldValue::String(value)) => column.append_value(value),
            (Self::Boolean(column), FieldValue::Boolean(value)) => column.append_value(value),
            (Self::Float(column), _) => column.append_null(),
            (Self::Integer(column), _) => column.append_null(),
            (Self::Unsigned(column), _) => column.append_null(),
            (Self::String(column), _) => column.append_null(),
            (Self::Boolean(column), _) => column.append_null(),
        }
    }

    fn finish(&mut self) -> ArrayRef {
        match self {
            Self::Float(column) => Arc::new(column.finish()),
            Self::Integer(column) => Arc::new(column.finish()),
            Self::Unsigned(column) => Arc::new(column.finish()),
            Self::String(column) => Arc::new(column.finish()),
            Self::Boolean(column) => Arc::new(column.finish()),
        }
    }
}
