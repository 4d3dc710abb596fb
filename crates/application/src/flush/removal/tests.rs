use std::sync::Arc;

use hyperbytedb_domain::catalog::{Command, DeleteScope};
use hyperbytedb_memory_ports::Call;

use super::*;
use crate::testing::{Node, WEEK};

#[test]
fn only_wholly_covered_groups_without_a_condition_are_dropped() {
    let shards: Vec<ShardGroup> =
        (0..3).map(|n| ShardGroup { id: n, start: n as i64 * 10, end: n as i64 * 10 + 10 }).collect();
    let table = Arc::new(Table { id: TableId(1), ..Table::default() });
    let mut delete = Delete {
        scope: DeleteScope { table: table.id, version: 0, time: TimeRange { min: 5, max: 29 }, filter: None },
        table,
        sequence: 1,
        again: false,
    };
    let ids = |shards: Vec<ShardGroup>| shards.into_iter().map(|shard| shard.id).collect::<Vec<_>>();
    let (whole, part) = split_shards(&shards, &delete);
    assert_eq!((ids(whole), ids(part)), (vec![1, 2], vec![0]));
    delete.scope.filter = Some(hyperbytedb_domain::scan::Predicate::Constant(true));
    let (whole, part) = split_shards(&shards, &delete);
    assert_eq!((ids(whole), ids(part)), (vec![], vec![0, 1, 2]));
}

#[test]
fn a_delete_removes_its_rows_and_the_series_that_have_none_left() {
    let node = Node::new();
    node.write("m,h=a v=1 1\nm,h=b v=1 1\nm,h=b v=2 2");
    node.query("DELETE FROM m WHERE time = 1");
    assert_eq!(node.query("SELECT h, v FROM m"), ["2 b 2"]);
    assert_eq!(node.series("m"), ["m,h=b"]);
}

#[test]
fn whole_partitions_are_dropped_and_of_others_rows_deleted() {
    let node = Node::new();
    node.write(&format!("m v=1 1\nm v=1 {WEEK}\nm v=1 {}", WEEK + 1));
    node.flush_all();
    node.query(&format!("DELETE FROM m WHERE time <= {WEEK}"));
    assert_eq!((node.faults.calls(Call::DropPartitions), node.faults.calls(Call::DeleteRows)), (1, 1));
    assert_eq!(node.query("SELECT v FROM m"), [format!("{} 1", WEEK + 1)]);
}

#[test]
fn what_is_written_behind_a_delete_stays_with_its_series() {
    let node = Node::new();
    node.write("m,h=a v=1 1\nm,h=b v=1 1");
    node.flush_all();
    node.before(Call::DeleteRows, |node| node.write("m,h=a v=2 2"));
    node.query("DELETE FROM m WHERE h = 'a'");
    assert_eq!(node.series("m"), ["m,h=a", "m,h=b"]);
    assert_eq!(node.query("SELECT h, v FROM m"), ["1 b 1", "2 a 2"]);
}

/// Between the rows and the index: the writer found the series known, and must find it again.
#[test]
fn a_write_that_meets_the_removal_of_its_series_registers_it_again() {
    let node = Node::new();
    node.write("m,h=a v=1 1\nm,h=b v=1 1");
    let record = node.resolve("m,h=a v=2 2");
    node.query("DELETE FROM m WHERE h = 'a'");
    assert!(node.committer.write(record).is_err(), "stale");
    node.write("m,h=a v=2 2");
    assert_eq!(node.series("m"), ["m,h=a", "m,h=b"]);
}

#[test]
fn a_table_whose_last_series_went_is_named() {
    let node = Node::new();
    let commands = node.commands.clone();
    node.flush.on_emptied(move |table| commands.drop_empty_table(table)).expect("the index");
    node.write("m,h=a v=1 1\nm,h=b v=1 1");
    node.query("DELETE FROM m WHERE h = 'a'");
    assert!(node.table("m").is_some());
    node.query("DELETE FROM m WHERE h = 'b'");
    assert!(node.table("m").is_none());
}

#[test]
fn a_delete_of_which_a_part_was_done_takes_out_the_series_of_that_part_too() {
    let node = Node::patient();
    node.write("m,h=a v=1 1\nm,h=b v=1 1\nm,h=c v=1 1");
    node.flush_all();
    node.faults.fail(Call::RemoveSeries, 1);
    assert!(node.try_query("DELETE FROM m WHERE h != 'c'").is_err());
    node.flush_all();
    assert_eq!(node.series("m"), ["m,h=c"]);
}

#[test]
fn a_dropped_shard_group_takes_its_series_but_those_that_have_points_elsewhere() {
    let node = Node::new();
    node.write(&format!("m,h=a v=1 1\nm,h=b v=1 1\nm,h=b v=1 {WEEK}"));
    node.flush_all();
    node.command(Command::DropShardGroups { ids: vec![node.shards()[0]] });
    assert_eq!(node.stored_rows(), 1);
    assert_eq!(node.series("m"), ["m,h=b"]);
}

#[test]
fn a_dropped_table_leaves_nothing() {
    let node = Node::patient();
    node.write("m,h=a v=1 1");
    node.flush_all();
    // The same point again: its partition is marked.
    node.write("m,h=a v=2 1");
    node.flush_all();
    assert_eq!(node.flush.dirty().tables().len(), 1);
    node.query("DROP MEASUREMENT m");
    while node.flush.work_off() {}
    assert_eq!((node.disk.engine.tables(), node.disk.node.indexed_tables()), (Vec::new(), Vec::new()));
    assert!(node.flush.dirty().tables().is_empty());
    assert_eq!(node.flush.memory_bytes(), 0);
}
