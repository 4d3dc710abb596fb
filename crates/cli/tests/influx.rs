//! Our shell against the real `influx`, both with a real `influxd`: the same commands print the same and end the same.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use hyperbytedb_test_support::free_port;

const CASES: &str = include_str!("cases/influx.txt");
const OURS: &str = env!("CARGO_BIN_EXE_hyperbytedb-cli");

struct Influxd {
    process: Child,
    port: u16,
}

impl Drop for Influxd {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

impl Influxd {
    /// None where InfluxDB is not installed.
    fn start(folder: &Path) -> Option<Self> {
        if Command::new("influx").arg("-version").output().is_err() {
            return None;
        }
        let (port, backup) = (free_port(), free_port());
        let data = folder.display();
        let config = format!(
            "reporting-disabled = true\nbind-address = \"127.0.0.1:{backup}\"\n[meta]\ndir = \"{data}/meta\"\n\
             [data]\ndir = \"{data}/data\"\nwal-dir = \"{data}/wal\"\n[monitor]\nstore-enabled = false\n\
             [http]\nbind-address = \"127.0.0.1:{port}\"\n"
        );
        fs::write(folder.join("influxdb.conf"), config).unwrap();
        let mut command = Command::new("influxd");
        command
            .arg("run")
            .arg("-config")
            .arg(folder.join("influxdb.conf"))
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let influxd = Self { process: command.spawn().ok()?, port };
        let deadline = Instant::now() + Duration::from_secs(60);
        while !run(OURS, influxd.port, &["ping"]).status.success() {
            assert!(Instant::now() < deadline, "influxd does not answer");
            thread::sleep(Duration::from_millis(50));
        }
        Some(influxd)
    }
}

fn run(program: &str, port: u16, arguments: &[&str]) -> Output {
    let mut command = Command::new(program);
    command.args(["-host", "127.0.0.1", "-port", &port.to_string()]).args(arguments).stdin(Stdio::null());
    command.env("HOME", "/nonexistent").output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn the_shell_prints_what_influx_prints() {
    let folder = tempfile::tempdir().unwrap();
    let Some(influxd) = Influxd::start(folder.path()) else {
        eprintln!("skipped: influx is not installed");
        return;
    };
    prepare(&influxd, folder.path());
    let mut differences = String::new();
    let cases = CASES.split("\n\n").filter(|case| !case.trim_start().starts_with('#'));
    for case in cases {
        let (flags, commands) = case.trim().split_once('\n').expect("flags, then commands");
        let (fails, flags) = flags.strip_prefix("! ").map_or((false, flags), |flags| (true, flags));
        let mut arguments: Vec<&str> = flags.split(' ').collect();
        arguments.extend(["-execute", commands]);
        let (theirs, ours) = (run("influx", influxd.port, &arguments), run(OURS, influxd.port, &arguments));
        let expected_code = if fails { Some(1) } else { theirs.status.code() };
        if theirs.stdout != ours.stdout || expected_code != ours.status.code() || theirs.stderr != ours.stderr
        {
            let difference = format!(
                "=== {case}\n--- influx {:?}\n{}{}--- ours {:?}\n{}{}",
                theirs.status.code(),
                text(&theirs.stdout),
                text(&theirs.stderr),
                ours.status.code(),
                text(&ours.stdout),
                text(&ours.stderr)
            );
            differences.extend(difference.chars().take(2_000));
        }
    }
    assert!(differences.is_empty(), "{differences}");
}

fn prepare(influxd: &Influxd, folder: &Path) {
    let mut points = String::from(
        "# DDL\nCREATE DATABASE d\nCREATE RETENTION POLICY long ON d DURATION INF REPLICATION 1\n# DML\n# CONTEXT-DATABASE: d\n\
         # CONTEXT-RETENTION-POLICY: autogen\n\
         cpu,host=a,region=eu usage=1.5,n=3i,s=\"x y, \\\"q\\\"\",b=true 1735689600000000000\n\
         cpu,host=b,region=us usage=100000000000000000000000,n=44i 1735689660000000000\n\
         mem,host=é\\ <&> free=7,used=-0.000001 1735689660000000001\n",
    );
    for number in 0..25_000_i64 {
        points += &format!(
            "many n={number}i,f={}.25 {}\n",
            number * number,
            1_735_689_600_000_000_000 + number * 1_000_000_007
        );
    }
    points += "# CONTEXT-RETENTION-POLICY: long\nret v=1 1735689600000000000\n";
    let path = folder.join("points.txt");
    fs::write(&path, points).unwrap();
    let imported = run(OURS, influxd.port, &["-import", "-path", &path.display().to_string()]);
    assert!(imported.status.success(), "{}{}", text(&imported.stdout), text(&imported.stderr));
    assert_eq!(text(&imported.stdout), "Processed 2 commands\nProcessed 25004 inserts\nFailed 0 inserts\n");
}
