//! What carries messages from node to node: it loses, delays and repeats them, and cuts nodes off, also in one direction only.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use hyperbytedb_application::cluster::node::ClusterNode;
use hyperbytedb_application::cluster::repair::RepairService;
use hyperbytedb_domain::cluster::{NodeAddress, NodeId};
use hyperbytedb_domain::ports::{ClusterNodePort, PeerBatch, PeerError, PeerPort};
use hyperbytedb_memory_ports::Random;
use parking_lot::Mutex;

use crate::scheduler::{Host, Scheduler};

/// How long one waits for an answer.
pub(super) const ANSWER_TIME: Duration = Duration::from_secs(3);
const SLOW_MS_MAX: usize = 4000;
const USUAL_MICROS_MAX: usize = 2000;
/// Between two looks at something that is not there yet.
const LOOK_TIME: Duration = Duration::from_millis(20);

/// What becomes of messages: of a thousand, so many.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Weather {
    pub lost: u32,
    pub repeated: u32,
    /// They come late, so that others come before them.
    pub slow: u32,
}

/// A node whose process runs.
#[derive(Clone)]
pub struct Attached {
    pub host: Host,
    pub node: Arc<ClusterNode>,
    pub repair: Arc<RepairService>,
}

pub struct Network {
    pub scheduler: Arc<Scheduler>,
    state: Mutex<State>,
}

struct State {
    random: Random,
    weather: Weather,
    nodes: BTreeMap<NodeId, Attached>,
    /// From whom nothing comes to whom.
    cut: BTreeSet<(NodeId, NodeId)>,
    /// Nothing is handed over until the nodes have been looked at.
    is_frozen: bool,
    handing_over: usize,
}

/// What became of a message to a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    Open(Duration),
    Lost,
}

impl Network {
    pub fn new(scheduler: Arc<Scheduler>, seed: u64) -> Self {
        let state = State {
            random: Random::new(seed),
            weather: Weather::default(),
            nodes: BTreeMap::new(),
            cut: BTreeSet::new(),
            is_frozen: false,
            handing_over: 0,
        };
        Self { scheduler, state: Mutex::new(state) }
    }

    pub fn attach(&self, attached: Attached) {
        self.state.lock().nodes.insert(attached.node.id, attached);
        self.scheduler.progress();
    }

    pub fn detach(&self, node: NodeId) {
        self.state.lock().nodes.remove(&node);
    }

    pub fn attached(&self, node: NodeId) -> Option<Attached> {
        self.state.lock().running(node)
    }

    /// A node whose process runs.
    pub fn node(&self, node: NodeId) -> Option<Arc<ClusterNode>> {
        self.attached(node).map(|attached| attached.node)
    }

    pub fn set_weather(&self, weather: Weather) {
        self.state.lock().weather = weather;
    }

    pub fn cut(&self, from: NodeId, to: NodeId) {
        self.state.lock().cut.insert((from, to));
    }

    pub fn heal(&self) {
        self.state.lock().cut.clear();
        self.scheduler.progress();
    }

    /// Whether messages come from one to the other, if they are not lost.
    pub fn is_open(&self, from: NodeId, to: NodeId) -> bool {
        let state = self.state.lock();
        from == to || (state.running(to).is_some() && !state.cut.contains(&(from, to)))
    }

    /// Whether two nodes can talk.
    pub fn can_talk(&self, a: NodeId, b: NodeId) -> bool {
        self.is_open(a, b) && self.is_open(b, a)
    }

    /// Draws what becomes of a message that is sent now.
    pub fn way(&self, from: NodeId, to: NodeId) -> Way {
        if !self.is_open(from, to) {
            return Way::Lost;
        }
        self.state.lock().way()
    }

    /// Of a thousand messages, so many are lost.
    pub fn lost(&self) -> u32 {
        self.state.lock().weather.lost
    }

    pub fn chance(&self, times: u32, of: u32) -> bool {
        self.state.lock().random.chance(times, of)
    }

    pub fn below(&self, bound: usize) -> usize {
        self.state.lock().random.below(bound)
    }

    /// Hands nothing over any more, and returns when nobody is at it.
    pub fn freeze(&self) {
        self.state.lock().is_frozen = true;
        while self.state.lock().handing_over > 0 && self.scheduler.finding().is_none() {
            self.scheduler.wait_for(LOOK_TIME, || self.state.lock().handing_over == 0);
        }
    }

    pub fn thaw(&self) {
        self.state.lock().is_frozen = false;
        self.scheduler.progress();
    }

    /// Hands something over to a node, when that is possible.
    pub fn hand_over<T>(&self, run: impl FnOnce() -> T) -> T {
        while self.state.lock().is_frozen {
            self.scheduler.sleep(LOOK_TIME);
        }
        self.state.lock().handing_over += 1;
        let _handing = Handing(self);
        self.scheduler.note_work();
        run()
    }
}

struct Handing<'a>(&'a Network);

impl Drop for Handing<'_> {
    fn drop(&mut self) {
        self.0.state.lock().handing_over -= 1;
    }
}

impl State {
    fn running(&self, node: NodeId) -> Option<Attached> {
        self.nodes.get(&node).filter(|attached| !attached.host.has_ended()).cloned()
    }

    fn way(&mut self) -> Way {
        let Self { random, weather, .. } = self;
        if random.chance(weather.lost, 1000) {
            Way::Lost
        } else if random.chance(weather.slow, 1000) {
            Way::Open(Duration::from_millis(1 + random.below(SLOW_MS_MAX) as u64))
        } else {
            Way::Open(Duration::from_micros(random.below(USUAL_MICROS_MAX) as u64))
        }
    }
}

/// One node's way to the others.
pub struct Peers {
    pub network: Arc<Network>,
    pub host: Host,
}

type Answer = Arc<Mutex<Option<Result<u64, String>>>>;

impl Peers {
    /// A message on its way, handed over by a thread of the other node.
    fn deliver(&self, to: NodeId, time: Duration, batch: PeerBatch, answer: Answer) {
        let (network, sender) = (self.network.clone(), self.host.clone());
        let Some(attached) = network.attached(to) else { return };
        attached.host.spawn("deliver", None, move || {
            network.scheduler.sleep(time);
            let Some(node) = network.node(to).filter(|_| network.is_open(batch.origin, to)) else { return };
            let received = network.hand_over(|| node.receive(&batch));
            if let Way::Open(time) = network.way(to, batch.origin) {
                network.scheduler.sleep(time);
                *answer.lock() = Some(received.map_err(|error| error.to_string()));
                sender.progress();
            }
        });
    }
}

impl PeerPort for Peers {
    fn send(&self, to: &NodeAddress, batch: &PeerBatch) -> Result<Option<u64>, PeerError> {
        let network = &self.network;
        let unreachable = |why: &str| Err(PeerError::Unreachable(why.to_owned()));
        let Ok(node) = to.address.parse::<NodeId>() else { return unreachable("no such address") };
        if network.node(node).is_none() {
            return unreachable("it does not run");
        }
        let answer = Answer::default();
        if let Way::Open(time) = network.way(batch.origin, node) {
            self.deliver(node, time, batch.clone(), answer.clone());
        }
        let is_repeated = {
            let mut state = network.state.lock();
            let often = state.weather.repeated;
            state.random.chance(often, 1000)
        };
        if is_repeated && let Way::Open(time) = network.way(batch.origin, node) {
            self.deliver(node, time, batch.clone(), Answer::default());
        }
        network.scheduler.wait_for(ANSWER_TIME, || answer.lock().is_some());
        let answer = answer.lock().take();
        match answer {
            Some(Ok(had)) => Ok(Some(had)),
            Some(Err(error)) => Err(PeerError::Refused(error)),
            None => unreachable("no answer"),
        }
    }
}
