use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, DictionaryArray, Float64Array, Int64Array, RecordBatch, StringArray,
    TimestampMillisecondArray, UInt64Array,
};
use arrow::datatypes::{Field, Int32Type, Schema};
use arrow::ipc::writer::StreamWriter;
use hyperbytedb_domain::Precision;
use hyperbytedb_domain::catalog::TableId;
use hyperbytedb_line_protocol::{parse, print_body};
use rmp::encode::{write_array_len, write_bool, write_f64, write_map_len, write_nil, write_sint, write_str};
use serde_json::{Value, json};

use super::*;

fn options() -> ParseOptions {
    ParseOptions { uint_support: false, ..ParseOptions::new(Precision::Second, 1_500_000_000) }
}

fn stream(measurement: &str, columns: Vec<(&str, ArrayRef)>) -> Bytes {
    let fields: Vec<Field> =
        columns.iter().map(|(name, column)| Field::new(*name, column.data_type().clone(), true)).collect();
    let metadata = [("measurement".to_owned(), measurement.to_owned())].into();
    let schema = Arc::new(Schema::new(fields).with_metadata(metadata));
    let columns = columns.into_iter().map(|(_, column)| column).collect();
    let batch = RecordBatch::try_new(schema.clone(), columns).expect("columns");
    let mut writer = StreamWriter::try_new(Vec::new(), &schema).expect("a writer");
    writer.write(&batch).expect("a batch");
    writer.finish().expect("an end");
    writer.into_inner().expect("bytes").into()
}

fn tags(values: &[Option<&str>]) -> ArrayRef {
    Arc::new(values.iter().copied().collect::<DictionaryArray<Int32Type>>())
}

fn floats(values: &[Option<f64>]) -> ArrayRef {
    Arc::new(Float64Array::from(values.to_vec()))
}

fn seconds(values: &[i64]) -> ArrayRef {
    Arc::new(Int64Array::from(values.to_vec()))
}

/// The value in MessagePack; maps have their keys in alphabetical order.
fn message_pack(value: &Value) -> Bytes {
    let mut body = Vec::new();
    write_value(&mut body, value);
    body.into()
}

/// Writing to memory does not fail.
fn write_value(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Null => drop(write_nil(out)),
        Value::Bool(value) => drop(write_bool(out, *value)),
        Value::Number(number) => match number.as_i64() {
            Some(integer) => drop(write_sint(out, integer)),
            None => drop(write_f64(out, number.as_f64().expect("a float"))),
        },
        Value::String(text) => drop(write_str(out, text)),
        Value::Array(values) => {
            drop(write_array_len(out, values.len() as u32));
            values.iter().for_each(|value| write_value(out, value));
        }
        Value::Object(values) => {
            drop(write_map_len(out, values.len() as u32));
            for (key, value) in values {
                drop(write_str(out, key));
                write_value(out, value);
            }
        }
    }
}

/// As with nothing known before.
fn read(
    format: BodyFormat,
    body: &Bytes,
    measurement: &str,
    options: &ParseOptions,
) -> Result<Parsed, ReadError> {
    super::read(format, body, measurement, options, &KnownSeries::none())
}

/// What is taken, as lines, and the error of the whole write.
fn outcome(parsed: &Parsed) -> (String, Option<String>) {
    let mut lines = String::new();
    print_body(&parsed.batches, &mut lines);
    (lines, parsed.error_text(&parsed.drops()))
}

/// A body of columns and one of lines come to the same.
fn same(format: BodyFormat, body: &Bytes, lines: &str) {
    let found = read(format, body, "", &options()).expect("columns");
    let expected = parse(lines.as_bytes(), &options());
    assert_eq!(outcome(&found), outcome(&expected), "{lines}");
    let line_of_row = |parsed: &Parsed| -> Vec<_> {
        parsed.batches.iter().flat_map(|batch| batch.line_of_row.clone()).collect()
    };
    assert_eq!(line_of_row(&found), line_of_row(&expected));
    assert_eq!(found.lines.len(), expected.lines.len());
}

#[test]
fn an_arrow_stream_is_what_its_lines_are() {
    let columns = vec![
        ("time", seconds(&[1, 2, 3, 4])),
        ("host", tags(&[Some("a b"), None, Some("c"), Some("c")])),
        ("dc", tags(&[Some("x"), Some("x"), Some(""), None])),
        ("f", floats(&[Some(1.5), None, Some(-2.0), Some(1e300)])),
        ("i", Arc::new(Int64Array::from(vec![Some(1), Some(2), None, None]))),
        ("s", Arc::new(StringArray::from(vec![Some("q\"\\"), Some(""), None, None]))),
        ("b", Arc::new(BooleanArray::from(vec![Some(true), None, None, Some(false)]))),
    ];
    let lines = "m,dc=x,host=a\\ b f=1.5,i=1i,s=\"q\\\"\\\\\",b=true 1\nm,dc=x i=2i,s=\"\" 2\nm,host=c f=-2 3\nm,host=c f=1e300,b=false 4\n";
    same(BodyFormat::ArrowStream, &stream("m", columns), lines);
}

#[test]
fn times_have_their_own_unit_or_that_of_the_request() {
    let times: ArrayRef = Arc::new(TimestampMillisecondArray::from(vec![1_000, 2_500]));
    let body = stream("m", vec![("time", times), ("v", floats(&[Some(1.0), Some(2.0)]))]);
    let found = read(BodyFormat::ArrowStream, &body, "other", &options()).expect("columns");
    assert_eq!(outcome(&found).0, "other v=1 1000000000\nother v=2 2500000000\n");
    same(BodyFormat::ArrowStream, &stream("m", vec![("v", floats(&[Some(1.0)]))]), "m v=1");
}

#[test]
fn what_is_refused_is_what_its_line_is_refused_for() {
    let cases: Vec<(Vec<(&str, ArrayRef)>, &str)> = vec![
        (
            vec![("time", seconds(&[i64::MAX, 2])), ("v", floats(&[Some(1.0), Some(2.0)]))],
            "m v=1 9223372036854775807\nm v=2 2",
        ),
        (
            vec![
                ("time", seconds(&[1, 2])),
                ("t\\", tags(&[Some("a"), None])),
                ("v", floats(&[Some(1.0), Some(2.0)])),
            ],
            "",
        ),
        (vec![("time", seconds(&[1])), ("v", floats(&[Some(f64::NAN)]))], ""),
        (vec![("time", seconds(&[1])), ("v", floats(&[None]))], ""),
        (vec![("time", seconds(&[1])), ("u", Arc::new(UInt64Array::from(vec![1])))], "m u=1u 1"),
    ];
    for (columns, lines) in cases {
        let found = read(BodyFormat::ArrowStream, &stream("m", columns), "", &options()).expect("columns");
        let error = outcome(&found).1.expect("something is refused");
        assert!(error.contains("unable to parse"), "{error}");
        if !lines.is_empty() {
            let reason = |error: &str| error.rsplit("': ").next().map(str::to_owned);
            let expected = outcome(&parse(lines.as_bytes(), &options())).1.expect("so are the lines");
            assert_eq!(reason(&error), reason(&expected));
        }
    }
    let tagged = vec![("v", floats(&[Some(1.0)])), ("x", tags(&[Some("1")]))];
    let renamed = stream("time,", tagged);
    assert!(read(BodyFormat::ArrowStream, &renamed, "", &options()).is_ok());
}

/// Values that follow their like are read once.
#[test]
fn tags_that_stay_the_same_are_those_of_each_row() {
    let values = [Some("a"), Some("a"), None, None, Some("ab"), Some("a"), Some("é"), Some("é"), Some("")];
    let rows: Vec<f64> = (0..values.len()).map(|row| row as f64).collect();
    let body = message_pack(&json!({"measurement": "m", "tags": {"t": values}, "fields": {"v": rows}}));
    let line = |(row, value): (usize, &Option<&str>)| match value.filter(|value| !value.is_empty()) {
        Some(value) => format!("m,t={value} v={row}\n"),
        None => format!("m v={row}\n"),
    };
    let lines: String = values.iter().enumerate().map(line).collect();
    same(BodyFormat::MessagePack, &body, &lines);
}

#[test]
fn a_tag_called_time_drops_its_points() {
    let body = json!({"measurement": "m", "tags": {"time": [null, "x"]}, "fields": {"v": [1.0, 2.0]}});
    same(BodyFormat::MessagePack, &message_pack(&body), "m v=1\nm,time=x v=2");
}

/// Two measurements; the second without times.
fn packed() -> Bytes {
    message_pack(&json!([
        {
            "measurement": "m",
            "time": [1, 2, -3],
            "tags": {"dc": "x", "host": ["a", null, "a"]},
            "fields": {"i": [1, 2, 300], "v": [null, 1.5, 2]},
        },
        {"measurement": "n", "fields": {"s": ["text"]}},
    ]))
}

#[test]
fn message_pack_is_what_its_lines_are() {
    let lines = "m,dc=x,host=a i=1i 1\nm,dc=x i=2i,v=1.5 2\nm,dc=x,host=a i=300i,v=2 -3\nn s=\"text\"\n";
    same(BodyFormat::MessagePack, &packed(), lines);
}

#[test]
fn bodies_that_are_none_are_refused() {
    let whole = packed();
    for length in 0..whole.len() {
        let cut = whole.slice(..length);
        assert!(read(BodyFormat::MessagePack, &cut, "", &options()).is_err(), "{length}");
    }
    let doubled = stream("m", vec![("v", floats(&[Some(1.0)])), ("v", floats(&[Some(2.0)]))]);
    let error = read(BodyFormat::ArrowStream, &doubled, "", &options()).expect_err("a field twice");
    assert_eq!(error.to_string(), "unable to read Arrow stream: the field \"v\" is there twice");
    let nameless = stream("", vec![("v", floats(&[Some(1.0)]))]);
    assert!(read(BodyFormat::ArrowStream, &nameless, "", &options()).is_err());
    let few = ParseOptions { max_points: 2, ..options() };
    let many = stream("m", vec![("v", floats(&[Some(1.0); 3]))]);
    assert!(read(BodyFormat::ArrowStream, &many, "", &few).expect("columns").has_too_many_points);
}

/// Found by the fuzzer: Arrow's reader panicked.
#[test]
fn a_stream_without_a_whole_schema_is_refused() {
    let good = stream("m", vec![("t", tags(&[Some("a")])), ("v", floats(&[Some(1.0)]))]);
    let empty_schema = {
        // A message of version 5 whose header is a schema without fields.
        let mut message = vec![0xff, 0xff, 0xff, 0xff, 40, 0, 0, 0];
        message.extend([16, 0, 0, 0, 0, 0, 10, 0, 14, 0, 6, 0, 5, 0, 8, 0, 10, 0, 0, 0, 0, 1, 4, 0]);
        message.extend([12, 0, 0, 0, 0, 0, 0, 0, 4, 0, 4, 0, 4, 0, 0, 0]);
        Bytes::from(message)
    };
    let error = read(BodyFormat::ArrowStream, &empty_schema, "m", &options()).expect_err("no fields");
    assert_eq!(error.to_string(), "unable to read Arrow stream: the schema has no fields");
    // Whatever is wrong with one byte, the answer is one.
    for place in 0..good.len() {
        for byte in [0, 1, 4, 7, 0x7f, 0x80, 0xff] {
            let mut changed = good.to_vec();
            changed[place] = byte;
            let _ = read(BodyFormat::ArrowStream, &changed.into(), "m", &options());
        }
    }
}

#[test]
fn the_log_gives_back_what_it_got() {
    let mut parsed = read(BodyFormat::MessagePack, &packed(), "", &options()).expect("columns");
    // Nobody asks the log.
    parsed.batches.iter_mut().for_each(|batch| batch.tag_keys = None);
    let stored = encode(&parsed.batches).expect("stored");
    assert_eq!(stored::decode(&stored), Ok(parsed.batches.clone()));
    let less = encode_without(parsed.batches.clone(), &[0, 3]).expect("rows leave");
    let less = stored::decode(&less).expect("stored");
    assert_eq!(
        outcome(&Parsed { batches: less, ..Parsed::default() }).0,
        "m,dc=x i=2i,v=1.5 2000000000\nm,dc=x,host=a i=300i,v=2 -3000000000\n"
    );
    let mut unsound = parsed.batches;
    unsound[0].series_of_row[0] = 9;
    assert_eq!(stored::decode(&encode(&unsound).expect("stored")), Err(StoredError::Unsound));
}

fn write(form: BodyForm, body: &Bytes, tables: &[&str]) -> WriteEntry {
    let table = |name: &&str| TableVersion { measurement: name.to_string(), table: TableId(1), version: 1 };
    WriteEntry {
        database: "d".to_owned(),
        retention_policy: "r".to_owned(),
        precision: Precision::Second,
        default_time: 1_500_000_000,
        tables: tables.iter().map(table).collect(),
        shards: vec![1],
        form,
        body: body.clone(),
    }
}

#[test]
fn the_log_reads_a_whole_body_as_the_request_did() {
    let stream = stream("m", vec![("time", seconds(&[1])), ("v", floats(&[Some(1.0)]))]);
    for (format, body, measurement, tables) in [
        (BodyFormat::ArrowStream, &stream, "", &["m"][..]),
        (BodyFormat::ArrowStream, &stream, "other", &["other"]),
        (BodyFormat::MessagePack, &packed(), "", &["m", "n"]),
        (BodyFormat::MessagePack, &unnamed(), "o", &["o"]),
    ] {
        let read = read(format, body, measurement, &options()).expect("columns");
        let entry = write(BodyForm::Columns, body, tables);
        let form = form_of_whole(format, measurement, &entry.tables).expect("it can be kept");
        assert_eq!(accepted(&WriteEntry { form, ..entry }), Ok(read.batches));
    }
    // The log has no place for a measurement that only a part of the body needs.
    for tables in [&["m", "o"][..], &["m"]] {
        let entry = write(BodyForm::Columns, &packed(), tables);
        assert_eq!(form_of_whole(BodyFormat::MessagePack, "o", &entry.tables), None);
    }
}

/// Columns without a measurement.
fn unnamed() -> Bytes {
    message_pack(&json!({"fields": {"v": [1.5, 2.5]}}))
}

#[test]
fn series_are_the_same_whether_they_are_known_or_not() {
    let known = KnownSeries::default();
    let columns = |hosts: &[Option<&str>], racks: &[Option<&str>]| {
        let values = floats(&vec![Some(1.0); hosts.len()]);
        stream("m", vec![("host", tags(hosts)), ("rack", tags(racks)), ("v", values)])
    };
    let bodies = [
        columns(&[Some("a"), Some("b"), Some("a"), None], &[Some("b"), Some("a"), None, Some("a")]),
        // Other codes, and the values of one tag in the other.
        columns(&[Some("b"), None, Some("a"), Some("a")], &[Some("a"), Some("a"), Some("b"), Some("")]),
    ];
    for body in bodies.iter().chain(&bodies) {
        let fresh = read(BodyFormat::ArrowStream, body, "", &options()).expect("columns");
        let cached = super::read(BodyFormat::ArrowStream, body, "", &options(), &known);
        assert_eq!(cached.expect("columns").batches, fresh.batches);
        assert_eq!(fresh.batches[0].series.len(), 4);
    }
}

#[test]
fn limits_of_lines_are_limits_of_rows() {
    let text: ArrayRef = Arc::new(StringArray::from(vec!["short", "a text that is longer", "short"]));
    let body = stream("m", vec![("time", seconds(&[1, 2, 3])), ("s", text)]);
    let few = ParseOptions { max_line_bytes: 30, ..options() };
    let found = read(BodyFormat::ArrowStream, &body, "", &few).expect("columns");
    let (lines, error) = outcome(&found);
    assert_eq!(lines, "m s=\"short\" 1000000000\nm s=\"short\" 3000000000\n");
    assert!(error.is_some_and(|error| error.contains("(write.max_line_bytes)")));

    let sparse = |rows| {
        let absent = vec![None; rows];
        stream(
            "m",
            vec![("v", floats(&vec![Some(1.0); rows])), ("w", floats(&absent)), ("x", floats(&absent))],
        )
    };
    let few = ParseOptions { max_absent_values: 5, ..options() };
    let found = read(BodyFormat::ArrowStream, &sparse(2), "", &few).expect("columns");
    assert_eq!((found.batches[0].rows(), outcome(&found).1), (2, None));
    let found = read(BodyFormat::ArrowStream, &sparse(4), "", &few).expect("columns");
    assert_eq!((found.batches[0].rows(), found.errors.len()), (2, 2));
    assert!(outcome(&found).1.is_some_and(|error| error.contains("(write.max_absent_values)")));
}

proptest::proptest! {
    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
        let bytes = Bytes::from(bytes);
        let _ = read(BodyFormat::ArrowStream, &bytes, "m", &options());
        let _ = read(BodyFormat::MessagePack, &bytes, "m", &options());
        let _ = stored::decode(&bytes);
    }
}
