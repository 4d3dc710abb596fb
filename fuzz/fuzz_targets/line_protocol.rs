//! Parsing never panics, and what parses prints to text that parses to the same points.

#![no_main]

use hyperbytedb_domain::Precision;
use hyperbytedb_line_protocol::{ParseOptions, Parsed, body_without, parse, print_batch};
use libfuzzer_sys::fuzz_target;

fn printed(parsed: &Parsed) -> String {
    let mut text = String::new();
    for batch in &parsed.batches {
        print_batch(batch, &mut text);
    }
    text
}

fuzz_target!(|body: &[u8]| {
    let options = ParseOptions::new(Precision::Nanosecond, 1_000);
    let first = parse(body, &options);
    let _ = first.error_text(&first.drops());

    let text = printed(&first);
    let second = parse(text.as_bytes(), &options);
    assert_eq!(second.errors, []);
    assert_eq!(printed(&second), text);

    let accepted = body_without(body, &first.lines, &[]);
    let again = parse(&accepted, &options);
    assert_eq!(printed(&again), text);
});
