//! Tables, batches and scans by hand.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, DictionaryArray, Float64Array, Int64Array, RecordBatch,
    StringArray, UInt64Array,
};
use arrow::datatypes::{DataType, Float64Type, Int32Type, Int64Type, UInt64Type};
use hyperbytedb_domain::catalog::{FieldDef, Table, TableId};
use hyperbytedb_domain::columns::{SERIES_COLUMN, SHARD_COLUMN, TIME_COLUMN, field_column, tag_column};
use hyperbytedb_domain::field::FieldValue;
use hyperbytedb_domain::ports::{BatchStream, QueryPort};
use hyperbytedb_domain::scan::{
    Aggregate, AggregateFunction, AggregateScan, FieldId, Predicate, RowScan, Scan, ScanOutput, TagId,
};
use hyperbytedb_domain::time::TimeRange;
use hyperbytedb_domain::{EngineError, FieldType, QueryContext, Tags};

pub const WEEK: i64 = 7 * 24 * 3_600 * 1_000_000_000;

pub fn table(id: u64, tags: &[&str], fields: &[(&str, FieldType)]) -> Arc<Table> {
    Arc::new(Table {
        id: TableId(id),
        database: "db".into(),
        retention_policy: "autogen".into(),
        measurement: "m".into(),
        version: 0,
        shard_duration: WEEK,
        tags: tags.iter().map(|t| t.to_string()).collect(),
        fields: fields
            .iter()
            .map(|(name, field_type)| FieldDef { name: name.to_string(), field_type: *field_type })
            .collect(),
    })
}

/// Tags and fields by position; a missing tag is "" and a missing field is Null.
#[derive(Clone)]
pub struct Row {
    pub time: i64,
    pub tags: Vec<String>,
    pub fields: Vec<FieldValue>,
}

pub fn row(time: i64, tags: &[&str], fields: &[FieldValue]) -> Row {
    Row { time, tags: tags.iter().map(|t| t.to_string()).collect(), fields: fields.to_vec() }
}

pub const NULL: FieldValue = FieldValue::Null;

pub fn f(value: f64) -> FieldValue {
    FieldValue::Float(value)
}

pub fn i(value: i64) -> FieldValue {
    FieldValue::Integer(value)
}

pub fn u(value: u64) -> FieldValue {
    FieldValue::Unsigned(value)
}

pub fn s(value: &str) -> FieldValue {
    FieldValue::String(value.into())
}

pub fn b(value: bool) -> FieldValue {
    FieldValue::Boolean(value)
}

/// The shard of a time: a week. Shards are numbered from far before 1970 on.
pub fn shard_of(time: i64) -> u64 {
    (time.div_euclid(WEEK) + 100_000) as u64
}

fn series_id(table: &Table, row: &Row) -> u64 {
    let pairs = table.tags.iter().cloned().zip(row.tags.iter().cloned()).collect();
    Tags::new(pairs).series_id().0
}

/// As the flusher makes them: sorted, dictionary-encoded tags.
pub fn batch(table: &Table, rows: &[Row]) -> RecordBatch {
    let mut rows = rows.to_vec();
    rows.sort_by_key(|r| (series_id(table, r), r.time));
    let mut columns: Vec<(String, ArrayRef)> = vec![
        (TIME_COLUMN.into(), Arc::new(Int64Array::from_iter_values(rows.iter().map(|r| r.time)))),
        (
            SERIES_COLUMN.into(),
            Arc::new(UInt64Array::from_iter_values(rows.iter().map(|r| series_id(table, r)))),
        ),
        (SHARD_COLUMN.into(), Arc::new(UInt64Array::from_iter_values(rows.iter().map(|r| shard_of(r.time))))),
    ];
    for n in 0..table.tags.len() {
        let values: DictionaryArray<Int32Type> =
            rows.iter().map(|r| r.tags.get(n).map_or("", |t| t.as_str())).collect();
        columns.push((tag_column(TagId(n as u32)), Arc::new(values)));
    }
    for (n, field) in table.fields.iter().enumerate() {
        let values = rows.iter().map(|r| r.fields.get(n).cloned().unwrap_or_default());
        columns.push((field_column(FieldId(n as u32)), array(field.field_type, values)));
    }
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, array)| (name, array, true)))
        .unwrap()
}

fn array(field_type: FieldType, values: impl Iterator<Item = FieldValue>) -> ArrayRef {
    fn only<T>(value: FieldValue, get: impl Fn(&FieldValue) -> Option<T>) -> Option<T> {
        let got = get(&value);
        assert!(got.is_some() || value == FieldValue::Null, "{value:?} in a column of another type");
        got
    }
    match field_type {
        FieldType::Float => Arc::new(Float64Array::from_iter(
            values.map(|v| only(v, |v| if let FieldValue::Float(x) = v { Some(*x) } else { None })),
        )),
        FieldType::Integer => Arc::new(Int64Array::from_iter(
            values.map(|v| only(v, |v| if let FieldValue::Integer(x) = v { Some(*x) } else { None })),
        )),
        FieldType::Unsigned => Arc::new(UInt64Array::from_iter(
            values.map(|v| only(v, |v| if let FieldValue::Unsigned(x) = v { Some(*x) } else { None })),
        )),
        FieldType::Boolean => Arc::new(BooleanArray::from_iter(
            values.map(|v| only(v, |v| if let FieldValue::Boolean(x) = v { Some(*x) } else { None })),
        )),
        FieldType::String => {
            Arc::new(StringArray::from_iter(values.map(|v| {
                only(v, |v| if let FieldValue::String(x) = v { Some(x.to_string()) } else { None })
            })))
        }
    }
}

/// A scan of rows of all time; all tags and fields unless `output` names some.
pub fn rows(table: &Arc<Table>, mut output: RowScan) -> Scan {
    if output.tags.is_empty() {
        output.tags = (0..table.tags.len() as u32).map(TagId).collect();
    }
    if output.fields.is_empty() {
        output.fields = (0..table.fields.len() as u32).map(FieldId).collect();
    }
    scan(table, ScanOutput::Rows(output))
}

pub fn aggregates(table: &Arc<Table>, output: AggregateScan) -> Scan {
    scan(table, ScanOutput::Aggregates(output))
}

fn scan(table: &Arc<Table>, output: ScanOutput) -> Scan {
    Scan {
        table: table.clone(),
        time: TimeRange::ALL,
        filter: None,
        shards: None,
        merge_duplicates: false,
        output,
    }
}

pub fn aggregate(function: AggregateFunction, field: u32, with_time: bool) -> Aggregate {
    Aggregate { function, field: FieldId(field), with_time }
}

pub fn filtered(mut scan: Scan, filter: Predicate) -> Scan {
    scan.filter = Some(filter);
    scan
}

pub fn run(
    engine: &dyn QueryPort,
    scan: &Scan,
    context: &QueryContext,
) -> Result<Vec<Vec<FieldValue>>, EngineError> {
    collect(engine.scan(scan, context)?)
}

/// All rows. Also checks the types that the port promises.
pub fn collect(mut stream: Box<dyn BatchStream>) -> Result<Vec<Vec<FieldValue>>, EngineError> {
    let mut rows = Vec::new();
    while let Some(batch) = stream.next_batch()? {
        for n in 0..batch.num_rows() {
            rows.push(batch.columns().iter().map(|c| value(c, n)).collect());
        }
    }
    Ok(rows)
}

fn value(column: &ArrayRef, n: usize) -> FieldValue {
    if column.is_null(n) {
        return FieldValue::Null;
    }
    match column.data_type() {
        DataType::Float64 => f(column.as_primitive::<Float64Type>().value(n)),
        DataType::Int64 => i(column.as_primitive::<Int64Type>().value(n)),
        DataType::UInt64 => u(column.as_primitive::<UInt64Type>().value(n)),
        DataType::Boolean => b(column.as_boolean().value(n)),
        DataType::Utf8 => s(column.as_string::<i32>().value(n)),
        DataType::Dictionary(..) => {
            let dictionary = column.as_dictionary::<Int32Type>();
            value(dictionary.values(), dictionary.key(n).unwrap())
        }
        other => panic!("unexpected type {other}"),
    }
}
