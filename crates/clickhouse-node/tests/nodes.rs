//! The test bed itself. Having a test also has cargo build the program.

use hyperbytedb_clickhouse_node::{CLUSTER, Nodes};

#[test]
fn nodes_know_each_other_and_keep_what_they_have() {
    let mut nodes = Nodes::start(2, 1);
    for node in 0..2 {
        nodes.query(node, "CREATE DATABASE d ENGINE = Atomic");
        nodes.query(node, "CREATE TABLE d.t (n UInt64) ENGINE = MergeTree ORDER BY n");
        nodes.query(node, &format!("INSERT INTO d.t VALUES ({node})"));
    }
    let all = format!("SELECT groupArraySorted(2)(n) FROM cluster({CLUSTER}, d, t)");
    assert_eq!(nodes.query(0, &all), "[0,1]");
    nodes.restart(1);
    assert_eq!(nodes.query(0, &all), "[0,1]");
    assert_eq!(nodes.rows("d"), [1, 1]);
}
