//! Histories of clusters: seeds that are always the same, and those that once had a finding, with some schedules each.

mod common;

use std::collections::BTreeMap;

use common::for_each_seed;
use hyperbytedb_domain::Tags;
use hyperbytedb_domain::cluster::Consistency;
use hyperbytedb_memory_ports::Random;
use hyperbytedb_simulator::cluster::history::{ClusterHistory, ClusterRound, Event, generate};
use hyperbytedb_simulator::cluster::run::run;
use hyperbytedb_simulator::history::{Operation, Point};
use hyperbytedb_simulator::scheduler::Crash;

const SEEDS: u64 = 16;
const SCHEDULES: u64 = 5;
/// A Monday.
const START: i64 = 1_578_268_800_000_000_000;

#[test]
fn no_seed_of_a_cluster_has_a_finding() {
    for_each_seed(SEEDS, |seed| {
        if let Err(finding) = run(&generate(seed)) {
            panic!("hyperbytedb-simulator --kind cluster --seed {seed}: {}", finding.text);
        }
    });
}

/// Disks that lose a part, or are put back as they were.
#[test]
fn nodes_with_damaged_disks_take_what_they_lack() {
    let is_damage = |event: &Event| matches!(event, Event::LosePart(_) | Event::RestoreDisk);
    let histories = (2000..).map(generate);
    let damaged = histories
        .filter(|history| history.rounds.iter().filter_map(|round| round.event.as_ref()).any(is_damage));
    for history in damaged.take(SEEDS as usize / 2) {
        if let Err(finding) = run(&history) {
            panic!("hyperbytedb-simulator --kind cluster --seed {}: {}", history.seed, finding.text);
        }
    }
}

/// Nodes that wait for each other only for a while, compare themselves, and compute something, all of it at the same time.
#[test]
fn nodes_compare_themselves_while_all_else_goes_on() {
    for_each_seed(SEEDS, |number| {
        let history = generate(4_000 + number);
        if let Err(finding) = run(&history) {
            panic!("hyperbytedb-simulator --kind cluster --seed {}: {}", history.seed, finding.text);
        }
    });
}

/// A series stayed that had no points (240, 715); after a restart older values won, and deleted points came back (1309, 1691). Rows
/// were taken without a tag that was not known yet (4058, 4192); a new table was not compared, and the node was said to lack
/// nothing (4151); what had been confirmed by a quorum lost against something older (4178, 4641), which had not been overtaken on
/// the node that settled it (4887), or of a node that another one, away then, knew to lack it (7668); what was settled lost against
/// what one node still remembered (7429); a request that was late brought back what was deleted (5132), and so did a record sent
/// again with an entry behind it (17695); a view kept what a former leader had written (5189, 5451). A node's clock was behind what
/// it had promised before a restart, and the others dropped what it wrote (4397); late windows were known to a leader that led no
/// more (4275), to a run that had not taken effect when it was told of a failure (6435), to one that read early and wrote late
/// (7404); a query kept what a former leader had written (7473). Of a disk that had lost a part more was asked for than is
/// promised: what no other one had (17133), and no series of that part before the node had compared itself (17040).
#[test]
fn seeds_that_had_a_finding_have_none() {
    for seed in [
        240, 715, 1309, 1691, 4058, 4192, 4151, 4178, 4641, 4887, 5132, 17695, 5189, 5451, 7429, 7668, 4397,
        4275, 6435, 7404, 7473, 17133, 17040,
    ] {
        if let Err(finding) = run(&generate(seed)) {
            panic!("hyperbytedb-simulator --kind cluster --seed {seed}: {}", finding.text);
        }
    }
}

#[test]
fn a_seed_of_a_cluster_is_a_run() {
    for seed in 1..4 {
        let history = generate(seed);
        assert_eq!(run(&history), run(&history), "seed {seed}");
    }
}

/// The rounds, behind one that creates a database and one that makes its series and shard group known to all.
fn holds(skews: [i64; 3], rounds: &[ClusterRound]) {
    let first = [of(0, create()), of(0, write(0))].map(|round| ClusterRound { pause: 1000, ..round });
    let rounds: Vec<_> = first.iter().chain(rounds).cloned().collect();
    holds_from_the_start(skews, &rounds);
}

/// The rounds, right behind the cluster's foundation.
fn holds_from_the_start(skews: [i64; 3], rounds: &[ClusterRound]) {
    for seed in 0..SCHEDULES {
        let mut random = Random::new(seed);
        let rounds = rounds.iter().cloned();
        let rounds = rounds.map(|round| ClusterRound { schedule: random.number(), ..round }).collect();
        let history =
            ClusterHistory { seed, nodes: 3, skews: skews.to_vec(), rounds, ..ClusterHistory::default() };
        if let Err(finding) = run(&history) {
            panic!("schedule {seed}, round {}: {}\n{history}", finding.round, finding.text);
        }
    }
}

fn create() -> Operation {
    Operation::CreateDatabase { database: "d0" }
}

fn of(node: usize, operation: Operation) -> ClusterRound {
    ClusterRound { operations: vec![(node, operation, Consistency::One)], ..ClusterRound::default() }
}

/// Always of the same point.
fn write(value: i64) -> Operation {
    write_of("a", value)
}

fn write_of(host: &str, value: i64) -> Operation {
    let point = Point {
        measurement: "m0",
        tags: Tags::new(vec![("host".to_owned(), host.to_owned())]),
        time: START,
        fields: BTreeMap::from([("i", format!("{value}i"))]),
    };
    Operation::Write { database: "d0", policy: "", points: vec![point] }
}

/// A node whose clock is ahead writes, and the others do not hear of it. What it wrote goes, and another node writes anew.
fn holds_when_gone_by(removal: Operation) {
    let cut = |to, round| ClusterRound { event: Some(Event::Cut { from: 2, to }), ..round };
    holds(
        [0, 0, 20_000],
        &[
            cut(0, ClusterRound::default()),
            cut(1, ClusterRound { pause: 300, ..of(2, write(1)) }),
            ClusterRound { pause: 1000, ..of(0, removal) },
            ClusterRound { pause: 2000, checked: true, ..of(0, write(2)) },
        ],
    );
}

/// The deleted value still won, on the node that had taken it.
#[test]
fn a_deleted_value_wins_against_nothing() {
    holds_when_gone_by(Operation::Delete {
        database: "d0",
        measurement: Some("m0"),
        condition: None,
        time: Some((START, START + 1)),
    });
}

#[test]
fn a_value_of_a_dropped_shard_wins_against_nothing() {
    holds_when_gone_by(Operation::DropShard { position: 0 });
}

/// A node registered the series of what came before it was logged; the delete took the points, and left the series.
#[test]
fn what_a_delete_overtakes_leaves_no_series() {
    let delete =
        || Operation::Delete { database: "d0", measurement: Some("m0"), condition: None, time: None };
    let round = |host| ClusterRound {
        operations: vec![(1, write_of(host, 1), Consistency::One), (0, delete(), Consistency::One)],
        pause: 300,
        ..ClusterRound::default()
    };
    holds([0; 3], &["b", "c", "d", "e", "f", "g"].map(round));
}

/// A node that had just heard of the others forgot a delete at once, and took what it had deleted when that came.
#[test]
fn a_delete_is_remembered_as_soon_as_there_are_others() {
    let time = Some((START, START + 1));
    let delete = Operation::Delete { database: "d0", measurement: Some("m0"), condition: None, time };
    holds_from_the_start([0; 3], &[of(0, create()), of(1, write(1)), of(1, delete)]);
}

/// A power failure took the cursors of the other nodes, and the new ones began behind what had not been sent.
#[test]
fn what_was_not_sent_before_a_power_failure_is_sent_later() {
    for calls in [2, 12] {
        let crash = Some((1, Crash { calls, power: true, after: true }));
        holds(
            [0; 3],
            &[
                ClusterRound { event: Some(Event::Isolate(1)), ..of(1, write(1)) },
                ClusterRound { crash, ..of(1, write(2)) },
                ClusterRound { event: Some(Event::Heal), pause: 1000, ..ClusterRound::default() },
            ],
        );
    }
}

/// Two nodes of three have a value that was answered at quorum; then an old disk comes back to one of them. Of those that compare
/// themselves two lack it, and it stays.
fn holds_when_an_old_disk_comes_back(writer: usize, restored: usize) {
    let happens = |event| ClusterRound { event: Some(event), pause: 1000, ..ClusterRound::default() };
    let overwritten = ClusterRound {
        event: Some(Event::Isolate(2)),
        operations: vec![(writer, write(1), Consistency::Quorum)],
        ..ClusterRound::default()
    };
    let kept = happens(Event::KeepDisk(restored));
    holds([0; 3], &[kept, overwritten, happens(Event::RestoreDisk), happens(Event::Heal)]);
}

#[test]
fn what_the_writer_of_a_value_has_lost_stays() {
    holds_when_an_old_disk_comes_back(0, 0);
}

#[test]
fn what_a_receiver_of_a_value_has_lost_stays() {
    holds_when_an_old_disk_comes_back(0, 1);
}
