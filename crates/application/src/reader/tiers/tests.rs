use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, StringArray};
use arrow::datatypes::Int64Type;
use hyperbytedb_domain::QueryContext;
use hyperbytedb_domain::catalog::Table;
use hyperbytedb_domain::scan::{AggregateScan, RowScan, Window};
use hyperbytedb_memory_ports::Call;

use super::*;
use crate::testing::{Node, NodeOptions};

fn scan(min: i64, max: i64, output: ScanOutput) -> Scan {
    let time = TimeRange { min, max };
    Scan {
        table: Arc::new(Table::default()),
        time,
        filter: None,
        shards: None,
        merge_duplicates: false,
        output,
    }
}

fn rows() -> ScanOutput {
    ScanOutput::Rows(RowScan::default())
}

fn windows(every: i64, offset: i64) -> ScanOutput {
    ScanOutput::Aggregates(AggregateScan {
        window: Some(Window { every, offset }),
        ..AggregateScan::default()
    })
}

/// The first time of the newer side.
fn cut_at(scan: &Scan, from: i64, until: i64) -> Option<i64> {
    let cut = cut(scan, from, until)?;
    assert_eq!((cut.older.min, cut.older.max), (scan.time.min, cut.newer.min - 1));
    assert_eq!(cut.newer.max, scan.time.max);
    Some(cut.newer.min)
}

#[test]
fn rows_are_cut_where_the_head_begins() {
    assert_eq!(cut_at(&scan(0, 100, rows()), 40, 60), Some(40));
    assert_eq!(cut_at(&scan(0, 100, rows()), 40, 40), Some(40));
    assert_eq!(
        cut_at(&scan(0, 100, rows()), 41, 40),
        None,
        "a point that the engine lacks is before the head"
    );
    assert_eq!(cut_at(&scan(0, 30, rows()), 40, 60), None, "the head has none of it");
    assert_eq!(cut_at(&scan(50, 100, rows()), 40, 60), None, "the head has all of it");
}

#[test]
fn windows_are_cut_at_their_edges() {
    assert_eq!(cut_at(&scan(0, 100, windows(10, 0)), 40, 60), Some(40));
    assert_eq!(cut_at(&scan(0, 100, windows(10, 0)), 41, 60), Some(50));
    assert_eq!(cut_at(&scan(0, 100, windows(10, 3)), 41, 60), Some(43));
    assert_eq!(cut_at(&scan(-100, 0, windows(10, 0)), -41, 0), Some(-40));
    assert_eq!(cut_at(&scan(0, 100, windows(10, 0)), 41, 49), None, "no edge lies between");
    let whole = ScanOutput::Aggregates(AggregateScan::default());
    assert_eq!(cut_at(&scan(0, 100, whole), 40, 60), None, "one value of all of it");
    assert_eq!(
        cut_at(&scan(0, i64::MAX, windows(1_000, 0)), i64::MAX - 1, i64::MAX),
        None,
        "the edge is no time"
    );
}

/// Batches of a tag and a time.
struct Batches(std::vec::IntoIter<Vec<(&'static str, i64)>>);

impl BatchStream for Batches {
    fn next_batch(&mut self) -> Result<Option<RecordBatch>, EngineError> {
        Ok(self.0.next().map(|rows| {
            let tags: ArrayRef = Arc::new(StringArray::from_iter_values(rows.iter().map(|(tag, _)| *tag)));
            let times: ArrayRef = Arc::new(Int64Array::from_iter_values(rows.iter().map(|(_, time)| *time)));
            RecordBatch::try_from_iter([("t0", tags), ("time", times)]).expect("a batch")
        }))
    }
}

type Tier = Vec<Vec<(&'static str, i64)>>;

/// The times of both tiers as they come together; rows of `group_by` tags.
fn joined(output: RowScan, older: Tier, newer: Tier) -> Vec<i64> {
    let output = RowScan { tags: vec![TagId(0)], ..output };
    let joint = Joint::of(&scan(0, 100, ScanOutput::Rows(output))).expect("a scan that tells its groups");
    let stream = |tier: Tier| Box::new(Batches(tier.into_iter()));
    let mut tiers = Tiers::new(joint, stream(older), stream(newer));
    let mut times = Vec::new();
    while let Some(batch) = tiers.next_batch().expect("a batch") {
        assert!(batch.num_rows() > 0);
        times.extend_from_slice(batch.column(1).as_primitive::<Int64Type>().values());
    }
    times
}

fn by_tag() -> RowScan {
    RowScan { group_by: vec![TagId(0)], ..RowScan::default() }
}

#[test]
fn groups_come_in_order_each_with_its_older_rows_first() {
    let older = vec![vec![("a", 1), ("a", 2)], vec![("a", 3), ("c", 1)]];
    let newer = vec![vec![("a", 11), ("b", 11)], vec![("c", 11)]];
    assert_eq!(joined(by_tag(), older, newer), [1, 2, 3, 11, 11, 1, 11]);
}

#[test]
fn descending_everything_comes_the_other_way_round() {
    let older = vec![vec![("c", 1), ("a", 3)], vec![("a", 2), ("a", 1)]];
    let newer = vec![vec![("c", 11), ("b", 12), ("a", 11)]];
    let output = RowScan { descending: true, ..by_tag() };
    assert_eq!(joined(output, older, newer), [11, 1, 12, 11, 3, 2, 1]);
}

#[test]
fn rows_without_groups_are_those_of_one_tier_behind_those_of_the_other() {
    let older = || vec![vec![("b", 1)], vec![], vec![("a", 2)]];
    let newer = || vec![vec![("b", 11)]];
    assert_eq!(joined(RowScan::default(), older(), newer()), [1, 2, 11]);
    let descending = RowScan { descending: true, ..RowScan::default() };
    assert_eq!(joined(descending, older(), newer()), [11, 1, 2]);
    assert_eq!(joined(RowScan::default(), Vec::new(), newer()), [11]);
    assert_eq!(joined(RowScan::default(), older(), Vec::new()), [1, 2]);
}

#[test]
fn a_limit_is_that_of_both_tiers_together() {
    let older = vec![vec![("a", 1), ("a", 2), ("b", 1)]];
    let newer = vec![vec![("a", 11), ("b", 11), ("b", 12), ("c", 11)]];
    let output = RowScan { limit_per_group: 2, ..by_tag() };
    assert_eq!(joined(output, older, newer), [1, 2, 1, 11, 11]);
}

#[test]
fn groups_whose_tags_are_not_among_the_columns_cannot_be_joined() {
    assert!(Joint::of(&scan(0, 100, ScanOutput::Rows(by_tag()))).is_none());
}

#[test]
fn recent_points_are_joined_to_stored_ones_without_a_flush() {
    let mut options = NodeOptions::default();
    options.flush.head_bytes = 1 << 20;
    let node = Node::with(options);
    node.write("m,h=a v=1 1\nm,h=b v=2 1");
    node.flush.flush_all(&QueryContext::unbounded()).expect("a flush");
    node.flush.checkpoint().expect("a checkpoint");
    let node = node.restart();
    node.write("m,h=a v=3 5\nm,h=c v=4 6");
    node.flush.know_stored(node.table("m").expect("a table").id).expect("the engine");
    assert_eq!(node.query("SELECT v FROM m GROUP BY h"), ["1 1", "5 3", "1 2", "6 4"]);
    assert_eq!(node.query("SELECT sum(v) FROM m WHERE time < 10 GROUP BY time(5ns)"), ["0 3", "5 7"]);
    assert_eq!((node.stored_rows(), node.faults.calls(Call::Scan)), (2, 2));
    assert_eq!(node.query("SELECT sum(v) FROM m"), ["0 10"]);
    assert_eq!(node.stored_rows(), 4, "one value of both tiers needs a flush");
}
