//! A node that sends to one that answers as a test says.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use hyperbytedb_domain::HybridClock;
use hyperbytedb_domain::catalog::Catalog;
use hyperbytedb_domain::cluster::{AgreedChange, AgreedEntry, Consistency, LogPosition, NodeAddress};
use hyperbytedb_domain::ports::{PeerBatch, PeerError, PeerPort};
use hyperbytedb_memory_ports::Call;
use parking_lot::Mutex;

use super::Sender;
use crate::cluster::conflicts::Conflicts;
use crate::cluster::peers;
use crate::cluster::replication::{Replication, ReplicationOptions};
use crate::testing::Node;

const OTHER: u64 = 2;

/// What was sent, and what is answered.
#[derive(Default)]
struct Receiver {
    batches: Mutex<Vec<PeerBatch>>,
    /// Before the records that come next.
    had: Mutex<VecDeque<u64>>,
}

impl Receiver {
    fn answer(&self, had: u64) {
        self.had.lock().push_back(had);
    }

    /// How many records each batch had, and behind which clock.
    fn sent(&self) -> Vec<(usize, u64)> {
        std::mem::take(&mut *self.batches.lock())
            .iter()
            .map(|batch| (batch.records.len(), batch.after))
            .collect()
    }
}

impl PeerPort for Receiver {
    fn send(&self, _: &NodeAddress, batch: &PeerBatch) -> Result<Option<u64>, PeerError> {
        self.batches.lock().push(batch.clone());
        let had = self.had.lock().pop_front();
        had.map(Some).ok_or_else(|| PeerError::Unreachable("no answer".to_owned()))
    }
}

fn replication(node: &Node) -> Replication {
    replication_with(node, ReplicationOptions::default())
}

fn replication_with(node: &Node, options: ReplicationOptions) -> Replication {
    let (wal, catalog) = (node.ports.wal.clone(), node.ports.catalog.clone());
    let clock = Arc::new(HybridClock::seeded(wal.last_clock()));
    let conflicts = Arc::new(Conflicts::new(100));
    Replication::new(options, wal, catalog, node.flush.clone(), clock, conflicts)
}

fn clocks(node: &Node) -> Vec<u64> {
    let records = node.ports.wal.read_stored(1, usize::MAX).expect("a log");
    records.iter().filter(|record| record.is_write).map(|record| record.clock).collect()
}

/// A node with two records that the other one has confirmed.
fn confirmed(receiver: &Receiver) -> (Node, Vec<u64>) {
    let node = Node::new();
    node.write("m v=1 1");
    node.write("m v=2 2");
    let (clocks, sending) = (clocks(&node), replication(&node));
    let mut sender = Sender::new(&sending, OTHER, 0, 0);
    for _ in 0..2 {
        receiver.answer(0);
        sender.step(receiver, &NodeAddress::default()).expect("an answer");
    }
    assert_eq!(receiver.sent(), [(0, 0), (2, 0)], "what the other one has is asked first");
    (node, clocks)
}

fn resumed<'a>(node: &Node, sending: &'a Replication) -> Sender<'a> {
    let position = node.flush.cursors().position(&peers::cursor(OTHER)).expect("a cursor");
    Sender::new(sending, OTHER, position, 0)
}

#[test]
fn a_node_that_has_lost_records_gets_them_again() {
    let receiver = Receiver::default();
    let (node, clocks) = confirmed(&receiver);
    let sending = replication(&node);
    let mut sender = resumed(&node, &sending);
    for had in [clocks[0], clocks[0]] {
        receiver.answer(had);
        sender.step(&receiver, &NodeAddress::default()).expect("an answer");
    }
    assert_eq!(receiver.sent(), [(0, clocks[1]), (1, clocks[0])]);
    assert!(!sending.losses.has_lost(), "this one has lost nothing");
}

#[test]
fn a_node_that_has_lost_what_the_log_lacks_has_to_compare_itself() {
    for (truncated, has_missed) in [(false, false), (true, true)] {
        let receiver = Receiver::default();
        let (node, clocks) = confirmed(&receiver);
        if truncated {
            node.ports.wal.truncate_before(node.ports.wal.last_sequence()).expect("a log");
        }
        let sending = replication(&node);
        receiver.answer(clocks[0] - 1);
        resumed(&node, &sending).step(&receiver, &NodeAddress::default()).expect("an answer");
        assert_eq!(sending.losses.has_missed(OTHER), has_missed);
    }
}

#[test]
fn a_record_is_sent_again_with_the_entry_that_was_before_it() {
    let node = Node::new();
    node.write("m v=1 1");
    let position = LogPosition { term: 1, leader: 1, index: 1 };
    node.committer.agreed(AgreedEntry { position, change: AgreedChange::Nothing }, 1).expect("a log");
    let (sending, receiver) = (replication(&node), Receiver::default());
    let mut sender = Sender::new(&sending, OTHER, 0, 0);
    sending.promise(u64::MAX >> 1).expect("a store");
    for is_stored in [true, false, true] {
        receiver.answer(0);
        node.faults.fail(Call::StoreCursors, usize::from(!is_stored));
        assert_eq!(sender.step(&receiver, &NodeAddress::default()).is_ok(), is_stored);
    }
    let batches = receiver.batches.lock();
    let seen = |batch: &PeerBatch| batch.records.iter().map(|record| record.agreed_index).collect::<Vec<_>>();
    let seen: Vec<_> = batches.iter().map(seen).collect();
    assert_eq!(seen, [vec![], vec![0], vec![0]], "the cursor could not be stored the first time");
}

#[test]
fn a_node_that_others_have_records_of_knows_that_its_disk_is_old() {
    let receiver = Receiver::default();
    let (node, clocks) = confirmed(&receiver);
    let sending = replication(&node);
    let later = clocks[1] + (1 << 30);
    for (had, has_lost) in [(clocks[1], false), (later, true)] {
        receiver.answer(had);
        resumed(&node, &sending).step(&receiver, &NodeAddress::default()).ok();
        if !has_lost {
            assert!(!sending.losses.has_lost() && sending.losses.has_heard(OTHER));
            node.write("m v=3 3");
        }
    }
    assert!(sending.losses.has_lost());
    assert!(sending.clock.next() > later, "no clock comes twice");
    let again = replication(&node.restart());
    assert!(again.losses.has_lost() && again.losses.is_short(later - 1), "also after a start");
    assert!(!again.is_proven() || again.losses.is_proven([]), "it is alone");
    again.losses.recovered(again.losses.signs() + 1).expect("a store");
    assert!(again.losses.has_lost(), "something was noticed meanwhile");
    again.losses.recovered(again.losses.signs()).expect("a store");
    assert!(!again.losses.has_lost());
}

#[test]
fn records_whose_confirmation_was_lost_are_no_loss() {
    let receiver = Receiver::default();
    let (node, clocks) = confirmed(&receiver);
    node.write("m v=3 3");
    let last = self::clocks(&node)[2];
    let sending = replication(&node);
    receiver.answer(last);
    resumed(&node, &sending).step(&receiver, &NodeAddress::default()).expect("an answer");
    assert_eq!(receiver.sent(), [(0, clocks[1])]);
    assert!(!sending.losses.has_lost());
    assert_eq!(node.flush.cursors().position(&peers::confirmed(OTHER)), Some(last));
}

#[test]
fn nodes_that_lack_what_was_lost_are_no_witnesses() {
    let node = Node::new();
    let losses = replication(&node).losses;
    losses.hear(3, 50);
    losses.hear(4, 40);
    losses.lost_own(2, 50, [(2, 7), (3, 7), (4, 7)]).expect("a store");
    let missed = |nodes: [u64; 3]| nodes.map(|node| losses.has_missed(node));
    assert_eq!(missed([2, 3, 4]), [false, false, true], "node 3 has it as well");
    losses.lost_own(4, 60, [(2, 7), (3, 7), (4, 7)]).expect("a store");
    assert_eq!(missed([2, 3, 4]), [true, true, false], "node 4 got all of it in the end");
    losses.repaired(2, 6).expect("a store");
    losses.repaired(3, 7).expect("a store");
    assert_eq!(missed([2, 3, 4]), [true, false, false], "what it had when it was noticed");
}

#[test]
fn a_write_that_a_node_was_given_up_for_is_not_confirmed_by_it() {
    let node = Node::new();
    node.write("m v=1 1");
    let mut catalog = Catalog::clone(&node.ports.catalog.catalog());
    catalog.cluster.membership.nodes = [1, OTHER].map(|id| (id, NodeAddress::default())).into();
    node.ports.catalog.publish(catalog, node.ports.catalog.applied()).expect("a store");
    let options = ReplicationOptions { write_timeout: Duration::from_millis(5), ..Default::default() };
    let sending = replication_with(&node, options);
    let is_confirmed = |sequence| sending.confirm(sequence, Some(Consistency::All)).is_ok();
    let missed = node.flush.applied();
    let mut sender = Sender::new(&sending, OTHER, 0, 0);
    assert!(!is_confirmed(missed));
    sender.mark_for_repair("a test").expect("a store");
    assert!(!is_confirmed(missed), "it does not have it");
    node.write("m v=2 2");
    let later = node.flush.applied();
    assert!(!is_confirmed(later));
    let receiver = Receiver::default();
    for _ in 0..2 {
        receiver.answer(0);
        sender.step(&receiver, &NodeAddress::default()).expect("an answer");
    }
    assert!(is_confirmed(later) && !is_confirmed(missed));
}

#[test]
fn a_node_that_cannot_be_drained_takes_writes_again() {
    let node = Node::new();
    node.write("m v=1 1");
    let sending = replication(&node);
    let mut sender = Sender::new(&sending, OTHER, 0, 0);
    sending.note_position(OTHER, 0);
    let error = sending.drain(Duration::from_millis(5)).expect_err("the other one has nothing");
    assert!(error.contains("node 2 lacks"), "{error}");
    assert!(!sending.gate.is_draining());
    let receiver = Receiver::default();
    for _ in 0..2 {
        receiver.answer(0);
        sender.step(&receiver, &NodeAddress::default()).expect("an answer");
    }
    sending.drain(Duration::from_millis(5)).expect("it has everything");
    assert!(sending.gate.is_draining());
}

#[test]
fn a_drain_waits_for_writes_under_way() {
    let node = Node::new();
    let sending = replication(&node);
    let entered = sending.gate.enter().expect("it is open");
    let error = sending.drain(Duration::from_millis(5)).expect_err("a write is under way");
    assert!(error.contains("1 writes are still under way"), "{error}");
    assert!(!sending.gate.is_draining());
    std::thread::scope(|scope| {
        let drained = scope.spawn(|| sending.drain(Duration::from_secs(60)));
        while !sending.gate.is_draining() {
            std::thread::yield_now();
        }
        assert!(sending.gate.enter().is_err(), "nobody is let in");
        node.write("m v=1 1");
        sending.note_position(OTHER, 0);
        drop(entered);
        // What was logged meanwhile is waited for.
        while !drained.is_finished() && sending.lags()[0].lag_records == 0 {
            std::thread::yield_now();
        }
        assert!(!drained.is_finished());
        sending.note_position(OTHER, node.flush.applied());
        drained.join().expect("a thread").expect("it has everything");
    });
    sending.gate.remove();
    assert!(sending.gate.enter().is_err_and(|error| error.contains("removed")));
}

#[test]
fn a_drain_for_a_stop_needs_a_majority_and_all_that_can_be_reached() {
    let node = Node::new();
    node.write("m v=1 1");
    let mut catalog = Catalog::clone(&node.ports.catalog.catalog());
    catalog.cluster.membership.nodes = (1..=3).map(|id| (id, NodeAddress::default())).collect();
    node.ports.catalog.publish(catalog, node.ports.catalog.applied()).expect("a store");
    let sending = replication(&node);
    let drain = || sending.drain_for_stop(Duration::from_millis(5));
    sending.note_position(2, 0);
    sending.note_position(3, 0);
    for away in [2, 3] {
        sending.note_away(away, true);
        let error = drain().expect_err("this one alone has it");
        assert!(error.contains("node 2 lacks") && error.contains("node 3 lacks"), "{error}");
    }
    sending.note_position(2, node.flush.applied());
    let note = drain().expect("two of three have it").unwrap_or_default();
    assert!(note.starts_with("node 3 lacks") && note.contains("away now"), "{note}");
    assert!(
        sending.drain(Duration::from_millis(5)).is_err(),
        "for one that does not come back that is too few"
    );
    sending.note_away(3, false);
    assert!(drain().is_err(), "it can be reached");
    sending.note_position(3, node.flush.applied());
    assert_eq!(drain(), Ok(None));
    sending.losses.miss([(3, 0)]).expect("a store");
    let error = sending.drain(Duration::from_millis(5)).expect_err("it has been passed over");
    assert!(error.contains("node 3 has still to compare"), "{error}");
}
