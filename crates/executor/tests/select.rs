//! Answers of SELECT statements: `cases/*.txt`.
//!
//! A case file holds points (`+ line protocol`), statements (`> SELECT …`) and the answers that follow each: a line of
//! JSON a series, or `! error`. `#` begins a comment. Answers were written by InfluxDB:
//! `make cases-update` writes them anew.

#![allow(clippy::unwrap_used)] // a test may panic

mod common;

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use common::influx::Influx;
use common::points::Store;
use common::{Mode, answer, json};
use serde_json::Value;

const NOW: i64 = 1_600_000_000_000_000_000;

fn case_files() -> Vec<PathBuf> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cases");
    let mut files: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|f| f.unwrap().path()).collect();
    files.sort();
    files
}

struct Statement {
    text: String,
    answer: Result<Vec<Value>, String>,
}

struct Case {
    store: Store,
    statements: Vec<Statement>,
}

fn read(text: &str) -> Case {
    let mut store = Store::default();
    store.create_policy("db0", "autogen");
    let mut statements: Vec<Statement> = Vec::new();
    for line in text.lines() {
        if let Some(point) = line.strip_prefix("+ ") {
            store.write("db0", "", point, 1);
        } else if let Some(text) = line.strip_prefix("> ") {
            statements.push(Statement { text: text.to_owned(), answer: Ok(Vec::new()) });
        } else if let Some(error) = line.strip_prefix("! ") {
            statements.last_mut().unwrap().answer = Err(error.to_owned());
        } else if line.starts_with('{')
            && let Ok(series) = &mut statements.last_mut().unwrap().answer
        {
            series.push(serde_json::from_str(line).unwrap());
        }
    }
    Case { store, statements }
}

fn is_same(a: &Result<Vec<Value>, String>, b: &Result<Vec<Value>, String>) -> bool {
    match (a, b) {
        (Ok(a), Ok(b)) => json::same(&a.clone().into(), &b.clone().into()),
        _ => a == b,
    }
}

fn show(answer: &Result<Vec<Value>, String>) -> String {
    match answer {
        Ok(series) => series.iter().map(|s| format!("{s}\n")).collect(),
        Err(error) => format!("! {error}\n"),
    }
}

#[test]
fn cases() {
    let mut failures = String::new();
    for file in case_files() {
        let case = read(&fs::read_to_string(&file).unwrap());
        for statement in &case.statements {
            let modes =
                [(true, 10_000, 0), (false, 10_000, 0), (true, 2, 0), (false, 10_000, 1), (true, 10_000, 3)];
            for (pushdown, chunk_rows, sort_rows) in modes {
                let mode = Mode { pushdown, chunk_rows, sort_rows };
                let got = answer(&case.store, &statement.text, NOW, mode);
                if !is_same(&got, &statement.answer) {
                    let name = file.file_name().unwrap().to_string_lossy();
                    writeln!(
                        failures,
                        "{name}: {}\n{mode:?}\nexpected:\n{}got:\n{}",
                        statement.text,
                        show(&statement.answer),
                        show(&got)
                    )
                    .unwrap();
                    break;
                }
            }
        }
    }
    assert!(failures.is_empty(), "{failures}");
}

#[test]
#[ignore = "writes the answers of the InfluxDB at $INFLUXDB into the case files"]
fn regenerate() {
    let influx = Influx { address: std::env::var("INFLUXDB").expect("INFLUXDB=host:port") };
    for file in case_files() {
        let text = fs::read_to_string(&file).unwrap();
        let points: Vec<&str> = text.lines().filter_map(|l| l.strip_prefix("+ ")).collect();
        influx.post("/query", &[("q", "DROP DATABASE cases")], "");
        influx.post("/query", &[("q", "CREATE DATABASE cases")], "");
        let refused = influx.post("/write", &[("db", "cases")], &points.join("\n"));
        assert!(refused.is_empty(), "{refused}");
        let mut written = String::new();
        for line in text.lines().filter(|l| !l.starts_with('{') && !l.starts_with("! ")) {
            writeln!(written, "{line}").unwrap();
            if let Some(statement) = line.strip_prefix("> ") {
                written.push_str(&show(&influx.answer("cases", statement)));
            }
        }
        fs::write(&file, written).unwrap();
    }
}
