//! Runs `tests/cases/*.txt`: bodies with the points and the error text that they must give.
//!
//! A case is `== name`, optionally `precision: UNIT`, the body, `-- points` with the points printed
//! in nanoseconds, and `-- error` with the error of the whole write. In bodies and answers `<CR>`,
//! `<TAB>`, `<NUL>` and `<xFF>` stand for those bytes. Lines without a time get 1500000000123456789.
//! All answers but those of `differs.txt` are InfluxDB 1.6.7's.
//!
//! `make cases-update` rewrites the answers.

#![allow(clippy::unwrap_used)] // a test may panic

use std::fmt::Write;
use std::path::Path;

use hyperbytedb_domain::Precision;
use hyperbytedb_line_protocol::{ParseOptions, parse, print_batch};

const BYTES: [(&str, &[u8]); 4] = [("<CR>", b"\r"), ("<TAB>", b"\t"), ("<NUL>", b"\0"), ("<xFF>", b"\xff")];

struct Case<'a> {
    name: &'a str,
    precision: Option<&'a str>,
    body: &'a str,
}

impl<'a> Case<'a> {
    /// Reads the text between two `== ` marks.
    fn read(text: &'a str) -> Self {
        let (name, rest) = text.split_once('\n').expect("a body after the name");
        let (precision, rest) = match rest.strip_prefix("precision: ") {
            Some(rest) => rest.split_once('\n').map(|(unit, rest)| (Some(unit), rest)).expect("a body"),
            None => (None, rest),
        };
        let body = rest.split("-- points").next().expect("a body").strip_suffix('\n').expect("a newline");
        Self { name, precision, body }
    }

    fn body(&self) -> Vec<u8> {
        let mut body = Vec::new();
        let mut rest = self.body;
        while let Some(c) = rest.chars().next() {
            let (text, bytes) =
                BYTES.into_iter().find(|(text, _)| rest.starts_with(text)).unwrap_or_default();
            let length = if text.is_empty() { c.len_utf8() } else { text.len() };
            body.extend_from_slice(if text.is_empty() { &rest.as_bytes()[..length] } else { bytes });
            rest = &rest[length..];
        }
        body
    }

    /// The case with the answers of this parser.
    fn run(&self) -> String {
        let precision = Precision::parse(self.precision.unwrap_or("ns"));
        let parsed = parse(&self.body(), &ParseOptions::new(precision, 1_500_000_000_123_456_789));
        let mut answer = format!("{}\n", self.name);
        if let Some(unit) = self.precision {
            let _ = writeln!(answer, "precision: {unit}");
        }
        let _ = writeln!(answer, "{}\n-- points", self.body);
        let mut points = String::new();
        parsed.batches.iter().for_each(|batch| print_batch(batch, &mut points));
        answer += &visible(&points);
        answer += "-- error\n";
        if let Some(error) = parsed.error_text(&parsed.drops()) {
            let _ = writeln!(answer, "{}", visible(&error));
        }
        answer
    }
}

fn visible(text: &str) -> String {
    text.replace('\r', "<CR>").replace('\t', "<TAB>").replace('\0', "<NUL>").replace('\u{fffd}', "<xFF>")
}

#[test]
fn cases() {
    let update = std::env::var_os("UPDATE_CASES").is_some();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .expect("a folder of cases")
        .map(|entry| entry.expect("a file").path())
        .collect();
    files.sort();
    let mut failures = String::new();
    for file in files {
        let text = std::fs::read_to_string(&file).expect("a text file");
        let (head, cases) = text.split_once("== ").expect("a case");
        let answers: Vec<(&str, String)> = cases
            .split("\n== ")
            .map(|case| case.trim_end_matches('\n'))
            .map(|case| (case, Case::read(case).run()))
            .collect();
        if update {
            let all: Vec<String> = answers.into_iter().map(|(_, answer)| answer).collect();
            std::fs::write(&file, format!("{head}== {}", all.join("\n== "))).expect("a writable file");
            continue;
        }
        for (expected, answer) in answers {
            if expected != answer.trim_end_matches('\n') {
                let _ = writeln!(failures, "{}: expected\n{expected}\ngot\n{answer}", file.display());
            }
        }
    }
    assert!(failures.is_empty(), "{failures}");
}
