//! The parts of lines as bytes, for whoever prints millions of points from columns: keys that repeat are made once, the
//! values and the time follow. A series key that is line protocol already goes in front as it is.

use memchr::memchr2;

/// Appends an escaped field key and the equal sign behind it.
pub fn push_field_key(out: &mut Vec<u8>, name: &[u8]) {
    for &byte in name {
        if crate::escape::NAME.contains(&byte) {
            out.push(b'\\');
        }
        out.push(byte);
    }
    out.push(b'=');
}

/// Appends a finite float as the shortest text that reads back as the same one.
pub fn push_float(out: &mut Vec<u8>, value: f64) {
    out.extend_from_slice(zmij::Buffer::new().format_finite(value).as_bytes());
}

pub fn push_integer(out: &mut Vec<u8>, value: i64) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
    out.push(b'i');
}

pub fn push_unsigned(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
    out.push(b'u');
}

pub fn push_boolean(out: &mut Vec<u8>, value: bool) {
    out.extend_from_slice(if value { b"true" } else { b"false" });
}

/// Appends a string in quotes.
pub fn push_string(out: &mut Vec<u8>, mut value: &[u8]) {
    out.push(b'"');
    while let Some(at) = memchr2(b'"', b'\\', value) {
        let (plain, rest) = value.split_at(at);
        out.extend_from_slice(plain);
        out.extend_from_slice(&[b'\\', rest[0]]);
        value = &rest[1..];
    }
    out.extend_from_slice(value);
    out.push(b'"');
}

/// Appends the time and ends the line.
pub fn push_time(out: &mut Vec<u8>, time: i64) {
    out.push(b' ');
    out.extend_from_slice(itoa::Buffer::new().format(time).as_bytes());
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ParseOptions, parse, print_batch};

    proptest::proptest! {
        #[test]
        fn lines_read_back(
            float in proptest::num::f64::NORMAL | proptest::num::f64::SUBNORMAL | proptest::num::f64::ZERO,
            integer: i64,
            unsigned: u64,
            boolean: bool,
            text in "[ -~\n]{0,20}",
        ) {
            let mut line = b"m,host=a ".to_vec();
            push_field_key(&mut line, b"a f");
            push_float(&mut line, float);
            line.extend_from_slice(b",i=");
            push_integer(&mut line, integer);
            line.extend_from_slice(b",u=");
            push_unsigned(&mut line, unsigned);
            line.extend_from_slice(b",b=");
            push_boolean(&mut line, boolean);
            line.extend_from_slice(b",s=");
            push_string(&mut line, text.as_bytes());
            push_time(&mut line, 7);
            let options = ParseOptions { uint_support: true, ..ParseOptions::new(hyperbytedb_domain::Precision::Nanosecond, 0) };
            let parsed = parse(&line, &options);
            proptest::prop_assert!(parsed.errors.is_empty(), "{:?}", parsed.errors);
            let batch = &parsed.batches[0];
            // What the canonical printer makes of it parses to the same points.
            let mut printed = String::new();
            print_batch(batch, &mut printed);
            let again = parse(printed.as_bytes(), &options);
            proptest::prop_assert_eq!(&again.batches[0].fields, &batch.fields);
            proptest::prop_assert_eq!(&batch.times, &vec![7]);
            proptest::prop_assert_eq!(batch.fields.len(), 5);
        }
    }
}
