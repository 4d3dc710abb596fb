//! The Graphite listener, also against that of a real influxd where there is one.

#![allow(clippy::unwrap_used)] // a test may panic

mod support;

use std::io::Write;
use std::net::{TcpStream, UdpSocket};
use std::time::Duration;

use support::influxd::Influxd;
use support::{Client, Server, free_port, until};

const TEMPLATES: [&str; 4] = [
    "*.app env.service.resource.measurement",
    "servers.* .host.measurement*",
    "stats.* .host.measurement.field* dc=eu,region=x",
    "measurement.measurement.field.rack",
];
const TAGS: [&str; 2] = ["region=us-east", "zone=1c"];
const LINES: &str = "cpu.load 1.5 100
cpu.load.five.r1 1e3 101
prod.app.disk.used 3 1
servers.a.cpu.load 3 1.25
servers 3 2
stats.a.cpu.load.x 3 3
stats.a.cpu 4 3

broken
cpu x 1
cpu NaN 1
cpu +Inf 1
cpu 1 x
cpu 1 -2
cpu 1 4294967295
a,b=c.d\\e 3 1
ends.without.doubt 1 7
";

fn quoted(texts: &[&str]) -> String {
    format!("[{}]", texts.iter().map(|text| format!("\"{text}\"")).collect::<Vec<_>>().join(","))
}

fn server(protocol: &str, address: &str) -> Server {
    Server::start_with(&[
        ("GRAPHITE__ENABLED", "true"),
        ("GRAPHITE__BIND_ADDRESS", address),
        ("GRAPHITE__PROTOCOL", protocol),
        ("GRAPHITE__BATCH_TIMEOUT_MS", "50"),
        ("GRAPHITE__TEMPLATES", &quoted(&TEMPLATES)),
        ("GRAPHITE__TAGS", &quoted(&TAGS)),
    ])
}

/// Sends the lines over one connection and waits until the last point is there.
fn send(address: &str, client: &Client) -> String {
    until("the listener is there", Duration::from_secs(20), || TcpStream::connect(address).is_ok());
    TcpStream::connect(address).unwrap().write_all(LINES.as_bytes()).unwrap();
    let last = || client.query_raw("graphite", "SELECT * FROM \"ends.without\"").body;
    until("the last point is there", Duration::from_secs(20), || last().contains("doubt"));
    client.query_raw("graphite", "SHOW SERIES; SELECT * FROM /.*/ GROUP BY *").body
}

#[test]
fn lines_become_the_points_that_influxdb_makes() {
    let address = format!("127.0.0.1:{}", free_port());
    let server = server("tcp", &address);
    let ours = send(&address, &server.client());
    assert!(ours.contains("used,env=prod,region=us-east,resource=disk,service=app,zone=1c"), "{ours}");
    let stats = server.client().query_raw("", "SHOW STATS FOR 'graphite'").json();
    let series = &stats["results"][0]["series"][0];
    assert_eq!(series["tags"]["bind"], address.as_str());
    let value = |name: &str| {
        let at = series["columns"].as_array().unwrap().iter().position(|column| column == name).unwrap();
        series["values"][0][at].as_i64().unwrap()
    };
    assert_eq!(["pointsRx", "pointsNaNFail", "pointsParseFail"].map(value), [16, 1, 5]);
    assert!(value("pointsTx") == 10 && value("connsHandled") >= 1, "{stats}");
    assert!(server.log().contains("which doesn't have required fields"));
    if !Influxd::is_installed() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let address = format!("127.0.0.1:{}", free_port());
    let (templates, tags) = (quoted(&TEMPLATES), quoted(&TAGS));
    let listener = format!(
        "[[graphite]]\nenabled = true\nbind-address = \"{address}\"\nbatch-timeout = \"50ms\"\ntemplates = {templates}\ntags = {tags}\n"
    );
    let influxd = Influxd::start_configured(folder.path(), &listener);
    assert_eq!(ours, send(&address, &influxd.client()));
}

#[test]
fn datagrams_hold_lines() {
    let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = receiver.local_addr().unwrap().to_string();
    drop(receiver);
    let server = server("udp", &address);
    let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
    let client = server.client();
    // The listener begins soon after the server is ready.
    until("points have come", Duration::from_secs(20), || {
        sender.send_to(b"a.b 1 1\nbroken\na.b 2 2", &address).unwrap();
        let answer = client.query_raw("graphite", "SELECT count(value) FROM \"a.b\"").json();
        answer["results"][0]["series"][0]["values"][0][1] == 2
    });
}
