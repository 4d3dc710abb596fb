//! Where the server listens, and what it does about signals and the environment.

#![allow(clippy::unwrap_used)] // a test may panic

mod support;

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use support::{Server, signal, until};

const PATIENCE: Duration = Duration::from_secs(20);

/// The answer to a ping over a unix socket, on a connection that ends with it.
fn ping(socket: &str) -> String {
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(b"GET /ping HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn one_connection_is_enough_for_two_listeners() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("sock").display().to_string();
    let settings = [
        ("HTTP__UNIX_SOCKET", socket.as_str()),
        // Looks like a number, and is a text.
        ("HTTP__UNIX_SOCKET_PERMISSIONS", "0600"),
        ("SERVER__MAX_CONNECTIONS", "1"),
        ("AUTH__ENABLED", "true"),
        ("AUTH__ADMIN_USER", "1"),
        ("AUTH__ADMIN_PASSWORD", "0123"),
    ];
    let server = Server::start_with(&settings);
    let mode = std::fs::metadata(&socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    // The folder in which the socket got its permissions is gone.
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    for _ in 0..3 {
        assert!(ping(&socket).starts_with("HTTP/1.1 204"));
        assert_eq!(server.client().get("/ping").unwrap().status, 204);
    }
    let login = [("q", "SHOW DATABASES"), ("u", "1"), ("p", "0123")];
    assert_eq!(server.client().get_with("/query", &login).unwrap().status, 200);
    assert_eq!(server.stop(), Some(0));
    assert!(!std::path::Path::new(&socket).exists());
}

#[test]
fn a_hangup_ends_nothing_and_an_open_door_is_named() {
    let server = Server::start_with(&[("SERVER__BIND_ADDRESS", "0.0.0.0")]);
    assert!(server.log().contains("anybody who reaches this address may read, change and delete everything"));
    signal(server.pid(), "HUP");
    until("the signal is seen", PATIENCE, || server.log().contains("SIGHUP"));
    assert_eq!(server.client().get("/ping").unwrap().status, 204);
    drop(server);

    for settings in [[("SERVER__BIND_ADDRESS", "127.0.0.1"); 1], [("AUTH__ENABLED", "true"); 1]] {
        assert!(!Server::start_with(&settings).log().contains("anybody who reaches"));
    }
}

#[test]
fn browsers_are_answered_as_influxdb_does() {
    let server = Server::start();
    let headers = |method: &str, path: &str, origin: bool| {
        let mut request =
            ureq::http::Request::builder().method(method).uri(format!("{}{path}", server.url()));
        if origin {
            request = request.header("Origin", "http://a");
        }
        let config = ureq::Agent::config_builder().http_status_as_error(false).build();
        let answer = ureq::Agent::from(config).run(request.body(()).unwrap()).unwrap();
        let of = |name: &str| answer.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
        (
            answer.status().as_u16(),
            of("access-control-allow-origin"),
            of("access-control-allow-methods"),
            of("access-control-allow-headers"),
            of("access-control-expose-headers"),
        )
    };
    let text = |text: &str| Some(text.to_owned());
    // As influxd 1.6.7 answers.
    for (method, path, status) in [
        ("OPTIONS", "/query", 200),
        ("OPTIONS", "/write", 200),
        ("GET", "/ping", 204),
        ("GET", "/query?q=show+databases", 200),
        ("GET", "/query?q=bad", 400),
        ("GET", "/query", 400),
        ("POST", "/write", 400),
        ("POST", "/write?db=nope", 404),
        ("GET", "/metrics", 200),
        ("POST", "/api/v1/prom/write", 400),
    ] {
        let allowed = (
            status,
            text("http://a"),
            text("DELETE, GET, OPTIONS, POST, PUT"),
            text(
                "Accept, Accept-Encoding, Authorization, Content-Length, Content-Type, X-CSRF-Token, X-HTTP-Method-Override",
            ),
            text("Date, X-InfluxDB-Version, X-InfluxDB-Build"),
        );
        assert_eq!(headers(method, path, true), allowed, "{method} {path}");
        assert_eq!(headers(method, path, false), (status, None, None, None, None), "{method} {path}");
    }
    for (method, path, status) in [
        ("OPTIONS", "/ping", 405),
        ("OPTIONS", "/nope", 404),
        ("GET", "/nope", 404),
        ("DELETE", "/write", 405),
        ("PUT", "/query?q=x", 405),
        ("OPTIONS", "/api/v1/prom/write", 405),
    ] {
        assert_eq!(headers(method, path, true), (status, None, None, None, None), "{method} {path}");
    }
}
