//! What goes wrong at ClickHouse servers: whoever asks and whoever reads the log is told what to do, and no point is lost.
#![allow(clippy::unwrap_used)]

mod support;

use std::fs;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use hyperbytedb_clickhouse_node::Nodes;
use hyperbytedb_test_support::Tmpfs;
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use support::{Server, borrowed, database, engine_answers, until};

const LIMIT: Duration = Duration::from_secs(30);

fn start(nodes: &Nodes) -> Server {
    Server::start_with(&borrowed(&engine_answers(nodes.settings())))
}

/// `count` points of a measurement.
fn points(measurement: &str, count: usize) -> String {
    (0..count).map(|n| format!("{measurement},host=h{} v={n}i {n}\n", n % 10)).collect()
}

fn counts(server: &Server, measurement: &str, count: usize) -> bool {
    let query = format!("SELECT count(v) FROM {measurement}");
    server.client().query_raw("db", &query).body.contains(&format!("[0,{count}]"))
}

/// Points come that cannot be stored: queries and the log say why, in `words`. Later all is there, when `mend` has been called.
fn waits(server: &Server, words: &str, mend: impl FnOnce()) {
    let client = server.client();
    client.write("db", &points("m", 200));
    client.write("db", &points("new", 50));
    for measurement in ["m", "new"] {
        let query = format!("SELECT count(v) FROM {measurement}");
        let answer = client.query_raw("db", &query).body;
        assert!(answer.contains("the engine is unavailable") && answer.contains(words), "{answer}");
        assert!(!answer.contains("DB::Exception"), "{answer}");
    }
    until("the log says why", LIMIT, || server.log().contains(words));
    mend();
    until("the points are stored", LIMIT, || counts(server, "m", 200) && counts(server, "new", 50));
}

#[test]
fn points_wait_for_room_on_the_disk() {
    let mut nodes = Nodes::single();
    nodes.kill(0);
    let data = nodes.folder().join("0/data");
    let Some(disk) = Tmpfs::mount(&data) else {
        return eprintln!("SKIPPED: a small file system cannot be mounted (root can)");
    };
    nodes.restart(0);
    let server = start(&nodes);
    server.client().query("", "CREATE DATABASE db");
    server.client().write("db", &(points("m", 100) + &points("new", 1)));
    assert!(counts(&server, "m", 100) && counts(&server, "new", 1));
    disk.fill();
    waits(&server, "has no space left on its disk", || disk.empty());
    nodes.kill(0);
}

#[test]
fn points_wait_for_a_table_that_is_read_only() {
    let nodes = Nodes::start(2, 1);
    let server = start(&nodes);
    server.client().query("", "CREATE DATABASE db");
    server.client().write("db", &(points("m", 100) + &points("new", 1)));
    assert!(counts(&server, "m", 100) && counts(&server, "new", 1));
    let database = database(&server.data_dir);
    let tables =
        format!("SELECT name FROM system.tables WHERE database = '{database}' AND engine LIKE '%MergeTree'");
    let set_read_only = |value: u8| {
        for table in nodes.query(1, &tables).lines() {
            nodes
                .query(1, &format!("ALTER TABLE {database}.{table} MODIFY SETTING table_readonly = {value}"));
        }
    };
    set_read_only(1);
    waits(&server, "has a table that is read-only", || set_read_only(0));
}

#[test]
fn points_wait_for_the_right_password() {
    let nodes = Nodes::single();
    let folder = tempfile::tempdir().unwrap();
    let mut settings = engine_answers(nodes.settings());
    settings.push(("CLICKHOUSE__PASSWORD", "another".to_owned()));
    let server = Server::start_in(folder.path(), &borrowed(&settings));
    server.client().query("", "CREATE DATABASE db");
    server.client().write("db", &points("m", 100));
    let answer = server.client().query_raw("db", "SELECT count(v) FROM m").body;
    assert!(answer.contains("set clickhouse.user and clickhouse.password"), "{answer}");
    assert!(server.log().contains("set clickhouse.user and clickhouse.password"), "{}", server.log());
    server.kill();
    let server = Server::start_in(folder.path(), &borrowed(&engine_answers(nodes.settings())));
    assert!(counts(&server, "m", 100));
}

/// Takes TLS for a server, whose library has none of its own. Returns where, and the certificate as PEM.
fn tls_in_front_of(server: SocketAddr) -> (String, String) {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_no_client_auth().with_single_cert(vec![made.cert.der().clone()], key).unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let config = config.clone();
            thread::spawn(move || relay(config, client, server));
        }
    });
    (url, made.cert.pem())
}

fn relay(config: Arc<ServerConfig>, client: TcpStream, server: SocketAddr) -> io::Result<()> {
    let mut server = TcpStream::connect(server)?;
    for stream in [&client, &server] {
        stream.set_read_timeout(Some(Duration::from_millis(1)))?;
    }
    let connection = ServerConnection::new(config).map_err(io::Error::other)?;
    let mut client = StreamOwned::new(connection, client);
    while pass_on(&mut client, &mut server)? && pass_on(&mut server, &mut client)? {}
    Ok(())
}

/// Whether more may come.
fn pass_on(from: &mut impl Read, to: &mut impl Write) -> io::Result<bool> {
    let mut bytes = [0; 16 << 10];
    match from.read(&mut bytes) {
        Ok(0) => Ok(false),
        Ok(count) => to.write_all(&bytes[..count]).and_then(|()| to.flush()).map(|()| true),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => Ok(true),
        Err(error) => Err(error),
    }
}

#[test]
fn points_wait_for_a_certificate_that_is_known() {
    let nodes = Nodes::single();
    let (url, certificate) = tls_in_front_of(nodes.http_address(0));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("authority.pem");
    fs::write(&path, certificate).unwrap();
    let mut settings = engine_answers(nodes.settings());
    settings.push(("CLICKHOUSE__URLS", format!("[{url:?}]")));
    let data = folder.path().join("data");
    fs::create_dir(&data).unwrap();
    let server = Server::start_in(&data, &borrowed(&settings));
    server.client().query("", "CREATE DATABASE db");
    server.client().write("db", &points("m", 100));
    let answer = server.client().query_raw("db", "SELECT count(v) FROM m").body;
    assert!(answer.contains("the engine is unavailable") && answer.contains("certificate"), "{answer}");
    server.kill();
    settings.push(("CLICKHOUSE__CA_CERTIFICATE", path.display().to_string()));
    let server = Server::start_in(&data, &borrowed(&settings));
    assert!(counts(&server, "m", 100));
    assert_eq!(nodes.rows(&database(&data)), [100]);
}
