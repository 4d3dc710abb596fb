use hyperbytedb_memory_ports::Call;

use std::cell::Cell;

use hyperbytedb_domain::ports::WriteError;
use hyperbytedb_domain::settings;

use super::*;
use crate::testing::{NEVER, Node, NodeOptions, WEEK};
use crate::waiting::{self, Instead, Wait};

fn flush(node: &Node, measurement: &str) -> Result<(), EngineError> {
    let table = node.table(measurement).expect("a table").id;
    node.flush.flush_tables(&[table], &QueryContext::unbounded())
}

#[test]
fn an_insert_that_failed_is_repeated_with_its_partitions_marked() {
    // The numbers choose which rows a failing insert stores.
    for part in 0..10 {
        let node = Node::patient();
        node.write(&format!("m v=1 1\nm v=2 {WEEK}"));
        node.faults.fail_partly(Call::Insert, part);
        assert!(flush(&node, "m").is_err());
        flush(&node, "m").expect("a flush");
        let table = node.table("m").expect("a table").id;
        assert!(node.flush.dirty().touches(table, TimeRange { min: 0, max: 2 }));
        assert!(node.flush.dirty().touches(table, TimeRange { min: WEEK, max: WEEK }));
        assert_eq!(node.query("SELECT count(v), sum(v) FROM m"), ["0 2 3"], "stored in part: {part}");
    }
}

#[test]
fn a_repeated_point_marks_its_partition_before_the_insert() {
    let node = Node::new();
    node.write(&format!("m v=1 1\nm v=1 {WEEK}"));
    node.flush_all();
    assert!(node.flush.dirty().tables().is_empty(), "nothing is there twice");
    node.write("m v=2 1");
    node.before(Call::Insert, |node| {
        let table = node.table("m").expect("a table").id;
        assert!(node.flush.dirty().touches(table, TimeRange { min: 1, max: 1 }));
        assert!(!node.flush.dirty().touches(table, TimeRange { min: WEEK, max: WEEK }));
    });
    node.flush_all();
    assert_eq!(node.stored_rows(), 3);
    assert_eq!(node.query("SELECT v FROM m"), [String::from("1 2"), format!("{WEEK} 1")]);
}

/// After a restart nobody knows which times of which series are stored.
#[test]
fn a_point_that_was_stored_before_a_restart_is_not_counted_twice() {
    let node = Node::new();
    node.write("m v=1 1");
    node.flush_all();
    node.flush.checkpoint().expect("a checkpoint");
    let node = node.restart();
    node.write("m v=2 1");
    assert_eq!(node.query("SELECT count(v), last(v) FROM m"), ["0 1 2"]);
    assert_eq!(node.stored_rows(), 2);
}

#[test]
fn points_whose_mark_cannot_be_stored_are_not_inserted() {
    let node = Node::patient();
    node.write("m v=1 1");
    node.flush_all();
    node.write("m v=2 1");
    node.faults.fail(Call::MarkDirty, 1);
    assert!(flush(&node, "m").is_err());
    assert_eq!(node.stored_rows(), 1);
}

#[test]
fn a_table_that_cannot_be_flushed_delays_no_other() {
    let node = Node::patient();
    node.write("bad v=1 1");
    node.write("good v=1 1");
    node.faults.fail(Call::Insert, 1);
    assert!(flush(&node, "bad").is_err());
    flush(&node, "good").expect("a flush");
    assert_eq!(node.stored_rows(), 1);
    node.flush.checkpoint().expect("a checkpoint");
    assert_eq!(node.restart().query("SELECT count(v) FROM bad, good"), ["0 1", "0 1"]);
}

#[test]
fn a_table_that_cannot_be_flushed_can_be_dropped() {
    let node = Node::patient();
    node.write("bad v=1 1");
    node.faults.fail(Call::Insert, usize::from(u8::MAX));
    assert!(flush(&node, "bad").is_err());
    node.query("DROP MEASUREMENT bad");
    node.flush.work_off();
    assert_eq!((node.flush.memory_bytes(), node.disk.engine.tables().len()), (0, 0));
    assert_eq!(node.flush.first_unflushed(TableId(1), TimeRange::ALL), None);
    node.flush.checkpoint().expect("a checkpoint");
    assert_eq!(node.ports.wal.size_bytes(), 0, "nothing holds the log back");
}

#[test]
fn what_is_written_during_a_flush_is_in_the_next_one() {
    let node = Node::new();
    node.write("m v=1 1");
    node.before(Call::Insert, |node| node.write("m v=2 2"));
    node.flush_all();
    assert_eq!(node.stored_rows(), 1);
    assert_eq!(node.query("SELECT count(v) FROM m"), ["0 2"]);
}

#[test]
fn a_full_memtable_is_flushed_by_itself() {
    let mut options = NodeOptions::default();
    options.flush.limits.rows = 2;
    let node = Node::with(options);
    node.write("m v=1 1");
    assert!(!node.flush.work_off());
    node.write("m v=2 2");
    assert!(node.flush.work_off());
    assert_eq!(node.stored_rows(), 2);
}

#[test]
fn an_orderly_stop_flushes_what_it_can() {
    let node = Node::patient();
    node.write("m v=1 1\nn v=1 1");
    node.faults.fail(Call::Insert, 1);
    node.flush.flush_for_stop();
    assert_eq!(node.stored_rows(), 1, "the other one stays in the log");
    node.flush.checkpoint().expect("a checkpoint");
    assert_eq!(node.restart().query("SELECT count(v) FROM m, n"), ["0 1", "0 1"]);
}

/// A clock that goes on whenever somebody waits; meanwhile the flush does what it can.
struct Waits {
    node: Node,
    now: Cell<Instant>,
    /// Nobody should wait that long.
    end: Instant,
}

impl Instead for Waits {
    fn wait(&self, _: Wait) {
        self.node.flush.work_off();
        self.now.set(self.now.get() + Duration::from_millis(100));
        assert!(self.now.get() < self.end, "it waits for what nobody does");
    }

    fn now(&self) -> Instant {
        self.now.get()
    }
}

#[test]
fn writes_are_refused_while_the_engine_does_not_take_what_is_there() {
    for setting in [settings::FLUSH_MEMORY_LIMIT_BYTES, settings::WAL_MAX_BYTES] {
        let mut options = NodeOptions::default();
        options.flush.retry_pause = NEVER;
        if setting == settings::WAL_MAX_BYTES {
            options.flush.wal_size_bytes_max = 1_000;
        } else {
            options.flush.memory_limit_bytes = 1;
        }
        let node = Node::with(options);
        node.write(&format!("m s=\"{}\" 1", "x".repeat(2_000)));
        node.faults.fail(Call::Insert, 1);
        let started = Instant::now();
        let end = started + Duration::from_secs(60);
        waiting::replace_on_this_thread(Waits { node: node.clone(), now: Cell::new(started), end });
        let refused = node.try_write("m s=\"y\" 2").expect_err("there is no room");
        assert!(matches!(&refused, WriteError::Overloaded { .. }), "{refused:?}");
        assert!(refused.to_string().contains(setting), "{refused}");
        assert!(waiting::now() - started >= Duration::from_secs(5), "it waits for the flush");
        assert_eq!(node.stored_rows(), 0);
        flush(&node, "m").expect("a flush");
        node.flush.checkpoint().expect("a checkpoint");
        assert!(node.flush.has_room() && node.flush.log_has_room());
    }
}
