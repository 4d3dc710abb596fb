//! Line protocol over UDP.

#![allow(clippy::unwrap_used)] // a test may panic

mod support;

use std::net::UdpSocket;
use std::time::Duration;

use support::{Server, until};

#[test]
fn datagrams_are_written_in_batches() {
    let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = receiver.local_addr().unwrap().to_string();
    drop(receiver);
    let server = Server::start_with(&[
        ("UDP__ENABLED", "true"),
        ("UDP__BIND_ADDRESS", &address),
        ("UDP__DATABASE", "over"),
        ("UDP__PRECISION", "s"),
        ("UDP__BATCH_TIMEOUT_MS", "50"),
    ]);
    let client = server.client();
    let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
    let count = || {
        let answer = client.query_raw("over", "SELECT count(v) FROM m").json();
        answer["results"][0]["series"][0]["values"][0][1].as_i64().unwrap_or(0)
    };
    let mut sent = 0;
    // The listener begins soon after the server is ready.
    until("points have come", Duration::from_secs(20), || {
        sent += 2;
        sender.send_to(format!("m v=1 {sent}\nbroken\nm v=2 {}", sent + 1).as_bytes(), &address).unwrap();
        count() > 0
    });
    for i in 0..100 {
        sender.send_to(format!("m,late=x v=1 {i}\n").as_bytes(), &address).unwrap();
    }
    let late = || client.rows("over", "SELECT count(v) FROM m WHERE late = 'x'");
    until("all points have come", Duration::from_secs(20), || {
        late().first().is_some_and(|row| row[1] == 100)
    });
    let times = client.rows("over", "SELECT v FROM m WHERE late = 'x' AND time = 3s");
    assert_eq!(times[0][0], 3_000_000_000_i64);
    assert!(server.log().contains("UDP: points were refused"), "{}", server.log());
}
