use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, DictionaryArray, Float64Array, Int64Array, RecordBatch, StringArray,
    TimestampMillisecondArray, UInt64Array,
};
use arrow::datatypes::{Field, Int32Type, Schema};
use arrow::ipc::writer::StreamWriter;
use hyperbytedb_domain::Precision;
use hyperbytedb_line_protocol::{parse, print_body};
use rmp::encode::{write_array_len, write_f64, write_map_len, write_nil, write_sint, write_str};

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

#[test]
fn a_tag_called_time_drops_its_points() {
    let mut body = vec![];
    let _ = write_map_len(&mut body, 3);
    drop(write_str(&mut body, "measurement"));
    drop(write_str(&mut body, "m"));
    drop(write_str(&mut body, "tags"));
    let _ = write_map_len(&mut body, 1);
    drop(write_str(&mut body, "time"));
    let _ = write_array_len(&mut body, 2);
    let _ = write_nil(&mut body);
    drop(write_str(&mut body, "x"));
    drop(write_str(&mut body, "fields"));
    let _ = write_map_len(&mut body, 1);
    drop(write_str(&mut body, "v"));
    let _ = write_array_len(&mut body, 2);
    let _ = write_f64(&mut body, 1.0);
    let _ = write_f64(&mut body, 2.0);
    same(BodyFormat::MessagePack, &body.into(), "m v=1\nm,time=x v=2");
}

/// Two measurements; the second without times.
fn packed() -> Bytes {
    let mut body = Vec::new();
    let out = &mut body;
    let _ = write_array_len(out, 2);
    let _ = write_map_len(out, 4);
    for text in ["measurement", "m", "time"] {
        drop(write_str(out, text));
    }
    let _ = write_array_len(out, 3);
    for time in [1, 2, -3] {
        let _ = write_sint(out, time);
    }
    drop(write_str(out, "tags"));
    let _ = write_map_len(out, 2);
    for text in ["dc", "x", "host"] {
        drop(write_str(out, text));
    }
    let _ = write_array_len(out, 3);
    drop(write_str(out, "a"));
    let _ = write_nil(out);
    drop(write_str(out, "a"));
    drop(write_str(out, "fields"));
    let _ = write_map_len(out, 2);
    drop(write_str(out, "i"));
    let _ = write_array_len(out, 3);
    for value in [1, 2, 300] {
        let _ = write_sint(out, value);
    }
    drop(write_str(out, "v"));
    let _ = write_array_len(out, 3);
    let _ = write_nil(out);
    let _ = write_f64(out, 1.5);
    let _ = write_sint(out, 2);
    let _ = write_map_len(out, 2);
    for text in ["measurement", "n", "fields"] {
        drop(write_str(out, text));
    }
    let _ = write_map_len(out, 1);
    drop(write_str(out, "s"));
    let _ = write_array_len(out, 1);
    drop(write_str(out, "text"));
    body.into()
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

#[test]
fn the_log_gives_back_what_it_got() {
    let parsed = read(BodyFormat::MessagePack, &packed(), "", &options()).expect("columns");
    let stored = encode(&parsed.batches).expect("stored");
    assert_eq!(stored::decode(&stored), Ok(parsed.batches.clone()));
    let less = stored::decode(&without_rows(&stored, &[0, 3]).expect("rows leave")).expect("stored");
    assert_eq!(
        outcome(&Parsed { batches: less, ..Parsed::default() }).0,
        "m,dc=x i=2i,v=1.5 2000000000\nm,dc=x,host=a i=300i,v=2 -3000000000\n"
    );
    let mut unsound = parsed.batches;
    unsound[0].series_of_row[0] = 9;
    assert_eq!(stored::decode(&encode(&unsound).expect("stored")), Err(StoredError::Unsound));
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
