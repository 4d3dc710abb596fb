//! A process's place in a cluster: its services are put together as the server does it.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hyperbytedb_application::Readiness;
use hyperbytedb_application::cluster::agreement;
use hyperbytedb_application::cluster::conflicts::Conflicts;
use hyperbytedb_application::cluster::node::ClusterNode;
use hyperbytedb_application::cluster::replication::{Replication, ReplicationOptions};
use hyperbytedb_application::flush::FlushService;
use hyperbytedb_application::log::committer::Committer;
use hyperbytedb_application::threads::Stop;
use hyperbytedb_domain::HybridClock;
use hyperbytedb_domain::clock::WallClock;
use hyperbytedb_domain::cluster::NodeId;
use hyperbytedb_domain::ports::{ClusterNodePort, Outbound};

use super::agreement::{Agreement, Proposing};
use super::compare::{self, Asking};
use super::history::{Comparing, Hints};
use super::network::{Attached, Network, Peers};
use crate::process::Process;
use crate::scheduler::Host;

const CONFLICT_ROWS: usize = 100_000;
const WRITE_TIME: Duration = Duration::from_secs(3);
/// How long a start waits for other nodes.
const HEAR_TIME: Duration = Duration::from_secs(5);
const AGREEMENT_TIME: Duration = Duration::from_secs(3);
const FOLLOW_TIME: Duration = Duration::from_millis(200);
/// Small, so that much goes in several batches.
const BATCH_BYTES: usize = 300;

#[derive(Clone)]
pub struct Seat {
    pub id: NodeId,
    pub wall: WallClock,
    pub agreement: Arc<Agreement>,
    pub hints: Hints,
    /// `None`: nodes compare themselves only when all else is over.
    pub comparing: Option<Comparing>,
    /// The node that the disk is a new copy of.
    pub source: Option<NodeId>,
}

impl Seat {
    pub fn conflicts(&self) -> Arc<Conflicts> {
        Arc::new(Conflicts::new(CONFLICT_ROWS))
    }

    pub fn clock(&self, seen: u64) -> HybridClock {
        HybridClock::with_wall(seen, self.wall.clone())
    }

    pub fn node(
        &self,
        ports: &Outbound,
        flush: &Arc<FlushService>,
        committer: &Arc<Committer>,
        readiness: Arc<Readiness>,
        conflicts: Arc<Conflicts>,
    ) -> ClusterNode {
        let options = ReplicationOptions {
            node: self.id,
            write_timeout: WRITE_TIME,
            hints_max_bytes: self.hints.max_bytes,
            hints_max_age: self.hints.max_age,
            batch_bytes: BATCH_BYTES,
            ..ReplicationOptions::default()
        };
        let (wal, catalog) = (ports.wal.clone(), ports.catalog.clone());
        let clock = committer.clock().clone();
        let replication = Replication::new(options, wal, catalog, flush.clone(), clock, conflicts.clone());
        ClusterNode {
            id: self.id,
            committer: committer.clone(),
            waiting: Arc::default(),
            catalog: ports.catalog.clone(),
            wal: ports.wal.clone(),
            flush: flush.clone(),
            readiness,
            replication: Arc::new(replication),
            conflicts,
            receiving: Default::default(),
            is_open: AtomicBool::new(false),
        }
    }

    /// Brings back what the log holds, and takes part.
    pub fn take(&self, process: &Process) -> Result<(), String> {
        process.replay_log(None)?;
        let Some(node) = &process.node else { return Ok(()) };
        let join = || {
            if let Some(source) = self.source {
                node.become_another(source)?;
            }
            node.prepare()
        };
        join().map_err(|error| error.to_string())?;
        let proposing = Arc::new(Proposing { agreement: self.agreement.clone(), node: self.id });
        process.lease.set(proposing.clone());
        let proposals = agreement::Agreement::new(
            self.id,
            proposing,
            node.waiting.clone(),
            &process.committer,
            AGREEMENT_TIME,
        );
        process.committer.join_cluster(Arc::new(proposals));
        node.is_open.store(true, Ordering::Release);
        let interval = self.comparing.and_then(|comparing| comparing.interval);
        let repair = compare::service(process, node, interval);
        let attached = Attached { host: process.host.clone(), node: node.clone(), repair };
        self.agreement.network.attach(attached.clone());
        self.start_threads(process, node);
        // As a server does: nothing is written before those that can be reached have said what they have.
        let network = &self.agreement.network;
        network.scheduler.wait_for(HEAR_TIME, || {
            let membership = self.agreement.membership();
            let mut others = membership.nodes.keys().filter(|&&other| other != self.id);
            others.all(|&other| node.replication.losses.has_heard(other) || !network.can_talk(self.id, other))
        });
        if self.comparing.is_some() {
            self.compare(attached);
        }
        process.watch_emptied()
    }

    /// Has the node compare itself whenever it is time.
    fn compare(&self, attached: Attached) {
        let Attached { host, node, repair } = attached;
        let asking = Asking { network: self.agreement.network.clone(), host: host.clone(), node };
        host.spawn("repair", None, move || repair.run(&asking, &Stop::default()));
    }

    fn start_threads(&self, process: &Process, node: &Arc<ClusterNode>) {
        let (agreement, host, telling) = (self.agreement.clone(), process.host.clone(), node.clone());
        process.host.spawn("agreed", None, move || {
            let telling: Arc<dyn ClusterNodePort> = telling;
            agreement.tell(&telling, &host);
        });
        let (replication, network) = (node.replication.clone(), self.agreement.network.clone());
        let host = process.host.clone();
        process.host.spawn("replication", None, move || replicate(&replication, &host, &network));
    }
}

/// Keeps a sender for each other node, as the threads of a server do.
fn replicate(replication: &Arc<Replication>, host: &Host, network: &Arc<Network>) {
    let mut running: HashMap<NodeId, Arc<AtomicBool>> = HashMap::new();
    loop {
        running.retain(|_, runs| runs.load(Ordering::Acquire));
        for node in replication.follow_membership() {
            if running.contains_key(&node) {
                continue;
            }
            let runs = Arc::new(AtomicBool::new(true));
            running.insert(node, runs.clone());
            let (replication, peers) =
                (replication.clone(), Peers { network: network.clone(), host: host.clone() });
            host.spawn("send", None, move || {
                replication.send_to(node, &peers, &Stop::default());
                runs.store(false, Ordering::Release);
            });
        }
        host.scheduler.sleep(FOLLOW_TIME);
    }
}
