use hyperbytedb_memory_ports::Call;

use super::*;
use crate::testing::{Node, NodeOptions, WEEK};

/// A node with a head, after a restart: the engine has all, the head nothing yet.
fn restarted(lines: &str) -> Node {
    let mut options = NodeOptions::default();
    options.flush.head_bytes = 1 << 20;
    let node = Node::with(options);
    node.write(lines);
    node.flush_all();
    node.flush.checkpoint().expect("a checkpoint");
    node.restart()
}

fn complete_from(node: &Node) -> Option<i64> {
    let head = node.flush.head().table(node.table("m")?.id)?;
    Some(head.complete_from())
}

/// Rows of an answer that the engine was not asked for.
fn from_memory(node: &Node, text: &str) -> Vec<String> {
    let before = node.faults.calls(Call::Scan);
    let rows = node.query(text);
    assert_eq!(node.faults.calls(Call::Scan), before, "the engine was asked");
    rows
}

#[test]
fn what_the_engine_holds_is_in_memory_behind_a_start() {
    let node = restarted("m,h=a v=1,s=\"x\" 1\nm,h=a b=true,i=3i 2\nm v=4 3\nn v=1 1");
    assert_eq!(complete_from(&node), None);
    node.warm();
    assert_eq!(complete_from(&node), Some(MIN_TIME));
    assert_eq!(
        from_memory(&node, "SELECT h, b, i, s, v FROM m"),
        ["1 a - - x 1", "2 a true 3 - -", "3 - - - - 4"]
    );
    assert_eq!(from_memory(&node, "SELECT count(v) FROM n"), ["0 1"]);
}

#[test]
fn what_came_in_meanwhile_is_newer() {
    let node = restarted("m v=1 1\nm v=1 2");
    node.before(Call::NextBatch, |node| node.write("m v=2 2\nm v=2 3"));
    node.warm();
    assert_eq!(from_memory(&node, "SELECT v FROM m"), ["1 1", "2 2", "3 2"]);
}

#[test]
fn points_that_are_removed_meanwhile_do_not_come_back() {
    let node = restarted("m,h=a v=1 1\nm,h=a v=1 2\nm,h=a v=1 3\nm,h=a v=1 4\nm,h=a v=1 5\nm,h=b v=1 1");
    // What is read is fixed with the first batch, of four rows.
    node.before(Call::NextBatch, |node| {
        node.before(Call::NextBatch, |node| drop(node.query("DELETE FROM m WHERE h = 'a'")));
    });
    node.warm();
    assert_eq!(from_memory(&node, "SELECT h, v FROM m"), ["1 b 1"]);
}

#[test]
fn a_table_that_gets_columns_meanwhile_is_read_again() {
    let node = restarted("m v=1 1\nm v=1 3");
    // Read without its tag, the point would be one of the series that has none.
    node.before(Call::NextBatch, |node| {
        node.write("m,h=a v=2 2");
        node.flush_all();
    });
    node.warm();
    assert_eq!(from_memory(&node, "SELECT h, v FROM m"), ["1 - 1", "2 a 2", "3 - 1"]);
}

#[test]
fn a_table_that_is_dropped_meanwhile_is_left() {
    let node = restarted("m v=1 1\nn v=1 1");
    node.before(Call::NextBatch, |node| drop(node.query("DROP MEASUREMENT m")));
    node.warm();
    assert_eq!(node.query("SELECT v FROM m"), Vec::<String>::new());
    assert_eq!(from_memory(&node, "SELECT v FROM n"), ["1 1"]);
}

#[test]
fn a_table_that_cannot_be_read_is_the_engines() {
    let node = restarted("m v=1 1");
    node.faults.fail(Call::Scan, 1);
    node.warm();
    assert!(complete_from(&node).is_some_and(|from| from > 1));
    assert_eq!(node.query("SELECT v FROM m"), ["1 1"]);
}

#[test]
fn without_room_nothing_is_filled() {
    let mut options = NodeOptions::default();
    options.flush.head_bytes = 1;
    let node = Node::with(options);
    node.write("m v=1 1");
    node.flush_all();
    node.flush.checkpoint().expect("a checkpoint");
    let node = node.restart();
    node.write(&format!("m v=2 {WEEK}"));
    node.warm();
    assert!(complete_from(&node).is_some_and(|from| from > 1));
    assert_eq!(node.query("SELECT v FROM m"), ["1 1".to_owned(), format!("{WEEK} 2")]);
}

#[test]
fn partitions_of_shard_groups_that_are_gone_are_dropped() {
    let node = restarted(&format!("m v=1 1\nm v=1 {WEEK}"));
    let mut catalog = hyperbytedb_domain::catalog::Catalog::clone(&node.ports.catalog.catalog());
    let ids = vec![node.shards()[0]];
    catalog.apply(&hyperbytedb_domain::catalog::Command::DropShardGroups { ids }).expect("a change");
    node.ports.catalog.publish(catalog, node.ports.catalog.applied()).expect("a store");
    node.warm();
    node.flush_all();
    assert_eq!(node.stored_rows(), 1);
}
