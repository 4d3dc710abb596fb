//! A node without Raft and without a network: what another one sends is made by hand.

use std::sync::Arc;

use hyperbytedb_domain::HybridClock;
use hyperbytedb_domain::ports::{PeerBatch, PeerRecord};

use super::conflicts::{Conflicts, Stamp};
use crate::testing::Node;

const OTHER: u64 = 2;

fn stamp(clock: u64) -> Stamp {
    Stamp { clock, origin: OTHER }
}

#[test]
fn a_value_loses_against_a_greater_one_of_its_field_alone() {
    let node = Node::new();
    let conflicts = Conflicts::new(100);
    conflicts.set_peers([(OTHER, 5)].into_iter());
    let both = node.resolve("m,h=a v=1,w=1 1").batches;
    let only_v = node.resolve("m,h=a v=2 1").batches;
    conflicts.note(Stamp { clock: 10, origin: 1 }, &only_v, 0);
    let losing = |clock| {
        let batch = &both[0];
        conflicts.losing(&batch.table, &batch.series[0].1, batch.times[0], stamp(clock), 0)
    };
    assert_eq!((losing(9), losing(10), losing(11)), (1, 0, 0), "the greater origin wins a tie");
    assert!(conflicts.has_losers(stamp(9), 0, &both) && !conflicts.has_losers(stamp(11), 0, &both));
    assert!(!conflicts.has_losers(stamp(9), 0, &node.resolve("m,h=a v=1 2").batches), "another time");
    conflicts.advance(OTHER, 10, 0);
    assert_eq!(losing(9), 0, "nothing smaller can come any more");
}

#[test]
fn a_deleted_point_that_comes_late_stays_away() {
    let node = Node::new();
    let conflicts = Conflicts::new(100);
    conflicts.set_peers([(OTHER, 0)].into_iter());
    let batches = node.resolve("m,h=a v=1 1\nm,h=b v=1 1").batches;
    let table = &batches[0].table;
    let filter = hyperbytedb_domain::scan::Predicate::Compare {
        left: hyperbytedb_domain::scan::Operand::Tag(table.tag("h").expect("a tag")),
        op: hyperbytedb_domain::scan::CompareOp::Eq,
        right: hyperbytedb_domain::scan::Operand::Literal(hyperbytedb_domain::FieldValue::String("a".into())),
    };
    let scope = hyperbytedb_domain::catalog::DeleteScope {
        table: table.id,
        version: table.version,
        time: hyperbytedb_domain::TimeRange::ALL,
        filter: Some(filter),
    };
    conflicts.note_delete(7, &[scope], 0);
    let losing = |row: usize, agreed_index| {
        let tags = &batches[0].series[batches[0].series_of_row[row] as usize].1;
        conflicts.losing(table, tags, 1, stamp(1), agreed_index)
    };
    assert_eq!((losing(0, 6), losing(1, 6)), (u128::MAX, 0));
    assert_eq!(losing(0, 7), 0, "made behind the delete");
    conflicts.advance(OTHER, 0, 7);
    assert!(!conflicts.has_losers(stamp(1), 6, &batches), "all are past it");
}

#[test]
fn what_is_gone_wins_against_nothing() {
    let node = Node::new();
    let batches = node.resolve("m,h=a v=1 1").batches;
    let batch = &batches[0];
    let (table, tags) = (&batch.table, &batch.series[0].1);
    let time = hyperbytedb_domain::TimeRange::ALL;
    let scope = hyperbytedb_domain::catalog::DeleteScope {
        table: table.id,
        version: table.version,
        time,
        filter: None,
    };
    let conflicts = Conflicts::new(100);
    conflicts.set_peers([(OTHER, 0)].into_iter());
    let losing = || conflicts.losing(table, tags, 1, stamp(5), 7);
    conflicts.note(Stamp { clock: 10, origin: 1 }, &batches, 0);
    conflicts.note_delete(7, &[scope], 0);
    assert_eq!(losing(), 0, "deleted");
    conflicts.advance(OTHER, 0, 7);
    assert_eq!(losing(), 0, "deleted for as long as it is remembered");
    let noted = conflicts.noted();
    conflicts.note(Stamp { clock: 11, origin: 1 }, &batches, 0);
    assert_eq!(losing(), 1, "written behind the delete");
    conflicts.retract(noted);
    assert_eq!(losing(), 0, "not in the log");
}

#[test]
fn what_nobody_can_meet_is_not_remembered() {
    let node = Node::new();
    let batches = node.resolve("m v=1 1").batches;
    let alone = Conflicts::new(100);
    alone.note(stamp(10), &batches, 0);
    assert!(!alone.has_losers(stamp(1), 0, &batches), "no other nodes");
    let full = Conflicts::new(0);
    full.set_peers([(OTHER, 0)].into_iter());
    full.note(stamp(10), &batches, 0);
    assert!(!full.has_losers(stamp(1), 0, &batches), "no room");
}

/// What goes from node to node does not change: nodes of two versions understand each other.
#[test]
fn records_have_one_form() {
    let record = PeerRecord { agreed_index: 3, bytes: b"x".as_slice().into() };
    let batch = PeerBatch { origin: 2, records: vec![record], clock: 300, agreed_index: 4, after: 200 };
    let bytes = serde_json::to_string(&batch).expect("a form");
    assert_eq!(
        bytes,
        r#"{"origin":2,"records":[{"agreed_index":3,"bytes":[120]}],"clock":300,"agreed_index":4,"after":200}"#
    );
    // A clock that was told is never given again.
    let clock = Arc::new(HybridClock::default());
    assert!(clock.next() < clock.next());
}
