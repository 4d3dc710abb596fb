//! Golden cases: a statement and what becomes of it, in text files that anyone can add to.
//!
//! A case is a statement on one or more lines, then one line: `=> ` and the printed form, or `!! ` and
//! the error. Cases are separated by blank lines; lines that begin with `#` are comments.
//! `make cases-update` writes the results anew; look at
//! the difference before committing it.

#![allow(clippy::unwrap_used)] // a test may panic

use std::{fs, path::Path};

use hyperbytedb_timeseriesql::parse_query;

#[test]
fn cases_give_what_they_say() {
    let folder = Path::new(&std::env::var("CARGO_MANIFEST_DIR").expect("set by cargo")).join("tests/cases");
    let update = std::env::var_os("UPDATE_CASES").is_some();
    let mut wrong = Vec::new();
    let mut cases = 0;
    for entry in fs::read_dir(folder).expect("folder of cases") {
        let path = entry.expect("entry").path();
        let text = fs::read_to_string(&path).expect("a file of cases");
        let mut updated = Vec::new();
        for block in text.trim_end().split("\n\n") {
            let lines: Vec<&str> = block.lines().collect();
            let is_comment = |line: &&str| line.starts_with('#');
            let statement: Vec<&str> =
                lines.iter().copied().filter(|l| !is_comment(l) && !is_result(l)).collect();
            let expected = lines.iter().find(|line| is_result(line)).copied().unwrap_or_default();
            let comments = lines.iter().copied().filter(is_comment);
            if statement.is_empty() {
                updated.push(block.to_owned());
                continue;
            }
            cases += 1;
            let actual = outcome(&statement.join("\n"));
            if actual != expected {
                wrong.push(format!("{}\n  is:     {actual}\n  should: {expected}", statement.join("\n")));
            }
            let lines: Vec<&str> = comments.chain(statement).chain([actual.as_str()]).collect();
            updated.push(lines.join("\n"));
        }
        if update {
            fs::write(&path, updated.join("\n\n") + "\n").expect("writable cases");
        }
    }
    assert!(cases > 0, "no cases");
    assert!(update || wrong.is_empty(), "{} of {cases} cases:\n{}", wrong.len(), wrong.join("\n"));
}

fn is_result(line: &str) -> bool {
    line.starts_with("=> ") || line.starts_with("!! ")
}

fn outcome(statement: &str) -> String {
    match parse_query(statement) {
        Ok(query) => format!("=> {}", query.to_string().replace('\n', " ")),
        Err(error) => format!("!! {error}"),
    }
}
