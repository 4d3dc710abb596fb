//! The data-driven cases of `tests/cases`: text files that anyone can add to.
//!
//! A file runs on a new database `db0`. Lines:
//!
//! ```text
//! # comment
//! write [key=value …]      then `| ` lines of line protocol        (db defaults to db0)
//! query [key=value …]      then `| ` lines of the statement        (db defaults to db0, epoch to ns)
//! = the answer's body      after each query, and after a write that is refused (`= 400 body`); a line each of its lines
//! ```
//!
//! `make cases-update` asks a real influxd and writes its answers into the files; a block marked `differs` (a deliberate
//! difference, with its row in COMPAT.md) is neither asked nor changed.

#![allow(clippy::unwrap_used)] // a test may panic

mod support;

use std::path::{Path, PathBuf};

use support::{Client, Server};

/// Set to the URL of a server whose answers are to be written into the files.
const UPDATE_FROM: &str = "HYPERBYTEDB_UPDATE_CASES_FROM";

#[derive(Debug, Default)]
struct Block {
    /// Comments and blank lines before it.
    head: Vec<String>,
    command: String,
    text: Vec<String>,
    expected: Option<String>,
}

fn parse(content: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut head = Vec::new();
    for line in content.lines() {
        if let Some(text) = line.strip_prefix("| ").or(line.strip_prefix('|')) {
            blocks.last_mut().expect("text before a command").text.push(text.to_owned());
        } else if let Some(expected) = line.strip_prefix("= ") {
            let block = blocks.last_mut().expect("answer before a command");
            let so_far = block.expected.take().map_or(String::new(), |text| text + "\n");
            block.expected = Some(so_far + expected);
        } else if line.starts_with("write") || line.starts_with("query") {
            blocks.push(Block {
                head: std::mem::take(&mut head),
                command: line.to_owned(),
                ..Block::default()
            });
        } else {
            head.push(line.to_owned());
        }
    }
    blocks.push(Block { head, ..Block::default() });
    blocks
}

fn print(blocks: &[Block]) -> String {
    let mut out = String::new();
    for block in blocks {
        block.head.iter().for_each(|line| out.extend([line, "\n"]));
        if block.command.is_empty() {
            continue;
        }
        out.extend([&block.command, "\n"]);
        block.text.iter().for_each(|line| out.extend(["| ", line, "\n"]));
        let lines = block.expected.iter().flat_map(|text| text.lines());
        lines.for_each(|line| out.extend(["= ", line, "\n"]));
    }
    out
}

/// The answer of a block in the form of its `=` line; `None` for an accepted write.
fn run(client: &Client, block: &Block) -> Option<String> {
    let mut words = block.command.split_whitespace();
    let verb = words.next().unwrap_or_default();
    let mut params: Vec<(&str, &str)> = words.filter_map(|w| w.split_once('=')).collect();
    for (key, value) in [("db", "db0")].into_iter().chain((verb == "query").then_some(("epoch", "ns"))) {
        if !params.iter().any(|(k, _)| *k == key) {
            params.push((key, value));
        }
    }
    params.retain(|(_, value)| !value.is_empty());
    let text = block.text.join("\n");
    let answer = if verb == "write" {
        client.post("/write", &params, text.as_bytes()).expect("write")
    } else {
        params.push(("q", &text));
        client.post("/query", &params, b"").expect("query")
    };
    let body = answer.body.trim();
    match answer.status {
        204 => None,
        200 => Some(body.to_owned()),
        status => Some(format!("{status} {body}")),
    }
}

fn same(expected: &str, actual: &str) -> bool {
    let json = |text: &str| serde_json::from_str::<serde_json::Value>(text).ok();
    expected == actual
        || match (json(expected), json(actual)) {
            (Some(a), Some(b)) => close(&a, &b),
            _ => false,
        }
}

fn close(a: &serde_json::Value, b: &serde_json::Value) -> bool {
    use serde_json::Value;
    match (a, b) {
        (Value::Number(x), Value::Number(y)) => {
            let (x, y) = (x.as_f64().unwrap_or(f64::NAN), y.as_f64().unwrap_or(f64::NAN));
            a == b || (x - y).abs() <= 1e-12 * x.abs().max(y.abs())
        }
        (Value::Array(x), Value::Array(y)) => x.len() == y.len() && x.iter().zip(y).all(|(x, y)| close(x, y)),
        (Value::Object(x), Value::Object(y)) => {
            x.len() == y.len() && x.iter().all(|(key, x)| y.get(key).is_some_and(|y| close(x, y)))
        }
        _ => a == b,
    }
}

fn files() -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/cases");
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(&dir).expect("tests/cases").map(|entry| entry.expect("entry").path()).collect();
    files.retain(|path| path.extension().is_some_and(|e| e == "txt"));
    files.sort();
    files
}

fn fresh_database(client: &Client) {
    client.query("", "DROP DATABASE db0");
    client.query("", "CREATE DATABASE db0");
}

#[test]
fn cases_from_memory() {
    if let Ok(url) = std::env::var(UPDATE_FROM) {
        return update(&Client::new(&url));
    }
    all_cases(&Server::start());
}

#[test]
fn cases_from_the_engine() {
    all_cases(&Server::start_with(&[("FLUSH__HEAD_BYTES", "0")]));
}

fn all_cases(server: &Server) {
    let client = server.client();
    let (mut failures, mut count) = (Vec::new(), 0);
    for file in files() {
        fresh_database(&client);
        for block in parse(&std::fs::read_to_string(&file).expect("case file")) {
            if block.command.is_empty() {
                continue;
            }
            count += 1;
            let actual = run(&client, &block);
            let passes = match (&block.expected, &actual) {
                (None, None) => true,
                (Some(expected), Some(actual)) => same(expected, actual),
                _ => false,
            };
            if !passes {
                let name = file.file_name().unwrap_or_default().to_string_lossy();
                let none = "nothing".to_owned();
                let (expected, actual) =
                    (block.expected.as_ref().unwrap_or(&none), actual.as_ref().unwrap_or(&none));
                failures.push(format!(
                    "{name}: {}\n  expected {expected}\n  got      {actual}",
                    block.text.join("\n")
                ));
            }
        }
    }
    assert!(failures.is_empty(), "{} of {count} cases failed:\n{}", failures.len(), failures.join("\n"));
    assert!(count > 0, "no cases found");
}

fn update(client: &Client) {
    for file in files() {
        fresh_database(client);
        let mut blocks = parse(&std::fs::read_to_string(&file).expect("case file"));
        let differs = |block: &Block| block.command.split_whitespace().any(|word| word == "differs");
        for block in blocks.iter_mut().filter(|b| !b.command.is_empty() && !differs(b)) {
            block.expected = run(client, block);
        }
        std::fs::write(&file, print(&blocks)).expect("write case file");
    }
}
