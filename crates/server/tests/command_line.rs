//! What the packages bring beside the server is made by it: man pages, completions.

#![allow(clippy::unwrap_used)] // a test may panic

use std::process::{Command, Output};

fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_hyperbytedb")).args(arguments).output().unwrap()
}

fn said(arguments: &[&str]) -> String {
    let output = run(arguments);
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn man_pages_and_completions_are_of_the_commands_there_are() {
    let folder = tempfile::tempdir().unwrap();
    said(&["man", folder.path().to_str().unwrap()]);
    let page = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
    assert!(page("hyperbytedb.1").contains("InfluxDB"));
    assert!(page("hyperbytedb-config.1").contains("from\\-influxdb"));
    for shell in ["bash", "zsh", "fish"] {
        let completions = said(&["completions", shell]);
        for word in ["serve", "backup", "restore", "from-influxdb"] {
            assert!(completions.contains(word), "{shell}: {word}");
        }
    }
}

#[test]
fn what_goes_wrong_is_said_and_is_the_exit_code() {
    for (arguments, code, text) in [
        (&["config", "--from-influxdb", "/nonexistent/influxdb.conf"][..], 1, "/nonexistent/influxdb.conf"),
        (&["serve", "--config", "/nonexistent.toml"], 1, "/nonexistent.toml"),
        (&["no-such-command"], 2, "no-such-command"),
    ] {
        let output = run(arguments);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(code) && error.contains(text), "{arguments:?}: {output:?}");
    }
}
