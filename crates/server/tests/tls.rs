//! TLS, certificates that change, client certificates, and the unix socket, with curl as the client.

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use support::{Server, signal, until};

const PATIENCE: Duration = Duration::from_secs(20);

/// Writes a certificate that is signed with its own key, and the key. Returns the path of the first.
fn make_certificate(path: &Path) -> PathBuf {
    let names = ["127.0.0.1".to_owned(), "localhost".to_owned()];
    let made = rcgen::generate_simple_self_signed(names).expect("a certificate");
    std::fs::write(path, made.cert.pem()).expect("write");
    std::fs::write(path.with_extension("key"), made.signing_key.serialize_pem()).expect("write");
    path.to_owned()
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path")
}

/// The status that curl gets; 0 where there is no connection.
fn curl(arguments: &[&str]) -> u16 {
    let always = ["-sS", "-m", "10", "-o", "/dev/null", "-w", "%{http_code}"];
    let output = Command::new("curl").args(always).args(arguments).output().expect("curl");
    String::from_utf8_lossy(&output.stdout).trim().parse().expect("a status")
}

fn start(dir: &Path, settings: &[(&str, &str)]) -> Server {
    let (certificate, key) = (dir.join("server.pem"), dir.join("server.key"));
    let files = [("TLS__CERTIFICATE", text(&certificate)), ("TLS__KEY", text(&key))];
    Server::spawn_in(dir, &[&files, settings].concat())
}

#[test]
fn the_port_speaks_tls_only_and_certificates_can_be_changed() {
    let dir = tempfile::tempdir().expect("a folder");
    let certificate = make_certificate(&dir.path().join("server.pem"));
    let old = dir.path().join("old.pem");
    std::fs::copy(&certificate, &old).expect("copy");
    let server = start(dir.path(), &[("TLS__MIN_VERSION", "tls1.3")]);
    let url = format!("https://127.0.0.1:{}/health/ready", server.port);
    until("TLS is there", PATIENCE, || curl(&["--cacert", text(&old), &url]) == 200);
    assert_eq!(curl(&[&url]), 0, "an unknown certificate");
    assert_eq!(curl(&["--cacert", text(&old), "--tls-max", "1.2", &url]), 0, "TLS 1.2");
    assert_eq!(curl(&[&url.replace("https", "http")]), 0, "no TLS");

    let hang_up = || signal(server.pid(), "HUP");
    std::fs::write(&certificate, "nonsense").expect("write");
    hang_up();
    until("it complains", PATIENCE, || server.log().contains("stay in use"));
    assert_eq!(curl(&["--cacert", text(&old), &url]), 200);
    make_certificate(&certificate);
    hang_up();
    until("the new certificate", PATIENCE, || curl(&["--cacert", text(&certificate), &url]) == 200);
    assert_eq!(curl(&["--cacert", text(&old), &url]), 0);
}

#[test]
fn a_changed_certificate_is_found_without_a_signal() {
    let dir = tempfile::tempdir().expect("a folder");
    let certificate = make_certificate(&dir.path().join("server.pem"));
    let server = start(dir.path(), &[("TLS__RELOAD_INTERVAL_SECS", "1")]);
    let url = format!("https://127.0.0.1:{}/health/ready", server.port);
    let ask = || curl(&["--cacert", text(&certificate), &url]) == 200;
    until("TLS is there", PATIENCE, ask);
    make_certificate(&certificate);
    until("the new certificate", PATIENCE, ask);
}

/// InfluxDB's own shell, where it is installed.
#[test]
fn influxdbs_shell_connects() {
    if Command::new("influx").arg("-version").output().is_err() {
        eprintln!("left out: there is no influx");
        return;
    }
    let dir = tempfile::tempdir().expect("a folder");
    let certificate = make_certificate(&dir.path().join("server.pem"));
    let server = start(dir.path(), &[]);
    let url = format!("https://127.0.0.1:{}/health/ready", server.port);
    until("TLS is there", PATIENCE, || curl(&["--cacert", text(&certificate), &url]) == 200);
    let port = server.port.to_string();
    let shell = |statement| {
        let arguments = [
            "-ssl",
            "-unsafeSsl",
            "-host",
            "127.0.0.1",
            "-port",
            &port,
            "-database",
            "d",
            "-execute",
            statement,
        ];
        let output = Command::new("influx").args(arguments).output().expect("influx");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    shell("CREATE DATABASE d");
    shell("INSERT m v=42");
    assert!(shell("SELECT v FROM m").contains("42"));
}

#[test]
fn certificates_of_clients_are_checked() {
    let dir = tempfile::tempdir().expect("a folder");
    let server_certificate = make_certificate(&dir.path().join("server.pem"));
    let client = make_certificate(&dir.path().join("client.pem"));
    let stranger = make_certificate(&dir.path().join("stranger.pem"));
    let server = start(dir.path(), &[("TLS__CLIENT_CA", text(&client))]);
    let url = format!("https://127.0.0.1:{}/health/ready", server.port);
    let ask = |certificate: &Path| {
        let key = certificate.with_extension("key");
        let own = ["--cert", text(certificate), "--key", text(&key)];
        curl(&[&["--cacert", text(&server_certificate), &*url], &own[..]].concat())
    };
    until("TLS is there", PATIENCE, || ask(&client) == 200);
    assert_eq!(ask(&stranger), 0);
    assert_eq!(curl(&["--cacert", text(&server_certificate), &url]), 0);
}

#[test]
fn a_certificate_that_is_not_there_is_an_error_that_names_it() {
    let dir = tempfile::tempdir().expect("a folder");
    let server = start(dir.path(), &[]);
    until("it ends", PATIENCE, || server.log().contains("server.pem"));
}

#[test]
fn a_unix_socket_serves_as_well() {
    let dir = tempfile::tempdir().expect("a folder");
    let socket = dir.path().join("socket");
    let settings = [("HTTP__UNIX_SOCKET", text(&socket))];
    let ask = || curl(&["--unix-socket", text(&socket), "http://localhost/query?q=SHOW+DATABASES"]);
    let server = Server::start_in(dir.path(), &settings);
    assert_eq!(ask(), 200);
    server.kill();
    assert!(socket.exists(), "a crash leaves it");
    let server = Server::start_in(dir.path(), &settings);
    assert_eq!(ask(), 200);
    assert_eq!(server.stop(), Some(0));
    assert!(!socket.exists());
}
