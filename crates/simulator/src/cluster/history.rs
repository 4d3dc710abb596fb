//! What happens in a cluster: rounds of operations on its nodes, with what fails meanwhile. Made from a seed, and printed.

use std::fmt;
use std::time::Duration;

use hyperbytedb_domain::cluster::Consistency;
use hyperbytedb_memory_ports::Random;

use super::network::Weather;
use crate::history::{Generator, HOUR, Operation, Style};
use crate::scheduler::{Crash, Faults};

/// A run.
#[derive(Debug, Clone, Default)]
pub struct ClusterHistory {
    pub seed: u64,
    pub nodes: u64,
    /// How far each node's clock is from the time, in milliseconds.
    pub skews: Vec<i64>,
    pub hints: Hints,
    pub comparing: Option<Comparing>,
    pub computing: Option<Computing>,
    pub rounds: Vec<ClusterRound>,
}

/// How much of a log waits for a node that is away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hints {
    pub max_bytes: u64,
    pub max_age: Duration,
}

impl Default for Hints {
    /// All of it.
    fn default() -> Self {
        Self { max_bytes: u64::MAX, max_age: Duration::MAX }
    }
}

/// Nodes compare themselves by themselves, as servers do: when they know that they lack something, and at this interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Comparing {
    pub interval: Option<Duration>,
}

/// Something is computed, by the node that leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Computing {
    View,
    /// A continuous query, with late points. It removes nothing, so neither does anything else.
    Query,
}

/// Operations at the same time. Nodes are counted among those that there are, modulo their number.
#[derive(Debug, Clone, Default)]
pub struct ClusterRound {
    /// What happens before it.
    pub event: Option<Event>,
    /// How much time of day passes before it, in nanoseconds.
    pub passes: i64,
    pub operations: Vec<(usize, Operation, Consistency)>,
    /// Of all nodes.
    pub faults: Faults,
    pub crash: Option<(usize, Crash)>,
    pub weather: Weather,
    /// Nodes that do not run are not started before it.
    pub leaves_down: bool,
    /// The leader is lost.
    pub deposes: bool,
    pub schedule: u64,
    /// How much time passes behind it, in milliseconds.
    pub pause: u64,
    /// Whether nodes are looked at behind it.
    pub checked: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// Nothing comes from one to the other.
    Cut {
        from: usize,
        to: usize,
    },
    /// Nothing comes to the node, nor from it.
    Isolate(usize),
    Heal,
    /// An orderly stop and a start.
    Restart(usize),
    /// The node and its disk are gone for ever.
    LoseDisk(usize),
    /// An empty node joins; first those whose disks are lost are removed.
    Join,
    /// The node is drained and removed.
    Leave(usize),
    /// The node's disk has lost a part of a partition.
    LosePart(usize),
    /// A copy is made of the node's disk.
    KeepDisk(usize),
    /// The copy comes in the place of its disk.
    RestoreDisk,
}

/// The time of day at the beginning, in 2024, in nanoseconds: midnight of a Monday.
pub(super) const FIRST_TIME: i64 = 1_704_067_200_000_000_000;

/// From these seeds on disks are damaged, and nodes compare themselves meanwhile, of some: those before have their findings.
const FIRST_DAMAGED: u64 = 2_000;
const FIRST_COMPARING: u64 = 4_000;

/// The history of a seed.
pub fn generate(seed: u64) -> ClusterHistory {
    let mut random = Random::new(seed ^ 0xC1C1);
    let computing = computing(seed);
    let mut style = Style::of_cluster(&mut random);
    if let Some(computing) = computing {
        style = style.computed(computing == Computing::Query);
    }
    let nodes = *random.pick(&[3, 3, 3, 5]);
    let mut skew = *random.pick(&[0, 0, 3, 100, 3000, 20_000]);
    if computing.is_some() {
        // What expires does so everywhere at once, nearly.
        skew = skew.min(100);
    }
    let skews = (0..nodes).map(|_| random.below(2 * skew + 1) as i64 - skew as i64).collect();
    let length = 4 + random.below(16);
    let often = Often {
        lost: *random.pick(&[0, 0, 50, 250]),
        repeated: *random.pick(&[0, 100, 300]),
        slow: *random.pick(&[0, 100, 300]),
        errors: *random.pick(&[0, 0, 10, 30]),
        stalls: *random.pick(&[0, 0, 20]),
        crashes: *random.pick(&[0, 10, 25]),
        events: *random.pick(&[0, 20, 50]),
        members: *random.pick(&[0, 0, 1, 3]),
    };
    let mut generator = match computing {
        Some(_) => Generator::living(random, style, FIRST_TIME),
        None => Generator::new(random, style),
    };
    let create = Operation::CreateDatabase { database: "d0" };
    let mut rounds = vec![ClusterRound {
        operations: vec![(0, create, Consistency::One)],
        schedule: generator.random.number(),
        pause: 1000,
        ..ClusterRound::default()
    }];
    rounds.extend((0..length).map(|_| {
        let passes = pass(&mut generator);
        ClusterRound { passes, ..round(&mut generator, &often) }
    }));
    if computing.is_some() {
        // What was computed of points that are lost for ever stays.
        let lost = rounds.iter_mut().filter(|round| matches!(round.event, Some(Event::LoseDisk(_))));
        lost.for_each(|round| round.event = None);
    } else if seed >= FIRST_DAMAGED {
        damage(&mut Random::new(seed ^ 0xDA3A), &mut rounds, skew);
    }
    let mut history = ClusterHistory { seed, nodes, skews, computing, rounds, ..ClusterHistory::default() };
    if seed >= FIRST_COMPARING {
        compare(&mut Random::new(seed ^ 0xC0A4), &mut history);
    }
    history
}

/// Nodes compare themselves while all else goes on; most wait for others only for a while, and some that are away are.
fn compare(random: &mut Random, history: &mut ClusterHistory) {
    if random.chance(1, 6) {
        return;
    }
    let intervals = [None, Some(2), Some(5), Some(20)];
    let interval = random.pick(&intervals).map(Duration::from_secs);
    history.comparing = Some(Comparing { interval });
    // Hours pass at once there.
    if history.computing.is_some() || random.chance(1, 4) {
        return;
    }
    let ages = [Duration::MAX, Duration::MAX, Duration::from_secs(2), Duration::from_secs(10)];
    history.hints =
        Hints { max_bytes: *random.pick(&[1, 200, 1000, 1000, u64::MAX]), max_age: *random.pick(&ages) };
    // One that comes back with an old disk sends what it has said it would not send any more.
    let rounds = history.rounds.iter_mut().filter(|round| round.event == Some(Event::RestoreDisk));
    rounds.for_each(|round| round.event = None);
    let (length, away) = (history.rounds.len(), *random.pick(&[0, 25, 60]));
    for round in &mut history.rounds[1..length] {
        if random.chance(1, 2) {
            round.pause = *random.pick(&[300, 1500, 4000, 12_000]);
        }
        if round.event.is_none() && random.chance(away, 100) {
            round.event =
                Some(if random.chance(2, 3) { Event::Isolate(random.below(8)) } else { Event::Heal });
        }
    }
}

/// Of some seeds something is computed.
fn computing(seed: u64) -> Option<Computing> {
    let mut random = Random::new(seed ^ 0x11FE);
    let is_computing = seed >= FIRST_COMPARING && random.chance(1, 4);
    is_computing.then(|| *random.pick(&[Computing::View, Computing::Query]))
}

/// Time of day passes where points are written about now.
fn pass(generator: &mut Generator) -> i64 {
    let Some(now) = generator.now else { return 0 };
    let steps = [0, 0, 0, HOUR / 6, HOUR / 2, HOUR, 2 * HOUR, 5 * HOUR];
    let ns = *generator.random.pick(&steps);
    generator.now = Some(now + ns);
    ns
}

/// A disk loses something, or, where clocks are right, an old one comes back: what one wrote whose clock was ahead is later than
/// what it writes anew.
fn damage(random: &mut Random, rounds: &mut [ClusterRound], skew: usize) {
    let (node, length) = (random.below(8), rounds.len());
    let at = 1 + random.below(length - 1);
    match random.below(4) {
        0 => rounds[at].event = Some(Event::LosePart(node)),
        1 if skew == 0 => {
            rounds[at].event = Some(Event::KeepDisk(node));
            if let Some(round) = rounds.get_mut(at + 1 + random.below(4)) {
                round.event = Some(Event::RestoreDisk);
            }
        }
        _ => {}
    }
}

/// Of a hundred rounds, so many with each kind of trouble; of a thousand messages, so many.
struct Often {
    lost: u32,
    repeated: u32,
    slow: u32,
    errors: u32,
    stalls: u32,
    crashes: u32,
    events: u32,
    /// Of ten events, so many that change who is in the cluster.
    members: u32,
}

fn round(generator: &mut Generator, often: &Often) -> ClusterRound {
    let count = 1 + generator.random.below(5);
    let mut operations: Vec<(usize, Operation, Consistency)> = Vec::new();
    while operations.len() < count {
        let mut operation = generator.operation();
        if generator.now.is_some() && generator.random.chance(1, 25) {
            let database = "d0";
            let operations = [Operation::CreateView { database }, Operation::DropView { database }];
            operation = generator.random.pick(&operations).clone();
        }
        let node = generator.random.below(8);
        // One checkpoint of a node at a time.
        let is_second =
            operation == Operation::Checkpoint && operations.iter().any(|(_, other, _)| *other == operation);
        if !is_second {
            let levels = [
                Consistency::Any,
                Consistency::One,
                Consistency::One,
                Consistency::Quorum,
                Consistency::Quorum,
                Consistency::All,
            ];
            operations.push((node, operation, *generator.random.pick(&levels)));
        }
    }
    let random = &mut generator.random;
    let weather = if random.chance(2, 3) {
        Weather { lost: often.lost, repeated: often.repeated, slow: often.slow }
    } else {
        Weather::default()
    };
    let faults = Faults {
        errors: if random.chance(often.errors, 100) { *random.pick(&[10, 50]) } else { 0 },
        stalls: if random.chance(often.stalls, 100) { *random.pick(&[30, 100]) } else { 0 },
        crash: None,
    };
    let calls_max = 2 << random.below(8);
    let crash = Crash {
        calls: 1 + random.below(calls_max) as u32,
        power: random.chance(1, 2),
        after: random.chance(1, 2),
    };
    let crash = random.chance(often.crashes, 100).then(|| (random.below(8), crash));
    ClusterRound {
        event: random.chance(often.events, 100).then(|| event(random, often)),
        passes: 0,
        operations,
        faults,
        crash,
        weather,
        leaves_down: random.chance(1, 2),
        deposes: random.chance(often.crashes, 200),
        schedule: random.number(),
        pause: *random.pick(&[0, 0, 0, 10, 300, 3000]),
        checked: random.chance(1, 2),
    }
}

fn event(random: &mut Random, often: &Often) -> Event {
    let (a, b) = (random.below(8), random.below(8));
    if random.chance(often.members, 10) {
        return *random.pick(&[Event::LoseDisk(a), Event::Join, Event::Join, Event::Leave(a)]);
    }
    match random.below(10) {
        0..=2 => Event::Cut { from: a, to: b },
        3..=5 => Event::Isolate(a),
        6..=8 => Event::Heal,
        _ => Event::Restart(a),
    }
}

impl fmt::Display for ClusterHistory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} nodes, clocks off by {:?} ms", self.nodes, self.skews)?;
        if self.hints != Hints::default() {
            writeln!(f, "{:?}", self.hints)?;
        }
        if let Some(comparing) = self.comparing {
            writeln!(f, "{comparing:?}")?;
        }
        if let Some(computing) = self.computing {
            writeln!(f, "computing: {computing:?}")?;
        }
        for (number, round) in self.rounds.iter().enumerate() {
            write!(f, "round {number}")?;
            if round.faults != Faults::default() {
                write!(f, "  [{}]", round.faults)?;
            }
            if let Some((node, crash)) = round.crash {
                let crash = Faults { crash: Some(crash), ..Faults::default() };
                write!(f, "  [node {node}: {crash}]")?;
            }
            if round.weather != Weather::default() {
                write!(f, "  [{:?}]", round.weather)?;
            }
            for (is_so, words) in [
                (round.leaves_down, "nodes stay down"),
                (round.deposes, "leader lost"),
                (round.checked, "checked"),
            ] {
                if is_so {
                    write!(f, "  ({words})")?;
                }
            }
            writeln!(f, "  pause {} ms", round.pause)?;
            if round.passes > 0 {
                writeln!(f, "  {} h pass", round.passes as f64 / HOUR as f64)?;
            }
            if let Some(event) = round.event {
                writeln!(f, "  {event:?}")?;
            }
            for (node, operation, level) in &round.operations {
                if let Operation::Write { database, policy, .. } = operation {
                    writeln!(f, "  node {node}: write to {database} {policy} at {}", level.name())?;
                } else {
                    writeln!(f, "  node {node}:")?;
                }
                for line in operation.to_string().lines() {
                    writeln!(f, "    {line}")?;
                }
            }
        }
        Ok(())
    }
}
