//! Users × statements × endpoints: `tests/auth/matrix.txt` says who gets what.
//!
//! ```text
//! POST /query?db=a              the request
//! | SHOW MEASUREMENTS           the statement, or the body of a write
//! = 200 reader all admin        our answers: status, users, and the error's text, in which the user is {user}
//! ~ 200 nobody reader all admin InfluxDB's, where they are others; each a row of COMPAT.md
//! ```
//!
//! Every kind of statement must be there. `make compare-auth` has a real influxd answer, too, and compares.

mod support;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use hyperbytedb_application::auth::privileges::RULES;
use support::{Answer, Client, Server};

/// Names, and their privileges on databases. Who may do most comes last, for what he does must not help the others.
const USERS: [(&str, &[(&str, &str)]); 9] = [
    ("absent", &[]),
    ("wrong", &[]),
    ("nobody", &[]),
    ("other", &[("ALL", "b")]),
    ("writer", &[("WRITE", "a")]),
    ("reader", &[("READ", "a")]),
    ("both", &[("READ", "a"), ("WRITE", "b")]),
    ("all", &[("ALL", "a")]),
    ("admin", &[]),
];
const PASSWORD: &str = "secret";

#[derive(Default)]
struct Block {
    /// Comments and blank lines before it.
    before: String,
    request: String,
    body: Vec<String>,
    ours: Vec<String>,
    influxdb: Vec<String>,
}

fn file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/auth/matrix.txt")
}

fn read() -> Vec<Block> {
    let mut blocks = vec![Block::default()];
    for line in std::fs::read_to_string(file()).expect("the matrix").lines() {
        let last = blocks.len() - 1;
        let block = &mut blocks[last];
        match line.split_at_checked(2) {
            Some(("| ", rest)) => block.body.push(rest.to_owned()),
            Some(("= ", rest)) => block.ours.push(rest.to_owned()),
            Some(("~ ", rest)) => block.influxdb.push(rest.to_owned()),
            _ if line.is_empty() || line.starts_with('#') => {
                if !block.request.is_empty() {
                    blocks.push(Block::default());
                }
                let block = blocks.last_mut().expect("a block");
                block.before += line;
                block.before += "\n";
            }
            _ => block.request = line.to_owned(),
        }
    }
    blocks.retain(|block| !block.request.is_empty());
    blocks
}

fn write(blocks: &[Block]) {
    let mut out = String::new();
    for block in blocks {
        let _ = writeln!(out, "{}{}", block.before, block.request);
        for (mark, lines) in [('|', &block.body), ('=', &block.ours), ('~', &block.influxdb)] {
            for line in lines {
                let _ = writeln!(out, "{mark} {line}");
            }
        }
    }
    std::fs::write(file(), out).expect("the matrix");
}

fn send(url: &str, user: &str, block: &Block) -> Answer {
    let (method, path) = block.request.split_once(' ').expect("a method and a path");
    let credentials: &[(&str, &str)] = match user {
        "absent" => &[],
        "wrong" => &[("u", "reader"), ("p", "no secret")],
        user => &[("u", user), ("p", PASSWORD)],
    };
    let body = block.body.join("\n");
    let mut query = credentials.to_vec();
    if path.starts_with("/query") {
        query.push(("q", &body));
    }
    let client = Client::new(url);
    match method {
        "GET" => client.get_with(path, &query),
        "DELETE" => client.delete(path, &query),
        _ => client.post(path, &query, body.as_bytes()),
    }
    .expect("an answer")
}

/// Who gets what, a line each answer.
fn answers(url: &str, block: &Block) -> Vec<String> {
    let mut groups: Vec<((u16, String), Vec<&str>)> = Vec::new();
    for (user, _) in USERS {
        let answer = send(url, user, block);
        let body: BTreeMap<String, serde_json::Value> =
            serde_json::from_str(&answer.body).unwrap_or_default();
        let error = body.get("error").and_then(|e| e.as_str()).unwrap_or_default();
        let text = error
            .replace(&format!("{user} not auth"), "{user} not auth")
            .replace(&format!("{user:?} user"), "\"{user}\" user");
        let key = (answer.status, text);
        match groups.iter_mut().find(|(known, _)| *known == key) {
            Some((_, users)) => users.push(user),
            None => groups.push((key, vec![user])),
        }
    }
    let line = |((status, text), users): ((u16, String), Vec<&str>)| match text.as_str() {
        "" => format!("{status} {}", users.join(" ")),
        text => format!("{status} {}: {text}", users.join(" ")),
    };
    groups.into_iter().map(line).collect()
}

fn set_up(url: &str) {
    let run = |q: &str| {
        let credentials = [("u", "admin"), ("p", PASSWORD), ("q", q)];
        let answer = Client::new(url).post("/query", &credentials, b"").expect("an answer");
        assert!(answer.status == 200 && !answer.body.contains("error"), "{q}: {}", answer.body);
    };
    run(&format!("CREATE USER \"admin\" WITH PASSWORD '{PASSWORD}' WITH ALL PRIVILEGES"));
    run("CREATE DATABASE a; CREATE DATABASE b");
    for (name, grants) in USERS.iter().filter(|(name, _)| !["absent", "wrong", "admin"].contains(name)) {
        run(&format!("CREATE USER \"{name}\" WITH PASSWORD '{PASSWORD}'"));
        grants
            .iter()
            .for_each(|(privilege, database)| run(&format!("GRANT {privilege} ON {database} TO \"{name}\"")));
    }
    for database in ["a", "b"] {
        let target = [("db", database), ("u", "admin"), ("p", PASSWORD)];
        let answer = Client::new(url).post("/write", &target, b"m,t=x v=1 1").expect("an answer");
        assert_eq!(answer.status, 204, "{}", answer.body);
    }
}

fn server() -> Server {
    let server = Server::start_with(&[("AUTH__ENABLED", "true"), ("AUTH__PING_AUTH_ENABLED", "true")]);
    set_up(&server.url());
    server
}

fn differences(blocks: &[Block], url: &str, expected: impl Fn(&Block) -> &[String]) -> Vec<String> {
    let mut differences = Vec::new();
    for block in blocks {
        let (answers, expected) = (answers(url, block), expected(block));
        if answers != expected {
            let (request, body) = (&block.request, block.body.join("\n"));
            let (expected, got) = (expected.join("\n  "), answers.join("\n  "));
            differences.push(format!("{request}\n{body}\n expected\n  {expected}\n got\n  {got}"));
        }
    }
    differences
}

#[test]
fn everybody_gets_what_the_matrix_says() {
    let blocks = read();
    let all: Vec<String> = blocks.iter().map(|block| block.body.join("\n")).collect();
    let missing: Vec<_> = RULES.iter().filter(|rule| !all.iter().any(|text| text == rule.example)).collect();
    assert!(missing.is_empty(), "not in the matrix: {missing:?}");
    let differences = differences(&blocks, &server().url(), |block| &block.ours);
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[test]
#[ignore = "make compare-auth"]
fn influxdb_says_the_same() {
    let influxd = std::env::var("INFLUXD_WITH_AUTH").expect("the URL of an influxd with authentication");
    set_up(&influxd);
    let mut blocks = read();
    if std::env::var_os("HYPERBYTEDB_UPDATE_MATRIX").is_some() {
        let server = server();
        let is_there = |blocks: &[Block], text| blocks.iter().any(|block| block.body == [text]);
        for rule in RULES.iter().filter(|rule| !is_there(&read(), rule.example)) {
            let (request, body) = ("POST /query?db=a".to_owned(), vec![rule.example.to_owned()]);
            blocks.push(Block { before: "\n".into(), request, body, ..Block::default() });
        }
        for block in &mut blocks {
            block.ours = answers(&server.url(), block);
            block.influxdb = answers(&influxd, block);
            if block.influxdb == block.ours {
                block.influxdb.clear();
            }
        }
        return write(&blocks);
    }
    let differences = differences(&blocks, &influxd, |block| match &block.influxdb[..] {
        [] => &block.ours,
        theirs => theirs,
    });
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}
