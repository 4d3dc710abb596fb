//! The real `influx` shell and the Python client against the built server.

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
