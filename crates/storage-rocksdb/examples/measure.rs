//! Figures of the storage, by hand:
//! `cargo run --release -p hyperbytedb-storage-rocksdb --example measure -- wal|series DIRECTORY`.

#![allow(clippy::unwrap_used)] // a test may panic

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use hyperbytedb_domain::catalog::{Catalog, Command, Table, TableExtension};
use hyperbytedb_domain::ports::{CatalogPort, NewRecord, SeriesIndexPort, WalPort};
use hyperbytedb_domain::wal::{WalEntry, WalRecord, WriteEntry};
use hyperbytedb_domain::{Precision, SeriesId, Tags};
use hyperbytedb_storage_rocksdb::{Storage, StorageOptions, WalSync, decode_record, encode_record};

const SERIES: usize = 1_000_000;
const SERIES_PER_CALL: usize = 5_000;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (Some(what), Some(dir)) = (arguments.first(), arguments.get(1).map(PathBuf::from)) else {
        eprintln!("usage: measure wal|series DIRECTORY");
        return;
    };
    match what.as_str() {
        "wal" => measure_wal(dir),
        "series" => measure_series(dir),
        other => eprintln!("unknown: {other}"),
    }
}

/// Ten-field lines as the CPU load writes them.
fn body(lines: usize, seed: usize) -> Vec<u8> {
    let mut out = String::new();
    for line in 0..lines {
        let n = (seed * lines + line) * 7919;
        out.push_str(&format!("cpu,hostname=host_{},region=eu-west-1,datacenter=eu-west-1b,rack={},os=Ubuntu16.10,arch=x64,team=LON,service={},service_version=0,service_environment=test ", n % 4000, n % 100, n % 20));
        for field in 0..10 {
            out.push_str(&format!("usage_{field}={}.{},", (n + field * 31) % 100, (n * 13 + field) % 10_000));
        }
        out.pop();
        out.push_str(&format!(" 14514{:014}\n", n * 1_000));
    }
    out.into_bytes()
}

fn measure_codec() {
    let bodies: Vec<Vec<u8>> = (0..8).map(|seed| body(5_000, seed)).collect();
    let records: Vec<WalRecord> = bodies.into_iter().map(|body| record(0, body)).collect();
    let bytes: usize = records.iter().map(body_length).sum();
    let (mut stored, rounds) = (Vec::new(), 10);
    let cpu = cpu_seconds();
    for _ in 0..rounds {
        stored = records.iter().map(|record| encode_record(record).expect("encode")).collect();
    }
    let written = cpu_seconds() - cpu;
    for _ in 0..rounds {
        assert!(stored.iter().all(|bytes| decode_record(bytes).is_ok()));
    }
    let read = cpu_seconds() - cpu - written;
    let total = (bytes * rounds) as f64 / 1e6;
    println!(
        "encode {:.0} MB/s, decode {:.0} MB/s of CPU time, to {} %",
        total / written,
        total / read,
        stored.iter().map(Vec::len).sum::<usize>() * 100 / bytes
    );
}

fn record(clock: u64, body: Vec<u8>) -> WalRecord {
    let entry = WriteEntry {
        database: "benchmark".into(),
        retention_policy: String::new(),
        precision: Precision::Nanosecond,
        default_time: 0,
        tables: Vec::new(),
        shards: Vec::new(),
        form: Default::default(),
        body: body.into(),
    };
    WalRecord { origin: 1, clock, entry: WalEntry::Write(entry) }
}

fn body_length(record: &WalRecord) -> usize {
    match &record.entry {
        WalEntry::Write(write) => write.body.len(),
        WalEntry::Command(_) | WalEntry::Agreed(_) => 0,
    }
}

fn measure_wal(dir: PathBuf) {
    measure_codec();
    for (sync, name) in
        [(WalSync::Always, "always"), (WalSync::Interval(Duration::from_millis(100)), "interval")]
    {
        for (lines, group, rounds) in
            [(1, 1, 300), (1, 64, 300), (100, 16, 200), (5_000, 1, 100), (5_000, 4, 50)]
        {
            let options = StorageOptions { wal_sync: sync, ..StorageOptions::in_directory(&dir) };
            let storage = Storage::open(&options).expect("open");
            let bodies: Vec<Vec<u8>> = (0..8).map(|seed| body(lines, seed)).collect();
            let (mut bytes, mut written) = (0, 0);
            let (started, cpu) = (Instant::now(), cpu_seconds());
            for round in 0..rounds {
                let records: Vec<NewRecord> = (0..group)
                    .map(|i| {
                        let body = bodies[(round + i) % bodies.len()].clone();
                        bytes += body.len();
                        let WalRecord { origin, clock, entry } = record(round as u64, body);
                        NewRecord {
                            origin,
                            clock,
                            entry: storage.wal.encode(&entry).expect("encode"),
                            is_foreign: false,
                        }
                    })
                    .collect();
                written += records.len();
                let first = storage.wal.append(records, false).expect("append");
                if round % 20 == 19 {
                    storage.wal.truncate_before(first.saturating_sub(20)).expect("truncate");
                }
            }
            let seconds = started.elapsed().as_secs_f64();
            println!(
                "sync {name:8} {lines:5} lines x {group:2} records: {:8.0} records/s {:8.1} MB/s of bodies, {:.2} ms an append, {:.2} us CPU a line",
                written as f64 / seconds,
                bytes as f64 / seconds / 1e6,
                seconds * 1e3 / rounds as f64,
                (cpu_seconds() - cpu) * 1e6 / (written * lines) as f64,
            );
        }
    }
}

/// One tag of a value per series, and nine common ones on nine series of ten.
fn tags(number: usize) -> Tags {
    let mut pairs = vec![("host".to_owned(), format!("host-{number:07}"))];
    for key in 0..number % 10 {
        pairs.push((format!("tag_key_{key}"), format!("value-{}", number * 31 % (10 + 10 * key))));
    }
    Tags::new(pairs)
}

fn measure_series(dir: PathBuf) {
    let options = StorageOptions {
        max_series_per_database: 0,
        max_values_per_tag: 0,
        ..StorageOptions::in_directory(&dir)
    };
    let storage = Storage::open(&options).expect("open");
    let table = TableExtension { measurement: "m".into(), ..TableExtension::default() };
    let commands = [
        Command::CreateDatabase { name: "db".into(), policy: None },
        Command::ExtendSchema {
            database: "db".into(),
            retention_policy: String::new(),
            tables: vec![table],
            times: Vec::new(),
        },
    ];
    let mut catalog = Catalog::default();
    for command in &commands {
        catalog.apply(command).expect("apply");
    }
    let table = catalog.table("db", "", "m").expect("a table").clone();
    storage.catalog.publish(catalog, 2).expect("publish");
    println!("at start: RSS {} MB", rss_megabytes());
    for round in ["new", "known"] {
        let (mut spent, mut cpu) = (Duration::ZERO, 0.0);
        for start in (0..SERIES).step_by(SERIES_PER_CALL) {
            let all: Vec<Tags> = (start..start + SERIES_PER_CALL).map(tags).collect();
            let series: Vec<(SeriesId, &Tags)> = all.iter().map(|tags| (tags.series_id(), tags)).collect();
            let (started, cpu_before) = (Instant::now(), cpu_seconds());
            let answers = storage.series.register(&table, &series).expect("register");
            spent += started.elapsed();
            cpu += cpu_seconds() - cpu_before;
            assert!(answers.iter().all(Result::is_ok));
        }
        let rate = SERIES as f64 / spent.as_secs_f64();
        println!(
            "{round}: {:.2} s ({cpu:.2} s CPU), {rate:.0} series/s, RSS {} MB",
            spent.as_secs_f64(),
            rss_megabytes()
        );
    }
    timed("for_each_series", || count_series(&storage, &table));
    timed("for_each_tag_value host", || {
        let mut seen = 0;
        storage.series.for_each_tag_value(table.id, "host", &mut |_| count(&mut seen)).expect("read");
        seen
    });
    timed("for_each_tag_value tag_key_1", || {
        let mut seen = 0;
        storage.series.for_each_tag_value(table.id, "tag_key_1", &mut |_| count(&mut seen)).expect("read");
        seen
    });
    timed("for_each_series_with_tag, one", || {
        let mut seen = 0;
        storage
            .series
            .for_each_series_with_tag(table.id, "host", "host-0500000", &mut |_, _| count(&mut seen))
            .expect("read");
        seen
    });
    timed("for_each_series_with_tag, common", || {
        let mut seen = 0;
        storage
            .series
            .for_each_series_with_tag(table.id, "tag_key_0", "value-1", &mut |_, _| count(&mut seen))
            .expect("read");
        seen
    });
    println!("RSS {} MB", rss_megabytes());
    drop(storage);
    let started = Instant::now();
    let storage = Storage::open(&options).expect("open");
    println!("reopened in {:.2} s, RSS {} MB", started.elapsed().as_secs_f64(), rss_megabytes());
    let all: Vec<Tags> = (0..100_000).map(tags).collect();
    let series: Vec<(SeriesId, &Tags)> = all.iter().map(|tags| (tags.series_id(), tags)).collect();
    timed("100,000 known series, cold", || storage.series.register(&table, &series).expect("register").len());
    timed("100,000 known series, warm", || storage.series.register(&table, &series).expect("register").len());
    let ids: Vec<SeriesId> = series.iter().map(|(id, _)| *id).collect();
    timed("remove 100,000 series", || {
        storage.series.remove_series(&table, &ids).expect("remove");
        count_series(&storage, &table)
    });
    timed("drop", || {
        storage.series.drop_table(table.id).expect("drop");
        count_series(&storage, &table)
    });
}

fn count(seen: &mut usize) -> ControlFlow<()> {
    *seen += 1;
    ControlFlow::Continue(())
}

fn count_series(storage: &Storage, table: &Table) -> usize {
    let mut seen = 0;
    storage.series.for_each_series(table.id, &mut |_, _| count(&mut seen)).expect("read");
    seen
}

fn timed(what: &str, run: impl FnOnce() -> usize) {
    let (started, cpu) = (Instant::now(), cpu_seconds());
    let seen = run();
    let wall = started.elapsed().as_secs_f64();
    println!("{what}: {seen} in {:.1} ms ({:.0} ms CPU)", wall * 1e3, (cpu_seconds() - cpu) * 1e3);
}

fn rss_megabytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0) * 4 / 1024
}

/// User and system time of the process.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let ticks: f64 = stat.split(' ').skip(13).take(2).filter_map(|n| n.parse::<f64>().ok()).sum();
    ticks / 100.0
}
