use hyperbytedb_domain::ports::NewRecord;
use hyperbytedb_domain::{Precision, QueryContext};
use hyperbytedb_memory_ports::Call;

use super::*;
use crate::testing::{DATABASE, Node, NodeOptions, WEEK};

#[test]
fn what_was_not_flushed_comes_back() {
    let node = Node::new();
    node.write("m,h=a v=1 1\nm,h=b v=2 2");
    node.write("m,h=a v=3 1");
    let node = node.restart();
    assert_eq!(node.stored_rows(), 0, "it is in memory again");
    assert_eq!(node.query("SELECT v FROM m"), ["1 3", "2 2"]);
    assert_eq!(node.series("m"), ["m,h=a", "m,h=b"]);
}

#[test]
fn what_is_behind_a_cursor_is_not_stored_twice() {
    let node = Node::new();
    node.write("slow v=1 1");
    node.write("m v=1 1");
    // `slow` keeps its records in the log, and with them those of `m`.
    let m = node.table("m").expect("a table").id;
    node.flush.flush_tables(&[m], &QueryContext::unbounded()).expect("a flush");
    node.flush.checkpoint().expect("a checkpoint");
    let node = node.restart();
    node.write("m v=2 2");
    node.flush_all();
    assert_eq!(node.stored_rows(), 3);
    assert_eq!(node.query("SELECT count(v) FROM m, slow"), ["0 2", "0 1"]);
}

#[test]
fn nothing_is_truncated_before_it_was_replayed() {
    let node = Node::new();
    node.write("m v=1 1");
    node.write("m v=2 2");
    let node = Node::open(node.disk.clone(), NodeOptions::default());
    node.before(Call::WalRead, |node| node.flush.checkpoint().expect("a checkpoint"));
    node.replay().expect("a replay");
    assert_eq!(node.query("SELECT count(v) FROM m"), ["0 2"]);
}

#[test]
fn a_delete_that_was_interrupted_is_carried_out_again() {
    let node = Node::patient();
    node.write("m,h=a v=1 1\nm,h=b v=1 1");
    node.flush_all();
    node.faults.fail(Call::DeleteRows, 1);
    assert!(node.try_query("DELETE FROM m WHERE h = 'a'").is_err());
    node.write("m,h=a v=2 2");
    let node = node.restart();
    node.flush_all();
    assert_eq!(node.query("SELECT h, v FROM m"), ["1 b 1", "2 a 2"]);
    assert_eq!(node.series("m"), ["m,h=a", "m,h=b"]);
}

/// The rows are gone: whose series are to go with them is not known any more.
#[test]
fn series_that_an_interrupted_delete_left_go() {
    let node = Node::patient();
    node.write("m,h=a v=1 1\nm,h=b v=1 1");
    node.flush_all();
    node.flush.checkpoint().expect("a checkpoint");
    node.faults.fail(Call::RemoveSeries, 1);
    assert!(node.try_query("DELETE FROM m WHERE h = 'a'").is_err());
    assert_eq!((node.stored_rows(), node.series("m").len()), (1, 2));
    let node = node.restart();
    node.flush_all();
    assert_eq!(node.series("m"), ["m,h=b"]);
}

/// A delete behind the cursor of its table must not meet what was written after it.
#[test]
fn a_delete_that_is_done_is_not_repeated() {
    let node = Node::new();
    node.write("slow v=1 1");
    node.write("m v=1 1");
    node.query("DELETE FROM m WHERE time < 10");
    node.write("m v=2 2");
    let m = node.table("m").expect("a table").id;
    node.flush.flush_tables(&[m], &QueryContext::unbounded()).expect("a flush");
    node.flush.checkpoint().expect("a checkpoint");
    let node = node.restart();
    node.flush_all();
    assert_eq!(node.query("SELECT v FROM m"), ["2 2"]);
}

#[test]
fn writes_to_a_dropped_table_do_not_reach_the_next_one_of_its_name() {
    let node = Node::new();
    node.write("m,h=old v=1 1");
    node.query("DROP MEASUREMENT m");
    node.write("m,h=new v=2i 2");
    let node = node.restart();
    assert_eq!(node.query("SELECT h, v FROM m"), ["2 new 2"]);
    assert_eq!(node.series("m"), ["m,h=new"]);
}

/// As above, for a shard group that is opened again over the same time.
#[test]
fn writes_to_a_dropped_shard_group_do_not_reach_the_next_one() {
    let node = Node::new();
    node.write(&format!("m v=1 1\nm v=1 {WEEK}"));
    node.command(Command::DropShardGroups { ids: vec![node.shards()[0]] });
    node.write("m v=2 2");
    let node = node.restart();
    assert_eq!(node.query("SELECT v FROM m"), [String::from("2 2"), format!("{WEEK} 1")]);
}

#[test]
fn a_drop_of_a_shard_group_that_was_interrupted_is_carried_out_again() {
    let node = Node::patient();
    node.write(&format!("m,h=a v=1 1\nm,h=b v=1 {WEEK}"));
    node.flush_all();
    node.flush.checkpoint().expect("a checkpoint");
    node.faults.fail(Call::DropPartitions, 1);
    let drop = Command::DropShardGroups { ids: vec![node.shards()[0]] };
    assert!(node.commands.run(drop, &QueryContext::unbounded()).is_err());
    assert_eq!(node.stored_rows(), 2);
    let node = node.restart();
    node.flush_all();
    assert_eq!(node.stored_rows(), 1);
    assert_eq!(node.series("m"), ["m,h=b"]);
}

#[test]
fn tables_that_a_crash_left_in_the_engine_and_the_index_go() {
    let node = Node::patient();
    node.write("m v=1 1\nkept v=1 1");
    node.flush_all();
    node.faults.fail(Call::DropTable, 1);
    node.query("DROP MEASUREMENT m");
    node.flush.work_off();
    assert_eq!(node.disk.engine.tables().len(), 2);
    let node = node.restart();
    let kept = node.table("kept").expect("a table").id;
    assert_eq!(node.disk.engine.tables(), [kept]);
    assert_eq!(node.disk.node.indexed_tables(), [kept]);
}

#[test]
fn partitions_without_a_shard_group_go() {
    let node = Node::new();
    node.write(&format!("m,h=a v=1 1\nm,h=b v=1 {WEEK}"));
    node.flush_all();
    let partitions = node.flush.partitions().expect("partitions");
    remove_orphans(&node.flush, &node.ports.catalog.catalog(), &partitions);
    node.flush_all();
    assert_eq!(node.stored_rows(), 2, "nothing is an orphan");
    let mut catalog = Catalog::clone(&node.ports.catalog.catalog());
    let ids = vec![node.shards()[0]];
    catalog.apply(&Command::DropShardGroups { ids }).expect("a change");
    node.ports.catalog.publish(catalog, node.ports.catalog.applied()).expect("a store");
    remove_orphans(&node.flush, &node.ports.catalog.catalog(), &partitions);
    node.flush_all();
    assert_eq!(node.stored_rows(), 1);
    assert_eq!(node.series("m"), ["m,h=b"]);
}

/// Its series were accepted, whatever the limits of the index are now.
#[test]
fn the_index_takes_back_what_it_had_accepted() {
    let node = Node::new();
    node.write("m,h=a v=1 1");
    let node = Node::open(node.disk.clone(), NodeOptions::default());
    node.faults.fail(Call::RegisterSeries, usize::from(u8::MAX));
    node.replay().expect("a replay");
    assert_eq!(node.series("m"), ["m,h=a"]);
}

#[test]
fn a_record_that_makes_no_sense_is_an_error_that_names_its_place() {
    let node = Node::new();
    let entry = WalEntry::Write(WriteEntry {
        database: DATABASE.to_owned(),
        retention_policy: "autogen".to_owned(),
        precision: Precision::Nanosecond,
        default_time: 0,
        tables: Vec::new(),
        shards: Vec::new(),
        form: Default::default(),
        body: "m v=1 1".into(),
    });
    let wal = &node.ports.wal;
    let record = NewRecord {
        origin: 1,
        clock: wal.last_clock() + 1,
        entry: wal.encode(&entry).expect("an entry"),
        is_foreign: false,
    };
    let sequence = wal.append(vec![record], true).expect("an append");
    let node = Node::open(node.disk.clone(), NodeOptions::default());
    let error = node.replay().expect_err("an error").to_string();
    assert!(error.contains(&format!("the write-ahead log, sequence {sequence}")), "{error}");
}

/// The process was killed between the registration of new series and the record.
#[test]
fn series_of_a_write_that_was_not_logged_go_at_the_next_start() {
    let node = Node::new();
    node.write("m,h=a v=1 1");
    let _lost = node.resolve("m,h=a v=2 2\nm,h=b v=2 2\nm,h=c v=2 2");
    node.write("m,h=b v=3 3");
    assert_eq!(node.series("m"), ["m,h=a", "m,h=b", "m,h=c"]);
    let node = node.restart();
    node.flush_all();
    assert_eq!(node.series("m"), ["m,h=a", "m,h=b"], "another write has logged b");
    assert_eq!(node.ports.series.unsettled().expect("the index"), []);
}

#[test]
fn series_of_a_write_that_fails_go() {
    for call in [Call::RegisterSeries, Call::WalAppend] {
        let node = Node::new();
        node.write("m,h=a v=1 1");
        node.faults.fail(call, 1);
        assert!(node.try_write("m,h=b v=2 2").is_err());
        node.flush_all();
        assert_eq!(node.series("m"), ["m,h=a"], "{call:?}");
        node.write("m,h=b v=2 2");
        node.flush_all();
        assert_eq!(node.series("m"), ["m,h=a", "m,h=b"], "{call:?}");
        assert_eq!(node.ports.series.unsettled().expect("the index"), [], "{call:?}");
    }
}

#[test]
fn series_whose_record_is_not_in_the_log_any_more_stay() {
    let node = Node::new();
    node.faults.fail(Call::SettleSeries, 1);
    node.write("m,h=a v=1 1");
    node.flush_all();
    node.flush.checkpoint().expect("a checkpoint");
    assert_eq!(node.ports.series.unsettled().expect("the index").len(), 1);
    let node = node.restart();
    node.flush_all();
    assert_eq!(node.series("m"), ["m,h=a"]);
    assert_eq!(node.ports.series.unsettled().expect("the index"), []);
}
