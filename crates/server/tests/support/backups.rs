//! Backups by the built commands, and what is restored from them.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use super::{Client, Server};

/// Points go from memory to the engine all the time.
pub const SMALL_FLUSHES: &[(&str, &str)] = &[
    ("FLUSH__MAX_ROWS", "50"),
    ("FLUSH__SMALL_ROWS", "1"),
    ("FLUSH__INTERVAL_SECS", "1"),
    ("FLUSH__CHECKPOINT_INTERVAL_SECS", "1"),
];

fn command(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_hyperbytedb")).args(arguments).output().expect("the command runs")
}

/// Runs a command that must succeed; returns what it printed.
pub fn run(arguments: &[&str]) -> String {
    let output = command(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// Runs a command that must fail; returns what it complained of.
pub fn refused(arguments: &[&str]) -> String {
    let output = command(arguments);
    assert!(!output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8(output.stderr).expect("UTF-8")
}

pub fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

pub fn back_up(server: &Server, name: &str, more: &[&str]) -> PathBuf {
    let output = server.data_dir.join(name);
    let mut arguments = vec!["backup", "--url"];
    let url = server.url();
    arguments.extend([url.as_str(), "--output", text(&output)]);
    arguments.extend(more);
    run(&arguments);
    output
}

/// A server over the restored backup.
pub fn restored(backup: &Path) -> (tempfile::TempDir, Server) {
    let dir = tempfile::tempdir().expect("folder");
    run(&["restore", "--input", text(backup), "--data-dir", text(&dir.path().join("data"))]);
    let server = Server::start_in(dir.path(), &[]);
    (dir, server)
}

pub fn everything(client: &Client, db: &str) -> serde_json::Value {
    client.query(db, "SELECT * FROM /.*/ GROUP BY *; SHOW SERIES; SHOW FIELD KEYS; SHOW TAG KEYS")
}
