//! Running a history of a cluster.

mod damage;
mod members;

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use hyperbytedb_application::cluster::conflicts::Stamp;
use hyperbytedb_domain::catalog::Catalog;
use hyperbytedb_domain::clock::WallClock;
use hyperbytedb_domain::cluster::{Consistency, NodeId};
use hyperbytedb_domain::{CancelToken, Tags};
use hyperbytedb_memory_ports::{Disk, Random};
use parking_lot::Mutex;

use self::damage::{Damaged, Kept};
use super::agreement::Agreement;
use super::history::{ClusterHistory, ClusterRound, Event};
use super::model::{Scope, Taken, Writes, expected, watch};
use super::network::{Network, Weather};
use super::seat::Seat;
use crate::history::{Operation, Point, SHORT};
use crate::model::{Outcome, Place, Points};
use crate::observe::{Observation, difference, observe};
use crate::process::Process;
use crate::run::{Finding, Summary, carry_out_alone, head_bytes, retried};
use crate::scheduler::{Faults, Scheduler};

/// 2024, in milliseconds.
const FIRST_TIME: u64 = 1_704_067_200_000;
/// How long a cluster may take until all have everything, when nothing fails any more.
const QUIET_TIME: Duration = Duration::from_secs(60);
const LOOK_TIME: Duration = Duration::from_millis(500);

/// Runs a history to its end, or to the first finding.
pub fn run(history: &ClusterHistory) -> Result<Summary, Finding> {
    let mut cluster = Cluster::new(history);
    let rounds = history.rounds.len();
    let played = (0..=rounds).try_for_each(|number| {
        let play = || match history.rounds.get(number) {
            Some(round) => cluster.round(round),
            None => cluster.settle(),
        };
        let done = catch_unwind(AssertUnwindSafe(play));
        // It was ended in the middle of something: a round that never ends.
        let done = done.unwrap_or_else(|_| Err(cluster.scheduler.finding().unwrap_or_default()));
        done.map_err(|text| Finding { round: number, text })
    });
    cluster.summary.trace = cluster.scheduler.trace();
    played.map(|()| cluster.summary)
}

struct Cluster {
    seed: u64,
    scheduler: Arc<Scheduler>,
    network: Arc<Network>,
    agreement: Arc<Agreement>,
    members: BTreeMap<NodeId, Member>,
    writes: Arc<Mutex<Writes>>,
    skews: Vec<i64>,
    random: Random,
    next_id: NodeId,
    /// Nodes whose disks are gone.
    lost: BTreeSet<NodeId>,
    /// How many may be.
    may_lose: usize,
    /// A copy that may be put in the place of a disk.
    kept: Option<Kept>,
    damaged: Option<Damaged>,
    /// What was on a disk alone that an older one came in the place of.
    gone: BTreeSet<Stamp>,
    /// Writes that so many nodes had when they were answered.
    confirmed: Vec<(Stamp, Consistency)>,
    /// Writes that were sent.
    sent: u64,
    summary: Summary,
}

struct Member {
    disk: Disk,
    taken: Arc<Mutex<Taken>>,
    seat: Seat,
    /// `None` while it does not run.
    process: Option<Arc<Process>>,
}

/// What a node answers.
struct Looked {
    catalog: Arc<Catalog>,
    observation: Observation,
}

/// A write that is being answered.
type Answer = Arc<Mutex<Option<Outcome>>>;

impl Drop for Cluster {
    fn drop(&mut self) {
        self.scheduler.end();
    }
}

impl Cluster {
    fn new(history: &ClusterHistory) -> Self {
        let scheduler = Scheduler::timed(history.seed);
        let network = Arc::new(Network::new(scheduler.clone(), history.seed));
        let nodes: Vec<NodeId> = (1..=history.nodes).collect();
        // Of the driver, before there are processes.
        scheduler.host();
        let agreement = Arc::new(Agreement::new(network.clone(), &nodes));
        let mut cluster = Self {
            seed: history.seed,
            scheduler,
            network,
            agreement,
            members: BTreeMap::new(),
            writes: Arc::default(),
            skews: history.skews.clone(),
            random: Random::new(history.seed),
            next_id: history.nodes + 1,
            lost: BTreeSet::new(),
            may_lose: (nodes.len() - 1) / 2,
            kept: None,
            damaged: None,
            gone: BTreeSet::new(),
            confirmed: Vec::new(),
            sent: 0,
            summary: Summary::default(),
        };
        for node in nodes {
            let taken = Taken { node, ..Taken::default() };
            cluster.add(node, Disk::default(), taken, None);
        }
        cluster
    }

    fn add(&mut self, id: NodeId, disk: Disk, taken: Taken, source: Option<NodeId>) {
        let taken = Arc::new(Mutex::new(Taken { node: id, ..taken }));
        watch(&disk.wal, &taken, &self.writes, &self.scheduler);
        let skew = self.skews.get(id as usize - 1).copied().unwrap_or(0);
        let scheduler = Arc::downgrade(&self.scheduler);
        let wall: WallClock = Arc::new(move || {
            let elapsed = scheduler.upgrade().map_or(0, |scheduler| scheduler.elapsed().as_millis() as u64);
            (FIRST_TIME + elapsed).saturating_add_signed(skew)
        });
        let seat = Seat { id, wall, agreement: self.agreement.clone(), source };
        self.members.insert(id, Member { disk, taken, seat, process: None });
    }

    fn round(&mut self, round: &ClusterRound) -> Result<(), String> {
        if let Some(event) = round.event {
            self.happen(event)?;
        }
        if !round.leaves_down {
            self.start_all()?;
        }
        if round.deposes {
            self.agreement.depose();
        }
        self.scheduler.begin(round.schedule, round.faults, true);
        self.network.set_weather(round.weather);
        if let Some((node, crash)) = round.crash
            && let Some(process) = self.nth(node).and_then(|id| self.process(id))
        {
            process.host.crash(crash);
        }
        let mut asked = Vec::new();
        for (node, operation, level) in &round.operations {
            let process = self.nth(*node).and_then(|id| self.process(id));
            if let Some(process) = process {
                let body = self.body_of(operation);
                asked.push((self.ask(&process, operation, body.clone(), *level), operation, body, *level));
            }
        }
        self.scheduler.run_clients();
        self.look_for_finding()?;
        for (answer, operation, body, level) in asked {
            let outcome = answer.lock().take();
            self.summary.operations += 1;
            self.summary.done += u64::from(outcome == Some(Outcome::Done));
            if outcome == Some(Outcome::Done) {
                self.confirm(operation, &body, level)?;
            }
        }
        self.bury(round.crash.is_some_and(|(_, crash)| crash.power))?;
        self.scheduler.sleep(Duration::from_millis(round.pause));
        self.look_for_finding()?;
        self.bury(false)?;
        self.network.set_weather(Weather::default());
        if round.checked { self.check_all() } else { Ok(()) }
    }

    fn look_for_finding(&self) -> Result<(), String> {
        self.scheduler.finding().map_or(Ok(()), Err)
    }

    fn process(&self, id: NodeId) -> Option<Arc<Process>> {
        let process = self.members.get(&id)?.process.clone()?;
        (!process.host.has_ended()).then_some(process)
    }

    /// The node at this position among those that are there, modulo their number.
    fn nth(&self, position: usize) -> Option<NodeId> {
        self.members.keys().nth(position % self.members.len().max(1)).copied()
    }

    /// What a write sends; each time something else, so that records can be told apart.
    fn body_of(&mut self, operation: &Operation) -> String {
        let Operation::Write { points, .. } = operation else { return String::new() };
        self.sent += 1;
        let lines: Vec<String> = points.iter().map(Point::line).collect();
        format!("# {}\n{}", self.sent, lines.join("\n"))
    }

    fn ask(&self, process: &Arc<Process>, operation: &Operation, body: String, level: Consistency) -> Answer {
        let answer = Answer::default();
        if let Operation::Write { points, .. } = operation {
            self.writes.lock().send(body.clone(), points.clone());
        }
        let (asked, operation, answered) = (process.clone(), operation.clone(), answer.clone());
        let agreement = self.agreement.clone();
        let run = move || {
            let _scoped = agreement.delete_in(scope_of(&operation));
            let outcome = if let Operation::Write { database, policy, .. } = &operation {
                let written = asked.write(database, policy, body, Some(level));
                written.map_or_else(|error| Outcome::Unknown(error.to_string()), |()| Outcome::Done)
            } else {
                carry_out_alone(&asked, &operation)
            };
            *answered.lock() = Some(outcome);
        };
        process.host.spawn("client", Some(CancelToken::default()), run);
        answer
    }

    /// What was answered must be on as many disks as the level says.
    fn confirm(&mut self, operation: &Operation, body: &str, level: Consistency) -> Result<(), String> {
        let Operation::Write { policy, .. } = operation else { return Ok(()) };
        let Some(stamp) = self.writes.lock().stamp(body) else {
            return if *policy == SHORT { Ok(()) } else { Err(format!("answered, but not logged: {body}")) };
        };
        let having =
            self.members.values().filter(|member| member.taken.lock().records.contains(&stamp)).count();
        let nodes = self.agreement.membership().nodes.len();
        let needed = level.nodes_of(nodes);
        if having < needed {
            let level = level.name();
            return Err(format!("{having} of {nodes} nodes have what was answered at {level}: {body}"));
        }
        self.confirmed.push((stamp, level));
        Ok(())
    }

    /// Takes away processes that have ended.
    fn bury(&mut self, power: bool) -> Result<(), String> {
        for (&id, member) in &mut self.members {
            let Some(process) = member.process.take_if(|process| process.host.has_ended()) else { continue };
            process.host.end();
            self.network.detach(id);
            self.summary.crashes += 1;
            if power {
                member.disk.fail_power(&mut self.random);
            }
        }
        self.look_for_finding()
    }

    fn end(&mut self, id: NodeId, power: bool) -> Result<(), String> {
        if let Some(process) = self.process(id) {
            process.host.end();
        }
        self.bury(power)
    }

    fn start_all(&mut self) -> Result<(), String> {
        let ids: Vec<NodeId> = self.members.keys().copied().collect();
        ids.into_iter().try_for_each(|id| self.start(id))
    }

    fn start(&mut self, id: NodeId) -> Result<(), String> {
        let (seed, number) = (self.seed, self.random.number());
        let Some(member) = self.members.get_mut(&id).filter(|member| member.process.is_none()) else {
            return Ok(());
        };
        let host = self.scheduler.host();
        let process =
            Process::open(&member.disk, host, head_bytes(seed.wrapping_add(id)), false, Some(&member.seat));
        let process = Arc::new(process.map_err(|error| error.to_string())?);
        member.process = Some(process.clone());
        let seat =
            Seat { wall: member.seat.wall.clone(), agreement: member.seat.agreement.clone(), ..member.seat };
        member.seat.source = None;
        let (starting, started) = (process.clone(), Arc::new(Mutex::new(None)));
        let answer = started.clone();
        self.scheduler.begin(number, Faults::default(), true);
        process.host.spawn("start", Some(CancelToken::default()), move || {
            *answer.lock() = Some(seat.take(&starting));
        });
        self.scheduler.run_clients();
        self.look_for_finding()?;
        let started = started.lock().take();
        match started {
            Some(Ok(())) => {
                let warming = process.clone();
                process.host.spawn("warm", None, move || warming.warm());
                Ok(())
            }
            Some(Err(error)) => Err(format!("node {id} does not start: {error}")),
            None => Err(format!("node {id} does not start")),
        }
    }

    fn happen(&mut self, event: Event) -> Result<(), String> {
        match event {
            Event::Cut { from, to } => {
                if let (Some(from), Some(to)) = (self.nth(from), self.nth(to)) {
                    self.network.cut(from, to);
                }
            }
            Event::Isolate(node) => {
                let Some(node) = self.nth(node) else { return Ok(()) };
                for &other in self.members.keys().filter(|&&other| other != node) {
                    self.network.cut(node, other);
                    self.network.cut(other, node);
                }
            }
            Event::Heal => self.network.heal(),
            Event::Restart(node) => {
                let Some(process) = self.nth(node).and_then(|id| self.process(id)) else { return Ok(()) };
                // A server leaves the others alone first.
                self.network.freeze();
                process.host.enter();
                let stopped = retried(|| process.stop()).map_err(|error| format!("the stop failed: {error}"));
                process.host.end();
                self.network.thaw();
                stopped?;
                self.bury(false)?;
            }
            Event::LoseDisk(node) => self.lose_disk(node)?,
            Event::Join => self.join()?,
            Event::Leave(node) => self.leave(node)?,
            Event::LosePart(node) => self.lose_part(node)?,
            Event::KeepDisk(node) => self.keep_disk(node)?,
            Event::RestoreDisk => self.restore_disk()?,
        }
        Ok(())
    }

    /// Looks at all nodes that run.
    fn check_all(&mut self) -> Result<(), String> {
        let ids: Vec<NodeId> = self.members.keys().copied().collect();
        self.network.freeze();
        self.look_for_finding()?;
        let checked = ids.into_iter().try_for_each(|id| self.check(id).map(drop));
        self.network.thaw();
        checked
    }

    /// What a node answers must be what follows from what it has taken.
    fn check(&mut self, id: NodeId) -> Result<Option<Looked>, String> {
        let Some(process) = self.process(id) else { return Ok(None) };
        process.host.enter();
        self.scheduler.begin(self.random.number(), Faults::default(), false);
        let at = |text: String| format!("node {id}: {text}");
        let observation = observe(&process, &mut self.random, true);
        self.look_for_finding()?;
        let observation = observation.map_err(at)?;
        if self.damaged.as_ref().is_some_and(|damaged| damaged.node == id) {
            return Ok(None);
        }
        let taken = self.members.get(&id).map(|member| member.taken.lock().clone()).unwrap_or_default();
        let agreed = self.agreement.up_to(taken.agreed_index);
        let catalog = process.catalog();
        let expected = expected(&self.writes.lock(), &taken, &agreed, &catalog);
        compare(&expected, &observation).map_err(at)?;
        Ok(Some(Looked { catalog, observation }))
    }

    /// Nothing fails any more. Soon all nodes have everything, and answer the same.
    fn settle(&mut self) -> Result<(), String> {
        self.network.heal();
        self.network.set_weather(Weather::default());
        for power in [true, false] {
            self.start_all()?;
            self.scheduler.begin(self.random.number(), Faults::default(), false);
            let until = self.scheduler.elapsed() + QUIET_TIME;
            while let Some(missing) = self.missing() {
                if self.scheduler.elapsed() >= until {
                    return Err(missing);
                }
                self.scheduler.sleep(LOOK_TIME);
                self.look_for_finding()?;
                self.bury(false)?;
                self.start_all()?;
            }
            self.compare_if_damaged()?;
            self.check_equal()?;
            self.rest()?;
            self.check_equal()?;
            let ids: Vec<NodeId> = self.members.keys().copied().collect();
            ids.into_iter().try_for_each(|id| self.end(id, power))?;
        }
        Ok(())
    }

    /// What some node lacks still.
    fn missing(&self) -> Option<String> {
        let length = self.agreement.length();
        let writes = self.writes.lock();
        for (id, member) in &self.members {
            let taken = member.taken.lock();
            if taken.agreed_index < length {
                return Some(format!("node {id} has {} of {length} agreed entries", taken.agreed_index));
            }
            let is_excused = |stamp: &Stamp| {
                let damaged = self.damaged.as_ref();
                self.gone.contains(stamp) || damaged.is_some_and(|damaged| damaged.excuses(*id, stamp))
            };
            let is_missing = |stamp: &&Stamp| {
                !self.lost.contains(&stamp.origin) && !taken.has(stamp) && !is_excused(stamp)
            };
            if let Some(stamp) = writes.stamps().find(is_missing) {
                return Some(format!("node {id} lacks {}", writes.describe(stamp)));
            }
        }
        // What was sent to some nodes before a disk was lost does not get to the others.
        let is_kept =
            |stamp: &Stamp| self.members.values().any(|member| member.taken.lock().records.contains(stamp));
        let mut safe = self
            .confirmed
            .iter()
            .filter(|(_, level)| matches!(level, Consistency::Quorum | Consistency::All));
        safe.find(|(stamp, _)| !is_kept(stamp)).map(|(stamp, level)| {
            format!("lost, though answered at {}: {}", level.name(), writes.describe(stamp))
        })
    }

    fn check_equal(&mut self) -> Result<(), String> {
        self.network.freeze();
        let ids: Vec<NodeId> = self.members.keys().copied().collect();
        let mut first: Option<(NodeId, Looked)> = None;
        for id in ids {
            let Some(looked) = self.check(id)? else { continue };
            no_stray_series(&looked.observation).map_err(|text| format!("node {id}: {text}"))?;
            let Some((other, before)) = &first else {
                first = Some((id, looked));
                continue;
            };
            if self.lost.is_empty() {
                equal(before, &looked).map_err(|text| format!("nodes {other} and {id}: {text}"))?;
            }
        }
        self.network.thaw();
        Ok(())
    }

    /// Everything flushed, merged and checkpointed.
    fn rest(&self) -> Result<(), String> {
        for (id, member) in &self.members {
            let Some(process) = &member.process else { continue };
            process.host.enter();
            for _ in 0..2 {
                let rest = || {
                    retried(|| process.flush_all())?;
                    retried(|| process.merge())?;
                    retried(|| process.checkpoint())
                };
                rest().map_err(|error| format!("node {id}: coming to rest failed: {error}"))?;
            }
        }
        Ok(())
    }
}

fn scope_of(operation: &Operation) -> Option<Scope> {
    match operation {
        Operation::Delete { condition, time, .. } => Some(Scope::new(*condition, *time)),
        Operation::DropSeries { condition, .. } => Some(Scope::new(*condition, None)),
        _ => None,
    }
}

fn compare(expected: &BTreeMap<Place, Points>, observation: &Observation) -> Result<(), String> {
    let nothing = Points::new();
    let places: BTreeSet<&Place> = expected.keys().chain(observation.tables.keys()).collect();
    for place in places {
        let observed = observation.tables.get(place);
        let (wanted, found) =
            (expected.get(place).unwrap_or(&nothing), observed.map_or(&nothing, |observed| &observed.points));
        if wanted != found {
            return Err(format!("{place:?}: {}", difference(wanted, found)));
        }
        let Some(observed) = observed else { continue };
        for (tags, _) in found.keys() {
            if !observed.series.contains(tags) {
                return Err(format!("{place:?}: series {tags:?} is not shown"));
            }
        }
    }
    Ok(())
}

/// No series without points is shown, also of writes that were refused or not answered.
fn no_stray_series(observation: &Observation) -> Result<(), String> {
    for (place, table) in &observation.tables {
        let with_points: BTreeSet<&Tags> = table.points.keys().map(|(tags, _)| tags).collect();
        if let Some(stray) = table.series.iter().find(|tags| !with_points.contains(tags)) {
            return Err(format!("{place:?}: series {stray:?} is shown, but has no point"));
        }
    }
    Ok(())
}

/// All nodes answer the same.
fn equal(one: &Looked, other: &Looked) -> Result<(), String> {
    if one.catalog != other.catalog {
        return Err(format!("catalogues are {:?} and {:?}", one.catalog, other.catalog));
    }
    for (place, table) in &one.observation.tables {
        let same = other.observation.tables.get(place).map(|same| &same.points);
        if same.is_none_or(|points| table.points != *points) {
            let nothing = Points::new();
            return Err(format!("{place:?}: {}", difference(&table.points, same.unwrap_or(&nothing))));
        }
    }
    Ok(())
}
