//! `import lines`, `export` and `migrate check`, and the commands of docs/migration.md beside a real influxd.

#![allow(clippy::unwrap_used)] // a test may panic

mod support;

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use arrow::array::{Array, BooleanArray, Float64Array, Int64Array, StringArray, TimestampNanosecondArray};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use support::influxd::Influxd;
use support::{Client, Server, until};

/// Whatever line protocol can express.
const AWKWARD: &str = concat!(
    "plain v=1.5 -9223372036854775806\n",
    "plain v=-0.0,i=-9223372036854775808i,b=true,s=\"\" 9223372036854775806\n",
    "plain v=5e-324,i=9223372036854775807i,b=false 0\n",
    "plain v=1.7976931348623157e308 1\n",
    "plain s=\"a \\\"b\\\" \\\\ c,d=e 'f'\" 2\n",
    "plain s=\"two\nlines\" 3\n",
    "odd\\ name\\,x,tag\\ k=v\\,\\ \\=x,z=\u{fc} field\\ \\,\\=k=1i,\"q\"=2i 4\n",
    "odd\\ name\\,x,z=back\\slash a=1 5\n",
    "same,host=a host=1,b=2 6\n",
    "same,other=x b=3 7\n",
);

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hyperbytedb"));
    command.args(arguments).stdin(Stdio::null());
    command
}

fn run(arguments: &[&str]) -> Output {
    command(arguments).output().unwrap()
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn succeed(arguments: &[&str]) -> String {
    let output = run(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", err(&output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn with_database(name: &str) -> (Server, Client) {
    let server = Server::start();
    let client = server.client();
    client.query("", &format!("CREATE DATABASE {name}"));
    (server, client)
}

#[test]
fn an_export_imports_to_the_same_points() {
    let (from, client) = with_database("d");
    client
        .query("", "CREATE RETENTION POLICY \"other one\" ON d DURATION INF REPLICATION 1 SHARD DURATION 2d");
    client.write("d", AWKWARD);
    let written = client.post("/write", &[("db", "d"), ("rp", "other one")], b"m v=1i 1\nm v=2i 2").unwrap();
    assert_eq!(written.status, 204);
    let folder = tempfile::tempdir().unwrap();
    let (plain, packed) = (folder.path().join("d.lp"), folder.path().join("d.lp.gz"));
    for file in [&plain, &packed] {
        let file = file.to_str().unwrap();
        succeed(&["export", "--url", &from.url(), "--database", "d", "--output", file]);
        let to = Server::start();
        succeed(&["import", "lines", "--url", &to.url(), file]);
        for statement in [
            "SELECT * FROM plain",
            "SELECT * FROM /o/ GROUP BY *",
            "SELECT * FROM same",
            "SELECT * FROM \"other one\".m",
        ] {
            assert_eq!(to.client().query("d", statement), client.query("d", statement), "{statement}");
        }
        let policies = "SHOW RETENTION POLICIES ON d";
        assert_eq!(to.client().query("", policies), client.query("", policies));
        assert_eq!(succeed(&["migrate", "check", &from.url(), &to.url()]), "equal: 12 points\n");
    }
    let text = succeed(&[
        "export",
        "--url",
        &from.url(),
        "--database",
        "d",
        "--measurement",
        "same",
        "--since",
        "1970-01-01T00:00:00.000000007Z",
        "--output",
        "-",
    ]);
    assert!(text.ends_with("# CONTEXT-RETENTION-POLICY:autogen\nsame,other=x b=3 7\n"), "{text}");
}

/// They would refuse the points.
#[test]
fn write_limits_of_policies_come_behind_the_points() {
    let (from, client) = with_database("d");
    client.query(
        "",
        "CREATE RETENTION POLICY limited ON d DURATION INF REPLICATION 1 SHARD DURATION 2d; \
         CREATE RETENTION POLICY \"only past\" ON d DURATION INF REPLICATION 2 PAST LIMIT 90m",
    );
    let old = client.post("/write", &[("db", "d"), ("rp", "limited")], b"m v=1i 1\nm v=2i 2").unwrap();
    assert_eq!(old.status, 204);
    client.query("", "ALTER RETENTION POLICY limited ON d FUTURE LIMIT 1h PAST LIMIT 36h");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("d.lp");
    let file = file.to_str().unwrap();
    let output = run(&["export", "--url", &from.url(), "--database", "d", "--output", file]);
    assert!(
        err(&output).contains("note: policy \"limited\" has FUTURE LIMIT 1h0m0s PAST LIMIT 36h0m0s"),
        "{}",
        err(&output)
    );

    let to = Server::start();
    succeed(&["import", "lines", "--url", &to.url(), file]);
    let policies = "SHOW RETENTION POLICIES ON d";
    assert_eq!(to.client().query("", policies), client.query("", policies));
    assert_eq!(succeed(&["migrate", "check", &from.url(), &to.url()]), "equal: 2 points\n");
    to.client().query("", "ALTER RETENTION POLICY limited ON d PAST LIMIT 35h");
    let differs = run(&["migrate", "check", &from.url(), &to.url()]);
    let told = String::from_utf8_lossy(&differs.stdout).into_owned();
    assert!(told.contains("PAST LIMIT 36h0m0s on A") && told.contains("PAST LIMIT 35h0m0s on B"), "{told}");

    // What an older InfluxDB does not know is no point for it.
    if !Influxd::is_installed() {
        return;
    }
    let influxd = Influxd::start(folder.path(), "inmem", 1 << 20);
    let port = influxd.port().to_string();
    let path = format!("-path={file}");
    let output = Command::new("influx").args(["-port", &port, "-import", &path]).output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout).into_owned() + &err(&output);
    assert!(told.contains("Processed 2 inserts") && told.contains("Failed 0 inserts"), "{told}");
}

/// Each says what is wrong, and leaves nothing behind.
#[test]
fn bad_input_of_an_export_is_told() {
    let (server, client) = with_database("d");
    client.write("d", "m v=1 1");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("o");
    let (url, file) = (server.url(), file.to_str().unwrap());
    let backwards = ["--since", "2024-01-02T00:00:00Z", "--until", "2024-01-01T00:00:00Z"];
    for (database, more, text) in [
        ("nope", &[][..], "database not found: nope"),
        ("d", &["--measurement", "nope"], "nothing to export: no such measurement has points"),
        ("d", &["--retention-policy", "nope"], "no retention policy \"nope\" on \"d\""),
        ("d", &backwards, "--since must be before --until"),
    ] {
        for format in ["lines", "parquet"] {
            let to = ["export", "--url", &url, "--database", database, "--format", format, "--output", file];
            let output = run(&[&to[..], more].concat());
            assert!(!output.status.success() && err(&output).contains(text), "{}", err(&output));
            assert_eq!(fs::read_dir(&folder).unwrap().count(), 0, "{text}");
        }
    }
}

#[test]
fn an_export_goes_to_influxdb_and_back() {
    if !Influxd::is_installed() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let influxd = Influxd::start(folder.path(), "inmem", 1 << 20);
    let (from, client) = with_database("d");
    client.write("d", AWKWARD);
    let (there, back) = (folder.path().join("there.lp"), folder.path().join("back.lp"));
    succeed(&["export", "--url", &from.url(), "--database", "d", "--output", there.to_str().unwrap()]);
    succeed(&["import", "lines", "--url", &influxd.url(), there.to_str().unwrap()]);
    succeed(&["migrate", "check", &from.url(), &influxd.url()]);
    succeed(&["export", "--url", &influxd.url(), "--database", "d", "--output", back.to_str().unwrap()]);
    let points = |path: &Path| {
        let text = fs::read_to_string(path).unwrap();
        text.split_once("# DML").unwrap().1.to_owned()
    };
    assert_eq!(points(&there), points(&back));
}

#[test]
fn refused_lines_are_counted_and_shown() {
    let (server, client) = with_database("d");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("points");
    let mut text = String::from("m v=1 1\n# a comment\n\nm v=\"text\" 2\nm s=\"two\nlines\" 3\nm v= 4\n");
    (5..2000).for_each(|at| text += &format!("m v={at} {at}\n"));
    text += "broken\n";
    fs::write(&file, text).unwrap();
    let arguments = ["import", "lines", "--url", &server.url(), "--database", "d", file.to_str().unwrap()];
    let output = run(&arguments);
    let told = err(&output);
    assert_eq!(output.status.code(), Some(1), "{told}");
    for expected in [
        "refused: line 4: m v=\"text\" 2: partial write: field type conflict",
        "refused: line 7: m v= 4: missing field value",
        "refused: line 2003: broken: missing fields",
        "1,997 points, ",
        "3 refused",
    ] {
        assert!(told.contains(expected), "{expected} in {told}");
    }
    assert_eq!(client.rows("d", "SELECT count(v), count(s) FROM m"), [[0, 1996, 1]]);
    let nowhere = run(&["import", "lines", "--url", &server.url(), file.to_str().unwrap()]);
    assert!(err(&nowhere).contains("line 1: no database"), "{}", err(&nowhere));
    let unknown =
        run(&["import", "lines", "--url", &server.url(), "--database", "e", file.to_str().unwrap()]);
    assert!(err(&unknown).contains("database not found"), "{}", err(&unknown));
}

/// As with InfluxDB's `influx -import`, which counts them and goes on.
#[test]
fn lines_that_a_policy_refuses_do_not_stop_an_import() {
    let (server, client) = with_database("d");
    client.query("", "CREATE RETENTION POLICY hour ON d DURATION 1h REPLICATION 1; CREATE RETENTION POLICY limited ON d DURATION INF REPLICATION 1 PAST LIMIT 1h");
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("points");
    for policy in ["hour", "limited"] {
        let old: String = (0..500).map(|at| format!("m v={at} {at}\n")).collect();
        fs::write(&file, format!("{old}m v=-1 {now}\n{}", old.replace("m v", "m,h=x v"))).unwrap();
        let to = ["--database", "d", "--retention-policy", policy, "--batch-lines", "100"];
        let output =
            run(&[&["import", "lines", "--url", &server.url()], &to[..], &[file.to_str().unwrap()]].concat());
        let told = err(&output);
        assert_eq!(output.status.code(), Some(1), "{told}");
        assert!(
            told.contains("refused: line 1: m v=0 0: partial write: points beyond retention policy"),
            "{told}"
        );
        assert!(told.contains("1 points, ") && told.contains(" 1,000 refused"), "{told}");
        assert_eq!(client.rows("d", &format!("SELECT v FROM {policy}.m")).len(), 1);
    }
}

#[test]
fn later_lines_win_over_several_connections() {
    let (server, client) = with_database("d");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("points");
    let mut text = String::new();
    for round in 0..100 {
        for series in 0..100 {
            // The tags come by turns in both orders.
            let (a, b) = (format!("a={series}"), "b=x".to_owned());
            let tags = if round % 2 == 0 { [a, b] } else { [b, a] }.join(",");
            text += &format!("m,{tags} v={round}i 1\n");
        }
    }
    fs::write(&file, text).unwrap();
    let size = ["--batch-lines", "7", "--connections", "8"];
    let to = ["import", "lines", "--url", &server.url(), "--database", "d", file.to_str().unwrap()];
    succeed(&[&to[..], &size[..]].concat());
    assert_eq!(client.rows("d", "SELECT count(v), min(v), max(v) FROM m"), [[0, 100, 99, 99]]);
}

#[test]
fn an_interrupted_import_goes_on() {
    let (server, client) = with_database("d");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("points");
    let state = folder.path().join("points.import-state");
    let text: String = (0..50_000).map(|at| format!("m,s={} v={at} {at}\n", at % 50)).collect();
    fs::write(&file, text).unwrap();
    let url = server.url();
    let to = ["import", "lines", "--url", &url, "--database", "d", file.to_str().unwrap()];
    let slow = ["--rate", "5000", "--batch-lines", "100"];
    let mut child: Child = command(&[&to[..], &slow[..]].concat()).stderr(Stdio::null()).spawn().unwrap();
    let has_begun = || fs::read_to_string(&state).is_ok_and(|text| !text.contains("\"accepted\":0,"));
    until("the import remembers how far it is", Duration::from_secs(30), has_begun);
    child.kill().unwrap();
    child.wait().unwrap();
    let stopped: serde_json::Value = serde_json::from_slice(&fs::read(&state).unwrap()).unwrap();
    let line = stopped["position"]["line"].as_u64().unwrap();
    assert!(line > 1, "{stopped}");
    // What is through is not read again: it may be gone.
    client.query("d", "DROP MEASUREMENT m");
    let output = run(&to);
    let told = err(&output);
    assert!(output.status.success() && told.contains(&format!("going on from line {line} ")), "{told}");
    assert_eq!(client.rows("d", "SELECT count(v), min(v) FROM m"), [[0, 50_001 - line, line - 1]]);
    assert!(!state.exists());
    // The state of one import is not taken for another one.
    fs::write(&state, "{\"files\":[\"x\"],\"position\":{\"file\":0,\"offset\":0,\"line\":0,\"database\":\"\",\"policy\":\"\",\"statements\":false},\"accepted\":0,\"refused\":0}").unwrap();
    assert!(err(&run(&to)).contains("it belongs to an import of other files"));
}

#[test]
fn a_check_lists_what_differs() {
    let (first, a) = with_database("d");
    let (second, b) = with_database("d");
    for client in [&a, &b] {
        client.write("d", "m,h=a v=1 1\nm,h=a v=2 86400000000000\nm,h=b v=3 86400000000001\nn v=1i 1");
    }
    let check = |more: &[&str]| run(&[&["migrate", "check", &first.url(), &second.url()], more].concat());
    assert_eq!(check(&[]).status.code(), Some(0));
    b.write("d", "m,h=b v=4 86400000000001\nm,h=c v=1 1\no v=1 1");
    b.query("", "CREATE DATABASE e");
    b.query("", "ALTER RETENTION POLICY autogen ON d DURATION 5200w");
    let output = check(&[]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{text}");
    for expected in [
        "database \"e\": only on B",
        "d: retention policy \"autogen\": 0s in shard groups of 168h0m0s, default on A, 873600h0m0s",
        "d.autogen: measurement \"o\": only on B",
        "d: m: 2 series on A, 3 on B\n  only on B: m,h=c",
        "d.autogen.m: window of 1970-01-01T00:00:00Z: 1 points on A, 2 on B",
        "d.autogen.m: window of 1970-01-02T00:00:00Z: 2 points on A, 2 on B with other values",
        "  1970-01-02T00:00:00Z: {h=b}: 1 points on A, 1 on B",
    ] {
        assert!(text.contains(expected), "{expected} in {text}");
    }
    let part = check(&["--database", "d", "--measurement", "n", "--retention-policy", "autogen"]);
    assert!(String::from_utf8_lossy(&part.stdout).contains("1 differences; 1 points are equal"));
    let nobody = run(&["migrate", "check", &first.url(), "http://127.0.0.1:1", "--retry-secs", "0"]);
    assert_eq!(nobody.status.code(), Some(2), "{}", err(&nobody));
}

#[test]
fn parquet_has_all_types() {
    let (server, client) = with_database("d");
    client.write("d", "m/x,h=a i=-3i 5\nm/x,h=b,f=t f=1.5,i=9007199254740993i,b=true,s=\"x\" 6");
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().to_str().unwrap();
    succeed(&["export", "--url", &server.url(), "--database", "d", "--format", "parquet", "--output", to]);
    let file = fs::File::open(folder.path().join("autogen.m%2fx.parquet")).unwrap();
    let mut reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build().unwrap();
    let batch = reader.next().unwrap().unwrap();
    let names: Vec<String> = batch.schema().fields().iter().map(|field| field.name().clone()).collect();
    assert_eq!(names, ["time", "f", "h", "b", "f_1", "i", "s"]);
    fn column<T: Array + 'static>(batch: &arrow::record_batch::RecordBatch, at: usize) -> &T {
        batch.column(at).as_any().downcast_ref().unwrap()
    }
    assert_eq!(column::<TimestampNanosecondArray>(&batch, 0).values(), &[5, 6]);
    assert_eq!(column::<StringArray>(&batch, 1).iter().collect::<Vec<_>>(), [None, Some("t")]);
    assert_eq!(column::<StringArray>(&batch, 2).iter().collect::<Vec<_>>(), [Some("a"), Some("b")]);
    assert_eq!(column::<BooleanArray>(&batch, 3).iter().collect::<Vec<_>>(), [None, Some(true)]);
    assert_eq!(column::<Float64Array>(&batch, 4).iter().collect::<Vec<_>>(), [None, Some(1.5)]);
    assert_eq!(column::<Int64Array>(&batch, 5).values(), &[-3, 9_007_199_254_740_993]);
    assert_eq!(column::<StringArray>(&batch, 6).iter().collect::<Vec<_>>(), [None, Some("x")]);
}

/// Each block of the page, in its order; the one that reads the data folder last, when InfluxDB is stopped.
#[test]
fn the_page_about_migration_is_true() {
    if !Influxd::is_installed() {
        return;
    }
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/migration.md");
    let text = fs::read_to_string(page).unwrap();
    let blocks: Vec<&str> =
        text.split("```sh\n").skip(1).map(|block| block.split("```").next().unwrap()).collect();
    assert_eq!(blocks.len(), 6);
    let (stopped, running): (Vec<&str>, Vec<&str>) =
        blocks.iter().partition(|block| block.contains("/var/lib/influxdb"));

    let folder = tempfile::tempdir().unwrap();
    let influxd = Influxd::start(folder.path(), "tsi1", 1 << 20);
    influxd.client().query("", "CREATE DATABASE telegraf");
    influxd.client().write(
        "telegraf",
        "cpu,host=a usage=1.5,n=3i 1700000000000000000\nmem,host=a free=5i,ok=true 1700000000000000000",
    );
    let server = Server::start();
    let shell = |server: &Server, influxd: Option<&Influxd>, block: &str| {
        let mut block = block.replace("/var/lib/influxdb", folder.path().to_str().unwrap());
        block = block.replace("http://127.0.0.1:8186", &server.url());
        if let Some(influxd) = influxd {
            block = block.replace("http://127.0.0.1:8086", &influxd.url());
            block = block.replace("-port 8086", &format!("-port {}", influxd.port()));
            block = block.replace("127.0.0.1:8088", &influxd.backup_address());
        }
        let binary = Path::new(env!("CARGO_BIN_EXE_hyperbytedb")).parent().unwrap();
        let path = format!("{}:{}", binary.display(), std::env::var("PATH").unwrap());
        let output = Command::new("bash")
            .args(["-euo", "pipefail", "-c", &block])
            .env("PATH", path)
            .current_dir(&folder)
            .output()
            .unwrap();
        let told = format!("{}{}", String::from_utf8_lossy(&output.stdout), err(&output));
        assert!(output.status.success(), "{block}: {told}");
        told
    };
    let told: String = running.iter().map(|block| shell(&server, Some(&influxd), block)).collect();
    assert!(
        told.contains("equal: 2 points")
            && told.contains("Processed 2 inserts")
            && told.contains("Failed 0 inserts"),
        "{told}"
    );
    assert!(folder.path().join("parquet/autogen.cpu.parquet").exists());
    influxd.stop();
    let server = Server::start();
    stopped.iter().for_each(|block| drop(shell(&server, None, block)));
    assert_eq!(server.client().rows("telegraf", "SELECT usage, n, host FROM cpu").len(), 1);
}
