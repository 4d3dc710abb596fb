//! How long a body takes to become batches: lines, an Arrow stream and MessagePack of the same points, 10 tags and 10 fields each.

use std::sync::Arc;

use arrow::array::{ArrayRef, DictionaryArray, Float64Array, Int64Array, RecordBatch};
use arrow::datatypes::{Field, Int32Type, Schema};
use arrow::ipc::writer::StreamWriter;
use bytes::Bytes;
use divan::Bencher;
use divan::counter::ItemsCount;
use hyperbytedb_columnar::{KnownSeries, read};
use hyperbytedb_domain::Precision;
use hyperbytedb_domain::ports::BodyFormat;
use hyperbytedb_line_protocol::ParseOptions;
use rmp::encode::{write_array_len, write_f64, write_map_len, write_sint, write_str};

const ROWS: usize = 5_000;
const COLUMNS: usize = 10;
/// Of the body; 20 of them have 250 points each, one after the other.
const SERIES: [usize; 2] = [4_000, 20];

fn main() {
    divan::main();
}

/// The points by column: times, tags, fields.
struct Points {
    times: Vec<i64>,
    tags: Vec<(String, Vec<String>)>,
    fields: Vec<(String, Vec<f64>)>,
}

fn points(series: usize) -> Points {
    let run = if series < 100 { ROWS / series } else { 1 };
    let value = |tag: usize, row: usize| format!("value-tag_{tag}-{}", row / run % series / (tag + 1));
    let number = |field: usize, row: usize| ((row * 37 + field * 11) % 10_007) as f64 / 100.0;
    Points {
        times: (0..ROWS).map(|row| 1_700_000_000_000_000_000 + row as i64).collect(),
        tags: (0..COLUMNS)
            .map(|tag| (format!("tag_{tag}"), (0..ROWS).map(|row| value(tag, row)).collect()))
            .collect(),
        fields: (0..COLUMNS)
            .map(|field| (format!("usage_{field}"), (0..ROWS).map(|row| number(field, row)).collect()))
            .collect(),
    }
}

fn lines(points: &Points) -> Bytes {
    let mut body = String::new();
    for row in 0..ROWS {
        body.push('m');
        points.tags.iter().for_each(|(name, values)| body.push_str(&format!(",{name}={}", values[row])));
        let fields: Vec<String> =
            points.fields.iter().map(|(name, values)| format!("{name}={}", values[row])).collect();
        body.push_str(&format!(" {} {}\n", fields.join(","), points.times[row]));
    }
    body.into()
}

fn arrow(points: &Points) -> Bytes {
    let mut columns: Vec<(&str, ArrayRef)> = vec![("time", Arc::new(Int64Array::from(points.times.clone())))];
    for (name, values) in &points.tags {
        let values: DictionaryArray<Int32Type> = values.iter().map(String::as_str).collect();
        columns.push((name, Arc::new(values)));
    }
    for (name, values) in &points.fields {
        columns.push((name, Arc::new(Float64Array::from(values.clone()))));
    }
    let fields: Vec<Field> =
        columns.iter().map(|(name, column)| Field::new(*name, column.data_type().clone(), true)).collect();
    let schema = Arc::new(Schema::new(fields));
    let columns = columns.into_iter().map(|(_, column)| column).collect();
    let batch = RecordBatch::try_new(schema.clone(), columns).expect("columns");
    let mut writer = StreamWriter::try_new(Vec::new(), &schema).expect("a writer");
    writer.write(&batch).expect("a batch");
    writer.finish().expect("an end");
    writer.into_inner().expect("bytes").into()
}

fn message_pack(points: &Points) -> Bytes {
    let mut body = Vec::new();
    let out = &mut body;
    let _ = write_map_len(out, 3);
    drop(write_str(out, "time"));
    let _ = write_array_len(out, ROWS as u32);
    points.times.iter().for_each(|time| drop(write_sint(out, *time)));
    drop(write_str(out, "tags"));
    let _ = write_map_len(out, COLUMNS as u32);
    for (name, values) in &points.tags {
        drop(write_str(out, name));
        let _ = write_array_len(out, ROWS as u32);
        values.iter().for_each(|value| drop(write_str(out, value)));
    }
    drop(write_str(out, "fields"));
    let _ = write_map_len(out, COLUMNS as u32);
    for (name, values) in &points.fields {
        drop(write_str(out, name));
        let _ = write_array_len(out, ROWS as u32);
        values.iter().for_each(|value| drop(write_f64(out, *value)));
    }
    body.into()
}

fn bench(bencher: Bencher, format: BodyFormat, body: &Bytes) {
    let options = ParseOptions::new(Precision::Nanosecond, 0);
    let known = KnownSeries::default();
    bencher.counter(ItemsCount::new(ROWS)).bench_local(|| {
        let parsed = read(format, body, "m", &options, &known).expect("a body");
        assert_eq!(parsed.lines.len(), ROWS);
        parsed
    });
}

#[divan::bench(args = SERIES)]
fn line_protocol(bencher: Bencher, series: usize) {
    bench(bencher, BodyFormat::Lines, &lines(&points(series)));
}

#[divan::bench(args = SERIES)]
fn arrow_stream(bencher: Bencher, series: usize) {
    bench(bencher, BodyFormat::ArrowStream, &arrow(&points(series)));
}

#[divan::bench(args = SERIES)]
fn msgpack(bencher: Bencher, series: usize) {
    bench(bencher, BodyFormat::MessagePack, &message_pack(&points(series)));
}
