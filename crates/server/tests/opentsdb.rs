//! The OpenTSDB listener, also against that of a real influxd where there is one.

#![allow(clippy::unwrap_used)] // a test may panic

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;
use support::influxd::Influxd;
use support::{Client, Server, free_port, until};

const PATIENCE: Duration = Duration::from_secs(20);
const LINES: &str = "put cpu 1356998400 42.5 host=a cpu=0
put  spaces   1356998400   7   host=a
put none 1356998401 7
put bad 1356998402 1 host host= =a b=c=d
put twice 1356998400 1 a=b a=c
put comma,x 1356998400 7 ho,st=a
put old -999999999 7 host=a
version

foo
put cpu
put cpu 12 1 host=a
put cpu 13569984000 1 host=a
put cpu 1356998400 x host=a
put cpu 1356998400 nan host=a
put cpu 1356998400 +Inf host=a
put ends 1356998400 1 host=a
";
/// Bodies of `/api/put`.
const BODIES: [&str; 16] = [
    r#"{"metric":"one","timestamp":1356998400,"value":1.5,"tags":{"host":"a"},"more":[]} trailing"#,
    r#"[{"metric":"two","timestamp":1356998400,"value":2,"tags":{"host":"a"}},{"metric":"three","timestamp":1356998401,"value":3,"tags":{}}]"#,
    r#"{"metric":"empty.tag","timestamp":1356998400,"value":1,"tags":{"host":"","b":null}}"#,
    r#"{"metric":"bare"}"#,
    r#"{"metric":"null","timestamp":null,"value":null,"tags":null}"#,
    r#"{"metric":"early","timestamp":-5,"value":1,"tags":{"host":"a"}}"#,
    r#"{"metric":"late","timestamp":9223372036854775807,"value":1,"tags":{"host":"a"}}"#,
    "[]",
    "",
    " []",
    "{",
    r#"[{"metric":"text","timestamp":1356998400,"value":"7","tags":{"host":"a"}}]"#,
    r#"{"metric":"text","timestamp":"1356998400","value":7,"tags":{"host":"a"}}"#,
    r#"{"metric":"fraction","timestamp":1356998400.5,"value":7,"tags":{"host":"a"}}"#,
    r#"{"metric":"number","timestamp":1356998400,"value":7,"tags":{"host":5}}"#,
    r#"{"metric":"truth","timestamp":1356998400,"value":true,"tags":{"host":"a"}}"#,
];

fn server(address: &str, settings: &[(&str, &str)]) -> Server {
    let own = [
        ("OPENTSDB__ENABLED", "true"),
        ("OPENTSDB__BIND_ADDRESS", address),
        ("OPENTSDB__BATCH_TIMEOUT_MS", "50"),
    ];
    let server = Server::start_with(&[&own, settings].concat());
    until("the listener is there", PATIENCE, || TcpStream::connect(address).is_ok());
    server
}

fn post(address: &str, path: &str, body: &[u8]) -> (u16, String) {
    let answer = Client::new(&format!("http://{address}")).post(path, &[], body).unwrap();
    (answer.status, answer.body)
}

/// What the listener answers, and what the database has then.
fn send(address: &str, client: &Client) -> Vec<String> {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(LINES.as_bytes()).unwrap();
    let mut said = [0; "InfluxDB TSDB proxy".len()];
    stream.read_exact(&mut said).unwrap();
    // InfluxDB makes the database with the first batch of lines.
    let last = || client.query_raw("opentsdb", "SELECT * FROM ends").body;
    until("the last point is there", PATIENCE, || last().contains("ends"));
    let mut seen = vec![String::from_utf8_lossy(&said).into_owned()];
    seen.extend(
        BODIES.iter().map(|body| format!("{body}: {:?}", post(address, "/api/put", body.as_bytes()))),
    );
    seen.extend(
        ["/api/metadata/put", "/", "/api/put/"].map(|path| format!("{:?}", post(address, path, b""))),
    );
    let get = Client::new(&format!("http://{address}")).get("/api/put").unwrap();
    seen.push(format!("{} {}", get.status, get.body));
    seen.push(client.query_raw("opentsdb", "SHOW SERIES; SELECT * FROM /.*/ GROUP BY *").body);
    seen
}

fn statistic(client: &Client, name: &str) -> i64 {
    let stats = client.query_raw("", "SHOW STATS FOR 'opentsdb'").json();
    let series = &stats["results"][0]["series"][0];
    let columns = series["columns"].as_array().unwrap();
    let at = columns.iter().position(|column| column == name).unwrap();
    series["values"][0][at].as_i64().unwrap()
}

#[test]
fn lines_and_json_become_the_points_that_influxdb_makes() {
    let address = format!("127.0.0.1:{}", free_port());
    let server = server(&address, &[]);
    let client = server.client();
    let ours = send(&address, &client);
    assert!(ours.last().unwrap().contains(r#""bad,b=c\\=d""#), "{ours:#?}");
    let counted = ["tlPointsRx", "tlBadLine", "tlBadTag", "tlBadTime", "tlBadFloat", "droppedPointsInvalid"];
    assert_eq!(counted.map(|name| statistic(&client, name)), [17, 3, 3, 2, 3, 1]);
    assert!(statistic(&client, "httpConnsHandled") >= 1);
    until("all points are counted", PATIENCE, || statistic(&client, "pointsTx") == 8);
    assert!(server.log().contains("OpenTSDB: unable to parse line"), "{}", server.log());
    if !Influxd::is_installed() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let address = format!("127.0.0.1:{}", free_port());
    let listener =
        format!("[[opentsdb]]\nenabled = true\nbind-address = \"{address}\"\nbatch-timeout = \"50ms\"\n");
    let influxd = Influxd::start_configured(folder.path(), &listener);
    until("the listener is there", PATIENCE, || TcpStream::connect(&address).is_ok());
    assert_eq!(ours, send(&address, &influxd.client()));
}

#[test]
fn an_address_that_others_reach_is_said() {
    let address = |host: &str| format!("{host}:{}", free_port());
    let warning = "anybody who reaches this address may write points";
    let local = server(
        &address("127.0.0.1"),
        &[("UDP__ENABLED", "true"), ("UDP__BIND_ADDRESS", &address("127.0.0.1"))],
    );
    assert!(!local.log().contains(warning), "{}", local.log());
    let open =
        server(&address("0.0.0.0"), &[("UDP__ENABLED", "true"), ("UDP__BIND_ADDRESS", &address("0.0.0.0"))]);
    for setting in ["opentsdb.bind_address", "udp.bind_address"] {
        let is_said = |line: &str| line.contains(warning) && line.contains(setting);
        assert!(open.log().lines().any(is_said), "{setting}: {}", open.log());
    }
}

#[test]
fn milliseconds_stay_what_they_are() {
    let address = format!("127.0.0.1:{}", free_port());
    let server = server(&address, &[]);
    let client = server.client();
    // InfluxDB makes microseconds of them.
    TcpStream::connect(&address).unwrap().write_all(b"put ms 1356998400250 1 host=a\n").unwrap();
    let body = br#"{"metric":"ms","timestamp":1356998400251,"value":2,"tags":{"host":"a"}}"#;
    assert_eq!(post(&address, "/api/put", body), (204, String::new()));
    let rows = || client.rows("opentsdb", "SELECT value FROM ms");
    until("both are there", PATIENCE, || rows().len() == 2);
    assert_eq!(rows()[0][0], 1_356_998_400_250_000_000_i64);
    assert_eq!(rows()[1][0], 1_356_998_400_251_000_000_i64);
}

#[test]
fn what_is_refused_is_said_and_what_is_large_is_refused() {
    let address = format!("127.0.0.1:{}", free_port());
    let server = server(&address, &[("HTTP__MAX_BODY_BYTES", "1000"), ("OPENTSDB__MAX_CONNECTIONS", "2")]);
    let time = br#"{"metric":"t","timestamp":1356998400,"value":1,"tags":{"time":"4"}}"#;
    let (status, text) = post(&address, "/api/put", time);
    assert!(status == 400 && text.starts_with("write series error: partial write:"), "{status} {text}");
    let (status, text) = post(&address, "/api/put", &[b' '; 2000]);
    assert!(status == 413 && text.contains("http.max_body_bytes"), "{status} {text}");
    // A line without end.
    let mut endless = TcpStream::connect(&address).unwrap();
    until("the connection is ended", PATIENCE, || endless.write_all(&[b'a'; 10_000]).is_err());
    // All places are taken; the next one is served when one is given up.
    let idle: Vec<_> = (0..2).map(|_| TcpStream::connect(&address).unwrap()).collect();
    let mut waiting = TcpStream::connect(&address).unwrap();
    waiting.write_all(b"version\n").unwrap();
    waiting.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    let mut said = [0; 8];
    assert!(waiting.read(&mut said).is_err(), "more connections than opentsdb.max_connections");
    drop(idle);
    waiting.set_read_timeout(Some(PATIENCE)).unwrap();
    waiting.read_exact(&mut said).unwrap();
    assert_eq!(&said, b"InfluxDB");
    let diagnostics: Value = server.client().query_raw("", "SHOW DIAGNOSTICS FOR 'config-opentsdb'").json();
    assert_eq!(diagnostics["results"][0]["series"][0]["values"][0][1], address.as_str());
}
