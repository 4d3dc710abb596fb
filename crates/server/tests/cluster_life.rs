//! The life of a cluster of real processes: nodes are drained, taken out, upgraded, and left alone, and say so.

mod support;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use support::cluster::{DB, Nodes, PATIENCE, write};
use support::until;

/// Longer than a node takes to start, to wait for a leader in vain, and to open.
const LONG: Duration = Duration::from_secs(60);

fn points(nodes: &Nodes, id: usize) -> u64 {
    let rows = nodes.node(id).client().rows(DB, "SELECT count(v) FROM m");
    rows.first().and_then(|row| row[1].as_u64()).unwrap_or(0)
}

#[test]
fn a_node_that_is_taken_out_hands_over_and_takes_no_more() {
    let mut nodes = Nodes::start();
    nodes.change(1, "CREATE DATABASE db");
    assert_eq!(write(nodes.node(1), "all", "m v=1 0").0, 204);
    let (over, written) = (AtomicBool::new(false), AtomicUsize::new(1));
    let last = std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for time in 1.. {
                let (status, body) = write(nodes.node(3), "one", &format!("m v=1 {time}"));
                if status != 204 {
                    return (status, body);
                }
                written.fetch_add(1, Ordering::Relaxed);
                if over.load(Ordering::Relaxed) {
                    break;
                }
            }
            (0, String::new())
        });
        until("node 3 takes points", PATIENCE, || written.load(Ordering::Relaxed) > 100);
        let (status, body) = nodes.ask(1, "remove", 3);
        over.store(true, Ordering::Relaxed);
        assert_eq!(status, 200, "{body}");
        writer.join().expect("a writer")
    });
    assert!(last.0 == 503 && last.1.contains("write to another one"), "{last:?}");
    // Whatever it has acknowledged got to the others.
    let written = written.into_inner() as u64;
    for id in [1, 2] {
        until(&format!("node {id} has {written} points"), PATIENCE, || points(&nodes, id) == written);
    }
    let says_so = |nodes: &Nodes| {
        let (status, body) = nodes.readiness(3);
        status == 503 && body.contains("leaving") && body.contains("removed: this node was taken out")
    };
    until("node 3 knows", PATIENCE, || says_so(&nodes));
    assert!(nodes.node(3).log().contains("removed: this node was taken out"));
    // It knows after a start, too.
    nodes.kill(3);
    nodes.begin(3);
    until("node 3 knows again", LONG, || says_so(&nodes));
    let (status, body) = write(nodes.node(3), "one", "m v=1 0");
    assert!(status == 503 && body.contains("was removed from the cluster"), "{status} {body}");
    assert_eq!(write(nodes.node(1), "all", "m v=1 0").0, 204, "all that are left");
}

#[test]
fn a_node_is_drained_while_another_one_is_away() {
    let mut nodes = Nodes::start();
    nodes.change(1, "CREATE DATABASE db");
    assert_eq!(write(nodes.node(1), "all", "m v=1 0").0, 204);
    nodes.kill(3);
    assert_eq!(write(nodes.node(1), "one", "m v=1 1").0, 204);
    let (status, body) = nodes.ask(2, "remove", 1);
    assert!(status == 409 && body.contains("of the 2 nodes that would vote then only 1 answer"), "{body}");
    assert_eq!(write(nodes.node(1), "one", "m v=1 2").0, 204, "it goes on");
    let (status, body) = nodes.ask(2, "drain", 1);
    assert!(status == 200 && body.contains("node 3 lacks"), "{status} {body}");
    assert_eq!(write(nodes.node(1), "one", "m v=1 3").0, 503);
    nodes.stop(1);
    // Nobody is left to hand over to.
    assert_eq!(write(nodes.node(2), "one", "m v=1 4").0, 204);
    nodes.begin(1);
    nodes.begin(3);
    for id in 1..=3 {
        until(&format!("node {id} has all"), LONG, || {
            nodes.readiness(id).0 == 200 && points(&nodes, id) == 4
        });
    }
}

#[test]
fn members_without_a_leader_serve_what_they_have() {
    let mut nodes = Nodes::with(&[("CLUSTER__PROPOSE_TIMEOUT_SECS", "2")]);
    nodes.add();
    nodes.change(1, "CREATE DATABASE db");
    assert_eq!(write(nodes.node(1), "all", "m v=1 0").0, 204);
    (1..=4).for_each(|id| nodes.kill(id));
    // Two of four hear each other, and are no majority.
    let minority = [1, 2];
    minority.iter().for_each(|&id| nodes.begin(id));
    for id in minority {
        until(&format!("node {id} opens"), LONG, || {
            let (status, body) = nodes.readiness(id);
            status == 503 && body.contains("unready") && body.contains("cluster.max_staleness_secs")
        });
        assert_eq!(points(&nodes, id), 1);
    }
    assert_eq!(write(nodes.node(1), "one", "m v=1 1").0, 204, "a series that is known");
    until("node 2 has it as well", PATIENCE, || points(&nodes, 2) == 2);
    let (status, body) = write(nodes.node(2), "one", "other v=1 1");
    assert!(status == 503 && body.contains("timeout"), "{status} {body}");
    nodes.begin(3);
    for id in 1..=3 {
        until(&format!("node {id} is ready"), LONG, || nodes.readiness(id).0 == 200);
    }
    assert_eq!(write(nodes.node(2), "quorum", "other v=1 1").0, 204);
    nodes.agree("SELECT count(v) FROM m", ",2]");
}

#[test]
fn a_node_that_hears_too_few_says_so() {
    let mut nodes = Nodes::with(&[("CLUSTER__MAX_STALENESS_SECS", "1")]);
    nodes.change(1, "CREATE DATABASE db");
    nodes.kill(2);
    assert_eq!(nodes.readiness(1).0, 200, "two of three are a majority");
    nodes.kill(3);
    until("node 1 is alone", PATIENCE, || {
        let (status, body) = nodes.readiness(1);
        status == 503 && body.contains("alone")
    });
    nodes.begin(2);
    until("node 1 is not any more", LONG, || nodes.readiness(1).0 == 200);
}

#[test]
fn nodes_are_upgraded_one_by_one() {
    let mut nodes = Nodes::none(tempfile::tempdir().expect("a folder"), &[]);
    let older = [("CLUSTER__PROTOCOL", "1")];
    for id in 1..=3 {
        nodes.set(id, &older);
        nodes.add();
    }
    nodes.change(1, "CREATE DATABASE db");
    nodes.agree("SHOW DATABASES", "[\"db\"]");
    let mut written = 0;
    for upgraded in 0..=3 {
        if upgraded > 0 {
            nodes.set(upgraded, &[]);
            let (status, body) = nodes.ask(1 + upgraded % 3, "drain", upgraded);
            assert_eq!(status, 200, "{body}");
            nodes.stop(upgraded);
            nodes.restart(upgraded);
        }
        for id in 1..=3 {
            let line = format!("m,h=h{upgraded},n={id} v=1 {written}");
            let (status, body) = write(nodes.node(id), "all", &line);
            assert_eq!(status, 204, "{upgraded} are upgraded: {body}");
            written += 1;
            nodes.change(id, &format!("CREATE DATABASE made{upgraded}_{id}"));
        }
        nodes.agree("SELECT count(v) FROM m", &format!(",{written}]"));
    }
    // A node of the version before joins those of the next one, too.
    nodes.set(4, &older);
    nodes.add();
    nodes.agree("SELECT count(v) FROM m", &format!(",{written}]"));
    assert_eq!(nodes.ask(4, "remove", 1).0, 200);
    until("node 1 knows", PATIENCE, || nodes.readiness(1).1.contains("leaving"));
}
