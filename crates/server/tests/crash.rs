//! Promise 1: what was answered with 204 survives kill -9.

#![allow(clippy::unwrap_used)] // a test may panic

mod support;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use support::Server;

const KILLS: usize = 10;
const WRITERS: usize = 4;
const POINTS_PER_WRITE: usize = 200;

/// Acknowledged writes of one writer: all batches below `acked`.
#[derive(Default, Clone, Copy)]
struct Writer {
    acked: usize,
}

fn batch(writer: usize, number: usize) -> String {
    (0..POINTS_PER_WRITE)
        .map(|i| {
            let n = number * POINTS_PER_WRITE + i;
            format!("load,writer=w{writer},series=s{} v={n}i,text=\"t{n}\" {n}\n", n % 7)
        })
        .collect()
}

/// Writes until told to stop or until the server is gone.
fn write_until(server: &Server, writer: usize, mut state: Writer, stop: &AtomicBool) -> Writer {
    let client = server.client();
    while !stop.load(Ordering::Relaxed) {
        match client.try_write("db0", &batch(writer, state.acked)) {
            Ok(answer) if answer.status == 204 => state.acked += 1,
            Ok(answer) if answer.status == 503 => {}
            Ok(answer) => panic!("{}: {}", answer.status, answer.body),
            Err(_) => break,
        }
    }
    state
}

fn check(server: &Server, writers: &[Writer]) {
    let client = server.client();
    for (writer, state) in writers.iter().enumerate() {
        let least = state.acked * POINTS_PER_WRITE;
        // The batch in flight at the kill may be there too, but only as a whole.
        let condition = format!("writer = 'w{writer}'");
        let rows = client.rows("db0", &format!("SELECT count(v), count(text) FROM load WHERE {condition}"));
        let count = rows.first().map_or(0, |r| r[1].as_u64().unwrap_or_default() as usize);
        let texts = rows.first().map_or(0, |r| r[2].as_u64().unwrap_or_default() as usize);
        assert!(count >= least, "writer {writer}: {count} points of {least} acknowledged ones");
        assert!(
            count <= least + POINTS_PER_WRITE && count.is_multiple_of(POINTS_PER_WRITE),
            "writer {writer}: torn: {count}"
        );
        assert_eq!(count, texts, "writer {writer}: fields of a point apart");
        let rows = client.rows("db0", &format!("SELECT sum(v) FROM load WHERE {condition}"));
        let sum = rows.first().map_or(0, |r| r[1].as_u64().unwrap_or_default() as usize);
        assert_eq!(sum, count * count.saturating_sub(1) / 2, "writer {writer}: wrong values");
    }
}

#[test]
fn acknowledged_points_survive_kill_9() {
    let dir = tempfile::tempdir().unwrap();
    // Small memtables and a quick checkpoint, so that kills hit flushes and truncations too.
    let settings = [
        ("FLUSH__INTERVAL_SECS", "1"),
        ("FLUSH__MAX_ROWS", "5000"),
        ("FLUSH__CHECKPOINT_INTERVAL_SECS", "1"),
    ];
    let mut writers = [Writer::default(); WRITERS];
    let mut server = Server::start_in(dir.path(), &settings);
    server.client().query("", "CREATE DATABASE db0");
    for kill in 0..KILLS {
        let stop = AtomicBool::new(false);
        let running = &server;
        let stop = &stop;
        writers = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..WRITERS)
                .map(|w| {
                    let state = writers[w];
                    scope.spawn(move || write_until(running, w, state, stop))
                })
                .collect();
            // The moment of the kill, spread over what the server does.
            std::thread::sleep(Duration::from_millis(150 + (kill as u64 * 337) % 1500));
            support::signal(running.pid(), "KILL");
            let ended: Vec<Writer> = threads.into_iter().map(|t| t.join().unwrap()).collect();
            [ended[0], ended[1], ended[2], ended[3]]
        });
        server.kill();
        server = Server::start_in(dir.path(), &settings);
        check(&server, &writers);
        // A batch in flight may have been stored without an answer: writing it again changes nothing.
    }
    let points: usize = writers.iter().map(|w| w.acked * POINTS_PER_WRITE).sum();
    println!("{points} acknowledged points over {KILLS} kills, none lost");
    assert!(points > 0);
    assert_eq!(server.stop(), Some(0), "a clean stop");
}
