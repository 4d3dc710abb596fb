//! Three real processes, one of which loses what it has stored: it gets that back from the others.

mod support;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use support::cluster::{DB, Nodes, PATIENCE, write};
use support::until;

/// The whole table, in one order.
fn stored(nodes: &Nodes, id: usize) -> String {
    nodes.node(id).client().query_raw(DB, "SELECT * FROM m GROUP BY h").body
}

fn agree(nodes: &Nodes) {
    let mut answers = Vec::new();
    until("the same on all nodes", PATIENCE, || {
        answers = (1..=3).map(|id| stored(nodes, id)).collect();
        answers[0] == answers[1] && answers[1] == answers[2]
    });
}

fn repair(nodes: &Nodes) -> Vec<u64> {
    let client = nodes.node(1).client();
    let started = client.post("/cluster/repair", &[], b"").expect("an answer");
    assert_eq!(started.status, 200, "{}", started.body);
    let mut rows = Vec::new();
    until("all nodes have compared", PATIENCE, || {
        let answer = client.get("/cluster/repair").expect("an answer").json();
        let nodes = answer["nodes"].as_array().expect("nodes");
        rows = nodes.iter().filter_map(|node| node["repaired_rows"].as_u64()).collect();
        nodes.iter().all(|node| node["state"] == "idle" && node["error"].is_null())
    });
    rows
}

/// The folders of parts in the engine's folder of a node.
fn parts(folder: &Path) -> Vec<PathBuf> {
    let mut parts = Vec::new();
    let mut folders = vec![folder.join("data/chdb/store")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder").flatten() {
            let path = entry.path();
            if path.join("columns.txt").exists() {
                parts.push(path);
            } else if path.is_dir() && entry.file_name() != "detached" {
                folders.push(path);
            }
        }
    }
    parts
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder").flatten() {
        let target = to.join(entry.file_name());
        let kind = entry.file_type().expect("a type");
        if kind.is_dir() {
            copy(&entry.path(), &target);
        } else if kind.is_symlink() {
            symlink(fs::read_link(entry.path()).expect("a link"), target).expect("a link");
        } else if kind.is_file() {
            fs::copy(entry.path(), target).expect("a copy");
        }
    }
}

const DAY: u64 = 24 * 3600;

#[test]
fn a_lost_part_comes_back() {
    let mut nodes = Nodes::start();
    nodes.change(1, "CREATE DATABASE db");
    // Ten weeks, each a partition, and fields that not every row has.
    let line = |n: u64| {
        let field = ["v=1.5", "v=-0.25,w=2i", "t=\"a, b\"", "w=3i,on=true"][n as usize % 4];
        format!("m,h=h{} {field} {}\n", n % 7, n * DAY / 20)
    };
    let lines: String = (0..1400).map(line).collect();
    assert_eq!(write(nodes.node(1), "all", &lines).0, 204);
    assert_eq!(write(nodes.node(2), "all", "m,h=h1 v=9 100\nm,h=new v=1 1").0, 204);
    nodes.change(3, "DELETE FROM m WHERE h = 'h3'");
    agree(&nodes);
    let before = stored(&nodes, 2);
    assert_eq!(repair(&nodes), [0, 0, 0], "nothing to be done");
    nodes.stop(2);
    // What the head keeps over a restart must not hide the loss.
    let folder = nodes.folder(2);
    fs::remove_file(folder.join("data/head.snapshot")).expect("the head's file");
    let parts = parts(&folder);
    assert!(parts.len() > 4, "{parts:?}");
    for part in parts.iter().step_by(2) {
        fs::remove_dir_all(part).expect("a part");
    }
    nodes.restart(2);
    assert_ne!(stored(&nodes, 2), before, "something is lost");
    let rows = repair(&nodes);
    assert!(rows[0] == 0 && rows[1] > 100 && rows[2] == 0, "{rows:?}");
    assert_eq!(stored(&nodes, 2), before);
    agree(&nodes);
    // What was taken lasts, and needs no more.
    nodes.kill(2);
    nodes.restart(2);
    assert_eq!(stored(&nodes, 2), before);
    assert_eq!(repair(&nodes), [0, 0, 0]);
}

#[test]
fn a_node_that_was_away_for_too_long_takes_what_it_missed() {
    let mut nodes = Nodes::with(&[("CLUSTER__HINTS_MAX_BYTES", "50000")]);
    nodes.change(1, "CREATE DATABASE db");
    assert_eq!(write(nodes.node(1), "all", "m,h=a v=1 1\nm,h=b v=1 1").0, 204);
    nodes.kill(3);
    for round in 0..50 {
        // The values differ, so that they cannot be compressed away; some are written again.
        let line =
            |n: usize| format!("m,h=h{} v={},w={} {}\n", n % 50, (n * 7919) % 10007, n * round, n + 10);
        let lines: String = (0..1000).map(line).collect();
        assert_eq!(write(nodes.node(1 + round % 2), "quorum", &lines).0, 204);
    }
    assert_eq!(write(nodes.node(1), "quorum", "m,h=a v=2 1").0, 204);
    until("the others go on without it", PATIENCE, || {
        [1, 2].iter().all(|id| nodes.node(*id).log().contains("a node has missed points"))
    });
    nodes.restart(3);
    agree(&nodes);
    nodes.agree("SELECT v FROM m WHERE h = 'a'", ",2]");
    until("it needs no repair any more", PATIENCE, || {
        let answer = nodes.node(1).try_get("/cluster/nodes").expect("an answer").json();
        answer["nodes"].as_array().expect("nodes").iter().all(|node| node["state"] == "ready")
    });
}

#[test]
fn an_old_disk_becomes_as_the_others_are() {
    let mut nodes = Nodes::with(&[("CLUSTER__REPAIR_INTERVAL_SECS", "1")]);
    nodes.change(1, "CREATE DATABASE db");
    assert_eq!(write(nodes.node(1), "all", "m,h=a v=1 1\nm,h=b v=9 1\nm,h=gone v=1 1").0, 204);
    nodes.stop(3);
    let (folder, old) = (nodes.folder(3), nodes.folder(30));
    copy(&folder, &old);
    nodes.restart(3);
    assert_eq!(write(nodes.node(1), "all", "m,h=b v=2 1\nm,h=c v=3 1").0, 204);
    assert_eq!(write(nodes.node(3), "all", "m,h=d v=4 1").0, 204);
    nodes.change(2, "DELETE FROM m WHERE h = 'gone'");
    agree(&nodes);
    let before = stored(&nodes, 1);
    nodes.kill(3);
    fs::remove_dir_all(&folder).expect("the folder");
    copy(&old, &folder);
    nodes.restart(3);
    until("node 3 has what the others have", PATIENCE, || stored(&nodes, 3) == before);
    assert_eq!(write(nodes.node(3), "all", "m,h=e v=5 1").0, 204);
    nodes.change(3, "CREATE DATABASE later");
    nodes.agree("SHOW DATABASES", "[\"later\"]");
    agree(&nodes);
    assert_eq!(stored(&nodes, 1).matches("\"name\"").count(), before.matches("\"name\"").count() + 1);
}
