use hyperbytedb_domain::catalog::FieldDef;
use hyperbytedb_domain::points::{FieldColumn, FieldValues};
use hyperbytedb_domain::scan::FieldId;
use hyperbytedb_domain::{FieldType, Tags, TimeRange};

use super::*;
use crate::testing::NEVER;

const PAUSE: Duration = Duration::from_millis(50);

fn delete(sequence: Sequence, again: bool) -> Item {
    let table = Arc::new(Table { id: TableId(1), ..Table::default() });
    let scope = DeleteScope { table: table.id, version: 0, time: TimeRange::ALL, filter: None };
    Item::Delete(Arc::new(Delete { table, scope, sequence, again }))
}

const LIMITS: SealLimits =
    SealLimits { rows: 3, bytes: usize::MAX, age: NEVER, small_rows: 0, small_age: NEVER };

fn queue(retry_pause: Duration) -> Arc<TableQueue> {
    Arc::new(TableQueue::new(TableId(1), retry_pause))
}

fn drop_table(sequence: Sequence) -> Item {
    Item::DropTable { table: Arc::default(), sequence }
}

/// A batch of one series with these times.
fn batch(host: &str, times: &[i64]) -> ResolvedBatch {
    let fields = vec![FieldDef { name: "v".to_owned(), field_type: FieldType::Integer }];
    let tags = Tags::new(vec![("h".to_owned(), host.to_owned())]);
    let values = FieldValues::Integer(times.to_vec());
    ResolvedBatch {
        table: Arc::new(Table { id: TableId(1), fields, ..Table::default() }),
        times: times.to_vec(),
        series_of_row: vec![0; times.len()],
        series: vec![(tags.series_id(), tags)],
        fields: vec![(FieldId(0), FieldColumn { name: "v".to_owned(), values, present: None })],
        shards: Vec::new(),
    }
}

fn failed() -> EngineError {
    EngineError::failed("test", "no")
}

/// The kinds and first log records of the items, in the order in which they are done.
fn done(queue: &Arc<TableQueue>) -> Vec<(&'static str, Sequence)> {
    let works = std::iter::from_fn(|| queue.take());
    works
        .map(|work| {
            let item = (if work.item.is_removal() { "removal" } else { "flush" }, work.item.first_sequence());
            work.finish();
            item
        })
        .collect()
}

#[test]
fn items_come_in_log_order_with_removals_behind_what_was_written_before() {
    let queue = queue(PAUSE);
    queue.push(1, batch("a", &[1]), &LIMITS);
    queue.push(2, batch("a", &[2]), &LIMITS);
    queue.push_removal(delete(3, false));
    queue.push(4, batch("a", &[1]), &LIMITS);
    assert_eq!(queue.first_sequence(), Some(1));
    assert_eq!(done(&queue), [("flush", 1), ("removal", 3)]);
    assert_eq!((queue.first_sequence(), queue.done_sequence()), (Some(4), 3), "not sealed yet");
    assert!(queue.barrier().is_some());
    assert_eq!(done(&queue), [("flush", 4)]);
    assert_eq!((queue.first_sequence(), queue.done_sequence()), (None, 4));
    assert_eq!(queue.barrier(), None, "there is nothing to wait for");
}

#[test]
fn a_memtable_is_sealed_when_it_is_full_or_due() {
    let queue = queue(PAUSE);
    assert!(!queue.push(1, batch("a", &[1, 2]), &LIMITS).1);
    assert!(!queue.seal(Some(&LIMITS)));
    assert!(queue.push(2, batch("a", &[3]), &LIMITS).1, "three rows");
    assert_eq!(done(&queue), [("flush", 1)]);
    queue.push(3, batch("a", &[1]), &LIMITS);
    let small = SealLimits { small_rows: 2, small_age: NEVER, age: Duration::ZERO, ..LIMITS };
    assert!(!queue.seal(Some(&small)), "few rows wait longer");
    assert!(queue.seal(Some(&SealLimits { small_rows: 0, ..small })));
    assert_eq!(done(&queue), [("flush", 3)]);
}

#[test]
fn one_worker_at_a_time_works_at_the_front() {
    let queue = queue(PAUSE);
    queue.push_removal(delete(1, false));
    queue.push_removal(delete(2, false));
    let work = queue.take().expect("work");
    assert!(queue.take().is_none());
    work.finish();
    assert!(queue.take().is_some());
}

#[test]
fn who_waits_is_told_of_the_next_failure_and_of_none_before() {
    let queue = queue(Duration::ZERO);
    let (ticket, _) = queue.push_removal(delete(1, false));
    queue.take().expect("work").fail(failed());
    let soon = || QueryContext {
        deadline: Some(Instant::now() + Duration::from_millis(10)),
        ..QueryContext::unbounded()
    };
    assert!(matches!(queue.wait(ticket, &soon()), Err(EngineError::Timeout)), "that was before");
    let waiting = queue.clone();
    let told = std::thread::spawn(move || waiting.wait(ticket, &QueryContext::unbounded()));
    // It may not wait yet: then it is told of a later attempt.
    while !told.is_finished() {
        let work = queue.take().expect("work");
        assert!(work.attempts > 0);
        work.fail(failed());
    }
    assert!(matches!(told.join().expect("an answer"), Err(EngineError::Failed { .. })));
    queue.take().expect("work").finish();
    assert!(queue.wait(ticket, &soon()).is_ok());
}

#[test]
fn a_wait_ends_with_its_query() {
    let queue = queue(PAUSE);
    let (ticket, _) = queue.push_removal(delete(1, false));
    let context = QueryContext::unbounded();
    context.cancel.cancel();
    assert!(matches!(queue.wait(ticket, &context), Err(EngineError::Cancelled)));
}

#[test]
fn what_failed_waits_for_its_time_or_for_somebody_who_needs_it() {
    let queue = queue(NEVER);
    queue.push_removal(delete(1, false));
    queue.take().expect("work").fail(failed());
    assert!(queue.take().is_none());
    queue.barrier();
    let work = queue.take().expect("work");
    assert!(matches!(&work.item, Item::Delete(delete) if delete.again), "a part may be done");
    assert_eq!(work.attempts, 1);
}

#[test]
fn a_worker_that_ends_abnormally_has_failed() {
    let queue = queue(Duration::ZERO);
    queue.push_removal(delete(1, false));
    drop(queue.take().expect("work"));
    assert_eq!(queue.take().expect("work").attempts, 1);
}

#[test]
fn a_drop_forgets_what_waits_and_lets_nothing_in() {
    let queue = queue(PAUSE);
    let (sealed, _) = queue.push(1, batch("a", &[1, 2, 3]), &LIMITS);
    let (active, _) = queue.push(2, batch("a", &[1]), &LIMITS);
    let (ticket, _) = queue.push_removal(delete(3, false));
    let (_, freed) = queue.push_removal(drop_table(4));
    assert_eq!(freed, sealed + active);
    assert!(queue.wait(ticket, &QueryContext::unbounded()).is_ok(), "a delete in it is as good as done");
    assert_eq!(queue.push(5, batch("a", &[1]), &LIMITS), (0, false));
    assert_eq!(done(&queue), [("removal", 4)]);
    assert!(queue.is_empty());
}

/// A flush that is at work when its table is dropped must not take the drop for its own item.
#[test]
fn a_flush_that_ends_behind_a_drop_does_not_end_the_drop() {
    let queue = queue(PAUSE);
    queue.push(1, batch("a", &[1, 2, 3]), &LIMITS);
    let flush = queue.take().expect("work");
    let (ticket, freed) = queue.push_removal(drop_table(2));
    assert!(freed > 0);
    assert_eq!(flush.finish(), 0, "its bytes are free already");
    let ended = QueryContext { deadline: Some(Instant::now()), ..QueryContext::unbounded() };
    assert!(queue.wait(ticket, &ended).is_err());
    assert_eq!(done(&queue), [("removal", 2)]);
    assert!(queue.wait(ticket, &ended).is_ok());
}

#[test]
fn series_written_behind_a_removal_are_remembered_until_it_is_done() {
    let queue = queue(PAUSE);
    queue.push(1, batch("a", &[1]), &LIMITS);
    queue.push_removal(delete(2, false));
    queue.push(3, batch("b", &[1]), &LIMITS);
    queue.push_removal(delete(4, false));
    let [a, b] = ["a", "b"].map(|host| batch(host, &[]).series[0].0);
    let gone = |removal| {
        let mut series = vec![a, b];
        queue.retain_unwritten_since(removal, &mut series);
        series
    };
    assert_eq!((gone(2), gone(4)), (vec![a], vec![a, b]));
    done(&queue);
    assert_eq!(gone(2), [a, b], "nobody asks any more");
    assert!(!queue.has_removals());
}

#[test]
fn the_first_time_is_that_of_what_waits_within_a_range() {
    let queue = queue(PAUSE);
    queue.push(1, batch("a", &[10, 20, 30]), &LIMITS);
    queue.push(2, batch("a", &[5]), &LIMITS);
    let first = |min, max| queue.first_time(TimeRange { min, max });
    assert_eq!((first(0, 100), first(0, 4), first(6, 9), first(15, 25)), (Some(5), None, None, Some(15)));
    queue.take().expect("work").finish();
    assert_eq!((first(0, 100), first(6, 100)), (Some(5), None));
}

#[test]
fn a_postponed_item_is_no_failure() {
    let queue = queue(PAUSE);
    let (ticket, _) = queue.push_removal(delete(1, false));
    queue.take().expect("work").postpone();
    assert!(queue.take().is_none(), "its time has not come");
    let soon = QueryContext {
        deadline: Some(Instant::now() + Duration::from_millis(10)),
        ..QueryContext::unbounded()
    };
    assert!(matches!(queue.wait(ticket, &soon), Err(EngineError::Timeout)), "whoever waits goes on waiting");
    std::thread::sleep(PAUSE);
    let work = queue.take().expect("its time has come");
    assert_eq!(work.attempts, 0);
    work.finish();
    assert!(queue.wait(ticket, &soon).is_ok());
}

/// Scans do not ask for its partitions, so that they need not wait until all servers have dropped them.
#[test]
fn a_drop_that_fails_holds_up_no_scan() {
    let queue = queue(Duration::ZERO);
    let table = Arc::new(Table::default());
    let drop = DropPartitions { table, shards: vec![7], sequence: 1, again: false };
    queue.push_removal(Item::DropPartitions(Arc::new(drop)));
    queue.take().expect("work").fail(failed());
    assert_eq!((queue.last_again(), queue.last_half_deleted()), (None, None));
    assert_eq!(queue.take().expect("work").attempts, 1);
    let queue = self::queue(Duration::ZERO);
    let (ticket, _) = queue.push_removal(delete(1, false));
    queue.take().expect("work").fail(failed());
    assert_eq!(queue.last_half_deleted(), Some(ticket), "servers may differ");
}

#[test]
fn what_is_repeated_must_be_waited_for() {
    let queue = queue(PAUSE);
    queue.push_removal(delete(1, false));
    assert_eq!(queue.last_again(), None);
    let (replayed, _) = queue.push_removal(delete(2, true));
    queue.push_removal(delete(3, false));
    assert_eq!(queue.last_again(), Some(replayed));
    queue.take().expect("work").finish();
    queue.take().expect("work").finish();
    assert_eq!(queue.last_again(), None);
}
