//! The test bed itself. Having a test also has cargo build the program.

use std::io::{Read, Write};
use std::net::TcpStream;

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

/// Servers break off their connections to each other when there is no use in going on.
#[test]
fn a_connection_that_goes_wrong_ends_no_server() {
    let mut nodes = Nodes::single();
    for _ in 0..3 {
        let mut stream = TcpStream::connect(nodes.native_address(0)).expect("a connection");
        stream.write_all(&[5; 3]).expect("what is no greeting");
        // An answer or a broken connection: either is the server's right.
        let _ = stream.read_to_end(&mut Vec::new());
        assert_eq!(nodes.query(0, "SELECT 1"), "1");
    }
    assert_eq!(nodes.ended(), None);
}
