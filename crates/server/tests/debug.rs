//! `hyperbytedb debug`: it shows what is there, changes nothing, finds what does not agree, and mends the index.
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use hyperbytedb_domain::catalog::TableId;
use hyperbytedb_domain::ports::{LocalStatePort, SeriesIndexPort};
use hyperbytedb_storage_rocksdb::{Storage, StorageOptions};
use support::{Server, until};

/// Success, and what was printed.
fn debug(data: &Path, arguments: &[&str]) -> (bool, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hyperbytedb"));
    command.args(["debug", "--data-dir", data.to_str().unwrap()]).args(arguments);
    let output = command.output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
    (output.status.success(), text)
}

fn shown(data: &Path, arguments: &[&str]) -> String {
    let (succeeded, text) = debug(data, arguments);
    assert!(succeeded, "{arguments:?}: {text}");
    text
}

/// Every file with its bytes.
fn contents(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    // A server may be at work there.
    for path in fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path()) {
        if path.is_dir() {
            found.extend(contents(&path));
        } else if let Ok(bytes) = fs::read(&path) {
            found.insert(path, bytes);
        }
    }
    found
}

#[test]
fn a_folder_is_shown_checked_and_mended() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let settings =
        [("FLUSH__SMALL_ROWS", "1"), ("FLUSH__INTERVAL_SECS", "1"), ("FLUSH__CHECKPOINT_INTERVAL_SECS", "1")];
    let server = Server::start_in(dir.path(), &settings);
    let client = server.client();
    client.query("", "CREATE DATABASE d; CREATE USER u WITH PASSWORD 'p' WITH ALL PRIVILEGES");
    let lines: String = (0..100).map(|i| format!("m,host=h{},rack=r{} v={i} {i}\n", i % 10, i % 2)).collect();
    client.write("d", &lines);
    client.write("d", "untagged v=1 1");
    let engine_has_all = || {
        let parts: Vec<PathBuf> = contents(&data.join("chdb/store")).into_keys().collect();
        parts.iter().filter(|path| path.ends_with("data.bin")).count() >= 2
    };
    until("the points are in the engine", Duration::from_secs(60), engine_has_all);
    client.query("d", "DELETE FROM m WHERE host = 'h3'");
    let (succeeded, text) = debug(&data, &["verify"]);
    assert!(!succeeded && text.contains("in use"), "{text}");
    // In the log alone.
    client.write("d", "m,host=late v=1 1");
    let series = client.query("d", "SHOW SERIES");
    server.kill();

    let before = contents(&data);
    let log = shown(&data, &["log"]);
    assert!(
        log.contains("command {\"DeletePoints\"") && log.contains("write \"d\".\"autogen\" [\"m="),
        "{log}"
    );
    assert!(!log.contains("argon2"), "{log}");
    assert_eq!(shown(&data, &["log", "--limit", "1"]).lines().count(), 2);
    assert!(shown(&data, &["cursors"]).contains("flush: "));
    let catalog: serde_json::Value = serde_json::from_str(&shown(&data, &["catalog"])).unwrap();
    assert_eq!(catalog["users"]["u"]["password_hash"], "[REDACTED]");
    let text = shown(&data, &["series"]);
    assert!(text.contains("\"d\".\"autogen\".\"m\": 10 series"), "{text}");
    let number =
        text.lines().find(|line| line.contains("\"m\"")).and_then(|line| line.split(' ').nth(1)).unwrap();
    assert!(shown(&data, &["series", "--table", number]).contains("m,host=late"));
    let text = shown(&data, &["tables", "--parts"]);
    assert!(text.contains("2 tags, 1 fields") && text.contains(" parts, "), "{text}");
    let text = shown(&data, &["verify"]);
    assert!(text.contains(" 2 tables: 0 errors"), "{text}");
    assert_eq!(contents(&data), before, "something was changed");

    // The index loses a table.
    let stores = Storage::open(&StorageOptions::in_directory(&data)).unwrap();
    stores.series.drop_table(TableId(number.parse().unwrap())).unwrap();
    stores.local_state.sync().unwrap();
    drop(stores);
    let (_, text) = debug(&data, &["verify"]);
    assert!(
        text.contains("9 series of the engine are not in the index")
            || text.contains("9 series are not in the index"),
        "{text}"
    );
    let text = shown(&data, &["repair"]);
    assert!(text.contains(&format!("table {number}: 9 series, 9 added, 0 removed")), "{text}");
    assert!(shown(&data, &["verify"]).contains(": 0 errors"));
    let server = Server::start_in(dir.path(), &settings);
    assert_eq!(server.client().query("d", "SHOW SERIES"), series);
    server.stop();

    // A cursor beyond the log.
    let stores = Storage::open(&StorageOptions::in_directory(&data)).unwrap();
    stores.local_state.store_cursors(&[("flush".to_owned(), Some(1_000_000))]).unwrap();
    drop(stores);
    let (succeeded, text) = debug(&data, &["verify"]);
    assert!(!succeeded && text.contains("flush is at 1000000, beyond the log's end"), "{text}");
    let (succeeded, text) = debug(dir.path(), &["cursors"]);
    assert!(!succeeded && text.contains("is not a folder of HyperbyteDB"), "{text}");
}
