//! The shell starts at once because it links neither the engine nor a store.

#![allow(clippy::unwrap_used)]

mod support;

use std::process::Command;
use std::time::{Duration, Instant};

use support::server::{FakeServer, rows};

const SHELL: &str = env!("CARGO_BIN_EXE_hyperbytedb-cli");
/// Other tests run beside this one, so the best of some tries counts.
const TRIES: usize = 20;

/// From the start to the end of a statement, with a server that answers at once.
#[test]
fn it_starts_at_once() {
    let server = FakeServer::start(|_, _| Some(rows(&["name"], &[&["metrics"]])));
    let port = server.port.to_string();
    let try_once = || {
        let started = Instant::now();
        let mut shell = Command::new(SHELL);
        shell.args(["-host", "127.0.0.1", "-port", &port, "-execute", "SHOW DATABASES"]);
        let output = shell.output().unwrap();
        assert!(
            output.status.success() && String::from_utf8_lossy(&output.stdout).contains("metrics"),
            "{output:?}"
        );
        started.elapsed()
    };
    let best = (0..TRIES).map(|_| try_once()).min().unwrap();
    assert!(best < Duration::from_millis(100), "{best:?}");
}

/// What the packages bring of both programs is made by the programs.
#[test]
fn man_pages_and_completions_are_of_the_commands_there_are() {
    let folder = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| {
        let output = Command::new(SHELL).args(arguments).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    run(&["man", folder.path().to_str().unwrap()]);
    let page = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
    assert!(page("hyperbytedb-cli.1").contains("unsafeSsl"), "a flag");
    assert!(page("hyperbytedb-cli-statements.1").contains("limit"), "a flag of a command");
    for shell in ["bash", "zsh", "fish"] {
        let completions = run(&["completions", shell]);
        for word in ["statements", "cluster", "top", "precision"] {
            assert!(completions.contains(word), "{shell}: {word}");
        }
    }
}

#[test]
fn neither_rocksdb_nor_libchdb_is_linked() {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args([
        "tree",
        "--offline",
        "--locked",
        "--package",
        "hyperbytedb-cli",
        "--edges",
        "normal",
        "--prefix",
        "none",
    ]);
    // With it cargo lists the whole workspace.
    cargo.env_remove("CARGO_RESOLVER_FEATURE_UNIFICATION");
    let output = cargo.current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let tree = String::from_utf8_lossy(&output.stdout);
    assert!(tree.contains("reedline"), "{tree}");
    for engine in ["rocksdb", "chdb-rust", "hyperbytedb-engine", "hyperbytedb-storage"] {
        assert!(!tree.contains(engine), "{engine} is linked:\n{tree}");
    }
}
