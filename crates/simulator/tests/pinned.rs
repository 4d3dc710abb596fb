//! Histories that once had a finding, each as short as it gets, with many schedules: which one finds it changes with every
//! change of the services.

use std::collections::BTreeMap;

use hyperbytedb_domain::Tags;
use hyperbytedb_memory_ports::Random;
use hyperbytedb_simulator::history::{Comparison, Condition, History, LATER, Operation, Point, Round};
use hyperbytedb_simulator::run::run;
use hyperbytedb_simulator::scheduler::{Crash, Faults};

const SCHEDULES: u64 = 400;
const WEEK: i64 = 7 * 24 * 3_600_000_000_000;
/// A Monday.
const START: i64 = 1_578_268_800_000_000_000;

/// The rounds, some of which end with a crash: that of the power or not.
fn holds(rounds: Vec<(Vec<Operation>, Option<bool>)>) {
    let create = (vec![Operation::CreateDatabase { database: "d0" }], None);
    for seed in 0..SCHEDULES {
        let (mut random, calls) = (Random::new(seed), 1 + seed as u32 % 16);
        let rounds = [create.clone()].into_iter().chain(rounds.clone());
        let rounds = rounds.map(|(operations, crash)| Round {
            operations,
            faults: Faults {
                crash: crash.map(|power| Crash { calls, power, after: true }),
                ..Faults::default()
            },
            replay_faults: Faults::default(),
            schedule: random.number(),
            checked: random.chance(1, 2),
            passing: None,
        });
        let history = History { seed, power_failures: true, now: LATER, rounds: rounds.collect() };
        if let Err(finding) = run(&history) {
            panic!("schedule {seed}, round {}: {}\n{history}", finding.round, finding.text);
        }
    }
}

const KILL: Option<bool> = Some(false);
const POWER_FAILURE: Option<bool> = Some(true);

fn write(hosts: &[(&str, i64)]) -> Operation {
    let point = |&(host, week): &(&str, i64)| Point {
        measurement: "m0",
        tags: Tags::new(vec![("host".to_owned(), host.to_owned())]),
        time: START + week * WEEK,
        fields: BTreeMap::from([("i", "1i".to_owned())]),
    };
    Operation::Write { database: "d0", policy: "", points: hosts.iter().map(point).collect() }
}

fn delete(week: i64) -> Operation {
    let start = START + week * WEEK;
    let time = Some((start, start + WEEK / 2));
    Operation::Delete { database: "d0", measurement: Some("m0"), condition: None, time }
}

fn drop_others_than(host: &'static str) -> Operation {
    let condition = Some(Condition { tag: "host", comparison: Comparison::NotEqual, value: host });
    Operation::DropSeries { database: "d0", measurement: Some("m0"), condition }
}

fn drop_measurement() -> Operation {
    Operation::DropMeasurement { database: "d0", measurement: "m0" }
}

fn read() -> Operation {
    Operation::Read { database: "d0", policy: "", measurement: "m0", time: None, counts: false }
}

/// A delete that was carried out again during a replay took series from the index whose points were just coming back; when
/// they were a table's last, the table was dropped with them.
#[test]
fn a_replayed_delete_leaves_the_series_of_later_writes() {
    holds(vec![(vec![write(&[("a", 4)]), delete(0)], None), (vec![delete(1)], POWER_FAILURE)]);
    holds(vec![
        (vec![write(&[("a", 0)])], None),
        (vec![delete(0), write(&[("b", 4)])], None),
        (vec![read()], KILL),
    ]);
}

/// Points of a shard group that was dropped later kept the series of a replayed delete.
#[test]
fn a_replayed_delete_takes_series_whose_shard_group_is_gone() {
    holds(vec![
        (vec![write(&[("a", 0), ("b", 2), ("c", 4)])], None),
        (vec![drop_others_than("c")], None),
        (vec![Operation::DropShard { position: 1 }], None),
        (vec![delete(0)], POWER_FAILURE),
    ]);
}

/// The mark of a merged partition was durable before the merge was.
#[test]
fn a_power_failure_does_not_bring_back_duplicates() {
    holds(vec![
        (vec![write(&[("a", 0)])], None),
        (vec![Operation::Checkpoint], KILL),
        (vec![Operation::Merge, Operation::Checkpoint], None),
        (vec![write(&[("b", 1)])], POWER_FAILURE),
    ]);
}

/// A writer registered its series after its table was dropped, and they stayed in the index.
#[test]
fn a_dropped_table_has_no_series() {
    holds(vec![
        (vec![write(&[("a", 0)])], None),
        (vec![drop_measurement(), write(&[("b", 0)]), Operation::Seal], None),
    ]);
}

/// A table that was dropped for its last series was read with points whose delete its queue had forgotten.
#[test]
fn a_dropped_table_is_not_read() {
    holds(vec![
        (vec![write(&[("a", 0)])], None),
        (vec![drop_others_than("b")], KILL),
        (vec![Operation::DropShard { position: 0 }], None),
        (vec![read()], None),
    ]);
}
