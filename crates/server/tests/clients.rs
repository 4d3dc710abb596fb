//! The real `influx` shell and the Python client against the built server.

#![allow(clippy::unwrap_used)] // a test may panic

mod support;

use std::path::PathBuf;
use std::process::Command;

use support::Server;

fn run(command: &mut Command) -> String {
    let output =
        command.output().unwrap_or_else(|e| panic!("{command:?}: {e} (scripts/setup-test.sh installs it)"));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{command:?}: {text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

#[test]
fn the_influx_shell_works() {
    let server = Server::start();
    let port = server.port.to_string();
    let influx = |statement: &str| {
        run(Command::new("influx").args([
            "-host",
            "127.0.0.1",
            "-port",
            &port,
            "-database",
            "shell",
            "-execute",
            statement,
        ]))
    };
    influx("CREATE DATABASE shell");
    influx("INSERT cpu,host=a value=1.5,text=\"x y\" 1000000000");
    influx("INSERT cpu,host=b value=2 2000000000");
    let table = influx("SELECT * FROM cpu");
    assert!(table.contains("name: cpu") && table.contains("1000000000 a    x y  1.5"), "{table}");
    let databases = influx("SHOW DATABASES");
    assert!(databases.contains("shell"), "{databases}");
    let csv = run(Command::new("influx").args([
        "-host",
        "127.0.0.1",
        "-port",
        &port,
        "-database",
        "shell",
        "-format",
        "csv",
        "-execute",
        "SELECT mean(value) FROM cpu",
    ]));
    assert!(csv.contains("cpu,0,1.75"), "{csv}");
}

fn python() -> PathBuf {
    let cache = std::env::var_os("HYPERBYTEDB_CACHE").map(PathBuf::from).unwrap_or_else(|| {
        let base = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
        let home = PathBuf::from(std::env::var_os("HOME").expect("HOME"));
        base.unwrap_or_else(|| home.join(".cache")).join("hyperbytedb")
    });
    cache.join("venv/bin/python")
}

#[test]
fn the_python_client_works() {
    let server = Server::start();
    let script = r#"
import sys
from influxdb import InfluxDBClient
client = InfluxDBClient("127.0.0.1", int(sys.argv[1]), database="py")
assert client.ping().startswith("1."), client.ping()
client.create_database("py")
assert {"name": "py"} in client.get_list_database()
points = [{"measurement": "m", "tags": {"host": f"h{i % 3}"}, "time": i, "fields": {"f": i / 2, "i": i, "s": f"\"{i}\"", "b": i % 2 == 0}} for i in range(100)]
assert client.write_points(points, batch_size=30)
rows = list(client.query("SELECT count(f), max(i) FROM m").get_points())
assert rows[0]["count"] == 100 and rows[0]["max"] == 99, rows
grouped = client.query("SELECT mean(f) FROM m GROUP BY host")
assert len(grouped.keys()) == 3, grouped
bound = client.query("SELECT s FROM m WHERE host = $host AND i = $i", bind_params={"host": "h1", "i": 4})
assert list(bound.get_points())[0]["s"] == '"4"', bound
client.create_retention_policy("week", "7d", 1, database="py")
assert any(p["name"] == "week" for p in client.get_list_retention_policies())
client.delete_series(measurement="m", tags={"host": "h0"})
assert list(client.query("SELECT count(f) FROM m").get_points())[0]["count"] == 66
client.drop_database("py")
assert {"name": "py"} not in client.get_list_database()
print("python client: ok")
"#;
    let output = run(Command::new(python()).args(["-c", script, &server.port.to_string()]));
    assert!(output.contains("ok"), "{output}");
}

#[test]
fn the_python_client_of_influxdb_2_works() {
    let server = Server::start_with(&[
        ("AUTH__ENABLED", "true"),
        ("AUTH__ADMIN_USER", "adm"),
        ("AUTH__ADMIN_PASSWORD", "secret"),
    ]);
    let script = r#"
import sys
from influxdb_client import BucketRetentionRules, InfluxDBClient, Point, WritePrecision
from influxdb_client.client.write_api import SYNCHRONOUS
from influxdb_client.client.exceptions import InfluxDBError
from influxdb import InfluxDBClient as V1

url = f"http://127.0.0.1:{sys.argv[1]}"
client = InfluxDBClient(url=url, token="adm:secret", org="0000000000000000", enable_gzip=True)
v1 = V1("127.0.0.1", int(sys.argv[1]), "adm", "secret", database="v2")
assert client.ping() and client.health().status == "pass"

buckets = client.buckets_api()
made = buckets.create_bucket(bucket_name="v2/week", retention_rules=BucketRetentionRules(every_seconds=7 * 86400))
assert made.name == "v2/week" and made.retention_rules[0].every_seconds == 604800, made
buckets.create_bucket(bucket_name="v2/ever")
assert [b.name for b in buckets.find_buckets_iter()] == ["v2/ever", "v2/week"]
assert buckets.find_bucket_by_name("v2/ever").retention_rules[0].every_seconds == 0
assert buckets.find_bucket_by_name("v2/none") is None
made.retention_rules[0].every_seconds = 14 * 86400
assert buckets.update_bucket(made).retention_rules[0].every_seconds == 1209600

write = client.write_api(write_options=SYNCHRONOUS)
points = [Point("m").tag("host", f"h{i % 3}").field("f", i / 2).field("i", i).time(i, WritePrecision.MS) for i in range(9)]
write.write(bucket="v2/ever", record=points, write_precision=WritePrecision.MS)
write.write(bucket="v2/ever", record="m,host=h1 f=1 1000000\nn,host=h1 f=1 1000000", write_precision=WritePrecision.US)
assert list(v1.query("SELECT count(f) FROM ever.m").get_points())[0]["count"] == 10

delete = client.delete_api()
delete.delete("1970-01-01T00:00:00Z", "1970-01-01T00:00:00.005Z", '_measurement="m" AND host="h1"', bucket="v2/ever")
assert list(v1.query("SELECT count(f) FROM ever.m WHERE host = 'h1'").get_points())[0]["count"] == 2
delete.delete("1970-01-01T00:00:00Z", "1970-01-02T00:00:00Z", 'host="h1"', bucket="v2/ever")
assert list(v1.query("SELECT f FROM ever.n").get_points()) == []
assert list(v1.query("SELECT count(f) FROM ever.m").get_points())[0]["count"] == 6

def refused(what, status, text):
    try:
        what()
    except InfluxDBError as error:
        assert error.response.status == status and text in str(error.message), (error.response.status, error.message)
        return
    raise AssertionError(text)

refused(lambda: client.query_api().query("from(bucket: \"v2\")"), 403, "Flux is not supported")
refused(lambda: write.write(bucket="none/x", record="m f=1"), 404, "database not found")
refused(lambda: write.write(bucket="v2/ever", record="m f=\"x\""), 400, "field type conflict")
refused(lambda: buckets.create_bucket(bucket_name="v2/ever"), 422, "already exists")
refused(lambda: delete.delete("1970-01-01T00:00:00Z", "1970-01-01T00:00:00Z", "f > 1", bucket="v2/ever"), 400, "invalid predicate")
other = InfluxDBClient(url=url, token="adm:wrong", org="0000000000000000")
refused(lambda: other.buckets_api().find_buckets(), 401, "authorization failed")

buckets.delete_bucket(made)
assert [b.name for b in buckets.find_buckets_iter()] == ["v2/ever"]
print("python client of InfluxDB 2: ok")
"#;
    let output = run(Command::new(python()).args(["-c", script, &server.port.to_string()]));
    assert!(output.contains("ok"), "{output}");
}

/// Telegraf's `inputs.influxdb` takes each entry that has a name, tags and values for a point, and knows `memstats` by its name.
#[test]
fn debug_vars_are_what_telegraf_reads() {
    let server = Server::start();
    server.client().query("", "CREATE DATABASE d");
    server.client().write("d", "m v=1 1");
    let vars = server.client().get("/debug/vars").unwrap();
    assert_eq!((vars.status, &vars.headers["content-type"]), (200, &"application/json".parse().unwrap()));
    let vars = vars.json();
    for (key, entry) in vars.as_object().unwrap() {
        if key == "memstats" {
            assert!(entry["Alloc"].is_u64(), "{entry}");
            continue;
        }
        assert!(
            entry["name"].is_string() && entry["tags"].is_object() && entry["values"].is_object(),
            "{entry}"
        );
    }
    assert_eq!(vars["catalog"]["values"]["numDatabases"], 1);
    assert!(vars["queryExecutor"]["values"]["queriesActive"].is_i64());
}
