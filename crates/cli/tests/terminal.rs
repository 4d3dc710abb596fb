//! The shell at a terminal: what a person types, and what the screen shows.

#![allow(clippy::unwrap_used)]

mod support;

use std::time::{Duration, Instant};

use support::server::{FakeServer, NOTHING, rows};
use support::terminal::Terminal;

const SHELL: &str = env!("CARGO_BIN_EXE_hyperbytedb-cli");
const TAB: &str = "\t";
const ENTER: &str = "\r";
const CTRL_C: &str = "\x03";
const CTRL_D: &str = "\x04";
const CTRL_R: &str = "\x12";
const ALT_ENTER: &str = "\x1b\r";

fn answers(statement: &str, database: &str) -> Option<String> {
    Some(match statement {
        "SHOW DATABASES" => rows(&["name"], &[&["metrics"], &["other"]]),
        "SHOW MEASUREMENTS" if database == "metrics" => rows(&["name"], &[&["weather station"], &["zebra"]]),
        "SHOW TAG KEYS" if database == "metrics" => rows(&["tagKey"], &[&["xhost"]]),
        "SHOW FIELD KEYS" if database == "metrics" => {
            rows(&["fieldKey", "fieldType"], &[&["yvalue", "float"]])
        }
        "SHOW QUERIES" => {
            rows(&["qid", "query", "database", "duration"], &[&["7", "SELECT slow", "metrics", "3s"]])
        }
        "SELECT slow" => return None,
        statement if statement.starts_with("SELECT") => {
            rows(&["answer"], &[&[&format!("<{}>", statement.replace('\n', "+"))]])
        }
        _ => NOTHING.to_owned(),
    })
}

struct Shell {
    terminal: Terminal,
    server: FakeServer,
    home: tempfile::TempDir,
}

impl Shell {
    fn start(database: &str) -> Self {
        let (server, home) = (FakeServer::start(answers), tempfile::tempdir().unwrap());
        let terminal = open(&server, &home, &["-database", database]);
        terminal.until_last_line(&format!("{database}>"));
        Self { terminal, server, home }
    }

    fn leave(self) -> (FakeServer, tempfile::TempDir) {
        self.terminal.press(CTRL_D);
        assert_eq!(self.terminal.exit_code(), Some(0));
        (self.server, self.home)
    }
}

fn open(server: &FakeServer, home: &tempfile::TempDir, arguments: &[&str]) -> Terminal {
    let port = server.port.to_string();
    let arguments = [&["-host", "127.0.0.1", "-port", &port], arguments].concat();
    Terminal::start(SHELL, &arguments, &[("HOME", &home.path().display().to_string())])
}

#[test]
fn the_prompt_says_server_and_database() {
    let (server, home) = (FakeServer::start(answers), tempfile::tempdir().unwrap());
    let terminal = open(&server, &home, &[]);
    let greeting = terminal.until_last_line(">");
    assert!(greeting.contains(&format!("Connected to http://127.0.0.1:{} version 1.8.10", server.port)));
    terminal.press("use metrics\r");
    terminal.until_last_line("metrics>");
    terminal.press("use nowhere\r");
    terminal.until_shown("Database nowhere doesn't exist");
    terminal.press("exit\r");
    assert_eq!(terminal.exit_code(), Some(0));
}

#[test]
fn statements_go_over_several_lines() {
    let shell = Shell::start("metrics");
    shell.terminal.press("SELECT mean(\r");
    shell.terminal.until_last_line(".");
    shell.terminal.press("v) FROM m\r");
    shell.terminal.until_shown("<SELECT mean(+v) FROM m>");
    shell.terminal.press(&format!("SELECT a{ALT_ENTER}FROM b{ENTER}"));
    shell.terminal.until_shown("<SELECT a+FROM b>");
    shell.leave();
}

#[test]
fn tab_completes_words_and_the_names_that_the_server_has() {
    let shell = Shell::start("metrics");
    shell.terminal.until("the names are asked for", |_| shell.server.has_seen("SHOW MEASUREMENTS"));
    for (typed, completed) in [
        ("SELECT xh", "SELECT xhost"),
        ("SELECT yv", "SELECT yvalue"),
        ("SELECT a FROM zeb", "SELECT a FROM zebra"),
        ("SELECT a FROM weat", "SELECT a FROM \"weather station\""),
        ("CREATE DATABASE othe", "CREATE DATABASE other"),
        ("SELECT holt", "SELECT holt_winters("),
        ("SHOW CARDIN", "SHOW CARDINALITY"),
    ] {
        let is_completed = |text: &str| text.trim_end().ends_with(&format!("> {completed}"));
        let deadline = Instant::now() + Duration::from_secs(20);
        shell.terminal.press(&format!("{typed}{TAB}"));
        // The names come in the background: where they are late, there is nothing to complete.
        while !shell.terminal.is_soon(is_completed) {
            assert!(Instant::now() < deadline, "{completed}: {}", shell.terminal.text());
            shell.terminal.press(CTRL_C);
            shell.terminal.until_last_line("metrics>");
            shell.terminal.press(&format!("{typed}{TAB}"));
        }
        shell.terminal.press(CTRL_C);
        shell.terminal.until_last_line("metrics>");
    }
    shell.terminal.press(&format!("SELECT me{TAB}"));
    shell.terminal.until("a menu", |text| text.contains("mean(") && text.contains("median("));
    shell.terminal.press(CTRL_C);
    shell.terminal.until_last_line("metrics>");
    shell.leave();
}

#[test]
fn the_history_is_kept_and_searched() {
    let shell = Shell::start("metrics");
    for statement in ["SELECT first", "SELECT second"] {
        shell.terminal.press(&format!("{statement}{ENTER}"));
        shell.terminal.until_shown(&format!("<{statement}>"));
    }
    shell.terminal.press("auth root hush\r");
    let (server, home) = shell.leave();
    let terminal = open(&server, &home, &[]);
    terminal.until_last_line(">");
    terminal.press(CTRL_R);
    terminal.press("fir");
    terminal.until_shown("(search: fir) SELECT first");
    terminal.press(ENTER);
    terminal.until_last_line("> SELECT first");
    terminal.press(ENTER);
    terminal.until_shown("<SELECT first>");
    terminal.press("history\r");
    let shown = terminal.until_shown("SELECT second");
    assert!(!shown.contains("hush"), "{shown}");
    terminal.press("\x1b[A\x1b[A");
    terminal.until_last_line("> SELECT first");
}

#[test]
fn an_interrupt_ends_a_line_and_a_query_but_not_the_shell() {
    let shell = Shell::start("metrics");
    shell.terminal.press("SELECT unwanted");
    shell.terminal.until_last_line("metrics> SELECT unwanted");
    shell.terminal.press(CTRL_C);
    shell.terminal.until_last_line("metrics>");
    shell.terminal.press("SELECT slow\r");
    shell.terminal.until("the query runs", |_| shell.server.has_seen("SELECT slow"));
    let interrupted = Instant::now();
    shell.terminal.press(CTRL_C);
    shell.terminal.until_shown("ERR: aborted by user");
    assert!(interrupted.elapsed() < Duration::from_secs(2), "{:?}", interrupted.elapsed());
    // The connection is closed, and so a server stops working on it.
    let has_stopped = || *shell.server.abandoned.lock().unwrap() == ["SELECT slow"];
    shell.terminal.until("the server is told", |_| has_stopped());
    shell.terminal.until_last_line("metrics>");
    shell.terminal.press("SELECT next\r");
    shell.terminal.until_shown("<SELECT next>");
    assert!(!shell.server.has_seen("SELECT unwanted"));
    shell.leave();
}

#[test]
fn top_shows_rates_levels_and_queries_until_one_leaves() {
    let shell = Shell::start("metrics");
    shell.terminal.press("top --interval 0.1\r");
    let is_rate = |line: &str| line.contains("writes/s") && line.contains(" M");
    // A screen arrives in pieces.
    let is_whole = |text: &str| {
        let parts = ["head bytes", "12.3 k", "SELECT slow", "3s"];
        text.lines().any(is_rate) && parts.iter().all(|part| text.contains(part))
    };
    let screen = shell.terminal.until("rates, levels and queries", is_whole);
    assert!(!screen.contains("-0.0"), "{screen}");
    shell.terminal.press("q");
    // The screen from before is back.
    shell.terminal.until_last_line("metrics>");
    shell.terminal.press("top\r");
    shell.terminal.until_shown("queries at work");
    shell.terminal.press(CTRL_C);
    shell.terminal.until_last_line("metrics>");
    shell.leave();
}

#[test]
fn a_password_is_asked_for_and_not_shown() {
    let (server, home) = (FakeServer::start(answers), tempfile::tempdir().unwrap());
    let terminal = open(&server, &home, &["-username", "root", "-password", ""]);
    terminal.until_last_line("password:");
    terminal.press("hush\r");
    let shown = terminal.until_last_line(">");
    assert!(!shown.contains("hush"), "{shown}");
    terminal.press("settings\r");
    terminal.until("the user", |text| text.lines().any(|line| line.trim() == "Username          root"));
}
