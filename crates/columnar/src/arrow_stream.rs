//! Arrow's IPC stream: `time`, tags as dictionaries of strings, fields by their type.

use arrow::array::cast::AsArray;
use arrow::array::types::{
    ArrowPrimitiveType, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType,
    UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow::array::{Array, ArrayRef, GenericStringArray, OffsetSizeTrait, RecordBatch};
use arrow::buffer::Buffer;
use arrow::compute::{cast, concat_batches};
use arrow::datatypes::{DataType, Schema, TimeUnit};
use arrow::ipc::reader::StreamDecoder;
use bytes::Bytes;
use hyperbytedb_domain::Precision;
use hyperbytedb_domain::points::{FieldColumn, FieldValues, StringValues};
use hyperbytedb_line_protocol::ParseOptions;

use crate::arrow_schema;
use crate::foreseen;
use crate::table::{Keys, NO_TAG, Table, TagColumn, nanoseconds};

const TIME: &str = "time";
/// Of the schema's metadata.
const MEASUREMENT: &str = "measurement";
/// Batches of one stream.
const BATCHES_MAX: usize = 65_536;

/// `measurement` goes before what the stream says.
pub fn read(body: &Bytes, measurement: &str, options: &ParseOptions) -> Result<Vec<Table>, String> {
    arrow_schema::check(body)?;
    let decoded = foreseen::catch(|| decode(body, options.max_points));
    let batches = match decoded.ok_or("it is malformed")?? {
        Decoded::Batches(batches) => batches,
        // Whoever counts them says so.
        Decoded::TooMany(rows) => return Ok(vec![rows_only(rows)]),
    };
    let Some(first) = batches.first() else { return Ok(Vec::new()) };
    let schema = first.schema();
    let batch = match &batches[..] {
        [batch] => batch.clone(),
        batches => concat_batches(&schema, batches).map_err(|error| error.to_string())?,
    };
    let named = schema.metadata().get(MEASUREMENT).map_or("", String::as_str);
    let measurement = if measurement.is_empty() { named } else { measurement };
    if measurement.is_empty() {
        return Err("the schema's metadata has no measurement, and the request names none".to_owned());
    }
    let table = table(&batch, &schema, measurement, options.precision)?;
    table.check_names()?;
    Ok(vec![table])
}

enum Decoded {
    Batches(Vec<RecordBatch>),
    /// So many rows, and there may be more.
    TooMany(usize),
}

fn decode(body: &Bytes, max_rows: usize) -> Result<Decoded, String> {
    let mut decoder = StreamDecoder::new();
    let mut rest = Buffer::from(body.clone());
    let (mut batches, mut rows) = (Vec::new(), 0usize);
    while let Some(batch) = decoder.decode(&mut rest).map_err(|error| error.to_string())? {
        rows = rows.saturating_add(batch.num_rows());
        batches.push(batch);
        if rows > max_rows {
            return Ok(Decoded::TooMany(rows));
        }
        if batches.len() > BATCHES_MAX {
            return Err(format!("more than {BATCHES_MAX} record batches"));
        }
    }
    decoder.finish().map_err(|error| error.to_string())?;
    Ok(Decoded::Batches(batches))
}

fn rows_only(rows: usize) -> Table {
    Table { measurement: String::new(), rows, times: None, tags: Vec::new(), fields: Vec::new() }
}

fn table(
    batch: &RecordBatch,
    schema: &Schema,
    measurement: &str,
    precision: Precision,
) -> Result<Table, String> {
    let mut table = Table { measurement: measurement.to_owned(), ..rows_only(batch.num_rows()) };
    for (field, column) in schema.fields().iter().zip(batch.columns()) {
        let name = field.name();
        let failed = |what: String| format!("column {name:?}: {what}");
        match column.data_type() {
            _ if name == TIME && table.times.is_some() => return Err(failed("it is there twice".to_owned())),
            _ if name == TIME => table.times = Some(times(column, precision).map_err(failed)?),
            DataType::Dictionary(..) => table.tags.push(tag(name, column).map_err(failed)?),
            _ => table.fields.push(FieldColumn {
                name: name.clone(),
                values: values(column).map_err(failed)?,
                present: present(column),
            }),
        }
    }
    Ok(table)
}

fn times(column: &ArrayRef, precision: Precision) -> Result<Vec<i64>, String> {
    if column.null_count() > 0 {
        return Err("a time is null".to_owned());
    }
    let of = |times: &[i64], unit: i64| match unit {
        1 => times.to_vec(),
        unit => times.iter().map(|&time| nanoseconds(time, unit)).collect(),
    };
    Ok(match column.data_type() {
        DataType::Timestamp(unit, _) => match unit {
            TimeUnit::Second => of(numbers::<TimestampSecondType>(column), 1_000_000_000),
            TimeUnit::Millisecond => of(numbers::<TimestampMillisecondType>(column), 1_000_000),
            TimeUnit::Microsecond => of(numbers::<TimestampMicrosecondType>(column), 1_000),
            TimeUnit::Nanosecond => of(numbers::<TimestampNanosecondType>(column), 1),
        },
        DataType::Int64 => of(numbers::<Int64Type>(column), precision.nanoseconds()),
        other => return Err(format!("{other} is no time: it must be a timestamp or int64")),
    })
}

fn numbers<T: ArrowPrimitiveType>(column: &ArrayRef) -> &[T::Native] {
    column.as_primitive::<T>().values()
}

fn tag(name: &str, column: &ArrayRef) -> Result<TagColumn, String> {
    let dictionary = column.as_any_dictionary();
    let values = match dictionary.values().data_type() {
        DataType::Utf8 => dictionary.values().clone(),
        DataType::LargeUtf8 | DataType::Utf8View => {
            cast(dictionary.values(), &DataType::Utf8).map_err(|error| error.to_string())?
        }
        other => return Err(format!("a tag is a dictionary of strings, not of {other}")),
    };
    let values = strings(values.as_string::<i32>());
    let mut keys: Vec<u32> = match dictionary.keys().data_type() {
        DataType::Int32 => {
            dictionary.keys().as_primitive::<Int32Type>().values().iter().map(|&key| key as u32).collect()
        }
        DataType::UInt32 => dictionary.keys().as_primitive::<UInt32Type>().values().to_vec(),
        _ => {
            let keys = cast(dictionary.keys(), &DataType::UInt32).map_err(|error| error.to_string())?;
            keys.as_primitive::<UInt32Type>().values().to_vec()
        }
    };
    if let Some(nulls) = dictionary.keys().nulls() {
        keys.iter_mut().enumerate().filter(|(row, _)| nulls.is_null(*row)).for_each(|(_, key)| *key = NO_TAG);
    }
    Ok(TagColumn { name: name.to_owned(), values, keys: Keys::Codes(keys) })
}

fn values(column: &ArrayRef) -> Result<FieldValues, String> {
    Ok(match column.data_type() {
        DataType::Float64 => FieldValues::Float(numbers::<Float64Type>(column).to_vec()),
        DataType::Float32 => FieldValues::Float(widened::<Float32Type, _>(column)),
        DataType::Int64 => FieldValues::Integer(numbers::<Int64Type>(column).to_vec()),
        DataType::Int32 => FieldValues::Integer(widened::<Int32Type, _>(column)),
        DataType::Int16 => FieldValues::Integer(widened::<Int16Type, _>(column)),
        DataType::Int8 => FieldValues::Integer(widened::<Int8Type, _>(column)),
        DataType::UInt64 => FieldValues::Unsigned(numbers::<UInt64Type>(column).to_vec()),
        // As integers they need no support for unsigned ones.
        DataType::UInt32 => FieldValues::Integer(widened::<UInt32Type, _>(column)),
        DataType::UInt16 => FieldValues::Integer(widened::<UInt16Type, _>(column)),
        DataType::UInt8 => FieldValues::Integer(widened::<UInt8Type, _>(column)),
        DataType::Boolean => FieldValues::Boolean(column.as_boolean().values().iter().collect()),
        DataType::Utf8 => FieldValues::String(strings(column.as_string::<i32>())),
        DataType::LargeUtf8 => FieldValues::String(strings(column.as_string::<i64>())),
        other => {
            return Err(format!(
                "a field is float, integer, boolean or string, not {other}; a tag is a dictionary of strings"
            ));
        }
    })
}

fn widened<T: ArrowPrimitiveType, W: From<T::Native>>(column: &ArrayRef) -> Vec<W> {
    numbers::<T>(column).iter().map(|&value| W::from(value)).collect()
}

fn strings<O: OffsetSizeTrait>(column: &GenericStringArray<O>) -> StringValues {
    let offsets = column.value_offsets();
    let first = offsets.first().map_or(0, |offset| offset.as_usize());
    let last = offsets.last().map_or(0, |offset| offset.as_usize());
    let text = column.value_data().get(first..last).map(str::from_utf8);
    // What is null may have a text.
    if let (0, Some(Ok(text))) = (column.null_count(), text) {
        let offsets = offsets.iter().map(|offset| offset.as_usize() - first).collect();
        return StringValues { bytes: text.to_owned(), offsets };
    }
    let mut strings = StringValues::default();
    column.iter().for_each(|value| strings.push(value.unwrap_or_default()));
    strings
}

fn present(column: &ArrayRef) -> Option<Vec<bool>> {
    column.nulls().filter(|nulls| nulls.null_count() > 0).map(|nulls| nulls.iter().collect())
}
