//! Running a history of a cluster.

mod checks;
mod computing;
mod damage;
mod members;
mod settle;

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use hyperbytedb_application::cluster::conflicts::Stamp;
use hyperbytedb_domain::CancelToken;
use hyperbytedb_domain::clock::WallClock;
use hyperbytedb_domain::cluster::{Consistency, NodeId};
use hyperbytedb_memory_ports::{Disk, Random};
use parking_lot::Mutex;

use self::checks::Contents;
use self::damage::{Damaged, Kept};
use super::agreement::Agreement;
use super::history::{ClusterHistory, ClusterRound, Comparing, Computing, Event, FIRST_TIME, Hints};
use super::model::{Scope, Taken, Writes, watch};
use super::network::{Network, Weather};
use super::schedules;
use super::seat::Seat;
use crate::history::{Operation, Point, SHORT};
use crate::model::Outcome;
use crate::process::Process;
use crate::run::{Finding, Summary, carry_out_alone, head_bytes, retried};
use crate::scheduler::{Faults, Scheduler};

const NS_PER_MS: i64 = 1_000_000;

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
    hints: Hints,
    comparing: Option<Comparing>,
    /// With what is computed, when it has been set up.
    computing: Option<Computing>,
    is_set_up: bool,
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
    /// More is lost than nodes that compare themselves can know of: what stays of values that differ may be anything.
    may_be_outvoted: bool,
    /// What all nodes have in the end, once they have.
    settled: Option<Contents>,
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
    /// A part of what its log has taken is lost.
    is_torn: bool,
    /// `None` while it does not run.
    process: Option<Arc<Process>>,
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
        scheduler.set_clock(FIRST_TIME);
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
            hints: history.hints,
            comparing: history.comparing,
            computing: history.computing,
            is_set_up: history.computing.is_none(),
            random: Random::new(history.seed),
            next_id: history.nodes + 1,
            lost: BTreeSet::new(),
            may_lose: (nodes.len() - 1) / 2,
            kept: None,
            damaged: None,
            gone: BTreeSet::new(),
            may_be_outvoted: false,
            settled: None,
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
        let skew = self.skew(id);
        let scheduler = Arc::downgrade(&self.scheduler);
        let wall: WallClock = Arc::new(move || {
            let now = scheduler.upgrade().map_or(0, |scheduler| scheduler.clock());
            (now / NS_PER_MS + skew).unsigned_abs()
        });
        let (agreement, hints, comparing) = (self.agreement.clone(), self.hints, self.comparing);
        let seat = Seat { id, wall, agreement, hints, comparing, source };
        self.members.insert(id, Member { disk, taken, seat, is_torn: false, process: None });
    }

    /// How far a node's clock is off, in milliseconds.
    fn skew(&self, id: NodeId) -> i64 {
        self.skews.get(id as usize - 1).copied().unwrap_or(0)
    }

    fn round(&mut self, round: &ClusterRound) -> Result<(), String> {
        if !self.is_set_up {
            self.set_up_computing()?;
        }
        self.scheduler.pass_clock(round.passes);
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
        if round.checked { self.check_all().map(drop) } else { Ok(()) }
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
        if let Operation::Write { .. } = operation {
            self.writes.lock().send(&body);
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
        let (seed, skew, number) = (self.seed, self.skew(id), self.random.number());
        let Some(member) = self.members.get_mut(&id).filter(|member| member.process.is_none()) else {
            return Ok(());
        };
        let host = self.scheduler.host();
        host.skew(skew);
        let (head_bytes, is_computing) = (head_bytes(seed.wrapping_add(id)), self.computing.is_some());
        let process = Process::open(&member.disk, host, head_bytes, is_computing, Some(&member.seat));
        let process = Arc::new(process.map_err(|error| error.to_string())?);
        member.process = Some(process.clone());
        let seat = member.seat.clone();
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
                if is_computing {
                    schedules::start(&process);
                }
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
}

fn scope_of(operation: &Operation) -> Option<Scope> {
    match operation {
        Operation::Delete { condition, time, .. } => Some(Scope::new(*condition, *time)),
        Operation::DropSeries { condition, .. } => Some(Scope::new(*condition, None)),
        _ => None,
    }
}
