//! kill -9 in the middle of writing: everything acknowledged must be there afterwards.
//!
//! The test starts its own binary again; the child writes and prints what was acknowledged, the parent kills it
//! and compares.

#![allow(clippy::unwrap_used)]

use std::io::{BufRead, BufReader};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use hyperbytedb_domain::catalog::{Catalog, Command as CatalogCommand, FieldDef, TableExtension};
use hyperbytedb_domain::ports::{CatalogPort, NewRecord, SeriesIndexPort, WalPort};
use hyperbytedb_domain::wal::{WalEntry, WalRecord, WriteEntry};
use hyperbytedb_domain::{FieldType, Precision, Tags};
use hyperbytedb_storage_rocksdb::{Storage, StorageOptions};

const DIRECTORY: &str = "HYPERBYTEDB_CRASH_TEST_DIR";
const KILLS: usize = 8;
const RECORDS_KEPT: u64 = 200;

fn options(dir: &Path) -> StorageOptions {
    StorageOptions {
        wal_write_buffer_bytes: 1 << 20,
        meta_write_buffer_bytes: 1 << 20,
        ..StorageOptions::in_directory(dir)
    }
}

fn body(number: u64) -> String {
    let line = format!("cpu,host=h{number} value={number}\n");
    line.repeat(1 + (number % 97) as usize * 10)
}

fn record(number: u64) -> WalRecord {
    let entry = WriteEntry {
        database: "db".into(),
        retention_policy: String::new(),
        precision: Precision::Nanosecond,
        default_time: number as i64,
        tables: Vec::new(),
        shards: Vec::new(),
        form: Default::default(),
        body: body(number).into_bytes().into(),
    };
    WalRecord { origin: 1, clock: number, entry: WalEntry::Write(entry) }
}

fn field(number: u64) -> CatalogCommand {
    let table = TableExtension {
        measurement: measurement(number),
        tags: Vec::new(),
        fields: vec![FieldDef { name: format!("f{number}"), field_type: FieldType::Float }],
    };
    CatalogCommand::ExtendSchema {
        database: "db".into(),
        retention_policy: String::new(),
        tables: vec![table],
        times: Vec::new(),
    }
}

fn measurement(number: u64) -> String {
    format!("m{}", number % 7)
}

fn apply(storage: &Storage, command: &CatalogCommand) {
    let mut catalog = Catalog::clone(&storage.catalog.catalog());
    catalog.apply(command).unwrap();
    storage.catalog.publish(catalog, storage.catalog.applied() + 1).unwrap();
}

fn tags(number: u64) -> Tags {
    Tags::new(vec![("host".into(), format!("h{number}")), ("dc".into(), format!("dc{}", number % 3))])
}

/// The child: does nothing unless the parent started it.
#[test]
fn writer_process() {
    let Ok(dir) = std::env::var(DIRECTORY) else { return };
    let storage = Storage::open(&options(&PathBuf::from(dir))).unwrap();
    apply(&storage, &CatalogCommand::CreateDatabase { name: "db".into(), policy: None });
    loop {
        let number = storage.wal.last_sequence() + 1;
        apply(&storage, &field(number));
        let table = storage.catalog.catalog().table("db", "", &measurement(number)).unwrap().clone();
        let tags = tags(number);
        storage.series.register(&table, &[(tags.series_id(), &tags)]).unwrap()[0].clone().unwrap();
        let WalRecord { origin, clock, entry } = record(number);
        let entry = storage.wal.encode(&entry).unwrap();
        storage.wal.append(vec![NewRecord { origin, clock, entry, is_foreign: false }], false).unwrap();
        println!("acknowledged {number}");
        if number.is_multiple_of(50) {
            storage.wal.truncate_before(number.saturating_sub(RECORDS_KEPT)).unwrap();
        }
    }
}

#[test]
fn nothing_acknowledged_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let mut acknowledged = 0;
    for kill in 0..KILLS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "writer_process", "--nocapture"])
            .env(DIRECTORY, dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let until = acknowledged + 20 + 23 * kill as u64;
        for line in BufReader::new(child.stdout.take().unwrap()).lines() {
            let Some(number) =
                line.unwrap().strip_prefix("acknowledged ").and_then(|n| n.parse::<u64>().ok())
            else {
                continue;
            };
            acknowledged = number;
            if number == until {
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();
        assert!(acknowledged >= until, "the child ended by itself after {acknowledged}");
        acknowledged = check(dir.path(), acknowledged);
    }
}

/// Returns the last sequence, which can be one more than was acknowledged.
fn check(dir: &Path, acknowledged: u64) -> u64 {
    let storage = Storage::open(&options(dir)).unwrap();
    let last = storage.wal.last_sequence();
    assert!(last >= acknowledged, "{last} of {acknowledged}");
    let records = storage.wal.read_from(1, usize::MAX).unwrap();
    assert!(records.len() as u64 >= RECORDS_KEPT.min(last));
    for (sequence, found) in &records {
        assert_eq!(found, &record(*sequence));
    }
    assert_eq!(records.last().map(|(sequence, _)| *sequence), Some(last));

    let catalog = storage.catalog.catalog();
    let mut series = 0;
    for table in catalog.tables() {
        storage
            .series
            .for_each_series(table.id, &mut |_, _| {
                series += 1;
                ControlFlow::Continue(())
            })
            .unwrap();
    }
    assert!(series >= last, "{series} series of {last}");
    for number in 1..=last {
        let table = catalog.table("db", "", &measurement(number)).unwrap();
        assert!(table.field(&format!("f{number}")).is_some(), "field {number}");
    }
    last
}
