//! What one node of a cluster does for all: continuous queries, views and retention, also when that node is killed.

mod support;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;
use support::cluster::{DB, Nodes, PATIENCE, write};
use support::until;

const LIMIT: Duration = Duration::from_secs(60);
/// Of the windows.
const WINDOW: u64 = 2;
const DAY: u64 = 24 * 3600;
/// A minute of 2020.
const LONG_AGO: u64 = 1_577_836_800;

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Runs of continuous queries that have succeeded on a node since its start.
fn runs(nodes: &Nodes, id: usize) -> u64 {
    let rows = nodes.node(id).client().rows("", "SHOW STATS FOR 'cq'");
    rows.first().and_then(|row| row[1].as_u64()).unwrap_or(0)
}

fn rows(nodes: &Nodes, id: usize, statement: &str) -> Vec<Vec<Value>> {
    nodes.node(id).client().rows(DB, statement)
}

/// Runs while something lasts: at most one for each window that has ended in that time, and one.
fn assert_once(runs: u64, seconds: u64) {
    assert!(runs <= seconds / WINDOW + 1, "{runs} runs in {seconds} s");
}

/// Waits until the continuous query has written so many windows more.
fn wait_for_windows(nodes: &Nodes, id: usize, more: usize) {
    let count = || rows(nodes, id, "SELECT s FROM t").len();
    let before = count();
    until("windows are written", LIMIT, || count() >= before + more);
}

#[test]
fn one_node_runs_for_all_and_the_next_goes_on() {
    let mut nodes = Nodes::with(&[("RETENTION__CHECK_INTERVAL_SECS", "1")]);
    nodes.change(1, "CREATE DATABASE db");
    nodes.change(1, "CREATE RETENTION POLICY days ON db DURATION INF REPLICATION 1 SHARD DURATION 1d");
    let start = now() / WINDOW * WINDOW;
    // Points of the next minutes, and old ones for the policy.
    let lines: String =
        (0..600).map(|n| format!("m v={n} {}\nlong_ago v={n} {}\n", start + n, LONG_AGO + n)).collect();
    assert_eq!(write(nodes.node(1), "all", &lines).0, 204);
    let old: String = (1..=20).map(|day| format!("old v=1 {}\n", start - day * DAY)).collect();
    let client = nodes.node(2).client();
    let answer = client
        .post(
            "/write",
            &[("db", DB), ("rp", "days"), ("precision", "s"), ("consistency", "all")],
            old.as_bytes(),
        )
        .expect("an answer");
    assert_eq!(answer.status, 204, "{}", answer.body);
    nodes.change(
        2,
        "CREATE CONTINUOUS QUERY q ON db BEGIN SELECT sum(v) AS s INTO t FROM m GROUP BY time(2s) END",
    );
    let created = now();
    nodes.change(3, "CREATE MATERIALIZED VIEW w ON db WITH BACKFILL AS SELECT sum(v) AS s INTO u FROM long_ago GROUP BY time(1m)");
    wait_for_windows(&nodes, 1, 3);
    let leader = nodes.leader().expect("a leader");
    let others: Vec<usize> = (1..=3).filter(|id| *id != leader).collect();
    let of_leader = runs(&nodes, leader);
    // One run covers all windows that have ended.
    assert!(of_leader >= 1, "{of_leader}");
    let all: u64 = (1..=3).map(|id| runs(&nodes, id)).sum();
    assert_once(all, now() - created);
    nodes.kill(leader);
    let killed = now();
    wait_for_windows(&nodes, others[0], 3);
    let later: u64 = others.iter().map(|id| runs(&nodes, *id)).sum();
    assert!(later > 0);
    // The next leader also runs for the windows that ended while nobody led.
    assert_once(all + later, now() - created);
    println!("{all} runs in {} s, then {later} in {} s", killed - created, now() - killed);
    // No window is left out, none is wrong.
    let windows = rows(&nodes, others[0], "SELECT s FROM t");
    let (first, last) = (windows[0][0].as_u64().expect("a time"), windows[windows.len() - 1][0].as_u64());
    let direct = rows(
        &nodes,
        others[0],
        &format!(
            "SELECT sum(v) AS s FROM m WHERE time >= {first} AND time < {} GROUP BY time(2s)",
            last.expect("a time") + WINDOW * 1_000_000_000
        ),
    );
    assert_eq!(windows, direct);
    // The view follows what comes late, also to a node that does not lead.
    assert_eq!(write(nodes.node(others[1]), "quorum", &format!("long_ago v=1000 {LONG_AGO}")).0, 204);
    let direct = rows(&nodes, others[1], "SELECT sum(v) AS s FROM long_ago GROUP BY time(1m) fill(none)");
    assert_eq!(direct.len(), 10);
    for &id in &others {
        until(&format!("node {id} has the view right"), LIMIT, || {
            rows(&nodes, id, "SELECT s FROM u") == direct
        });
    }
    // A shorter policy drops its shards on all nodes.
    nodes.change(others[1], "ALTER RETENTION POLICY days ON db DURATION 5d");
    nodes.restart(leader);
    for id in 1..=3 {
        until(&format!("node {id} has dropped what is past the policy"), PATIENCE, || {
            (4..=6).contains(&rows(&nodes, id, "SELECT v FROM days.old").len())
                && (4..=8).contains(&nodes.node(id).client().rows("", "SHOW SHARDS").len())
        });
    }
}

/// The windows are computed by the node that leads, which is not the one that is asked.
#[test]
fn a_backfill_may_be_asked_of_any_node() {
    let nodes = Nodes::with(&[]);
    nodes.change(1, "CREATE DATABASE db");
    let lines: String = (0..600).map(|n| format!("long_ago v={n} {}\n", LONG_AGO + n)).collect();
    assert_eq!(write(nodes.node(1), "all", &lines).0, 204);
    nodes.change(
        1,
        "CREATE MATERIALIZED VIEW w ON db AS SELECT sum(v) AS s INTO u FROM long_ago GROUP BY time(1m)",
    );
    let leader = nodes.leader().expect("a leader");
    let asked = (1..=3).find(|id| *id != leader).expect("another node");
    nodes.change(asked, "BACKFILL MATERIALIZED VIEW w ON db FROM '2020-01-01' TO '2020-01-02'");
    let direct = rows(&nodes, asked, "SELECT sum(v) AS s FROM long_ago GROUP BY time(1m) fill(none)");
    assert_eq!(direct.len(), 10);
    for id in 1..=3 {
        until(&format!("node {id} has the view right"), LIMIT, || {
            rows(&nodes, id, "SELECT s FROM u") == direct
        });
    }
}
