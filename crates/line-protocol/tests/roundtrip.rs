//! Printing and parsing undo each other, and the readers agree.

#![allow(clippy::unwrap_used)] // a test may panic

use hyperbytedb_domain::points::{FieldColumn, FieldValues, PointsBatch, StringValues};
use hyperbytedb_domain::{FieldValue, Precision, Tags};
use hyperbytedb_line_protocol::{ParseOptions, Parsed, PointPrinter, body_without, parse, print_batch};
use proptest::collection::vec;
use proptest::prelude::*;

fn options() -> ParseOptions {
    ParseOptions::new(Precision::Nanosecond, 1_000)
}

fn printed(parsed: &Parsed) -> String {
    let mut text = String::new();
    for batch in &parsed.batches {
        print_batch(batch, &mut text);
    }
    text
}

/// A name that line protocol can hold whatever stands beside it.
fn name() -> impl Strategy<Value = String> {
    r#"[a-c,= "é\\]{0,6}[a-cé,= "]"#.prop_filter("unambiguous", |name| !name.contains("\\ "))
}

/// A field key cannot hold a backslash before what a backslash escapes.
fn field_key() -> impl Strategy<Value = String> {
    name().prop_filter("expressible", |name| !["\\,", "\\="].iter().any(|pair| name.contains(pair)))
}

fn value(kind: usize) -> BoxedStrategy<FieldValues> {
    match kind {
        0 => any::<f64>()
            .prop_filter("finite", |v| v.is_finite())
            .prop_map(|v| FieldValues::Float(vec![v]))
            .boxed(),
        1 => any::<i64>().prop_map(|v| FieldValues::Integer(vec![v])).boxed(),
        2 => any::<u64>().prop_map(|v| FieldValues::Unsigned(vec![v])).boxed(),
        3 => any::<bool>().prop_map(|v| FieldValues::Boolean(vec![v])).boxed(),
        _ => r#"[a-c,= "\\é\n\r\t]{0,8}"#
            .prop_map(|text| {
                let mut values = StringValues::default();
                values.push(&text);
                FieldValues::String(values)
            })
            .boxed(),
    }
}

prop_compose! {
    /// A batch of one row.
    fn point()(
        measurement in name(),
        tags in proptest::collection::btree_map(name(), name(), 0..4),
        fields in proptest::collection::btree_map(field_key(), (0usize..5).prop_flat_map(value), 1..5),
        time in hyperbytedb_domain::time::MIN_TIME..=hyperbytedb_domain::time::MAX_TIME,
    ) -> PointsBatch {
        PointsBatch {
            measurement,
            times: vec![time],
            tag_keys: None,
            series_of_row: vec![0],
            line_of_row: vec![0],
            series: vec![Tags::new(tags.into_iter().collect())],
            fields: fields
                .into_iter()
                .map(|(name, values)| FieldColumn { name, values, present: None })
                .collect(),
        }
    }
}

fn value_of(values: &FieldValues) -> FieldValue {
    match values {
        FieldValues::Float(v) => FieldValue::Float(v[0]),
        FieldValues::Integer(v) => FieldValue::Integer(v[0]),
        FieldValues::Unsigned(v) => FieldValue::Unsigned(v[0]),
        FieldValues::Boolean(v) => FieldValue::Boolean(v[0]),
        FieldValues::String(v) => FieldValue::String(v.get(0).into()),
    }
}

/// Lines of the common shape and fragments that break or bend them.
fn body() -> impl Strategy<Value = Vec<u8>> {
    let fragments: Vec<&[u8]> = vec![
        b"cpu",
        b"m",
        b",host=a",
        b",b=c",
        b",a=b\\ c",
        b" ",
        b"v=1",
        b",w=2i",
        b",x=true",
        b",y=\"s,t\"",
        b"=",
        b",",
        b"\\",
        b"\"",
        b"\n",
        b"1000",
        b" -5",
        b"time=1",
        b"u=3u",
        b"#",
        b"\t",
        b"\r",
        b"\0",
        b"\xff",
        b"1e3",
        b"\xc3\xa9",
        b"\\\\",
        b"cpu,host=a v=1 1\n",
        b"cpu,host=b v=2.5,w=1i 2\n",
        b"cpu,host=a w=1i,v=3,y=\"\\\"\"\n",
    ];
    vec(proptest::sample::select(fragments), 0..24).prop_map(|parts| parts.concat())
}

/// Quotes that no backslash stands before.
fn quotes(body: &[u8]) -> usize {
    let mut bytes = body.iter();
    let mut count = 0;
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => drop(bytes.next()),
            b'"' => count += 1,
            _ => {}
        }
    }
    count
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn a_printed_point_parses_to_itself(point in point()) {
        let mut text = String::new();
        print_batch(&point, &mut text);
        let parsed = parse(text.as_bytes(), &options());
        prop_assert_eq!(&parsed.batches, &[point], "{}", text);
    }

    /// As INTO prints its rows: value by value, tags in any order, with values that no point can have.
    #[test]
    fn a_point_printed_value_by_value_parses_to_itself(point in point()) {
        let mut text = String::new();
        let mut printer = PointPrinter::begin(&mut text, &point.measurement);
        let tags: Vec<_> = point.series[0].iter().collect();
        printer.tag("absent", "");
        tags.iter().rev().for_each(|(key, value)| printer.tag(key, value));
        printer.field("null", &FieldValue::Null);
        printer.field("infinite", &FieldValue::Float(f64::INFINITY));
        point.fields.iter().for_each(|field| printer.field(&field.name, &value_of(&field.values)));
        prop_assert!(printer.end(point.times[0]));
        let parsed = parse(text.as_bytes(), &options());
        prop_assert_eq!(&parsed.batches, &[point], "{}", text);
    }

    #[test]
    fn what_parses_prints_to_the_same(body in body()) {
        let first = parse(&body, &options());
        let text = printed(&first);
        let second = parse(text.as_bytes(), &options());
        prop_assert_eq!(&second.errors, &[]);
        prop_assert_eq!(printed(&second), text);
    }

    /// The second time, lines go through the fast reader.
    #[test]
    fn both_readers_agree(body in body()) {
        let once = parse(&body, &options());
        let accepted = body_without(&body, &once.lines, &[]);
        prop_assume!(!accepted.ends_with(b"\\"));
        // An open quote would take in the second body's first lines.
        prop_assume!(quotes(&accepted).is_multiple_of(2));
        let twice = parse(&[&accepted[..], b"\n", &accepted[..]].concat(), &options());
        prop_assert_eq!(&twice.errors, &[]);
        let (found, expected) = (printed(&twice), printed(&once).repeat(2));
        prop_assert_eq!(sorted_lines(&found), sorted_lines(&expected));
        for batch in &twice.batches {
            let rows = batch.rows();
            prop_assert!(batch.fields.iter().all(|f| f.present.as_ref().is_none_or(|p| p.len() == rows)));
            prop_assert!(batch.series_of_row.iter().all(|&s| (s as usize) < batch.series.len()));
            prop_assert!(batch.line_of_row.iter().all(|&l| (l as usize) < twice.lines.len()));
        }
    }
}

#[test]
fn a_point_without_fields_leaves_nothing() {
    let mut text = "a v=1 1\n".to_owned();
    let mut printer = PointPrinter::begin(&mut text, "m");
    printer.tag("host", "a");
    printer.field("v", &FieldValue::Float(f64::NAN));
    assert!(!printer.end(1));
    assert_eq!(text, "a v=1 1\n");
}

/// Both readers drop it, with InfluxDB's text; what was accepted before is never looked at again.
#[test]
fn too_long_strings_are_dropped() {
    let max = ParseOptions::DEFAULT_MAX_STRING_BYTES;
    let line = |bytes: usize| format!("m s=\"{}\"\n", "x".repeat(bytes));
    let body = [line(1), line(max), line(max + 1), line(2), line(max + 1)].concat();
    let parsed = parse(body.as_bytes(), &options());
    assert_eq!((parsed.batches[0].rows(), parsed.dropped.len(), parsed.errors.len()), (3, 2, 0));
    let expected =
        "partial write: input field \"s\" on measurement \"m\" is too long, 1048577 > 1048576 dropped=2";
    assert_eq!(parsed.error_text(&parsed.drops()).unwrap(), expected);
    let accepted = parse(body.as_bytes(), &ParseOptions::accepted(Precision::Nanosecond, 0));
    assert_eq!(accepted.batches[0].rows(), 5);
    // What counts is the value, not its spelling.
    let escaped = format!("m s=\"{}\"\n", "\\\"".repeat(max));
    assert_eq!(parse(escaped.as_bytes(), &options()).batches[0].rows(), 1);
}

fn sorted_lines(text: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = text.split_inclusive('\n').collect();
    lines.sort_unstable();
    lines
}
