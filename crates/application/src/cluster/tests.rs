//! A node without Raft and without a network: what another one sends is made by hand.

use std::sync::Arc;

use hyperbytedb_domain::HybridClock;
use hyperbytedb_domain::ports::{PeerBatch, PeerRecord};

use hyperbytedb_domain::catalog::{DeleteScope, Table};
use hyperbytedb_domain::{TimeRange, points::PointsBatch};

use super::conflicts::{Conflicts, Hold, Rivals, Stamp, Watched};
use crate::memtable::ResolvedBatch;
use crate::testing::Node;

const OTHER: u64 = 2;

fn stamp(clock: u64) -> Stamp {
    Stamp { clock, origin: OTHER }
}

/// Of a record of the other node.
fn rivals(clock: u64, agreed_index: u64) -> Rivals {
    Rivals { stamp: stamp(clock), agreed_index, hold: None }
}

/// The points of a batch, as they came.
fn points(batch: &ResolvedBatch) -> PointsBatch {
    PointsBatch {
        measurement: batch.table.measurement.clone(),
        series: batch.series.iter().map(|(_, tags)| tags.clone()).collect(),
        series_of_row: batch.series_of_row.clone(),
        times: batch.times.clone(),
        fields: batch.fields.iter().map(|(_, column)| column.clone()).collect(),
        ..PointsBatch::default()
    }
}

fn losing(conflicts: &Conflicts, batch: &ResolvedBatch, rivals: Rivals) -> Vec<u128> {
    conflicts.losing(rivals, &batch.table, &points(batch))
}

fn whole_table(table: &Table) -> DeleteScope {
    DeleteScope { table: table.id, version: table.version, time: TimeRange::ALL, filter: None }
}

#[test]
fn a_value_loses_against_a_greater_one_of_its_field_alone() {
    let node = Node::new();
    let conflicts = Conflicts::new(100);
    conflicts.set_peers([(OTHER, 5)].into_iter());
    let both = node.resolve("m,h=a v=1,w=1 1").batches;
    let only_v = node.resolve("m,h=a v=2 1").batches;
    conflicts.note(Stamp { clock: 10, origin: 1 }, &only_v, 0);
    let losing = |clock| losing(&conflicts, &both[0], rivals(clock, 0))[0];
    assert_eq!((losing(9), losing(10), losing(11)), (1, 0, 0), "the greater origin wins a tie");
    assert!(conflicts.has_losers(rivals(9, 0), &both) && !conflicts.has_losers(rivals(11, 0), &both));
    assert!(!conflicts.has_losers(rivals(9, 0), &node.resolve("m,h=a v=1 2").batches), "another time");
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
    let scope = DeleteScope { filter: Some(filter), ..whole_table(table) };
    conflicts.note_delete(7, &[scope], 0);
    let losing = |row: usize, agreed_index| losing(&conflicts, &batches[0], rivals(1, agreed_index))[row];
    assert_eq!((losing(0, 6), losing(1, 6)), (u128::MAX, 0));
    assert_eq!(losing(0, 7), 0, "made behind the delete");
    conflicts.advance(OTHER, 0, 7);
    assert!(!conflicts.has_losers(rivals(1, 6), &batches), "all are past it");
}

#[test]
fn what_is_gone_wins_against_nothing() {
    let node = Node::new();
    let batches = node.resolve("m,h=a v=1 1").batches;
    let batch = &batches[0];
    let scope = whole_table(&batch.table);
    let conflicts = Conflicts::new(100);
    conflicts.set_peers([(OTHER, 0)].into_iter());
    let losing = || losing(&conflicts, batch, rivals(5, 7))[0];
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
    assert!(!alone.has_losers(rivals(1, 0), &batches), "no other nodes");
    let full = Conflicts::new(0);
    full.set_peers([(OTHER, 0)].into_iter());
    full.note(stamp(10), &batches, 0);
    assert!(!full.has_losers(rivals(1, 0), &batches), "no room");
}

#[test]
fn what_there_was_no_room_for_is_known() {
    let node = Node::new();
    let batches = node.resolve("m v=1 1").batches;
    let conflicts = Conflicts::new(1);
    conflicts.set_peers([(OTHER, 0)].into_iter());
    conflicts.note(stamp(10), &batches, 0);
    assert!(conflicts.is_whole());
    conflicts.note(stamp(11), &batches, 0);
    conflicts.note_delete(7, &[whole_table(&batches[0].table)], 0);
    assert!(!conflicts.is_whole(), "neither the points nor the delete");
    assert_eq!(losing(&conflicts, &batches[0], rivals(5, 6)), [1], "of the first record");
    conflicts.advance(OTHER, 11, 0);
    assert!(conflicts.is_whole(), "nothing can meet them any more");
}

/// Holds a batch's first series up to time 1, for what a comparison brings.
fn held<'a>(conflicts: &'a Conflicts, batch: &ResolvedBatch) -> (Hold<'a>, Rivals) {
    let series = [batch.series[0].0].into_iter().collect();
    let hold = conflicts.hold(Watched { table: batch.table.id, series, time: TimeRange { min: 0, max: 1 } });
    let since = Rivals { stamp: Stamp { clock: 0, origin: 0 }, agreed_index: 0, hold: Some(hold.id) };
    (hold, since)
}

#[test]
fn what_is_written_while_a_hold_lives_wins_against_what_a_comparison_brings() {
    let node = Node::new();
    let compared = node.resolve("m,h=a v=1,w=1 1\nm,h=b v=1,w=1 1\nm,h=a v=1,w=1 2").batches;
    let batch = &compared[0];
    // All other nodes are past everything, and there is no room.
    let conflicts = Conflicts::new(0);
    conflicts.set_peers([(OTHER, 100)].into_iter());
    let (hold, since) = held(&conflicts, batch);
    let losers = || losing(&conflicts, batch, since);
    assert_eq!((losers(), conflicts.has_losers(since, &compared)), (vec![0, 0, 0], false));
    conflicts.note(stamp(10), &node.resolve("m,h=a v=2 1\nm,h=b v=2 1\nm,h=a v=2 2").batches, 0);
    assert_eq!(losers(), [1, 0, 0], "of another series, and another time, nobody asks");
    assert!(conflicts.has_losers(since, &compared) && hold.is_whole());
    conflicts.note_delete(7, &[whole_table(&batch.table)], 0);
    assert_eq!(losers(), [u128::MAX; 3]);
    drop(hold);
    assert!(conflicts.has_losers(since, &compared), "it is over: nothing is known");
}

#[test]
fn what_was_written_before_a_hold_does_not_win_against_what_a_comparison_brings() {
    let node = Node::new();
    let compared = node.resolve("m v=1 1").batches;
    let conflicts = Conflicts::new(100);
    conflicts.set_peers([(OTHER, 0)].into_iter());
    conflicts.note(stamp(10), &node.resolve("m v=2 1").batches, 0);
    let (_hold, since) = held(&conflicts, &compared[0]);
    assert!(!conflicts.has_losers(since, &compared), "it was there when the rows were read");
    assert_eq!(losing(&conflicts, &compared[0], since), [0]);
}

#[test]
fn what_was_part_of_a_comparison_loses_when_it_comes_late() {
    let node = Node::new();
    let batches = node.resolve("m v=1 1").batches;
    let conflicts = Conflicts::new(100);
    conflicts.set_peers([(OTHER, 0), (3, 0)].into_iter());
    conflicts.note_compared(vec![(OTHER, 10)], &batches, 4);
    let losing = |origin, clock| {
        let stamp = Stamp { clock, origin };
        losing(&conflicts, &batches[0], Rivals { stamp, agreed_index: 0, hold: None })[0]
    };
    assert_eq!((losing(OTHER, 10), losing(OTHER, 11)), (1, 0), "made before it was asked, and behind that");
    assert_eq!(losing(3, 5), 0, "it was not asked");
    assert_eq!(conflicts.behind(), Some(4));
    conflicts.advance(OTHER, 10, 0);
    assert_eq!((losing(OTHER, 10), conflicts.behind()), (0, None), "nothing of it can come any more");
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
