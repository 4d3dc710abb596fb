use hyperbytedb_domain::TimeRange;
use hyperbytedb_domain::catalog::TableId;
use hyperbytedb_domain::cluster::LogPosition;
use hyperbytedb_domain::wal::WalRecord;
use hyperbytedb_memory_ports::{Call, Disk, WalDisk};

use super::*;
use crate::testing::{DATABASE, Node, NodeOptions, WEEK};

/// What its caller will be told.
type Answer = Receiver<Outcome>;

fn write(node: &Node, record: ResolvedWrite) -> Answer {
    node.committer.enqueue(Change::Write(record)).expect("a place in the queue")
}

fn command(node: &Node, command: Command) -> Answer {
    let entry = node.ports.wal.encode(&WalEntry::Command(command.clone())).expect("an entry");
    node.committer.enqueue(Change::Command { command, entry }).expect("a place in the queue")
}

fn drop_measurement(name: &str) -> Command {
    Command::DropMeasurement { database: DATABASE.to_owned(), name: name.to_owned() }
}

fn delete_all(table: TableId, version: u32) -> Command {
    Command::DeletePoints { scopes: vec![DeleteScope { table, version, time: TimeRange::ALL, filter: None }] }
}

fn is_stale(answer: &Answer) -> bool {
    matches!(answer.recv(), Ok(Err(LogError::Stale)))
}

fn is_done(answer: &Answer) -> bool {
    matches!(answer.recv(), Ok(Ok(_)))
}

fn log(node: &Node) -> Vec<(Sequence, WalRecord)> {
    node.ports.wal.read_from(1, usize::MAX).expect("the log")
}

#[test]
fn a_write_to_a_table_that_was_dropped_is_stale_and_leaves_no_series() {
    let node = Node::new();
    node.write("m,h=a v=1 1");
    let late = node.resolve("m,h=b v=2 2");
    let table = late.batches[0].table.clone();
    node.query("DROP MEASUREMENT m");
    node.flush.work_off();
    // A writer that was slower still registers its series although the table is gone.
    let series: Vec<_> = late.batches[0].series.iter().map(|(id, tags)| (*id, tags)).collect();
    node.ports.series.register(&table, &series).expect("the index");
    let late = write(&node, late);
    assert!(node.commit());
    assert!(is_stale(&late));
    assert_eq!(node.disk.node.indexed_tables(), []);
}

#[test]
fn a_write_behind_the_drop_of_its_table_in_one_group_is_stale() {
    let node = Node::new();
    node.write("m v=1 1");
    let record = node.resolve("m v=2 2");
    let (dropped, late) = (command(&node, drop_measurement("m")), write(&node, record));
    assert!(node.commit());
    assert!(is_done(&dropped));
    assert!(is_stale(&late));
}

#[test]
fn a_write_to_a_shard_group_that_was_dropped_is_stale() {
    let node = Node::new();
    node.write(&format!("m v=1 1\nm v=1 {WEEK}"));
    let (first, second) = (node.resolve("m v=2 2"), node.resolve(&format!("m v=2 {}", WEEK + 1)));
    node.command(Command::DropShardGroups { ids: vec![node.shards()[0]] });
    let (first, second) = (write(&node, first), write(&node, second));
    assert!(node.commit());
    assert!(is_stale(&first));
    assert!(is_done(&second), "the other group is still there");
}

#[test]
fn a_write_whose_series_left_the_index_is_stale() {
    let node = Node::new();
    node.write("m,h=a v=1 1\nm,h=b v=1 1\nn,h=a v=1 1");
    let (a, other) = (node.resolve("m,h=a v=2 2"), node.resolve("n,h=a v=2 2"));
    node.query("DELETE FROM m WHERE h = 'a'");
    assert_eq!(node.series("m"), ["m,h=b"]);
    let (a, other) = (write(&node, a), write(&node, other));
    assert!(node.commit());
    assert!(is_stale(&a));
    assert!(is_done(&other), "no series of its table left");
}

#[test]
fn a_writer_that_is_stale_tries_again() {
    let node = Node::new();
    node.write("m,h=a v=1 1");
    node.before(Call::RegisterSeries, |node| drop(node.query("DROP MEASUREMENT m")));
    node.write("m,h=b v=2 2");
    assert_eq!(node.query("SELECT h, v FROM m"), ["2 b 2"]);
    assert_eq!(node.series("m"), ["m,h=b"]);
}

#[test]
fn an_append_that_fails_tells_its_callers_and_leaves_nothing() {
    let node = Node::new();
    node.write("m v=1 1");
    node.flush_all();
    let (catalog, records) = (node.ports.catalog.catalog(), log(&node).len());
    let answers = [
        write(&node, node.resolve("m v=2 2")),
        command(&node, Command::CreateDatabase { name: "other".to_owned(), policy: None }),
        command(&node, drop_measurement("m")),
    ];
    node.faults.fail(Call::WalAppend, 1);
    assert!(node.commit(), "the committer goes on");
    for answer in answers {
        assert!(matches!(answer.recv(), Ok(Err(LogError::Storage(_)))));
    }
    assert_eq!(*node.ports.catalog.catalog(), *catalog);
    assert_eq!((log(&node).len(), node.flush.memory_bytes()), (records, 0));
    assert_eq!(node.query("SELECT count(v) FROM m"), ["0 1"]);
    node.write("m v=2 2");
    assert_eq!(node.query("SELECT count(v) FROM m"), ["0 2"]);
}

#[test]
fn a_catalogue_that_cannot_be_stored_ends_the_committer() {
    let node = Node::new();
    let answer = command(&node, Command::CreateDatabase { name: "other".to_owned(), policy: None });
    node.faults.fail(Call::CatalogPublish, 1);
    assert!(!node.commit());
    assert!(answer.recv().is_err(), "nobody can tell what became of it");
    let failure = node.readiness.failure().expect("a failure");
    assert!(failure.starts_with("the catalogue could not be stored"), "{failure}");
    assert!(matches!(node.committer.command(drop_measurement("m")), Err(LogError::Stopped)));
    let node = node.restart();
    assert!(node.ports.catalog.catalog().database("other").is_some(), "it is in the log");
}

#[test]
fn a_full_queue_refuses_and_a_closed_one_commits_what_it_holds() {
    let mut options = NodeOptions::default();
    options.commit =
        CommitOptions { queue_length: 1, queue_timeout: Duration::from_millis(1), ..options.commit };
    let node = Node::with(options);
    let create = |name: &str| Command::CreateDatabase { name: name.to_owned(), policy: None };
    let first = command(&node, create("first"));
    // This thread would commit instead of waiting.
    let second = std::thread::scope(|scope| {
        scope.spawn(|| node.committer.command(create("second"))).join().expect("an answer")
    });
    let error = second.err().expect("an error");
    assert_eq!(error.to_string(), "the queue to the write-ahead log is full (wal.queue_length)");
    node.committer.close();
    assert!(matches!(node.committer.command(create("third")), Err(LogError::Stopped)));
    assert!(node.commit());
    assert!(is_done(&first));
    assert!(!node.commit(), "there will be no more");
}

#[test]
fn a_delete_that_was_compiled_for_another_schema_is_stale() {
    let node = Node::new();
    node.write("m,h=a v=1 1");
    let table = node.table("m").expect("a table");
    node.write("m,r=x v=2 2");
    let stale = command(&node, delete_all(table.id, table.version));
    let gone = command(&node, delete_all(TableId(99), 0));
    assert!(node.commit());
    assert!(is_stale(&stale), "`r = ''` would have been true of every row");
    assert!(is_done(&gone), "of a table that is gone there is nothing to delete");
    assert_eq!(node.query("SELECT count(v) FROM m"), ["0 2"]);
}

#[test]
fn a_table_that_has_series_again_is_not_dropped_as_empty() {
    let node = Node::new();
    node.write("m v=1 1");
    let table = node.table("m").expect("a table").id;
    let drop_empty = command(&node, Command::DropEmptyTable { table });
    assert!(node.commit());
    assert!(is_stale(&drop_empty));
    assert!(node.table("m").is_some());
}

#[test]
fn a_group_takes_effect_in_log_order() {
    let node = Node::new();
    node.write("m,h=a v=0 0");
    let table = node.table("m").expect("a table");
    let behind = node.resolve("m,h=a v=3 3");
    let answers = [
        write(&node, node.resolve("m,h=a v=1 1")),
        write(&node, node.resolve("m,h=a v=2 1")),
        command(&node, delete_all(table.id, table.version)),
        write(&node, behind),
        write(&node, node.resolve("m,h=a v=4 3")),
    ];
    let before = node.ports.wal.last_sequence();
    assert!(node.commit());
    assert!(answers.iter().all(is_done));
    let behind: Vec<_> = log(&node).into_iter().filter(|(sequence, _)| *sequence > before).collect();
    assert!(behind.iter().map(|(sequence, _)| *sequence).eq(before + 1..=before + 5));
    assert!(behind.is_sorted_by_key(|(_, record)| record.clock));
    assert!(matches!(behind[2].1.entry, WalEntry::Command(_)));
    assert_eq!(node.query("SELECT v FROM m"), ["3 4"]);
}

#[test]
fn a_group_is_bounded() {
    let mut options = NodeOptions::default();
    options.commit.group_records_max = 2;
    let node = Node::with(options);
    node.write("m v=0 0");
    let answers = [1, 2, 3].map(|n| write(&node, node.resolve(&format!("m v={n} {n}"))));
    assert!(node.commit());
    assert!(is_done(&answers[0]) && is_done(&answers[1]));
    assert!(answers[2].try_recv().is_err());
    assert!(node.commit());
    assert!(is_done(&answers[2]));
}

/// A power failure may take the end of a log that is not synced, but never from under a catalogue that has seen more.
#[test]
fn a_group_with_a_command_is_durable() {
    for seed in 0..20 {
        let disk = Disk { wal: Arc::new(WalDisk::new(false)), ..Disk::default() };
        let node = Node::on(disk, NodeOptions::default());
        node.write("m v=1 1");
        node.command(Command::CreateDatabase { name: "other".to_owned(), policy: None });
        let logged = node.ports.wal.last_sequence();
        let node = node.fail_power(seed);
        assert_eq!(node.ports.wal.last_sequence(), logged);
        assert!(node.ports.catalog.catalog().database("other").is_some());
    }
}

#[test]
fn what_is_agreed_on_is_carried_out_once() {
    let node = Node::new();
    node.write("m v=1 1");
    let position = LogPosition { term: 1, leader: 1, index: 1 };
    let agreed = AgreedEntry { position, change: AgreedChange::Command(drop_measurement("m")) };
    for _ in 0..2 {
        let (agreed, entry) = (agreed.clone(), WalEntry::Agreed(agreed.clone()));
        let entry = node.ports.wal.encode(&entry).expect("an entry");
        let change = Change::Agreed { agreed, clock: 1, entry };
        let answer = node.committer.enqueue(change).expect("a place in the queue");
        assert!(node.commit() && is_done(&answer));
    }
    let entries = log(&node).into_iter().filter(|(_, record)| matches!(record.entry, WalEntry::Agreed(_)));
    assert_eq!(entries.count(), 1);
}
